"""How work comes in: bundles of the gateway and drops of users become folders in tasks/, by one rename.

It runs nothing of what it takes, and decides about no task that is in.
"""
