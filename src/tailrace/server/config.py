"""Configuration: one frozen value, made once. Only this module reads files and the environment.

Flags win over environment variables (`TAILRACE_PORT`, `TAILRACE_LOG__PAGE_EVENTS`), these over the file
(`tailrace.toml`), the file over the defaults, which stand beside each field and nowhere else. An unknown name is an
error that names the nearest known one: a misspelt setting must never be silently ignored.

Plain dataclasses and msgspec rather than a settings library, because starting has to be quick
(docs/decisions/0002-settings-without-a-library.md).
"""

from __future__ import annotations

import ast
import inspect
import math
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, NamedTuple, get_type_hints

import msgspec

from tailrace.core.topic import check_pattern
from tailrace.doors.durable_streams.limits import DurableStreamsLimits
from tailrace.doors.limits import DoorLimits
from tailrace.errors import ConfigError, InvalidPattern, nearest
from tailrace.log.limits import LogLimits
from tailrace.stores.from_url import NETWORKED

DEFAULT_FILE: Final = Path("tailrace.toml")
PREFIX: Final = "TAILRACE_"
CLIENT_VARIABLES: Final = frozenset({"TAILRACE_URL", "TAILRACE_KEY", "TAILRACE_CONFIG"})
"""What the client commands read; no settings of a server."""
WORKERS_MAX: Final = 256
LEAST_KEY: Final = 16
"""The fewest characters of an API key."""
_VISIBLE: Final = re.compile(r"[!-~]+")
_PATH: Final = re.compile(r"/|(/[\w.~-]+)+/?", re.ASCII)
_MAY_BE_ZERO: Final = frozenset({"durable_streams.sse_seconds"})
_ORIGIN: Final = re.compile(r"https?://[^/?#@\s*A-Z]+")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key and the patterns of topics that it may publish to, read and manage."""

    name: str
    key: str = field(repr=False)
    publish: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    manage: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AccessSettings:
    """Who may use the server."""

    keys: tuple[ApiKey, ...] = ()
    """API keys: tables with `name`, `key` (16 characters or more), and patterns `publish`, `read`, `manage`."""
    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may use the server, such as `https://app.example`."""
    hosts: tuple[str, ...] = ()
    """Names, besides localhost, that a server on loopback without keys answers to."""


@dataclass(frozen=True, slots=True)
class TopicSettings:
    """What holds for all topics."""

    create_on_publish: bool = True
    """Whether publishing to a topic that does not exist creates it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set."""

    host: str = "127.0.0.1"
    """The address to listen on."""
    port: int = 4437
    """The port to listen on; 0 for any that is free."""
    store: str = "sqlite:///tailrace.db"
    """Where the log is kept: `sqlite:///file.db`, `sqlite:////absolute/file.db`, `postgres://`, `redis://`, `nats://`
    or `memory://` (docs/operations/scaling.md)."""
    insecure: bool = False
    """Listen beyond loopback although there are no API keys."""
    workers: int = 1
    """Processes that serve the port, beside one that writes the SQLite file for them all (Linux); 1: one does both.
    With a store that nodes share over a network, start more nodes instead."""
    topics: TopicSettings = TopicSettings()
    access: AccessSettings = AccessSettings()
    log: LogLimits = LogLimits()
    http: DoorLimits = DoorLimits()
    durable_streams: DurableStreamsLimits = DurableStreamsLimits()


class Setting(NamedTuple):
    """One setting, for the reference."""

    name: str
    type: Any
    default: object
    text: str


class _Given(NamedTuple):
    value: object
    where: str


def load(flags: Mapping[str, object], environ: Mapping[str, str], file: Path | None = None) -> Settings:
    """Settings from flags (by dotted name; None: not given), the environment and a file.

    `file` must exist; without it `tailrace.toml` is read if it does. Raises ConfigError, one sentence for the first
    thing that is wrong, saying where it stands.
    """
    known = {setting.name: setting for setting in settings()}
    given: dict[str, _Given] = {}
    for name, one in (*_from_file(file), *_from_environment(environ), *_from_flags(flags)):
        if name not in known:
            raise ConfigError(f"{one.where}: there is no setting {name!r}.{nearest(name, known)}")
        given[name] = one
    values = {name: _converted(known[name], one) for name, one in given.items()}
    return check(_built(Settings, "", values))


def check(chosen: Settings) -> Settings:
    """Answer settings that make sense together. Raises ConfigError."""
    if not 0 <= chosen.port <= 65_535:
        raise ConfigError(f"port is {chosen.port}: ports go from 0 (any) to 65535.")
    _check_workers(chosen)
    _check_access(chosen.access)
    _check_durable_streams(chosen)
    if not (is_loopback(chosen.host) or chosen.access.keys or chosen.insecure):
        raise ConfigError(
            f"{chosen.host} can be reached from other machines, and there are no API keys: add keys (as "
            "[[access.keys]] in tailrace.toml, or in TAILRACE_ACCESS__KEYS), listen on 127.0.0.1, or say --insecure to "
            "let everybody in."
        )
    return chosen


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server bound to `host`.

    A name other than localhost may stand for any machine, also one that looks like a number (`127.example.com`).
    """
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_workers(chosen: Settings) -> None:
    if chosen.workers == 1:
        return
    if chosen.workers > WORKERS_MAX:
        raise ConfigError(f"workers is {chosen.workers}: {WORKERS_MAX} are the most; one a processor core is enough.")
    if sys.platform != "linux":
        raise ConfigError("Several workers on one port need Linux: say --workers 1 here.")
    scheme = chosen.store.partition(":")[0]
    if scheme in NETWORKED:
        raise ConfigError(
            f"Workers share one SQLite file. With {scheme}:// start so many nodes instead (tailrace serve --port …), "
            "behind one balancer: docs/operations/scaling.md."
        )
    if scheme != "sqlite":
        raise ConfigError(
            f"{chosen.workers} workers cannot share {chosen.store}, which lives in one process: use a store such as "
            "sqlite:///tailrace.db, or say --workers 1."
        )


def _check_durable_streams(chosen: Settings) -> None:
    prefix = chosen.durable_streams.prefix
    if not _PATH.fullmatch(prefix):
        raise ConfigError(f"durable_streams.prefix is {prefix!r}, and must be a path such as /v1/stream, or /.")
    if chosen.durable_streams.faults and (not is_loopback(chosen.host) or chosen.workers > 1):
        raise ConfigError(
            "durable_streams.faults lets everybody break answers: it is for tests, by one worker on 127.0.0.1."
        )


def _check_access(access: AccessSettings) -> None:
    seen: dict[str, str] = {}
    for key in access.keys:
        _check_key(key)
        if key.key in seen:
            raise ConfigError(f"The API keys {seen[key.key]!r} and {key.name!r} are the same: give each its own.")
        seen[key.key] = key.name
    for origin in access.cors_origins:
        if not _ORIGIN.fullmatch(origin):
            raise ConfigError(
                f"access.cors_origins: {origin!r} is not an origin as browsers send it: give each one exactly, in "
                "small letters and without a path, such as https://app.example."
            )


def _check_key(key: ApiKey) -> None:
    if len(key.key) < LEAST_KEY:
        raise ConfigError(f"The API key {key.name!r} has fewer than {LEAST_KEY} characters: take a longer one.")
    if not _VISIBLE.fullmatch(key.key):
        raise ConfigError(
            f"The API key {key.name!r} holds a space, a line end or a letter beyond ASCII, which no client can send."
        )
    for pattern in (*key.publish, *key.read, *key.manage):
        try:
            check_pattern(pattern)
        except InvalidPattern as error:
            raise ConfigError(f"The API key {key.name!r}: {error.sentence}") from None


def settings() -> list[Setting]:
    """Every setting, by dotted name, in the order of the classes."""
    return list(_settings(Settings, ""))


# ---- where values come from -------------------------------------------------------------------------------


def _from_file(file: Path | None) -> Iterator[tuple[str, _Given]]:
    path = file or DEFAULT_FILE
    if file is None and not path.exists():
        return
    try:
        tables = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}.") from None
    yield from ((name, _Given(value, str(path))) for name, value in _flat(tables, ""))


def _flat(table: Mapping[str, object], above: str) -> Iterator[tuple[str, object]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, _Given]]:
    for variable, value in sorted(environ.items()):
        if variable.startswith(PREFIX) and variable not in CLIENT_VARIABLES:
            name = variable.removeprefix(PREFIX).lower().replace("__", ".")
            yield name, _Given(value, variable)


def _from_flags(flags: Mapping[str, object]) -> Iterator[tuple[str, _Given]]:
    for name, value in flags.items():
        if value is not None:
            yield name, _Given(value, f"--{name}")


def _converted(setting: Setting, given: _Given) -> object:
    """A value of the setting's type. From text, lists are comma-separated, or JSON."""
    value = given.value
    if isinstance(value, str) and _is_list(setting.type):
        try:
            value = msgspec.json.decode(value) if value.startswith("[") else [x for x in value.split(",") if x]
        except msgspec.DecodeError as error:
            raise ConfigError(f"{given.where}: {setting.name} is not JSON: {error}.") from None
    if setting.name == "access.keys":
        _check_keys(value, given.where)
    try:
        converted: object = msgspec.convert(value, setting.type, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{given.where}: {setting.name} cannot be {_shown(setting, value)}: {error}.") from None
    if isinstance(converted, int | float) and not isinstance(converted, bool) and setting.name != "port":
        if not converted > 0 and not (converted == 0 and setting.name in _MAY_BE_ZERO):
            raise ConfigError(f"{given.where}: {setting.name} is {converted}, and must be more than 0.")
        if math.isinf(converted):
            raise ConfigError(f"{given.where}: {setting.name} is without end, and must be a number: it is a bound.")
    return converted


def _check_keys(value: object, where: str) -> None:
    names = [one.name for one in fields(ApiKey)]
    for key in value if isinstance(value, list) else []:
        for name in key if isinstance(key, dict) else []:
            if name not in names:
                raise ConfigError(f"{where}: an API key has no field {name!r}.{nearest(name, names)}")


def _shown(setting: Setting, value: object) -> str:
    return "that" if setting.name == "access.keys" else repr(value)  # secrets are not printed


# ---- classes into settings, and back ----------------------------------------------------------------------


def _settings(owner: type, above: str) -> Iterator[Setting]:
    types, texts = get_type_hints(owner), _texts(owner)
    for one in fields(owner):
        kind = types[one.name]
        if is_dataclass(kind):
            yield from _settings(kind, f"{above}{one.name}.")  # type: ignore[arg-type]  # a class, not an instance
        else:
            default = None if one.default is MISSING else one.default
            yield Setting(f"{above}{one.name}", kind, default, texts.get(one.name, ""))


def _built(owner: type, above: str, values: Mapping[str, object]) -> Any:
    types = get_type_hints(owner)
    chosen: dict[str, object] = {}
    for one in fields(owner):
        name = f"{above}{one.name}"
        if is_dataclass(types[one.name]):
            chosen[one.name] = _built(types[one.name], f"{name}.", values)
        elif name in values:
            chosen[one.name] = values[name]
    return owner(**chosen)


def _texts(owner: type) -> dict[str, str]:
    """The line of documentation that follows each field."""
    [tree] = ast.parse(inspect.cleandoc(inspect.getsource(owner))).body
    assert isinstance(tree, ast.ClassDef)
    texts: dict[str, str] = {}
    for before, after in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name):
            match after:
                case ast.Expr(value=ast.Constant(value=str() as text)):
                    texts[before.target.id] = " ".join(text.split())
    return texts


def _is_list(kind: object) -> bool:
    return str(kind).startswith("tuple")
