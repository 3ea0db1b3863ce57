"""The command `mltm`: its commands, what they print, and their exit codes.

It does nothing that the Python client cannot do.
"""
