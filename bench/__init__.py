"""Benchmarks: `make bench`. Timings are compared within one run, never asserted."""
