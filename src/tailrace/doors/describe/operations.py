"""Single operations of the description, for the documents of other applications: nothing in them refers elsewhere."""

from __future__ import annotations

import copy

from tailrace.doors.describe.openapi import document
from tailrace.doors.describe.schemas import Schema

_HIDDEN = frozenset({"tags", "security"})
"""What an application says for itself."""


def operation(path: str, method: str) -> Schema:
    """The operation at a path (`/api/v1/topics/{topic:path}`), with everything that it refers to in place."""
    whole = document()
    paths: Schema = whole["paths"]  # type: ignore[assignment]  # a document is JSON
    found = paths[path.replace(":path", "")][method.lower()]  # type: ignore[index]  # as above
    described = _inlined(found, whole, ())
    assert isinstance(described, dict)
    return {name: value for name, value in described.items() if name not in _HIDDEN}


def _inlined(node: object, whole: Schema, above: tuple[str, ...]) -> object:
    if isinstance(node, list):
        return [_inlined(one, whole, above) for one in node]
    if not isinstance(node, dict):
        return copy.copy(node)
    reference = node.get("$ref")
    if isinstance(reference, str):
        if reference in above:  # a filter holds filters: once is enough to read
            return {}
        return _inlined(_found(reference, whole), whole, (*above, reference))
    return {name: _inlined(value, whole, above) for name, value in node.items()}


def _found(reference: str, whole: Schema) -> object:
    place: object = whole
    for name in reference.removeprefix("#/").split("/"):
        assert isinstance(place, dict)
        place = place[name]
    return place
