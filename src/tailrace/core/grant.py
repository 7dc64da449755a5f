"""What a caller may do: publish, read and manage, each for some patterns of topics.

A grant goes through every call of every door. An exact topic that is not granted is refused; a pattern is narrowed
to what is granted.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from tailrace.core.selection import Selection
from tailrace.core.topic import is_pattern, matcher
from tailrace.errors import Forbidden

Right = Literal["publish", "read", "manage"]


class Grant(msgspec.Struct, frozen=True):
    """Patterns for each right; `subject` says who, for logs and statistics."""

    subject: str
    publish: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    manage: tuple[str, ...] = ()

    def allows(self, right: Right, topic: str) -> bool:
        """Whether the topic is granted in full."""
        patterns: tuple[str, ...] = getattr(self, right)
        if "**" in patterns and not topic.startswith("$"):
            return True
        return any(matcher(pattern)(topic) for pattern in patterns)

    def require(self, right: Right, topic: str) -> None:
        """Raise Forbidden unless the topic is granted."""
        if not self.allows(right, topic):
            raise Forbidden(f"{self.subject} may not {right} {topic!r}.", right=right, topic=topic)

    def narrow(self, selection: Selection) -> Selection:
        """The part of `selection` that may be read. Raises Forbidden for an exact topic that is not granted."""
        for topic in selection.topics:
            if not is_pattern(topic):
                self.require("read", topic)
        if selection.exact or self._reads_all(selection):
            return selection
        if not self.read:
            raise Forbidden(f"{self.subject} may not read any topic.", right="read")
        return Selection(selection.topics, selection.types, selection.tags, selection.filter, within=self.read)

    def _reads_all(self, selection: Selection) -> bool:
        own = any(topic.startswith("$") for topic in selection.topics)
        return "**" in self.read and not own


EVERYTHING = Grant("anyone", publish=("**",), read=("**", "$system/**", "$dead/**"), manage=("**",))
"""What everybody may do on a loopback server with nothing configured."""
