"""What a `nats://` URL says: where the servers are, who asks, which log, and the settings of both."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from tailrace.errors import ConfigError, nearest
from tailrace.stores.from_url import without_password

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What JetStream takes as the name of a stream, and what is one token of a subject."""
_REPLICAS_MAX: Final = 5
"""JetStream's own limit."""
_TIMEOUT_SECONDS: Final = 5.0
"""How long an answer of the servers is waited for, unless the URL says otherwise."""
_TIMEOUT_SECONDS_MAX: Final = 60.0


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
    return Address(
        servers,
        log,
        shown,
        user=unquote(user) if at else None,
        password=unquote(password) if colon else None,
    )._replace(**_options(parts.query, shown))


def _server(text: str, shown: str) -> str:
    found = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^\[\]:/@\s]+)(?::([0-9]{1,5}))?", text)
    if found is None or not 0 < int(found[2] or 4222) < 2**16:
        raise ConfigError(f"{text!r} in {shown!r} is no server: give host:port, several with commas between them.")
    return text if found[2] else f"{text}:4222"


# ---- options ----------------------------------------------------------------------------------------------


def _options(query: str, shown: str) -> dict[str, object]:
    options: dict[str, object] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in _OPTIONS:
            raise ConfigError(f"{name!r} in {shown!r} is no option of this store.{nearest(name, _OPTIONS)}")
        field, read, wanted = _OPTIONS[name]
        try:
            options[field] = read(value)
        except ValueError:
            raise ConfigError(f"{name}={value} in {shown!r} cannot be: {name} is {wanted}.") from None
    return options


def _count(text: str) -> int:
    if not 1 <= int(text) <= _REPLICAS_MAX:
        raise ValueError
    return int(text)


def _file(text: str) -> Path:
    if not text:
        raise ValueError
    return Path(text)


def _seconds(text: str) -> float:
    if not 0 < float(text) <= _TIMEOUT_SECONDS_MAX:
        raise ValueError
    return float(text)


def _sync(text: str) -> bool:
    if text != "always":
        raise ValueError
    return True


_OPTIONS: Final[Mapping[str, tuple[str, Callable[[str], object], str]]] = {
    "replicas": ("replicas", _count, f"on how many servers the log is kept, 1 to {_REPLICAS_MAX}"),
    "replica": ("replica", _file, "a file for this node's copy of the log"),
    "sync": ("syncs", _sync, "'always', if that is the servers' sync_interval"),
    "timeout": ("timeout_seconds", _seconds, f"seconds, at most {_TIMEOUT_SECONDS_MAX:g}"),
    "ca": ("authorities", _file, "a file with the certificates to be trusted"),
    "creds": ("credentials", _file, "a NATS credentials file"),
}
