"""HTTP: routes and their arguments, uploads, problem documents, the OpenAPI document.

The addresses are in `endpoints`. It never touches the database, and holds no rule about tasks.
"""
