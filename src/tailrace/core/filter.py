"""The JSON filter on events: read once, compiled to closures, evaluated without looking at its text again.

A filter is an object with any of `topics` (patterns, any of), `types` (any of), `tags` (all of), `source` (any of), a
comparison, and `and`, `or` (lists of filters) and `not` (a filter). What one object names must all hold. A comparison
is `{"path": <JSON pointer into the data, RFC 6901>, <one or more of eq ne lt lte gt gte in prefix exists>: …}`.

A path that is absent, and a value of another type than the one compared with, make a comparison false, `ne` included;
only `"exists": false` is true of what is absent. Numbers compare with numbers (1 is 1.0; true is not 1), text with
text by code point. Data that is not JSON has no paths. Pure.

The bounds hold for the canonical form as well, so that what one side has read the other side reads too.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from tailrace.core.event import Event, is_json
from tailrace.core.topic import check_pattern, matcher
from tailrace.errors import InvalidFilter, InvalidPattern, nearest

MAX_DEPTH: Final = 16
"""How deep filters may stand in filters, and values in the value compared with. An object that names several things is
an `and` of them, and counts as one."""
MAX_NODES: Final = 256
"""The most filters, comparisons and topic patterns in one filter."""
MAX_BYTES: Final = 16 * 1024
"""The largest filter, as text, given or canonical."""
MAX_NUMBER_BITS: Final = 8 * 1024
"""The largest whole number compared with: Python reads and writes no number of more than 4,300 digits."""

_LISTS: Final = ("topics", "types", "tags", "source")
_OPERATORS: Final = {"lt": "lt", "lte": "le", "gt": "gt", "gte": "ge"}
_ORDERINGS: Final = tuple(_OPERATORS)
_COMPARISONS: Final = ("eq", "ne", *_ORDERINGS, "in", "prefix", "exists")
_KEYS: Final = (*_LISTS, "path", *_COMPARISONS, "and", "or", "not")
_EXACT: Final = 2**53
"""Below it every whole number is the same as integer and as float."""
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
_BAD_ESCAPE = re.compile(r"~(?![01])")
_ABSENT: Final = object()

Json = object
Test = Callable[[Event, Json], bool]
"""Takes the event and its data, decoded (_ABSENT if it is not JSON, or if no test of the filter looks at it)."""


class Filter:
    """A compiled filter. Two filters that mean the same have the same `canonical` text. Immutable."""

    __slots__ = ("_by_attributes", "_by_data", "canonical")

    def __init__(self, canonical: str, by_attributes: Test | None, by_data: Test | None) -> None:
        self.canonical: str = canonical
        self._by_attributes = by_attributes
        self._by_data = by_data

    @classmethod
    def parse(cls, source: bytes | str | Json) -> Filter:
        """Read a filter from JSON text, or from what such text decodes to.

        Raises InvalidFilter, whose `at` is a JSON pointer to the place in the filter that is wrong. `canonical` can
        be parsed again, and is then its own canonical text.
        """
        tree = _Reader().read(_decoded(source), "", 1)
        canonical = _text_of(tree)
        if len(canonical) > MAX_BYTES:
            raise _invalid(f"written out it has more than {MAX_BYTES:,} bytes", "")
        return cls(canonical.decode(), *_in_two_steps(tree))

    def matches(self, event: Event) -> bool:
        """Whether `event` passes. Its data is decoded at most once, and only if its attributes leave that open."""
        if self._by_attributes is not None and not self._by_attributes(event, _ABSENT):
            return False
        return self._by_data is None or self._by_data(event, _data_of(event))

    def __repr__(self) -> str:
        return f"Filter({self.canonical})"


def _data_of(event: Event) -> Json:
    """The data, decoded, or _ABSENT if it is not JSON that can be read (a number beyond every bound, say)."""
    if not is_json(event.content_type):
        return _ABSENT
    try:
        return msgspec.json.decode(event.data)
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
        if several := len(node.keys() - {"path"}) > 1:
            depth += 1
            self._count(at)
        if depth > MAX_DEPTH:
            said = ", and an object that names several things counts twice" if several else ""
            raise _invalid(f"filters stand more than {MAX_DEPTH} deep in each other{said}", at)
        parts = [self._part(node, key, at, depth) for key in node if key != "path"]
        if "path" in node and not any(name in node for name in _COMPARISONS):
            raise _invalid(f"a path needs something to compare with: {', '.join(_COMPARISONS)}", f"{at}/path")
        return _joined("and", parts)

    def _part(self, node: dict[str, Json], key: str, at: str, depth: int) -> dict[str, Json]:
        """What one key of a filter says, as a filter."""
        value, here = node[key], f"{at}/{_escaped(str(key))}"
        if key not in _KEYS:
            raise _invalid(f"there is no {str(key)[:64]!r} in a filter.{nearest(str(key), _KEYS)}", here, end="")
        self._count(here)
        if key in _LISTS:
            return {key: self._texts(key, value, here)}
        if key in _COMPARISONS:
            return {"path": _path(node, at), key: _operand(key, value, here)}
        if key == "not":
            return {"not": self.read(value, here, depth + 1)}
        if not isinstance(value, list):
            raise _invalid(f"{key!r} takes a list of filters", here)
        return _joined(key, [self.read(one, f"{here}/{index}", depth + 1) for index, one in enumerate(value)])

    def _texts(self, key: str, value: Json, at: str) -> list[str]:
        given = [value] if isinstance(value, str) else value
        if not isinstance(given, list) or not given or not all(isinstance(one, str) and one for one in given):
            raise _invalid(f"{key!r} takes a text or a list of them, not empty", at)
        texts = sorted({_plain_text(one, at) for one in given})
        for pattern in texts if key == "topics" else ():
            self._count(at)
            try:
                check_pattern(pattern)
            except InvalidPattern as error:
                raise _invalid(error.sentence, at, end="") from None
        return texts

    def _count(self, at: str) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise _invalid(f"there are more than {MAX_NODES} parts", at)


def _decoded(source: Json) -> Json:
    if not isinstance(source, bytes | str):
        return source
    try:
        text = source.encode() if isinstance(source, str) else source
        if len(text) > MAX_BYTES:
            raise _invalid(f"it has more than {MAX_BYTES:,} bytes", "")
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise _invalid(f"it is not JSON: {error}", "") from None


def _text_of(tree: Json) -> bytes:
    return msgspec.json.encode(tree, order="deterministic")


def _joined(key: str, parts: Iterable[dict[str, Json]]) -> dict[str, Json]:
    """Filters put together by `and` or `or`: groups of the same kind dissolve, one alone stands for itself."""
    flat: dict[bytes, dict[str, Json]] = {}
    for part in parts:
        inner = part.get(key)
        for one in inner if isinstance(inner, list) and len(part) == 1 else [part]:
            flat[_text_of(one)] = one
    if len(flat) == 1:
        return next(iter(flat.values()))
    return {key: [flat[text] for text in sorted(flat)]}


def _path(node: dict[str, Json], at: str) -> str:
    if "path" not in node:
        raise _invalid("a comparison needs a path, such as {'path': '/total', 'gt': 100}", at)
    path = node["path"]
    here = f"{at}/path"
    if not isinstance(path, str) or (path and not path.startswith("/")):
        raise _invalid("a path is a JSON pointer: empty, or it starts with '/'", here)
    if _BAD_ESCAPE.search(path):
        raise _invalid("in a JSON pointer '~' is written ~0 and '/' inside a name ~1", here)
    return _plain_text(path, here)


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
        known = {_text_of(one): one for one in (_plain(v, at, 1) for v in value)}
        return [known[text] for text in sorted(known)]
    return _plain(value, at, 1)


def _plain(value: Json, at: str, depth: int) -> Json:
    """A value with each number spelt in one way."""
    if depth > MAX_DEPTH:
        raise _invalid(f"values stand more than {MAX_DEPTH} deep in each other", at)
    if isinstance(value, list):
        return [_plain(one, at, depth + 1) for one in value]
    if isinstance(value, dict):
        return {_plain_text(name, at): _plain(one, at, depth + 1) for name, one in value.items()}
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return _plain_number(value, at)
    return _plain_text(value, at)


def _plain_number(value: float, at: str) -> float:
    """A whole number where that is short and exact, else the float, else (no float is equal to it) the whole number."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _invalid("a number must be finite", at)
        return int(value) if value.is_integer() and abs(value) < _EXACT else value
    if value.bit_length() > MAX_NUMBER_BITS:
        raise _invalid(f"a whole number has more than {MAX_NUMBER_BITS:,} bits", at)
    try:
        return value if abs(value) < _EXACT or float(value) != value else float(value)
    except OverflowError:  # beyond every float
        return value


def _plain_text(value: Json, at: str) -> str:
    if not isinstance(value, str):
        raise _invalid("a value is not JSON", at)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _invalid("a text is not valid Unicode", at) from None
    return value


# ---- compiling: the canonical tree → closures -------------------------------------------------------------


def _in_two_steps(tree: dict[str, Json]) -> tuple[Test | None, Test | None]:
    """What attributes alone decide, and what needs the data: each None if there is nothing of the kind."""
    parts = tree["and"] if isinstance(tree.get("and"), list) else [tree]
    assert isinstance(parts, list)
    by_data = [part for part in parts if _needs_data(part)]
    by_attributes = [part for part in parts if not _needs_data(part)]
    return (_every(by_attributes) if by_attributes else None), (_every(by_data) if by_data else None)


def _needs_data(tree: dict[str, Json]) -> bool:
    inner = [part for value in tree.values() for part in (value if isinstance(value, list) else [value])]
    return "path" in tree or any(_needs_data(part) for part in inner if isinstance(part, dict))


def _compile(tree: dict[str, Json]) -> Test:  # noqa: PLR0911 - one return a kind of node
    match tree:
        case {"path": str() as path}:
            [(key, operand)] = [(name, value) for name, value in tree.items() if name != "path"]
            return _comparison(_lookup(path), key, operand)
        case {"and": list() as parts}:
            return _every(parts)
        case {"or": list() as parts}:
            tests = [_compile(part) for part in sorted(parts, key=_needs_data)]
            return lambda event, data: any(test(event, data) for test in tests)
        case {"not": dict() as part}:
            test = _compile(part)
            return lambda event, data: not test(event, data)
        case {"topics": list() as patterns}:
            matchers = [matcher(pattern) for pattern in patterns]
            return lambda event, _: any(match(event.topic) for match in matchers)
        case {"types": list() as types}:
            return lambda event, _: event.type in types
        case {"source": list() as sources}:
            return lambda event, _: event.source in sources
        case {"tags": list() as tags}:
            return lambda event, _: all(tag in event.tags for tag in tags)
    raise AssertionError(f"the reader makes no {tree!r}")


def _every(parts: list[dict[str, Json]]) -> Test:
    """All of them, those that need no data first."""
    tests = [_compile(part) for part in sorted(parts, key=_needs_data)]
    if len(tests) == 1:
        return tests[0]

    def every(event: Event, data: Json) -> bool:
        for test in tests:  # noqa: SIM110 - a generator would cost a quarter of the match
            if not test(event, data):
                return False
        return True

    return every


def _lookup(path: str) -> Callable[[Json], Json]:
    """From data to the value that a pointer leads to, or _ABSENT."""
    names = [name.replace("~1", "/").replace("~0", "~") for name in path.split("/")[1:]]
    steps = [(name, int(name) if _INDEX.fullmatch(name) else None) for name in names]

    def lookup(value: Json) -> Json:
        for name, index in steps:
            if isinstance(value, dict):
                value = value.get(name, _ABSENT)
            elif index is not None and isinstance(value, list) and index < len(value):
                value = value[index]
            else:
                return _ABSENT
        return value

    return lookup


def _comparison(lookup: Callable[[Json], Json], key: str, operand: Json) -> Test:
    kind = _kind(operand)
    match key:
        case "exists":
            return lambda _, data: (lookup(data) is not _ABSENT) is operand
        case "eq":
            return lambda _, data: _same(lookup(data), operand)
        case "ne":
            return lambda _, data: _kind(value := lookup(data)) == kind and not _same(value, operand)
        case "in":
            assert isinstance(operand, list)
            return _one_of(lookup, operand)
        case "prefix":
            assert isinstance(operand, str)
            return lambda _, data: isinstance(value := lookup(data), str) and value.startswith(operand)
    types = (str,) if kind == "text" else (int, float)  # by identity, so that a bool is no number
    holds: Callable[[Json, Json], bool] = getattr(operator, _OPERATORS[key])
    return lambda _, data: type(value := lookup(data)) in types and holds(value, operand)


def _one_of(lookup: Callable[[Json], Json], values: list[Json]) -> Test:
    """Scalars are found by hash, for a list may have thousands."""
    scalars = {(_kind(value), value) for value in values if not isinstance(value, list | dict)}
    deep = [value for value in values if isinstance(value, list | dict)]

    def one_of(_: Event, data: Json) -> bool:
        value = lookup(data)
        if isinstance(value, list | dict):
            return any(_same(value, one) for one in deep)
        return (_kind(value), value) in scalars

    return one_of


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


def _escaped(name: str) -> str:
    shown = name[:64].encode(errors="backslashreplace").decode()
    return shown.replace("~", "~0").replace("/", "~1")


def _invalid(what: str, at: str, *, end: str = ".") -> InvalidFilter:
    return InvalidFilter(f"The filter does not parse{f' at {at}' if at else ''}: {what}{end}", at=at)
