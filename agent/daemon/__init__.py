"""The running process: its service, the round that it does again and again, and what wakes it.

It decides nothing about a task, and speaks neither to Slurm nor to the gateway itself.
"""
