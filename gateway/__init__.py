"""The public service: accepts tasks over HTTPS, brings them to the agents, and shows what happened to them.

The root has the command line, the parts put together, the process, settings, errors and TLS; no rule about tasks.
"""
