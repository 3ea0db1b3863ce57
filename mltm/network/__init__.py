"""How a client or an agent reaches its gateway: proxies, and the authorities that sign certificates.

Both sides use it, so that one environment means the same to both. It knows no HTTP library.
"""
