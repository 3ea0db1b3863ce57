"""The product under test: its processes with their points armed, and controls that lack a rule.

Nothing here breaks anything by itself; the product is not changed for it.
"""
