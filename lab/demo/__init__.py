"""`make demo`: the main job, end to end, on this machine. It uses the product's commands only, as a person would.

It imports nothing of the product.
"""
