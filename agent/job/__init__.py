"""What runs inside the job: the wrapper, and what it is told to run."""
