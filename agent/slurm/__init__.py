"""Slurm: its commands, their output, its error texts and its rate limits; the only owner of `sh`.

It judges no task: it returns what Slurm said, as values.
"""
