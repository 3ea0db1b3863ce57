"""The attacks: one file each, with the function that takes its guard out.

That function runs in the product's processes of the control, and there alone; it is the only place here that imports
the product.
"""
