"""The protocol as pure values and functions: journal, observation, what to do next, verdict, what to report.

No I/O and no clock: whoever calls passes what was read and what time it is.
"""
