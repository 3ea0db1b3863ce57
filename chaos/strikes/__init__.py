"""Carries out plans in a trial: arms them, provokes rare steps, and counts what strikes.

It judges nothing, and chooses no plans.
"""
