"""The JSON filter on events: read once, compiled to closures, evaluated without looking at its text again.

A filter is an object with any of `topics` (patterns, any of), `types` (any of), `tags` (all of), `source` (any of), a
comparison, and `and`, `or` (lists of filters) and `not` (a filter). What one object names must all hold. A comparison
is `{"path": <JSON pointer into the data, RFC 6901>, <one or more of eq ne lt lte gt gte in prefix exists>: …}`.

A path that is absent, and a value of another type than the one compared with, make a comparison false, `ne` included;
only `"exists": false` is true of what is absent. Numbers compare with numbers (1 is 1.0; true is not 1), text with
text by code point. Data that is not JSON has no paths. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from tailrace.core.event import Event, is_json
from tailrace.core.topic import check_pattern, matcher
from tailrace.errors import InvalidFilter, InvalidPattern, nearest

MAX_DEPTH: Final = 16
"""How deep filters may stand in filters."""
MAX_NODES: Final = 256
"""The most filters and comparisons in one filter."""
MAX_BYTES: Final = 16 * 1024
"""The largest filter, as text."""

_LISTS: Final = ("topics", "types", "tags", "source")
_ORDERINGS: Final = ("lt", "lte", "gt", "gte")
_COMPARISONS: Final = ("eq", "ne", *_ORDERINGS, "in", "prefix", "exists")
_KEYS: Final = (*_LISTS, "path", *_COMPARISONS, "and", "or", "not")
_EXACT: Final = 2**53
"""Below it every whole number is the same as integer and as float."""
_ABSENT: Final = object()

Json = object
Test = Callable[["_Subject"], bool]


class Filter:
    """A compiled filter. Two filters that mean the same have the same `canonical` text. Immutable."""

    __slots__ = ("_test", "canonical")

    def __init__(self, canonical: str, test: Test) -> None:
        self.canonical = canonical
        self._test = test

    @classmethod
    def parse(cls, source: bytes | str | Json) -> Filter:
        """Read a filter from JSON text, or from what such text decodes to.

        Raises InvalidFilter, whose `at` is a JSON pointer to the place in the filter that is wrong.
        """
        tree = _Reader().read(_decoded(source), "", 1)
        return cls(msgspec.json.encode(tree, order="deterministic").decode(), _compile(tree))

    def matches(self, event: Event) -> bool:
        """Whether `event` passes. Its data is decoded at most once, and only if a comparison asks for it."""
        return self._test(_Subject(event))

    def __repr__(self) -> str:
        return f"Filter({self.canonical})"


class _Subject:
    """An event being looked at."""

    __slots__ = ("_data", "event")

    def __init__(self, event: Event) -> None:
        self.event = event
        self._data: Json = None

    def at(self, path: tuple[str, ...]) -> Json:
        """The value a pointer leads to, or _ABSENT."""
        if self._data is None:
            self._data = (self._decode(),)
        assert isinstance(self._data, tuple)
        value: Json = self._data[0]
        for name in path:
            if isinstance(value, dict):
                value = value.get(name, _ABSENT)
            elif isinstance(value, list) and _is_index(name) and int(name) < len(value):
                value = value[int(name)]
            else:
                return _ABSENT
        return value

    def _decode(self) -> Json:
        if not is_json(self.event.content_type):
            return _ABSENT
        try:
            return msgspec.json.decode(self.event.data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return _ABSENT


# ---- reading: any filter → the canonical tree -------------------------------------------------------------


class _Reader:
    """Checks a filter and puts it into canonical form: one idea an object, lists sorted and without repeats."""

    def __init__(self) -> None:
        self._nodes = 0

    def read(self, node: Json, at: str, depth: int) -> dict[str, Json]:
        if not isinstance(node, dict):
            raise _invalid("a filter is an object", at)
        if depth > MAX_DEPTH:
            raise _invalid(f"filters stand more than {MAX_DEPTH} deep in each other", at)
        parts: list[dict[str, Json]] = []
        for key, value in node.items():
            here = f"{at}/{_escaped(str(key))}"
            if key not in _KEYS:
                raise _invalid(f"there is no {str(key)[:64]!r} in a filter.{nearest(str(key), _KEYS)}", here, end="")
            self._count(here)
            if key in _LISTS:
                parts.append({key: _texts(key, value, here)})
            elif key in ("and", "or"):
                parts.append(self._group(key, value, here, depth))
            elif key == "not":
                parts.append({"not": self.read(value, here, depth + 1)})
            elif key in _COMPARISONS:
                parts.append({"path": _path(node, at), key: _operand(key, value, here)})
            elif not any(name in node for name in _COMPARISONS):
                raise _invalid(f"a path needs something to compare with: {', '.join(_COMPARISONS)}", here)
        return _joined("and", parts)

    def _group(self, key: str, value: Json, at: str, depth: int) -> dict[str, Json]:
        if not isinstance(value, list):
            raise _invalid(f"{key!r} takes a list of filters", at)
        return _joined(key, [self.read(one, f"{at}/{index}", depth + 1) for index, one in enumerate(value)])

    def _count(self, at: str) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise _invalid(f"there are more than {MAX_NODES} parts", at)


def _decoded(source: Json) -> Json:
    if isinstance(source, bytes | str):
        if len(source) > MAX_BYTES:
            raise _invalid(f"it has more than {MAX_BYTES:,} bytes", "")
        try:
            return msgspec.json.decode(source)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise _invalid(f"it is not JSON: {error}", "") from None
    return source


def _joined(key: str, parts: Iterable[dict[str, Json]]) -> dict[str, Json]:
    """Filters put together by `and` or `or`: groups of the same kind dissolve, one alone stands for itself."""
    flat: dict[bytes, dict[str, Json]] = {}
    for part in parts:
        inner = part.get(key)
        for one in inner if isinstance(inner, list) and len(part) == 1 else [part]:
            flat[msgspec.json.encode(one, order="deterministic")] = one
    if len(flat) == 1:
        return next(iter(flat.values()))
    return {key: [flat[text] for text in sorted(flat)]}


def _texts(key: str, value: Json, at: str) -> list[str]:
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list) or not given or not all(isinstance(one, str) and one for one in given):
        raise _invalid(f"{key!r} takes a text or a list of them, not empty", at)
    if key == "topics":
        for pattern in given:
            try:
                check_pattern(pattern)
            except InvalidPattern as error:
                raise _invalid(error.sentence, at, end="") from None
    return sorted(set(given))


def _path(node: dict[str, Json], at: str) -> str:
    if "path" not in node:
        raise _invalid("a comparison needs a path, such as {'path': '/total', 'gt': 100}", at)
    path = node["path"]
    here = f"{at}/path"
    if not isinstance(path, str) or (path and not path.startswith("/")):
        raise _invalid("a path is a JSON pointer: empty, or it starts with '/'", here)
    if path.replace("~0", "").replace("~1", "").count("~"):
        raise _invalid("in a JSON pointer '~' is written ~0 and '/' inside a name ~1", here)
    return path


def _operand(key: str, value: Json, at: str) -> Json:
    """What is compared with, in canonical form."""
    if key == "exists" and not isinstance(value, bool):
        raise _invalid("'exists' takes true or false", at)
    if key == "prefix" and not isinstance(value, str):
        raise _invalid("'prefix' takes a text", at)
    if key in _ORDERINGS and _kind(value) not in ("number", "text"):
        raise _invalid(f"{key!r} takes a number or a text", at)
    if key == "in":
        if not isinstance(value, list):
            raise _invalid("'in' takes a list of values", at)
        known = {msgspec.json.encode(one, order="deterministic"): one for one in (_plain(v, at) for v in value)}
        return [known[text] for text in sorted(known)]
    return _plain(value, at)


def _plain(value: Json, at: str) -> Json:
    """A value with each number spelt in one way."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _invalid("a number must be finite", at)
        return int(value) if value.is_integer() and abs(value) < _EXACT else value
    if isinstance(value, list):
        return [_plain(one, at) for one in value]
    if isinstance(value, dict):
        return {_plain_text(name, at): _plain(one, at) for name, one in value.items()}
    if value is None or isinstance(value, int):
        return value
    return _plain_text(value, at)


def _plain_text(value: Json, at: str) -> str:
    if not isinstance(value, str):
        raise _invalid("a value is not JSON", at)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _invalid("a text is not valid Unicode", at) from None
    return value


# ---- compiling: the canonical tree → closures -------------------------------------------------------------


def _compile(tree: dict[str, Json]) -> Test:  # noqa: PLR0911 - one return a kind of node
    match tree:
        case {"path": str() as path}:
            [(key, operand)] = [(name, value) for name, value in tree.items() if name != "path"]
            return _comparison(_tokens(path), key, operand)
        case {"and": list() as parts}:
            tests = _cheapest_first(parts)
            return lambda subject: all(test(subject) for test in tests)
        case {"or": list() as parts}:
            tests = _cheapest_first(parts)
            return lambda subject: any(test(subject) for test in tests)
        case {"not": dict() as part}:
            test = _compile(part)
            return lambda subject: not test(subject)
        case {"topics": list() as patterns}:
            matchers = [matcher(pattern) for pattern in patterns]
            return lambda subject: any(match(subject.event.topic) for match in matchers)
        case {"types": list() as types}:
            return lambda subject: subject.event.type in types
        case {"source": list() as sources}:
            return lambda subject: subject.event.source in sources
        case {"tags": list() as tags}:
            return lambda subject: all(tag in subject.event.tags for tag in tags)
    raise AssertionError(f"the reader makes no {tree!r}")


def _cheapest_first(parts: list[dict[str, Json]]) -> list[Test]:
    """Those that need no data before those that do."""
    return [_compile(part) for part in sorted(parts, key=lambda part: not part.keys() & set(_LISTS))]


def _comparison(path: tuple[str, ...], key: str, operand: Json) -> Test:
    if key == "exists":
        return lambda subject: (subject.at(path) is not _ABSENT) is operand
    test = _value_test(key, operand)
    return lambda subject: test(subject.at(path))


def _value_test(key: str, operand: Json) -> Callable[[Json], bool]:
    kind = _kind(operand)
    match key:
        case "eq":
            return lambda value: _same(value, operand)
        case "ne":
            return lambda value: _kind(value) == kind and not _same(value, operand)
        case "in":
            assert isinstance(operand, list)
            return lambda value: any(_same(value, one) for one in operand)
        case "prefix":
            assert isinstance(operand, str)
            return lambda value: isinstance(value, str) and value.startswith(operand)
        case _:
            return _ordering(key, operand, kind)


def _ordering(key: str, operand: Json, kind: str) -> Callable[[Json], bool]:
    types = (str,) if kind == "text" else (int, float)  # by identity, so that a bool is no number
    below: Callable[[Json, Json], bool] = {"lt": _lt, "lte": _lte, "gt": _gt, "gte": _gte}[key]
    return lambda value: type(value) in types and below(value, operand)


def _lt(value: Json, operand: Json) -> bool:
    return value < operand  # type: ignore[operator, no-any-return]  # both are numbers, or both are text


def _lte(value: Json, operand: Json) -> bool:
    return value <= operand  # type: ignore[operator, no-any-return]  # as above


def _gt(value: Json, operand: Json) -> bool:
    return value > operand  # type: ignore[operator, no-any-return]  # as above


def _gte(value: Json, operand: Json) -> bool:
    return value >= operand  # type: ignore[operator, no-any-return]  # as above


_KINDS: Final[dict[type, str]] = {
    bool: "bool", int: "number", float: "number", str: "text", type(None): "null", list: "list", dict: "object",
}  # fmt: skip


def _kind(value: Json) -> str:
    return _KINDS.get(type(value), "absent")


def _same(value: Json, other: Json) -> bool:
    """Equal as JSON: deeply, and true is not 1."""
    if isinstance(value, bool) or isinstance(other, bool):
        return value is other
    if isinstance(value, list) and isinstance(other, list):
        return len(value) == len(other) and all(map(_same, value, other))
    if isinstance(value, dict) and isinstance(other, dict):
        return value.keys() == other.keys() and all(_same(value[name], other[name]) for name in value)
    return value == other


def _tokens(path: str) -> tuple[str, ...]:
    return tuple(name.replace("~1", "/").replace("~0", "~") for name in path.split("/")[1:])


def _is_index(name: str) -> bool:
    return name.isascii() and name.isdigit() and len(name) <= 9 and (name == "0" or not name.startswith("0"))


def _escaped(name: str) -> str:
    return name[:64].replace("~", "~0").replace("/", "~1")


def _invalid(what: str, at: str, *, end: str = ".") -> InvalidFilter:
    return InvalidFilter(f"The filter does not parse{f' at {at}' if at else ''}: {what}{end}", at=at)
