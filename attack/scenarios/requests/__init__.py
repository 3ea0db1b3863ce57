"""What users, and people without an account, send over HTTPS."""
