"""The on-cluster daemon: accepts bundles and drops, runs them through Slurm, and reports to the gateway.

It only calls out. pyproject.toml has the order of its rooms: none imports from one above it.
"""
