"""Selections: which events a reader wants, in canonical form.

Two readers with equal selections are the same reader as far as cost goes, so the form is canonical: lists sorted
and without repeats, names that a pattern covers left out, the filter in its own canonical text. Topics
and types are any-of, tags are all-of. An empty `types` or `tags` asks for nothing in particular.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Final, Self

import msgspec

from tailrace.core.event import Event, check_type
from tailrace.core.filter import Filter
from tailrace.core.topic import check_pattern, is_pattern, matcher
from tailrace.errors import InvalidParameter, InvalidPattern

MAX_TOPICS: Final = 1_000
"""The most topics and patterns in one selection."""
_MEMORY: Final = 10_000
"""How many topics a selection remembers its answer for, before it forgets them all."""


class Selection:
    """Topics or patterns, types, tags and a filter. Immutable, hashable; compare and keep it by `key`.

    `within` is what a grant narrows the topics to: an event's topic must match one of those patterns as well.
    Raises InvalidPattern, InvalidEvent (a type) or InvalidFilter on construction.
    """

    __slots__ = ("__dict__", "_includes", "_matchers", "_within", "filter", "key", "tags", "topics", "types", "within")

    def __init__(
        self,
        topics: Iterable[str] = ("**",),
        types: Iterable[str] = (),
        tags: Iterable[str] = (),
        filter: Filter | None = None,  # noqa: A002 - the field's name in the API
        *,
        within: Iterable[str] = (),
    ) -> None:
        self.topics: tuple[str, ...] = _canonical_topics(topics)
        self.types: tuple[str, ...] = tuple(sorted({check_type(name) for name in types}))
        self.tags: tuple[str, ...] = tuple(sorted(set(tags)))
        self.filter: Filter | None = filter
        self.within: tuple[str, ...] = _canonical_topics(within) if within else ()
        self.key: str = msgspec.json.encode(
            (self.topics, self.types, self.tags, filter.canonical if filter else None, self.within)
        ).decode()
        self._matchers = tuple(matcher(pattern) for pattern in self.topics)
        self._within = tuple(matcher(pattern) for pattern in self.within)
        self._includes: dict[str, bool] = {}

    @classmethod
    def of(
        cls,
        topics: Iterable[str] = (),
        types: Iterable[str] = (),
        tags: Iterable[str] = (),
        filter: Filter | Mapping[str, object] | str | None = None,  # noqa: A002 - as above
    ) -> Self:
        """A selection from what people write: no topics are all of them, and a filter may still be JSON.

        Raises InvalidParameter for a text where a list belongs, too.
        """
        for name, value in (("types", types), ("tags", tags)):
            if isinstance(value, str):
                raise InvalidParameter(f"{name} is the text {value[:64]!r}: give a list of texts.")
        parsed = filter if filter is None or isinstance(filter, Filter) else Filter.parse(filter)
        return cls(topics or ("**",), types, tags, parsed)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Selection) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"Selection({self.key})"

    @cached_property
    def exact(self) -> bool:
        """Whether every topic is named in full, so that the selection can come to an end."""
        return not any(is_pattern(topic) for topic in self.topics)

    @cached_property
    def everything(self) -> bool:
        """Whether every event (but the server's own) is selected, so that nothing need be compared."""
        return self.topics == ("**",) and self.by_topic_alone and not self.within

    @cached_property
    def by_topic_alone(self) -> bool:
        return not self.types and not self.tags and self.filter is None

    def includes(self, topic: str) -> bool:
        """Whether events of `topic` can be selected. Remembered for each topic: streams ask again and again."""
        known = self._includes.get(topic)
        if known is None:
            if len(self._includes) >= _MEMORY:
                self._includes.clear()
            known = any(match(topic) for match in self._matchers)
            if known and self._within:
                known = any(match(topic) for match in self._within)
            self._includes[topic] = known
        return known

    def matches(self, event: Event) -> bool:
        """Whether `event` is selected."""
        return self.includes(event.topic) and self.wants(event)

    def wants(self, event: Event) -> bool:
        """The same whatever its topic: for what a topic has inherited from another."""
        if self.by_topic_alone:
            return True
        if self.types and event.type not in self.types:
            return False
        if self.tags and not all(tag in event.tags for tag in self.tags):
            return False
        return self.filter is None or self.filter.matches(event)


def _canonical_topics(topics: Iterable[str]) -> tuple[str, ...]:
    names = {check_pattern(topic) for topic in topics}
    if not names:
        raise InvalidPattern("A selection needs at least one topic; '**' selects them all.")
    if len(names) > MAX_TOPICS:
        raise InvalidPattern(
            f"A selection of {len(names)} topics is too long: {MAX_TOPICS} are the most; use a pattern."
        )
    patterns = [(name, matcher(name)) for name in names if is_pattern(name)]
    if "**" in names:  # covers all but what starts with `$`
        names = {name for name in names if name == "**" or name.startswith("$")}
    covered = {name for name in names if not is_pattern(name) and any(match(name) for _, match in patterns)}
    return tuple(sorted(names - covered))
