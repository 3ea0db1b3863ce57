"""How the client talks to a gateway: requests and their repetition, uploads, logs, downloads, credentials.

It prints nothing and knows no command line.
"""
