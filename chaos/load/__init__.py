"""The users of a trial: a stream of tasks of every kind, and the ways in which files are dropped.

They do what people do, through the product's own doors.
"""
