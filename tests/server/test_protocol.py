"""A connection that is reset leaves nothing behind."""

from __future__ import annotations

import gc
import socket
import struct
import threading

import httpx2

from tailrace.server.protocol import Protocol
from tailrace.testing.server import running_server


def test_a_reset_connection_leaves_no_timer_behind() -> None:
    with running_server() as running:
        address = httpx2.URL(running.url)
        for _ in range(20):
            connection = socket.create_connection((address.host, address.port))
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            connection.recv(1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()  # with a reset
        counted = threading.Event()
        kept: list[int] = []

        def count() -> None:
            gc.collect()
            kept.append(sum(isinstance(one, Protocol) for one in gc.get_objects()))
            counted.set()

        for _ in range(200):
            counted.clear()
            running.call(count)
            counted.wait(10)
            if kept[-1] <= 1:
                break
        assert kept[-1] <= 1
