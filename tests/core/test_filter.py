"""The filter, held by a model: a naive interpreter of the rules, written here and from the rules alone."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.core.event import Draft, Event
from tailrace.core.filter import MAX_DEPTH, Filter
from tailrace.core.position import Cursor
from tailrace.core.topic import matcher
from tailrace.errors import InvalidFilter

MISSING = object()


def event(data: Any = None, *, raw: bytes | None = None, **attributes: Any) -> Event:
    body = json.dumps(data).encode() if raw is None else raw
    draft = Draft(**{"topic": "a/b", "data": body, **attributes})
    return draft.placed(Cursor(1, 2), 2, 0, "1970-01-01T00:00:00.000Z")


# ---- the model --------------------------------------------------------------------------------------------


def kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    return type(value).__name__


def equal(a: Any, b: Any) -> bool:
    if kind(a) != kind(b):
        return False
    if isinstance(a, list):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict):
        return set(a) == set(b) and all(equal(a[key], b[key]) for key in a)
    return a == b


def lookup(data: Any, path: str) -> Any:
    for part in path.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(data, dict) and name in data:
            data = data[name]
        elif isinstance(data, list) and name in [str(index) for index in range(len(data))]:
            data = data[int(name)]
        else:
            return MISSING
    return data


def compare(op: str, value: Any, operand: Any) -> bool:
    if op == "exists":
        return (value is not MISSING) == operand
    if value is MISSING:
        return False
    if op == "in":
        return any(equal(value, one) for one in operand)
    if kind(value) != kind(operand):
        return False
    if op == "eq":
        return equal(value, operand)
    if op == "ne":
        return not equal(value, operand)
    if op == "prefix":
        return value[: len(operand)] == operand
    return {"lt": value < operand, "lte": value <= operand, "gt": value > operand, "gte": value >= operand}[op]


def model(node: dict, subject: Event, data: Any) -> bool:
    verdicts = []
    for key, value in node.items():
        if key == "and":
            verdicts.append(all(model(one, subject, data) for one in value))
        elif key == "or":
            verdicts.append(any(model(one, subject, data) for one in value))
        elif key == "not":
            verdicts.append(not model(value, subject, data))
        elif key == "topics":
            verdicts.append(any(matcher(pattern)(subject.topic) for pattern in value))
        elif key == "types":
            verdicts.append(subject.type in value)
        elif key == "tags":
            verdicts.append(set(value) <= set(subject.tags))
        elif key == "source":
            verdicts.append(subject.source in ([value] if isinstance(value, str) else value))
        elif key != "path":
            verdicts.append(compare(key, lookup(data, node["path"]), value))
    return all(verdicts)


# ---- generated filters and events -------------------------------------------------------------------------

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([0.5, 1.0, -0.0, 2.0, 1e20, 10**20, 2**53, 2.0**53, 2**53 + 1, 10**400]),
    st.sampled_from(["", "a", "ab", "b"]),
)
names = st.sampled_from(["a", "b", "0", "~", "/", ""])
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=6
)
paths = st.lists(names, max_size=3).map(
    lambda parts: "".join("/" + p.replace("~", "~0").replace("/", "~1") for p in parts)
)
orderable = st.one_of(
    st.integers(-3, 3), st.sampled_from([0.5, 1.0, 2**53, 2.0**53, 10**400]), st.sampled_from(["", "a", "ab"])
)
comparisons = st.builds(
    lambda path, ops: {"path": path, **ops},
    paths,
    st.fixed_dictionaries(
        {},
        optional={
            "eq": values, "ne": values, "lt": orderable, "lte": orderable, "gt": orderable, "gte": orderable,
            "in": st.lists(values, max_size=3), "prefix": st.sampled_from(["", "a", "ab"]), "exists": st.booleans(),
        },
    ).filter(bool),
)  # fmt: skip
attributes = st.fixed_dictionaries(
    {},
    optional={
        "topics": st.lists(st.sampled_from(["a/b", "a/*", "x", "**"]), min_size=1, max_size=2),
        "types": st.lists(st.sampled_from(["message", "x"]), min_size=1, max_size=2),
        "tags": st.lists(st.sampled_from(["t", "u"]), min_size=1, max_size=2),
        "source": st.sampled_from(["/s", ["/s", "/t"]]),
    },
)
filters = st.recursive(
    comparisons | attributes | st.builds(lambda a, b: {**a, **b}, attributes, comparisons),
    lambda inner: st.one_of(
        st.fixed_dictionaries({"and": st.lists(inner, max_size=3)}),
        st.fixed_dictionaries({"or": st.lists(inner, max_size=3)}),
        st.fixed_dictionaries({"not": inner}),
        st.builds(lambda a, b: {**a, "not": b}, attributes, inner),
    ),
    max_leaves=6,
)
subjects = st.tuples(
    values, st.sampled_from(["message", "x"]), st.sampled_from([(), ("t",), ("t", "u")]), st.sampled_from(["/s", None])
)


@given(filters, subjects)
def test_it_decides_as_the_rules_say(node: dict, subject: tuple) -> None:
    data, type_, tags, source = subject
    looked_at = event(data, type=type_, tags=tags, source=source)
    assert Filter.parse(node).matches(looked_at) == model(node, looked_at, data)


def places(data: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every pointer into the data with the value it leads to."""
    yield path, data
    if isinstance(data, dict | list):
        for name, inner in data.items() if isinstance(data, dict) else enumerate(data):
            yield from places(inner, f"{path}/{str(name).replace('~', '~0').replace('/', '~1')}")


@st.composite
def meetings(draw: st.DrawFn) -> tuple[dict, Any]:
    """A comparison and data that it has something to do with: random ones hardly ever meet."""
    data = draw(values)
    path, value = draw(st.sampled_from(list(places(data))))
    near = st.sampled_from([inner for _, inner in places(data)])
    alike = st.just(json.loads(json.dumps(value))) | near | values
    op = draw(st.sampled_from(["eq", "ne", "lt", "lte", "gt", "gte", "in", "prefix", "exists"]))
    if op == "in":
        operand: Any = draw(st.lists(alike, min_size=1, max_size=3))
    elif op == "exists":
        operand = draw(st.booleans())
    elif op == "prefix":
        operand = value[: draw(st.integers(0, 2))] if isinstance(value, str) else "a"
    elif op in ("eq", "ne"):
        operand = draw(alike)
    else:
        operand = value if kind(value) in ("number", "str") else draw(orderable)
    return {"path": draw(st.just(path) | paths), op: operand}, data


@given(meetings())
def test_it_compares_as_the_rules_say(meeting: tuple[dict, Any]) -> None:
    node, data = meeting
    assert Filter.parse(node).matches(event(data)) == model(node, event(data), data)


def test_a_list_of_values_may_hold_anything() -> None:
    parsed = Filter.parse({"path": "/a/1", "in": [1, "x", None, [1, {"b": True}]]})
    for value in (1, 1.0, "x", None, [1, {"b": True}], [1.0, {"b": True}]):
        assert parsed.matches(event({"a": [0, value]})), value
    for value in (True, "1", 2, [1, {"b": 1}], [1], {}, False):
        assert not parsed.matches(event({"a": [0, value]})), value


@given(filters, subjects)
def test_its_canonical_text_means_the_same_and_is_its_own_canonical_text(node: dict, subject: tuple) -> None:
    parsed = Filter.parse(node)
    again = Filter.parse(parsed.canonical)
    assert again.canonical == parsed.canonical
    looked_at = event(subject[0], type=subject[1], tags=subject[2])
    assert again.matches(looked_at) == parsed.matches(looked_at)


@given(filters)
def test_reading_it_as_text_or_as_values_is_the_same(node: dict) -> None:
    assert Filter.parse(json.dumps(node)).canonical == Filter.parse(node).canonical


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"path": "/a", "gt": 1, "lt": 5}, {"and": [{"path": "/a", "lt": 5.0}, {"path": "/a", "gt": 1.0}]}),
        ({"types": ["b", "a", "a"]}, {"types": ["a", "b"]}),
        ({"source": "x"}, {"source": ["x"]}),
        ({"path": "", "in": [2, 1, 1.0]}, {"path": "", "in": [1, 2]}),
        ({"path": "", "eq": [1e20, -(2.0**53)]}, {"path": "", "eq": [10**20, -(2**53)]}),
        ({"and": [{"and": [{"types": ["a"]}]}, {"tags": ["t"]}]}, {"tags": ["t"], "types": ["a"]}),
        ({"path": "", "eq": {"b": 1, "a": 2}}, {"path": "", "eq": {"a": 2, "b": 1}}),
    ],
)
def test_equal_meaning_has_one_canonical_text(one: dict, other: dict) -> None:
    assert Filter.parse(one).canonical == Filter.parse(other).canonical


def rewritten(value: Any, order: random.Random) -> Any:
    """The same filter in other words: keys in another order, numbers spelt in another way."""
    if isinstance(value, dict):
        keys = order.sample(sorted(value), len(value))
        return {key: rewritten(value[key], order) for key in keys}
    if isinstance(value, list):
        return [rewritten(one, order) for one in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53:
        return float(value)
    return value


def shuffled(node: dict, order: random.Random) -> dict:
    """The same filter with its lists of alternatives, and its groups, in another order."""
    inner: dict[str, Any] = {}
    for key, value in node.items():
        if key in ("and", "or"):
            inner[key] = order.sample([shuffled(one, order) for one in value], len(value))
        elif key == "not":
            inner[key] = shuffled(value, order)
        elif key in ("topics", "types", "tags", "source", "in") and isinstance(value, list):
            inner[key] = order.sample(value * 2, len(value) * 2)
        else:
            inner[key] = value
    return inner


@given(filters, st.randoms(use_true_random=False))
def test_order_repeats_and_spelling_do_not_change_the_canonical_text(node: dict, order: random.Random) -> None:
    assert Filter.parse(rewritten(shuffled(node, order), order)).canonical == Filter.parse(node).canonical


def accepted(node: dict) -> bool:
    try:
        Filter.parse(node)
    except InvalidFilter:
        return False
    return True


def nested(levels: int) -> dict:
    node: dict = {"types": ["a"], "source": "x"}
    for _ in range(levels):
        node = {"types": ["a"], "not": node}
    return node


@pytest.mark.parametrize(
    "build",
    [
        nested,
        lambda n: {"or": [{"path": "/a", "gt": i, "lt": i + 5} for i in range(n)]},
        lambda n: {"path": "/" + "x" * 8 * n, "gt": 1, "lt": 2, "gte": 1, "ne": 3},
        lambda n: {"path": "", "in": [float(f"{i}e15") for i in range(8 * n)]},
    ],
    ids=["depth", "parts", "path", "numbers"],
)
def test_what_just_fits_is_read_again_from_its_canonical_text(build: Callable[[int], dict]) -> None:
    """A client sends the canonical text: the server must not refuse what the client has read."""
    too_much = next(n for n in range(1, 2_000) if not accepted(build(n)))
    canonical = Filter.parse(build(too_much - 1)).canonical
    assert Filter.parse(canonical).canonical == canonical


@pytest.mark.parametrize(
    "raw", [b"{", b'{"a":1,"b":1e400}', b'{"a":1,"b":' + b"9" * 5_000 + b"}", b"[" * 5_000, b"\xff"]
)
def test_data_that_cannot_be_read_has_no_paths(raw: bytes) -> None:
    assert not Filter.parse({"path": "", "exists": True}).matches(event(raw=raw))


def test_data_is_not_decoded_when_the_attributes_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = Filter.parse({"path": "/a", "eq": 1, "types": ["x"]})
    decoded: list[bytes] = []
    monkeypatch.setattr("tailrace.core.filter.msgspec.json.decode", lambda data: decoded.append(data) or {"a": 1})
    assert not parsed.matches(event({"a": 1}, type="y"))
    assert decoded == []
    assert parsed.matches(event({"a": 1}, type="x"))
    assert decoded == [b'{"a": 1}']


def test_data_is_decoded_once_for_many_comparisons(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = Filter.parse(
        {"path": "/a", "gt": 0, "lt": 2, "or": [{"path": "", "eq": 1}, {"path": "/b", "exists": False}]}
    )
    decoded: list[bytes] = []
    monkeypatch.setattr("tailrace.core.filter.msgspec.json.decode", lambda data: decoded.append(data) or {"a": 1})
    assert parsed.matches(event({"a": 1}))
    assert len(decoded) == 1


def test_data_that_is_not_json_has_no_paths() -> None:
    text = event(raw=b'{"a": 1}', content_type="text/plain")
    assert not Filter.parse({"path": "", "exists": True}).matches(text)
    assert Filter.parse({"path": "/a", "exists": False}).matches(text)


@pytest.mark.parametrize(
    ("source", "said", "at"),
    [
        (b'{"path": "/a", "eq": }', "not JSON", ""),
        ([], "is an object", ""),
        ({"pth": "/a", "eq": 1}, "Did you mean 'path'?", "/pth"),
        ({"eq": 1}, "needs a path", ""),
        ({"path": "/a"}, "something to compare with", "/path"),
        ({"path": "a", "eq": 1}, "JSON pointer", "/path"),
        ({"path": "/~2", "eq": 1}, "~0", "/path"),
        ({"path": "/~~01", "eq": 1}, "~0", "/path"),
        ({"path": "/\ud800", "eq": 1}, "not valid Unicode", "/path"),
        ({"path": "/a", "exists": 1}, "true or false", "/exists"),
        ({"path": "/a", "prefix": 1}, "takes a text", "/prefix"),
        ({"path": "/a", "lt": True}, "a number or a text", "/lt"),
        ({"path": "/a", "in": 1}, "takes a list", "/in"),
        ({"path": "/a", "eq": float("nan")}, "finite", "/eq"),
        ({"types": []}, "not empty", "/types"),
        ({"types": [1]}, "a text or a list", "/types"),
        ({"types": ["\ud800"]}, "not valid Unicode", "/types"),
        ({"\ud800": 1}, "there is no", "/\\ud800"),
        ({"a/b~": 1}, "there is no", "/a~1b~0"),
        ({"path": "", "eq": {1: 2}}, "not JSON", "/eq"),
        ({"path": "", "eq": {"a": "\ud800"}}, "not valid Unicode", "/eq"),
        ({"path": "", "eq": 10**5_000}, "8,192 bits", "/eq"),
        ({"path": "", "eq": json.loads("[" * 900 + "]" * 900)}, "16 deep", "/eq"),
        (b'{"path":"","in":[' + b"[" * 900 + b"]" * 900 + b"]}", "16 deep", "/in"),
        (b"[" * 5_000, "not JSON", ""),
        (b'{"path": "", "eq": NaN}', "not JSON", ""),
        ('{"types": ["\ud800"]}', "not JSON", ""),
        ({"topics": ["a*"]}, "whole segments", "/topics"),
        ({"and": {}}, "a list of filters", "/and"),
        ({"or": [{}, {"not": {"x": 1}}]}, "no 'x'", "/or/1/not/x"),
        ('"' + "x" * 17_000 + '"', "16,384 bytes", ""),
        ('"' + "ä" * 9_000 + '"', "16,384 bytes", ""),
        ({"types": ["x" * 17_000]}, "16,384 bytes", ""),
        ({"topics": [f"a/{index}" for index in range(300)]}, "256 parts", "/topics"),
        ({"or": [{"types": ["a"]}] * 300}, "256 parts", "/or/255/types"),
    ],
)
def test_what_does_not_parse_is_told_with_its_place(source: Any, said: str, at: str) -> None:
    with pytest.raises(InvalidFilter) as caught:
        Filter.parse(source)
    assert said in caught.value.sentence
    assert caught.value.extra["at"] == at


def test_depth_is_bounded() -> None:
    node: dict = {"types": ["a"]}
    for _ in range(MAX_DEPTH - 1):
        node = {"not": node}
    Filter.parse(node)
    with pytest.raises(InvalidFilter, match="16 deep"):
        Filter.parse({"not": node})


def test_an_object_that_names_several_things_counts_as_an_and() -> None:
    with pytest.raises(InvalidFilter, match="counts twice"):
        Filter.parse(nested(MAX_DEPTH // 2))


@pytest.mark.parametrize("number", [10**400, 2**64, -(2**70), 1e300, 0.1])
def test_numbers_of_any_size_compare_exactly(number: float) -> None:
    parsed = Filter.parse({"path": "", "eq": number})
    assert parsed.matches(event(number))
    assert not parsed.matches(event(number + (number if isinstance(number, float) else 1)))
