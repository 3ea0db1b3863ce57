"""The HTTP framework: routes and their arguments, uploads, problem documents, the OpenAPI document.

It never uses the database and has no rule about tasks. It does not know the addresses: those are in `endpoints`.
"""
