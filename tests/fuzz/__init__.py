"""Every parser of outside text gets texts that nobody would write."""
