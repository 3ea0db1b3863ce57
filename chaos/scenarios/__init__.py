"""The scenarios on any Slurm: each breaks one thing on purpose, or many.

They leave the judgement to the trial.
"""
