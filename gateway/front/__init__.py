"""The gateway's front: accepts connections, ends those that keep others out, answers what is no HTTP request.

It knows nothing of addresses, users or tasks, and it reads no body. Above it is only the process (`gateway.serve`).
"""
