"""How the client talks to a gateway: requests and their repetition, uploads, logs, downloads, credentials."""
