"""Every read and write of the agent's part of the spool: records, outbox, receipts, tombstones, set-up.

It decides nothing: what the records mean is the protocol's.
"""
