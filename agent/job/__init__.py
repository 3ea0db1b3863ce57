"""What runs inside the job and what it is told to run: wrapper, container, environment, the site's policy.

Planning reads the catalogue folders only; no user text ever reaches a shell.
"""
