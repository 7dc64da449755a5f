"""What a `nats://` URL says: where the servers are, who asks, which log, and the settings of both."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from tailrace.errors import ConfigError, nearest
from tailrace.stores.urls import without_password

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What JetStream takes as the name of a stream, and what is one token of a subject."""
REPLICAS_MAX: Final = 5
"""JetStream's own limit."""
_TIMEOUT_SECONDS: Final = 5.0
"""How long an answer of the servers is waited for, unless the URL says otherwise."""
_TIMEOUT_SECONDS_MAX: Final = 60.0

_T = TypeVar("_T")
_Number = TypeVar("_Number", int, float)


class Address(NamedTuple):
    """A URL, taken apart. `shown` is the URL without its password.

    `replicas`: of the stream, on as many servers; None: as it is, and 1 for a new one. `replica`: the file of this
    node, which is kept; None: one that lasts as long as the process. `syncs`: the servers sync each write to disk
    before they acknowledge it (`sync_interval: always`), which they do not tell. `timeout_seconds`: how long an answer
    is waited for. `authorities`, `credentials`: files with certificates that are trusted, and with the user's keys.
    """

    servers: tuple[str, ...]
    log: str
    shown: str
    user: str | None = None
    password: str | None = None
    replicas: int | None = None
    replica: Path | None = None
    syncs: bool = False
    timeout_seconds: float = _TIMEOUT_SECONDS
    authorities: Path | None = None
    credentials: Path | None = None


def parse(url: str) -> Address:
    """Take a URL apart. Raises ConfigError, which never shows the password."""
    shown = without_password(url)
    parts = urlsplit(url)
    log = unquote(parts.path[1:])
    if not _NAME.fullmatch(log):
        raise ConfigError(
            f"{shown!r} must end with the log's name, of letters, digits, '-' and '_': nats://host:4222/log."
        )
    who, at, where = parts.netloc.rpartition("@")
    user, colon, password = who.partition(":")
    servers = tuple([f"{parts.scheme}://{_server(one, shown)}" for one in where.split(",")])
    options = _Options(parts.query, shown)
    address = Address(
        servers,
        log,
        shown,
        user=unquote(user) if at else None,
        password=unquote(password) if colon else None,
        replicas=options.take("replicas", _count, f"on how many servers the log is kept, 1 to {REPLICAS_MAX}"),
        replica=options.take("replica", _file, "a file for this node's copy of the log"),
        syncs=options.take("sync", _always, "'always', if that is the servers' sync_interval") or False,
        timeout_seconds=options.take("timeout", _seconds, f"seconds, at most {_TIMEOUT_SECONDS_MAX:g}")
        or _TIMEOUT_SECONDS,
        authorities=options.take("ca", _file, "a file with the certificates to be trusted"),
        credentials=options.take("creds", _file, "a NATS credentials file"),
    )
    options.end()
    return address


def _server(text: str, shown: str) -> str:
    found = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^\[\]:/@\s]+)(?::([0-9]{1,5}))?", text)
    if found is None or not 0 < int(found[2] or 4222) < 2**16:
        raise ConfigError(f"{text!r} in {shown!r} is no server: give host:port, several with commas between them.")
    return text if found[2] else f"{text}:4222"


# ---- options ----------------------------------------------------------------------------------------------


class _Options:
    """The query of a URL: each option is asked for once; what nobody has asked for is an error."""

    def __init__(self, query: str, shown: str) -> None:
        self._left = dict(parse_qsl(query, keep_blank_values=True))
        self._shown = shown
        self._known: list[str] = []

    def take(self, name: str, read: Callable[[str], _T], wanted: str) -> _T | None:
        self._known.append(name)
        value = self._left.pop(name, None)
        try:
            return None if value is None else read(value)
        except ValueError:
            raise ConfigError(f"{name}={value} in {self._shown!r} cannot be: {name} is {wanted}.") from None

    def end(self) -> None:
        for name in self._left:
            raise ConfigError(f"{name!r} in {self._shown!r} is no option of this store.{nearest(name, self._known)}")


def _count(text: str) -> int:
    return _within(int(text), 1, REPLICAS_MAX)


def _seconds(text: str) -> float:
    return _within(float(text), 0.01, _TIMEOUT_SECONDS_MAX)


def _within(number: _Number, low: float, high: float) -> _Number:
    if not low <= number <= high:
        raise ValueError(number)
    return number


def _file(text: str) -> Path:
    if not text:
        raise ValueError(text)
    return Path(text)


def _always(text: str) -> bool:
    if text != "always":
        raise ValueError(text)
    return True
