"""Slurm: its commands, their output, its manners."""
