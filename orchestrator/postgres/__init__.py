"""Postgres as the store: what the state folder holds on one machine, in a database that several can reach.

Nothing imports this package, or psycopg, unless the configuration has `store:`.
"""
