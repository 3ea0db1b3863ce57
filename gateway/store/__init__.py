"""The only owner of Peewee: the door to the database, the tables, and one module of queries an area.

Queries run in a transaction that the door opened; nothing here waits or speaks to anybody.
"""
