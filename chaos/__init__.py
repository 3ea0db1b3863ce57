"""Fault injection: runs the whole product under a stream of tasks, breaks it, and judges by what the tasks did."""
