"""For tests: a real server with a clock to move, faults to inject, assertions, and the exam for stores.

With pytest the fixtures of `tailrace.testing.plugin` are there once the package is installed (docs/testing.md).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tailrace.testing.assertions import assert_complete, assert_received_once_in_order
    from tailrace.testing.clock import Clock
    from tailrace.testing.faults import (
        Buffer,
        Chunk,
        Delay,
        Drop,
        Fault,
        FaultStatistics,
        Refuse,
        Stall,
        Status,
        Truncate,
    )
    from tailrace.testing.plugin import ServerFactory
    from tailrace.testing.proxy import Faults
    from tailrace.testing.server import LiveServer, OpenStream, ServerStatistics, running_server

__all__ = [
    "Buffer",
    "Chunk",
    "Clock",
    "Delay",
    "Drop",
    "Fault",
    "FaultStatistics",
    "Faults",
    "LiveServer",
    "OpenStream",
    "Refuse",
    "ServerFactory",
    "ServerStatistics",
    "Stall",
    "Status",
    "Truncate",
    "assert_complete",
    "assert_received_once_in_order",
    "running_server",
]

_FAULTS: Final = "Buffer Chunk Delay Drop Fault FaultStatistics Refuse Stall Status Truncate"
_SERVER: Final = "LiveServer OpenStream ServerStatistics running_server"
_WHERE: Final = {
    "Clock": "clock",
    "Faults": "proxy",
    "ServerFactory": "plugin",
    "assert_complete": "assertions",
    "assert_received_once_in_order": "assertions",
    **dict.fromkeys(_FAULTS.split(), "faults"),
    **dict.fromkeys(_SERVER.split(), "server"),
}
"""Where each name is from. Only what is used is loaded: pytest loads the plugin, and thereby this, in every project."""


def __getattr__(name: str) -> object:
    """Load a public name when it is first used."""
    if name not in _WHERE:
        raise AttributeError(f"module 'tailrace.testing' has no attribute {name!r}")
    value: object = getattr(import_module(f"tailrace.testing.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
