"""What can be broken on purpose: the points of a task's way, and the plans that strike there.

Data and small files only: the product's processes read them too.
"""
