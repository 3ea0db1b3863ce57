"""The stand-in for Slurm: sbatch, squeue, sacct, scancel, sinfo and scontrol over jobs kept as files."""
