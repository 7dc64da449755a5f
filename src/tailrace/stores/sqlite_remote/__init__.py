"""One SQLite file, many processes: one writes, the others send it their batches over a Unix socket.

`Hub` stands in the process that writes, beside its `SqliteStore`; `RemoteStore` in each of the others. `SharedStore` is
for processes that are all alike: one of them writes. `messages` is what they say to each other, `link` how a
`RemoteStore` keeps in touch. Why it is done so, and what becomes of a batch whose outcome is unknown:
docs/decisions/0006-workers.md.
"""

from tailrace.stores.sqlite_remote.hub import Hub
from tailrace.stores.sqlite_remote.shared import SharedStore
from tailrace.stores.sqlite_remote.store import RemoteStore

__all__ = ["Hub", "RemoteStore", "SharedStore"]
