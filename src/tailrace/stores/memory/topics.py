"""The topics of the memory store: those that exist, those that live on in their forks, and the marks of all."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final

from tailrace.core.retention import TopicConfig
from tailrace.core.selection import Selection
from tailrace.core.topic import literal_prefix, matcher
from tailrace.log.judging import fork_position, gone, not_found, require_content_type
from tailrace.log.store import Fork
from tailrace.stores.memory.topic import Inherited, Marks, Topic

_MERGED: Final = 256
"""The most topics of a pattern that are read topic by topic; beyond it the whole log is looked through."""


class Topics:
    """By name. `removed_through` is the highest of all marks."""

    def __init__(self) -> None:
        self.removed_through: int = 0
        self._topics: dict[str, Topic] = {}
        self._names: list[str] = []  # sorted
        self._gone: dict[str, Topic] = {}
        self._mortal: dict[str, None] = {}  # whose time can be up
        self._marks: dict[str, Marks] = {}  # of topics that are or have been

    def get(self, name: str) -> Topic | None:
        """A topic that exists."""
        return self._topics.get(name)

    def config_of(self, name: str) -> TopicConfig | None:
        """The configuration of a topic that exists. Raises TopicGone."""
        topic = self._topics.get(name)
        if topic is None and name in self._gone:
            raise gone(name)
        return None if topic is None else topic.config

    def find(self, name: str, now: int) -> Topic:
        """A topic whose time is not up. Raises TopicNotFound or TopicGone."""
        topic = self._topics.get(name)
        if topic is not None and not topic.is_over(now):
            return topic
        source = topic or self._gone.get(name)
        if source is not None and source.is_needed(now):
            raise gone(name)
        raise not_found(name)

    def matching(self, pattern: str, after: str, limit: int, now: int) -> list[Topic]:
        """Topics that match a pattern and whose time is not up, in order of name, beyond the name `after`."""
        match, candidates = matcher(pattern), self._range(pattern)
        start = max(candidates.start, bisect_right(self._names, after))
        found = (self._topics[self._names[index]] for index in range(start, candidates.stop))
        return list(islice((topic for topic in found if match(topic.name) and not topic.is_over(now)), limit))

    # ---- topics come and go -------------------------------------------------------------------------------

    def create(self, name: str, config: TopicConfig, now: int) -> Topic:
        """A new topic. What was removed of an earlier one of that name stays removed."""
        topic = Topic(name, config, now, self._marks.setdefault(name, Marks()))
        self._topics[name] = topic
        insort(self._names, name)
        if topic.deadline is not None:
            self._mortal[name] = None
        return topic

    def judge_fork(self, fork: Fork, name: str, config: TopicConfig) -> Inherited:
        """What a fork would inherit. Raises TopicNotFound, TopicGone, ContentTypeConflict or InvalidFork."""
        if self.config_of(fork.topic) is None:
            raise not_found(fork.topic)
        source = self._topics[fork.topic]
        require_content_type(name, config, source.config.content_type)
        return Inherited(source, fork_position(fork, source.tail, source.removed_before(0)), fork.part)

    def delete(self, topic: Topic, position: int) -> None:
        """Take a topic out of sight: its name is free again, unless there are forks of it."""
        name = topic.name
        del self._topics[name]
        del self._names[bisect_left(self._names, name)]
        self._mortal.pop(name, None)
        marks = topic.marks
        if topic.forks:
            self._gone[name], topic.gone = topic, True
            topic.marks = Marks(marks.removed_through, marks.compacted_through, marks.deleted_at)
        else:
            self._release(topic)
        marks.removed_through = marks.deleted_at = self.removed_through = position

    def _release(self, fork: Topic) -> None:
        """Nobody needs a topic any more; perhaps nobody needs what it was forked from either."""
        while fork.inherited is not None:
            source = fork.inherited.source
            source.forks.discard(fork)
            if source.forks or not source.gone:
                return
            del self._gone[source.name]
            fork = source

    @property
    def mortal(self) -> bool:
        """Whether there are any whose time can be up."""
        return bool(self._mortal)

    def over(self, name: str, now: int) -> list[Topic]:
        """The topics to be deleted now that an entry names one: if its time is up, or it is gone, it and its forks
        whose time is up.
        """
        topic = self._topics.get(name) or self._gone.get(name)
        if topic is None or not (topic.gone or topic.is_over(now)):
            return []
        return [one for one in topic.descent() if not one.gone and one.is_over(now)]

    def overdue(self, limit: int, now: int) -> list[str]:
        """Topics whose time is up, and that are still here."""
        over = (name for name in self._mortal if self._topics[name].is_over(now))
        return list(islice(over, limit))

    def configure(self, topic: Topic, config: TopicConfig, now: int) -> None:
        """Replace a topic's configuration, which counts as use of it."""
        topic.configure(config)
        topic.touched_at = max(topic.touched_at, now)
        if topic.deadline is None:
            self._mortal.pop(topic.name, None)
        else:
            self._mortal[topic.name] = None

    def touch(self, topics: Mapping[str, int]) -> None:
        """See `Store.touch`."""
        for name, moment in topics.items():
            topic = self._topics.get(name)
            if topic is not None and not topic.is_over(moment):
                topic.touched_at = max(topic.touched_at, moment)

    # ---- all of them, as they are ---------------------------------------------------------------------------

    def everyone(self, after: str) -> Iterator[tuple[str, Marks, Topic | None, Topic | None]]:
        """What is or has been a topic, in order of name beyond a name: its marks, and the topic, living or gone."""
        for name in sorted(self._marks):
            if name > after:
                yield name, self._marks[name], self._topics.get(name), self._gone.get(name)

    def restore(self, name: str, marks: Marks, topic: Topic | None) -> None:
        """Take a name as `everyone` tells of it; a topic that exists shares the marks of its name."""
        self._marks[name] = marks
        self.removed_through = max(self.removed_through, marks.removed_through)
        if topic is None:
            return
        if topic.gone:
            self._gone[name] = topic
            return
        topic.marks = marks
        self._topics[name] = topic
        insort(self._names, name)
        if topic.deadline is not None:
            self._mortal[name] = None

    # ---- selections ---------------------------------------------------------------------------------------

    def selected(self, selection: Selection) -> set[str] | None:
        """The selected topics, or None if patterns might select too many to be read one by one."""
        if selection.exact:
            return {name for name in selection.topics if name in self._topics and selection.includes(name)}
        ranges = [self._range(pattern) for pattern in selection.topics]
        if sum([len(indices) for indices in ranges]) > _MERGED:
            return None
        return {name for indices in ranges for index in indices if selection.includes(name := self._names[index])}

    def _range(self, pattern: str) -> range:
        """Where the names stand that a pattern might select."""
        prefix = literal_prefix(pattern)
        size = len(prefix)
        start = bisect_left(self._names, prefix)
        return range(start, bisect_right(self._names, prefix, lo=start, key=lambda name: name[:size]))

    def marked(self, selection: Selection) -> Iterator[tuple[str, Marks]]:
        """The selected topics that exist or have existed, and their marks."""
        names = selection.topics if selection.exact else self._marks
        return ((name, self._marks[name]) for name in names if name in self._marks and selection.includes(name))

    def fork(self, selection: Selection) -> Topic | None:
        """The topic that is selected, if it is the only one, and inherits from another."""
        if len(selection.topics) != 1 or not selection.includes(selection.topics[0]):
            return None
        topic = self._topics.get(selection.topics[0])
        return topic if topic is not None and topic.inherited is not None else None
