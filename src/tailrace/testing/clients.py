"""The client that the fixture `tailrace_client` hands out: the one place that knows which."""

from __future__ import annotations

from importlib import import_module
from typing import cast


def make_client(url: str) -> object:
    """An async client for a server's URL, to be used in `async with`. Raises ImportError if there is none to be had."""
    try:
        client = cast("type[_Client]", import_module("tailrace.client").Client)
    except AttributeError as error:
        raise ImportError(
            "This version of tailrace.client has no Client: use httpx2 with tailrace_server.url."
        ) from error
    return client(url)


class _Client:
    def __init__(self, url: str) -> None: ...
