"""`mltm-agent check`: whether the surroundings are right, measured and said in words.

It touches no task and leaves nothing behind.
"""
