"""The one error of the lab: a sentence for the person who started it."""


class LabError(Exception):
    """Something the lab cannot do; the message says what, where, and what to do."""
