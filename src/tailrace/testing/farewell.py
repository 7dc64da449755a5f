"""After a server has gone for good, its port tells those who come back that there is nothing more.

A browser's EventSource comes back whatever its stream said, and gives up only when it is told 204. When it comes is for
it to say, and no test has to wait for that.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from typing import Final

FAREWELL_SECONDS: Final = 30.0
"""How long those who come back are answered."""
REQUEST_SECONDS: Final = 1.0
"""How long one of them may take to ask."""
_NOTHING_MORE: Final = b"HTTP/1.1 204 No Content\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"


def bid_farewell(listening: socket.socket) -> None:
    """Answer 204 to whoever connects, in a thread that ends by itself. The socket belongs to it from now on."""
    threading.Thread(target=_answer, args=(listening,), name="tailrace-farewell", daemon=True).start()


def _answer(listening: socket.socket) -> None:
    end = time.monotonic() + FAREWELL_SECONDS
    with listening:
        while (left := end - time.monotonic()) > 0:
            listening.settimeout(left)
            with suppress(OSError):
                connected, _ = listening.accept()
                with connected:
                    connected.settimeout(REQUEST_SECONDS)
                    connected.recv(64 * 1024)
                    connected.sendall(_NOTHING_MORE)
