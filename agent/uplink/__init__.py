"""Everything to and from the gateway: calls, enrolment, reports, heartbeats, commands, bytes of logs.

It calls out and never listens. It changes a task only by recording the gateway's commands in the spool.
"""
