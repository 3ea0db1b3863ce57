"""Debian roots of other releases: made, entered and left without a trace; the images built in them.

They are kept in a cache outside the checkout.
"""
