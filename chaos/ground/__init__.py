"""What a trial stands on: its file systems, which lie as shared ones do, and its clocks.

It knows nothing of tasks.
"""
