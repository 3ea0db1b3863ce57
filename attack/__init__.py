"""`make attack`: attacks a running product, and the same product without the guard that stands in the way.

A scenario whose attack fails on the product proves something only if it succeeds where its guard is taken out.
"""
