"""The log in a PostgreSQL database, shared by any number of nodes.

`store` has the port's methods; `writer`, `placing`, `appending` and `writing` place events, `pages` and `selecting`
read, `sweeping` removes; `notices` carries hints between nodes, `outbox` takes in what callers published in
transactions of their own; `archiving` moves whole logs; `schema` opens and refuses; `connection` is the one place that
calls the driver. The SQL stands in `statements.sql` and `archive.sql`; what is SQLite's too, in `stores/tables/`. Why
it is done so: docs/decisions/0009-postgresql.md.
"""

from tailrace.stores.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
