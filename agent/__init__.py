"""The on-cluster daemon: it watches the spool, runs Slurm's commands locally and reports over HTTPS. It only calls out."""
