"""The addresses of the gateway, one module an area, and the table of them all.

Each handler calls a service and renders its answer; nothing is decided here.
"""
