"""The scenarios: each breaks one thing on purpose, or many, and leaves the judgement to the trial."""
