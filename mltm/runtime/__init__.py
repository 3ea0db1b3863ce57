"""I/O that both daemons need: durable files, hostile folders, mounts, clock, events, logging, retries, systemd.

It knows the contract and nothing of either daemon.
"""
