"""The contract between user, gateway, agent and job: shapes, names and rules. Pure: pydantic and stdlib, no I/O."""
