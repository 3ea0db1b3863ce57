"""One party works in a folder, and another swaps what is in it, at random instants: the hands, and who swaps.

`hands` call the product's own functions in a loop, because a whole service would meet too few swaps.
"""
