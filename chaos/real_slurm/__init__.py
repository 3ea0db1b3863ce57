"""Trials that need the daemons of a real Slurm: crashes, hand-overs, and what Slurm logs of them.

They are run by name only.
"""
