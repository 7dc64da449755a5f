"""`--workers N`: several processes serve one port, over one SQLite file that one more process writes.

`supervisor` starts them, starts another for one that dies, and stops them in order. `worker` and `writer` are the two
parts, `part` what a process is told about its own, and `__main__` where it begins. Between workers and writer stands
`stores/sqlite_remote`. Why: docs/decisions/0006-workers.md.
"""

from tailrace.server.workers.supervisor import serve_with_workers

__all__ = ["serve_with_workers"]
