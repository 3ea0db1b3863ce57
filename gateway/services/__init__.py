"""The use cases: submissions, tasks, users, agents, files on the cluster, and the publisher.

They are plain classes over the store. They know nothing of HTTP and write no query.
"""
