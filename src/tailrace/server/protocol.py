"""uvicorn's HTTP protocol, which gives its connection away to a stream that asks for it.

uvicorn parses, routes and authorises the request like any other, and the response starts through its own `send`. Then
the door calls the ASGI extension `tailrace.handover`, and all that uvicorn holds for a connection is let go: protocol,
parser, scope, request cycle and task. It is refused, and the stream written by `send`, unless everything about the
request is settled. What is touched here is not part of uvicorn's API; if a version has it no more, the handover is
refused, and everything works as under any other server (`tests/server/test_handover.py`).
"""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from tailrace.fanout.sink import EXTENSION, TakeBack
from tailrace.server.cycle import AtOnce, Cycle, small_length

if TYPE_CHECKING:
    from starlette.types import Scope, Send
    from uvicorn._types import ASGI3Application


class Protocol(HttpToolsProtocol):
    """With the handover, and without what uvicorn leaves behind.

    After a reset uvicorn lets the keep-alive timer run on, and with it all that the connection holds: 4 KB for 75 s.
    Fifty thousand clients that drop their connection would hold 200 MB (`benchmarks/churn.py`).
    """

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """Answer a request: by the application, or, a small publish, without a task."""
        at_once: AtOnce | None = getattr(self.config, "at_once", None)
        length = None if at_once is None else small_length(cycle)
        if at_once is None or length is None or not at_once.takes(cast("Scope", cycle.scope), length):
            super()._start_asgi_task(cycle, app)
            return
        cycle.__class__ = Cycle
        assert isinstance(cycle, Cycle)
        cycle.at_once = at_once
        if not cycle.more_body:  # it had to wait for those before it
            cycle.begin_at_once()

    def on_message_complete(self) -> None:
        """A request is here in full."""
        super().on_message_complete()
        cycle = self.cycle
        if isinstance(cycle, Cycle) and cycle.at_once is not None:
            cycle.begin_at_once()

    def on_headers_complete(self) -> None:
        """A request is known: offer it its connection."""
        super().on_headers_complete()
        if isinstance(self.cycle, Cycle):
            return
        if type(self.cycle) is not RequestResponseCycle:
            return
        self.cycle.__class__ = Cycle  # uvicorn has no other place to say which class its cycles are of
        offered: Any = {EXTENSION: _Handover(self, cast("Cycle", self.cycle))}  # uvicorn's type knows only dicts in it
        self.scope["extensions"] = offered

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, whatever way it went."""
        super().connection_lost(exc)
        self.cancel_keep_alive()

    def cancel_keep_alive(self) -> None:
        """Wait no more for another request."""
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = None

    def go_on(self, transport: asyncio.Transport, received: bytes) -> None:
        """Answer what comes next on a connection that was given away and has come back."""
        if transport.is_closing():
            return
        transport.set_write_buffer_limits()
        self.connection_made(transport)
        transport.set_protocol(self)
        if received:
            self.data_received(received)
        else:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )


class _Handover:
    """The extension of one request."""

    __slots__ = ("_cycle", "_protocol")

    def __init__(self, protocol: Protocol, cycle: Cycle) -> None:
        self._protocol = protocol
        self._cycle = cycle

    def is_own(self, send: Send) -> bool:
        """Whether `send` is the request's own."""
        return getattr(send, "__self__", None) is self._cycle

    def __call__(self, successor: asyncio.Protocol, probe: bytes | None = None) -> TakeBack | None:
        """Make `successor` the connection's protocol; None if that is not possible now, or `probe` has not come."""
        protocol, cycle = self._protocol, self._cycle
        try:
            if not _is_settled(protocol, cycle) or (probe is not None and cycle.newest != probe):
                return None
            keep_alive = cycle.keep_alive
            # From here on uvicorn is done with the request, as if it had been answered in full.
            cycle.response_complete = True
            cycle.message_event.set()
            protocol.server_state.total_requests += 1
            protocol.connections.discard(protocol)
        except AttributeError:  # another uvicorn than we know
            return None
        protocol.cancel_keep_alive()
        transport = protocol.transport
        successor.connection_made(transport)
        transport.set_protocol(successor)
        take_back = _Return(protocol) if keep_alive else _close
        _let_go(protocol, cycle)
        return take_back

    def cut(self) -> None:
        """Cut the connection."""
        self._protocol.transport.abort()


def _let_go(protocol: Protocol, cycle: Cycle) -> None:
    """Undo what holds uvicorn's objects together, so that they are freed at once: collecting them later would be too
    late, for a crowd of streams opens between two collections.
    """
    cycle.given_away = True
    cycle.on_response = _nothing
    cycle.scope.pop("extensions", None)
    held: Any = protocol  # its fields are not meant to be empty
    held.parser = held.cycle = held.scope = held.headers = None


def _nothing() -> None:
    pass


def _is_settled(protocol: Protocol, cycle: RequestResponseCycle) -> bool:
    """Whether nothing more is to come of the request, and nothing of another one has."""
    return (
        protocol.cycle is cycle
        and protocol.scope is cycle.scope  # else the next request has begun to arrive
        and not protocol.pipeline
        and cycle.response_started
        and bool(cycle.chunked_encoding)
        and not (cycle.response_complete or cycle.more_body or cycle.disconnected)
        and cycle.scope["method"] != "HEAD"
        and not (protocol.flow.write_paused or protocol.flow.read_paused)
        and not protocol.transport.is_closing()
    )


class _Return:
    """How a connection comes back to the server it was taken from."""

    __slots__ = ("_app_state", "_config", "_server_state")

    def __init__(self, protocol: Protocol) -> None:
        self._config = protocol.config
        self._server_state = protocol.server_state
        self._app_state = protocol.app_state

    def __call__(self, transport: asyncio.Transport, received: bytes) -> None:
        """Answer the next request, which may have begun with `received`."""
        Protocol(self._config, self._server_state, self._app_state).go_on(transport, received)


def _close(transport: asyncio.Transport, _: bytes) -> None:
    """The client does not want another answer on this connection."""
    transport.close()


def adopt() -> bool:
    """Have the uvicorn that is about to serve in this thread hand connections over; False if there is none.

    For a lifespan's start: uvicorn has no way to be told, but its signal handlers are its own by then, and it looks for
    the class of its connections afterwards. One that was told to use another protocol than httptools is left alone.
    """
    config = getattr(getattr(signal.getsignal(signal.SIGINT), "__self__", None), "config", None)
    if getattr(config, "http_protocol_class", None) is not HttpToolsProtocol:
        return False
    assert config is not None
    config.http_protocol_class = Protocol
    return True
