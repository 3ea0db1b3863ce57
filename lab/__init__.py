"""A real Slurm in one folder for development and tests, and a stand-in for places where none can be installed."""
