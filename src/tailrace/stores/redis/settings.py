"""What a `redis://` URL says, read whole before anything is connected."""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from tailrace.errors import ConfigError, nearest

_PORT: Final = 6379
_OPTIONS: Final = ("ca", "cluster", "prefix", "timeout")
_PREFIX = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_TIMEOUT_MOST: Final = 300.0
"""Seconds."""


class Settings(NamedTuple):
    """Where the log is. `timeout`: seconds that Redis may take to answer. `ca`: the file of who vouches for its TLS
    certificate, if that is not who vouches for all.
    """

    host: str
    port: int = _PORT
    database: int = 0
    user: str | None = None
    password: str | None = None
    tls: bool = False
    prefix: str = "tailrace"
    timeout: float = 5.0
    cluster: bool = False
    ca: str | None = None

    @property
    def where(self) -> str:
        """How people are told where it is."""
        return f"Redis at {self.host}:{self.port}"

    @property
    def key(self) -> str:
        """The key that says where the log's hash slot is. All others begin as it does."""
        return f"{{{self.prefix}}}:head"

    def __repr__(self) -> str:
        return f"Settings({self.where}, database {self.database}, prefix {self.prefix!r})"


def read(url: str) -> Settings:
    """Read `redis://user:password@host:port/0?prefix=tailrace`. Raises ConfigError; no sentence has the password."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigError("The port of the redis:// URL is no number between 1 and 65535.") from None
    if not parts.hostname:
        raise ConfigError("The redis:// URL names no host: give redis://host:6379/0.")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in options:
        if name not in _OPTIONS:
            raise ConfigError(f"The redis:// URL has an unknown option {name!r}.{nearest(name, _OPTIONS)}")
    settings = Settings(
        host=parts.hostname,
        port=port or _PORT,
        database=_database(parts.path),
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        tls=parts.scheme == "rediss",
        prefix=_prefix(options.get("prefix", "tailrace")),
        timeout=_timeout(options.get("timeout", "5")),
        cluster=_flag("cluster", options.get("cluster", "false")),
        ca=options.get("ca"),
    )
    if settings.cluster and settings.database:
        raise ConfigError("A Redis Cluster has database 0 alone: leave the number out of the URL.")
    return settings


def _database(path: str) -> int:
    text = path.strip("/")
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()):
        raise ConfigError(f"The redis:// URL names the database {text[:64]!r}: it is a number, as in redis://host/0.")
    return int(text)


def _prefix(text: str) -> str:
    if not _PREFIX.fullmatch(text):
        raise ConfigError(f"prefix={text[:64]!r} is not possible: 1 to 64 letters, digits, '.', '_', ':' or '-'.")
    return text


def _timeout(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= _TIMEOUT_MOST:
        raise ConfigError(f"timeout={text[:64]!r} is not possible: seconds, more than 0 and at most {_TIMEOUT_MOST:g}.")
    return seconds


def _flag(name: str, text: str) -> bool:
    if text not in ("true", "false"):
        raise ConfigError(f"{name}={text[:64]!r} is not possible: true or false.")
    return text == "true"
