"""What a PostgreSQL log's URL says, checked: where the server is, which schema the log lives in, how long to wait.

As in postgres://user:password@host:port/database?schema=tailrace&pool=4&wait_seconds=10&sslmode=require.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import msgspec

from tailrace.errors import ConfigError, nearest

_OF_THE_DRIVER: Final = frozenset({
    *("sslmode", "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslpassword", "ssl_min_protocol_version"),
    *("ssl_max_protocol_version", "sslnegotiation", "passfile", "target_session_attrs", "host", "port", "user"),
    *("password", "dbname", "krbsrvname", "gsslib"),
})  # fmt: skip
"""Parameters that are handed to asyncpg as they are."""
_NAME: Final = re.compile(r"[a-z_][a-z0-9_]*")
_LONGEST_SCHEMA: Final = 63
_LONGEST_PREFIX: Final = 32
"""PostgreSQL cuts names off after 63 bytes, and the longest name behind a prefix has 24."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`dsn` goes to the driver and holds the password; `shown` is what may be told of it.

    `schema` and `prefix`: where the tables are, and how their names begin. `pool`: connections that read.
    `connect_seconds`, `wait_seconds`: the longest that connecting, and any single answer, is waited for.
    `outbox_seconds`: how often the outbox is looked into when nobody says that there is something in it.
    `hints`: a `redis://` URL, percent-encoded, if hints go through Redis instead of NOTIFY.
    """

    dsn: str
    shown: str
    schema: str = "tailrace"
    prefix: str = ""
    pool: int = 4
    connect_seconds: float = 5.0
    wait_seconds: float = 10.0
    outbox_seconds: float = 1.0
    hints: str | None = None

    def __repr__(self) -> str:
        return f"Settings({self.shown})"

    @classmethod
    def parse(cls, url: str) -> Settings:
        """Read a URL. Raises ConfigError."""
        parts = urlsplit(url)
        shown = f"postgres://{parts.netloc.rpartition('@')[2]}{parts.path}"
        own: dict[str, str] = {}
        passed: list[tuple[str, str]] = []
        options = {*cls.__struct_fields__} - {"dsn", "shown"}
        for name, value in parse_qsl(parts.query, keep_blank_values=True):
            if name in _OF_THE_DRIVER:
                passed.append((name, value))
            elif name in options:
                own[name] = value
            else:
                raise ConfigError(f"{shown} has the unknown option {name!r}.{nearest(name, options | _OF_THE_DRIVER)}")
        if not parts.path.strip("/") and "dbname" not in dict(passed):
            raise ConfigError(f"{shown} names no database: write postgres://user@host/database.")
        query = urlencode(passed, quote_via=quote)
        dsn = f"postgres://{parts.netloc}{parts.path}{'?' + query if query else ''}"
        try:
            settings = msgspec.convert({**own, "dsn": dsn, "shown": shown}, cls, strict=False)
        except msgspec.ValidationError as error:
            raise ConfigError(f"An option of {shown} cannot be read: {error}.") from None
        _check(settings)
        return settings


_BOUNDS: Final[Mapping[str, tuple[float, float]]] = {
    "pool": (1, 100),
    "connect_seconds": (0.1, 300),
    "wait_seconds": (0.1, 300),
    "outbox_seconds": (0.01, 3600),
}
"""The least and the most of each number."""


def _check(settings: Settings) -> None:
    shown = settings.shown
    for name, (least, most) in _BOUNDS.items():
        value = getattr(settings, name)
        if not least <= value <= most:
            raise ConfigError(f"{name} of {shown} is {value}, and must be from {least:g} to {most:g}.")
    if settings.hints is not None and not settings.hints.startswith(("redis://", "rediss://")):
        raise ConfigError(f"hints of {shown} must be a redis:// URL; without it, hints go through PostgreSQL itself.")
    for name, text, longest in (
        ("schema", settings.schema, _LONGEST_SCHEMA),
        ("prefix", settings.prefix or "_", _LONGEST_PREFIX),
    ):
        if not _NAME.fullmatch(text) or len(text) > longest:
            raise ConfigError(
                f"{name} of {shown} is {text[:80]!r}: it must begin with a lower-case letter or '_', go on with "
                f"lower-case letters, digits and '_', and have at most {longest} characters."
            )
