"""The use cases: submissions, tasks, users, agents, files on the cluster, and the publisher.

Plain classes over the store; they know nothing of HTTP.
"""
