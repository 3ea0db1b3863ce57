"""Faults that users met, one file for each kind."""
