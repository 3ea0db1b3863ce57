"""What user, gateway, agent and job have signed: shapes, names, states and rules.

Pure: pydantic and the standard library, no I/O; nothing else of this project is imported.
"""
