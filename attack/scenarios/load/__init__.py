"""What keeps others from working: full disks, floods, clients that are slow."""
