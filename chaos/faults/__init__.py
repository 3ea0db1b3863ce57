"""What is broken on purpose: the points of a task's way, plans that strike there, what provokes rare steps.

It judges nothing.
"""
