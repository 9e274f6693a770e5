"""The two stores: DuckDB for tables that are recomputed, Postgres for what is updated in place.

Here belong connections, locks, transactions and schema. What the rows mean does not.
"""
