"""One task's turn: what is read, decided and carried out; and what a round asks of Slurm for all tasks.

State is a value that is replaced. It does not know how the process runs, nor how the gateway is reached.
"""
