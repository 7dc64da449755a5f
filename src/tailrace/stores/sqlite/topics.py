"""The writer's topics: how they are fetched from the file, and written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from tailrace.stores.sqlite.connection import Connection
from tailrace.stores.sqlite.statements import SQL
from tailrace.stores.tables.topics import KnownTopics, Topic

_topics_decoder: Final = msgspec.json.Decoder(list[Topic])


class Topics(KnownTopics[Topic]):
    """The writer's topics by name. What is changed here is written by `write`, in the transaction of the change."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection
        self.mortal: bool = False
        """Whether any that was here may have come to its end: asked before each entry, so it is no loop."""

    def fetch(self, names: Iterable[str]) -> None:
        """Have these topics in memory, in one step."""
        missing: list[str] = []
        for name in names:
            if name in self._kept:
                self._kept.move_to_end(name)
            else:
                missing.append(name)
        if missing:
            asked = {"names": msgspec.json.encode(missing).decode()}
            found = self._connection.json(_topics_decoder, SQL["topics"], asked)
            self._kept.update((topic.name, topic) for topic in found)
            self.mortal = self.mortal or any(topic.mortal for topic in found)

    def put(self, topic: Topic) -> None:
        """A topic is new, or something else than its count has changed."""
        self._kept[topic.name] = self.changed[topic.name] = topic
        self.mortal = self.mortal or topic.mortal

    def touch(self, moments: Mapping[str, int]) -> None:
        """Topics that were fetched were used; see `Store.touch`."""
        for name, moment in moments.items():
            topic = self.get(name)
            if topic is not None and not topic.is_over(moment) and topic.use(moment):
                self.count(topic)

    def write(self) -> None:
        """Write what has changed."""
        if self.changed:
            put = msgspec.json.encode(list(self.changed.values())).decode()
            self._connection.run(SQL["put_topics"], {"topics": put})
        if counted := self.counts():
            self._connection.run(SQL["count_topics"], {"topics": msgspec.json.encode(counted).decode()})
        self.settle()

    def forget(self) -> None:
        """Let go of everything: a transaction has failed, and what is here may not be what is stored."""
        super().forget()
        self.mortal = False
