"""Who is concerned by a topic: exact names by a dictionary, patterns by a tree of their segments.

Finding costs what it finds, and the depth of the topic: a million idle topics and ten thousand idle readers cost a
publish to another topic nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Generic, TypeVar

from tailrace.core.topic import is_pattern

Item = TypeVar("Item")


class _Node(Generic[Item]):
    """What stands at one place of the tree: the items whose pattern ends here, and the segments that go on."""

    __slots__ = ("edges", "items")

    def __init__(self) -> None:
        self.items: dict[Item, None] = {}
        self.edges: dict[str, _Node[Item]] = {}


class TopicIndex(Generic[Item]):
    """Items by the topics and patterns they were added with. An item may be found more than once."""

    def __init__(self) -> None:
        self._exact: dict[str, Item | _Many[Item]] = {}
        self._root: _Node[Item] = _Node()

    def add(self, topics: Iterable[str], item: Item) -> None:
        """Have `item` found by every topic that one of `topics` names or matches."""
        for topic in topics:
            if is_pattern(topic):
                self._add_pattern(topic, item)
                continue
            there = self._exact.get(topic)
            if there is None:
                self._exact[topic] = item
            elif isinstance(there, _Many):
                there[item] = None
            else:
                self._exact[topic] = _Many({there: None, item: None})

    def remove(self, topics: Iterable[str], item: Item) -> None:
        """Undo `add` with the same topics."""
        for topic in topics:
            if is_pattern(topic):
                self._remove_pattern(self._root, topic.split("/"), item)
                continue
            there = self._exact[topic]
            if isinstance(there, _Many):
                del there[item]
                if there:
                    continue
            del self._exact[topic]

    def find(self, topic: str) -> Iterator[Item]:
        """The items concerned by `topic`. Do not add or remove meanwhile."""
        there = self._exact.get(topic)
        if there is not None:
            if isinstance(there, _Many):
                yield from there
            else:
                yield there
        if self._root.edges:
            yield from _walk(self._root, topic.split("/"), 0)

    def _add_pattern(self, pattern: str, item: Item) -> None:
        node = self._root
        for segment in pattern.split("/"):
            node = node.edges.setdefault(segment, _Node())
        node.items[item] = None

    def _remove_pattern(self, node: _Node[Item], segments: list[str], item: Item) -> None:
        """Take `item` out, and every node that is left empty."""
        if not segments:
            del node.items[item]
            return
        child = node.edges[segments[0]]
        self._remove_pattern(child, segments[1:], item)
        if not child.items and not child.edges:
            del node.edges[segments[0]]


class _Many(dict[Item, None]):
    """More than one item of the same topic. Most topics have one, which then stands alone: it saves 200 bytes."""

    __slots__ = ()


_ANY: Final = "*"
_REST: Final = "**"


def _walk(node: _Node[Item], segments: list[str], at: int) -> Iterator[Item]:
    """Items under `node` whose pattern matches the segments from `at`. Wildcards do not match a first `$…`."""
    edges = node.edges
    wild = at > 0 or not segments[0].startswith("$")
    if at == len(segments):
        yield from node.items
    else:
        if (child := edges.get(segments[at])) is not None:
            yield from _walk(child, segments, at + 1)
        if wild and (child := edges.get(_ANY)) is not None:
            yield from _walk(child, segments, at + 1)
    if wild and (child := edges.get(_REST)) is not None:
        for later in range(at, len(segments) + 1):  # `**` takes none, or any number
            yield from _walk(child, segments, later)
