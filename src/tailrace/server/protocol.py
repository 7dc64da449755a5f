"""uvicorn's HTTP protocol, with what it leaves behind cleared away."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class Protocol(HttpToolsProtocol):
    """After a reset uvicorn lets the keep-alive timer run on, and with it all that the connection holds: 4 KB for 75 s.

    Fifty thousand clients that drop their connection would hold 200 MB (`benchmarks/churn.py`).
    """

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, whatever way it went."""
        super().connection_lost(exc)
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = None
