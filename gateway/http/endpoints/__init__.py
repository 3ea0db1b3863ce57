"""The addresses of the gateway, one module for each area, and the table of all of them.

Each handler calls a service and renders its answer; it decides nothing.
"""
