"""The log in NATS JetStream: a replicated journal, and on each node a replica of what the journal says.

`journal` is what the records look like, `stream` the JetStream stream that holds them, `identity` how it is set up,
`snapshots` what takes the place of its beginning; `replica` is the SQLite file in which a node applies the records,
`following` how it keeps level; `store` has the port's methods, `servers` the connection, `address` reads the URL.
`archiving` tells the whole log, `filling` takes one, and `moving` opens both ends of a copy.
Why it is built so: docs/decisions/0010-jetstream.md.
"""

from tailrace.stores.nats.store import NatsStore, open_nats

__all__ = ["NatsStore", "open_nats"]
