"""The only place that imports Peewee: the database door, the models, and one file of queries an area."""
