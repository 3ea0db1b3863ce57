"""The product under attack: its processes under accounts of their own, its clients, and a credential in bad hands.

It imports nothing of the product, so that a guard can be taken out before anything is imported.
"""
