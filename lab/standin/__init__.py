"""The stand-in for Slurm: sbatch, squeue, sacct, scancel, sinfo and scontrol over jobs kept as files.

It knows nothing of the product, and proves nothing about Slurm. `control` makes it, takes it down and breaks it.
"""
