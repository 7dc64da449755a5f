"""What the native door can be asked: parameters of a query or a JSON body, checked once.

Unknown parameters are refused by name, because a misspelt `topcs=` would otherwise stream everything.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

import msgspec

from tailrace.core.filter import Filter
from tailrace.core.position import Cursor
from tailrace.core.selection import Selection
from tailrace.doors.access import QUERY_NAMES
from tailrace.doors.asgi import Call
from tailrace.doors.encoding import Compression
from tailrace.errors import InvalidJson, InvalidParameter, UnknownParameter, nearest
from tailrace.log.log import Log
from tailrace.log.starting import starting_at

Format = Literal["data", "envelope"]
SELECTING = ("topics", "types", "tags", "filter")
STARTING = ("from", "last_event_id", "lastEventId")


class Params:
    """Named values, from a query string (repeated names add up) or a JSON object."""

    __slots__ = ("_values",)

    def __init__(self, values: dict[str, list[str]]) -> None:
        self._values = values

    @classmethod
    def of(cls, call: Call, known: Collection[str]) -> Params:
        """The call's query. Raises UnknownParameter, or InvalidParameter for one that is repeated but in lists."""
        values: dict[str, list[str]] = {}
        for name, value in call.query():
            if name not in QUERY_NAMES:
                values.setdefault(name, []).append(value)
        return cls._checked(values, known)

    @classmethod
    async def of_body(cls, call: Call, known: Collection[str], limit: int) -> Params:
        """The call's JSON body, for selections too long for a query: the same fields, lists as lists."""
        try:
            fields = msgspec.json.decode(await call.body(limit), type=dict[str, object])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidJson(f"The body must be a JSON object with the stream's parameters: {error}.") from None
        return cls._checked({name: _texts(name, value) for name, value in fields.items()}, known)

    @classmethod
    def _checked(cls, values: dict[str, list[str]], known: Collection[str]) -> Params:
        for name in values:
            if name not in known:
                hint = nearest(name, known)
                raise UnknownParameter(f"There is no parameter {name[:64]!r} here.{hint}", parameter=name[:64])
        return cls(values)

    def text(self, name: str, default: str = "") -> str:
        """A single value; of a repeated one the last."""
        values = self._values.get(name)
        return values[-1] if values else default

    def many(self, name: str) -> list[str]:
        """Comma-separated or repeated values."""
        return [part for value in self._values.get(name, ()) for part in value.split(",") if part]

    def number(self, name: str, default: float, least: float, most: float) -> float:
        """A number within bounds. Raises InvalidParameter."""
        if name not in self._values:
            return default
        try:
            value = float(self.text(name))
        except ValueError:
            value = float("nan")
        if not least <= value <= most:
            raise InvalidParameter(f"{name} is {self.text(name)[:32]!r}: give a number from {least:g} to {most:g}.")
        return value

    def whole(self, name: str, default: int, least: int, most: int) -> int:
        """A whole number within bounds. Raises InvalidParameter."""
        text = self.text(name)
        if name not in self._values:
            return default
        if not (text.isascii() and text.isdigit() and len(text) <= 19 and least <= int(text) <= most):
            raise InvalidParameter(f"{name} is {text[:32]!r}: give a whole number from {least} to {most}.")
        return int(text)

    def choice(self, name: str, *choices: str) -> str:
        """One of `choices`, the first by default. Raises InvalidParameter."""
        value = self.text(name, choices[0])
        if value not in choices:
            raise InvalidParameter(f"{name} is {value[:32]!r}: give one of {', '.join(choices)}.")
        return value

    @property
    def compression(self) -> Compression:
        """Whether the answer is compressed: as the caller accepts it, in any case, or never."""
        match self.choice("compression", "auto", "true", "false"):
            case "true":
                return "true"
            case "false":
                return "false"
            case _:
                return "auto"

    @property
    def format(self) -> Format:
        """How events are written: the data as published, or the CloudEvents envelope."""
        return "envelope" if self.choice("format", "data", "envelope") == "envelope" else "data"


def selection(params: Params, call: Call) -> Selection:
    """What the caller selects, narrowed to what it may read. Without `topics`, everything that may be read."""
    text = params.text("filter")
    wanted = Selection(
        params.many("topics") or ("**",),
        params.many("types"),
        params.many("tags"),
        Filter.parse(text.encode()) if text else None,
    )
    return call.grant.narrow(wanted)


def resumed(params: Params, call: Call) -> str | None:
    """The cursor of a reader that comes back: the Last-Event-ID header, else the parameter (a browser sends both)."""
    return call.header(b"last-event-id") or params.text("last_event_id") or params.text("lastEventId") or None


async def starting(params: Params, call: Call, log: Log, default: str = "latest") -> Cursor:
    """Where the caller starts: where it was, else `from`. Raises InvalidCursor."""
    return await starting_at(resumed(params, call) or params.text("from", default), log)


def _texts(name: str, value: object) -> list[str]:
    match value:
        case str():
            return [value]
        case bool():
            return ["true" if value else "false"]
        case int() | float():
            return [str(value)]
        case list() if name != "filter":
            return [text for item in value for text in _texts(name, item)]
        case dict() | list() if name == "filter":
            return [msgspec.json.encode(value).decode()]
        case _:
            raise InvalidParameter(f"{name} must be text, a number or a list of them.", parameter=name)
