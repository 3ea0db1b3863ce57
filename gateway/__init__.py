"""The public service: takes tasks over HTTPS, keeps them in a database and a spool, and shows what became of them."""
