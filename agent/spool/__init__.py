"""Every read and write of the agent's part of the spool: records, outbox, receipts, tombstones, set-up.

It decides nothing; what stands in the records is the protocol's.
"""
