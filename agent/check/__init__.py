"""`mltm-agent check`: whether the surroundings are right, and what to do if not.

It touches no task and leaves nothing behind.
"""
