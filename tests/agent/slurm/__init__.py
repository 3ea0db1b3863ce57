"""Tests of how the agent talks to Slurm: texts, states, programs, manners, and Slurm itself."""
