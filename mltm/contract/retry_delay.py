"""How long to wait before the next try or the next look. Pure; chance and clocks are the caller's."""

__all__ = ["exponential_delay_s"]


def exponential_delay_s(failures: int, first_s: float, max_s: float, *, factor: float = 2.0) -> float:
    """`first_s` if nothing failed before this failure, `factor` times as long with each that did, at most `max_s`.

    Callers that must not all come back at once wait a random share of it (full jitter).
    """
    return min(max_s, first_s * factor ** min(failures, 64))  # 2.0 ** 1024 is too large for a float
