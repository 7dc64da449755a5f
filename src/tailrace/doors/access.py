"""Who is calling, and what may they do: from a request to a `Grant`.

Two answers for now: everybody may do everything (a loopback server with nothing configured, where the `Host` header
is checked instead, so that no web page can reach it by rebinding a name), or API keys with patterns. Tokens come
through the same seam. Secrets in a query never reach a log, a metric or an error.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Protocol
from urllib.parse import parse_qsl

from starlette.types import Scope

from tailrace.core.grant import EVERYTHING, Grant
from tailrace.errors import Forbidden, Unauthorized

COOKIE = "tailrace_token"
QUERY_NAMES = ("access_token", "token")
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


class Access(Protocol):
    """Decides what the sender of a request may do."""

    def grant(self, scope: Scope) -> Grant:
        """The sender's grant. Raises Unauthorized or Forbidden."""
        ...


class OpenAccess:
    """Everybody may do everything. `hosts` are the names the server answers to; None: any."""

    def __init__(self, hosts: Iterable[str] | None) -> None:
        self._hosts = None if hosts is None else _LOCAL_NAMES | {host.lower() for host in hosts}

    def grant(self, scope: Scope) -> Grant:
        """Everything, if the Host header names this machine."""
        if self._hosts is not None and _host(scope) not in self._hosts:
            raise Forbidden(
                f"This server answers to localhost only, not to {_host(scope)[:80]!r}: "
                "configure API keys to serve other names, or list the name in access.hosts."
            )
        return EVERYTHING


@dataclass(frozen=True, slots=True)
class Key:
    """An API key: its secret, and what it grants."""

    secret: str
    grant: Grant


class KeyAccess:
    """Callers show an API key, as bearer token, cookie or query parameter."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._keys = [(key.secret.encode(), key.grant) for key in keys]

    def grant(self, scope: Scope) -> Grant:
        """What the key grants. Every key is compared, in constant time."""
        shown = credential(scope)
        if shown is None:
            raise Unauthorized
        found: Grant | None = None
        for secret, grant in self._keys:
            if hmac.compare_digest(secret, shown.encode()):
                found = grant
        if found is None:
            raise Unauthorized("This API key is not known here.")
        return found


def credential(scope: Scope) -> str | None:
    """What the caller shows: `Authorization: Bearer`, else the cookie, else `?access_token=` or `?token=`."""
    headers: dict[bytes, bytes] = dict(scope["headers"])
    scheme, _, token = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    if cookie := headers.get(b"cookie"):
        try:
            morsel = SimpleCookie(cookie.decode("latin-1")).get(COOKIE)
        except CookieError:
            morsel = None
        if morsel is not None and morsel.value:
            return morsel.value
    if b"token=" in scope["query_string"]:
        query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        return next((query[name] for name in QUERY_NAMES if query.get(name)), None)
    return None


def _host(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"host":
            host: str = value.decode("latin-1").lower()
            return host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    return ""
