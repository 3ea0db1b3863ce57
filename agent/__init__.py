"""The on-cluster daemon: watches the spool, runs Slurm's commands locally, reports over HTTPS. It only calls out."""
