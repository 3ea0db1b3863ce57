"""The only owner of Peewee: the database's connection, the tables, and the queries, one module an area.

Queries run inside a transaction of `Database`; nothing here waits, or talks to an agent or a user.
"""
