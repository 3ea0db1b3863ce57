"""The on-cluster daemon: takes bundles and drops in, runs them through Slurm, and reports to the gateway.

It only calls out. Its rooms, from the ground up: slurm, protocol, spool, intake, job, tasks, uplink, check, daemon.
"""
