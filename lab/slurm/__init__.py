"""A real Slurm in one folder: its configuration, its daemons, its accounting, and what tests do to it.

It uses Debian's packages as they are, and knows nothing of the product.
"""
