"""What the log knows of one subscription, and what each step makes of it. Pure.

A subscription is **idle**, or a wake of it is **in flight**: sent to its webhook, offered to its workers, or held by
one of them until its lease ends. Every wake has a higher `generation` and an `id` of its own; who comes with another
is fenced off (PROTOCOL.md section 7.3).

Of every stream it knows what has been acknowledged. For most that is `base`, a position of the whole log: whatever
stands at or before it is done, in every stream that the pattern matches. `links` are the streams that differ: those
named one by one, and those acknowledged beyond `base`. It moves on as what is pending for longest is acknowledged, to
the log's tip when nothing is pending, and the links that it passes go. So what is kept is bound to what is being worked
on, not to how many streams match.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping
from typing import Literal

import msgspec
from msgspec.structs import replace

from tailrace.core.position import Cursor
from tailrace.core.topic import is_pattern, matcher

Kind = Literal["webhook", "pull-wake"]


class Outcome(enum.Enum):
    """What came of sending a wake to a webhook."""

    DONE = "the receiver has finished"
    TAKEN = "the receiver will call back"
    FAILED = "it did not arrive, or was not taken"


class Terms(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a subscription was made with, in one form: the same again is the same subscription. `streams` are sorted."""

    kind: Kind
    lease_ms: int
    pattern: str | None = None
    streams: tuple[str, ...] = ()
    url: str | None = None
    wake_stream: str | None = None
    description: str | None = None


class Link(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """How far a stream is acknowledged; None: not at all. `explicit`: it was named."""

    acked: Cursor | None = None
    explicit: bool = False


class Wake(msgspec.Struct, frozen=True, omit_defaults=True):
    """A wake in flight. `until`: when what holds it is over (milliseconds); None: nothing does. `holder`: a worker."""

    id: str
    until: int | None = None
    holder: str | None = None

    def is_over(self, now: int) -> bool:
        """Whether its lease has ended."""
        return self.until is not None and self.until <= now


class Subscription(msgspec.Struct, frozen=True, omit_defaults=True):
    """One subscription. `address`: where it is found from outside, for the callbacks of its webhook."""

    terms: Terms
    created_at: int
    address: str
    base: Cursor
    links: dict[str, Link] = {}
    generation: int = 0
    wake: Wake | None = None
    failures: int = 0
    next_attempt_at: int | None = None

    # ---- what it is -----------------------------------------------------------------------------------------

    @property
    def status(self) -> Literal["active", "failed"]:
        """Failed from a delivery that failed until one succeeds."""
        return "failed" if self.failures else "active"

    @property
    def is_idle(self) -> bool:
        """Whether a publish can wake it: no wake is in flight, and no failure is waited for."""
        return self.wake is None and self.next_attempt_at is None

    @property
    def due_at(self) -> int | None:
        """When something is to be done about it, whatever is published; None: never."""
        if self.next_attempt_at is not None:
            return self.next_attempt_at
        return None if self.wake is None else self.wake.until

    def is_free(self, now: int) -> bool:
        """Whether it may be woken: idle, or its wake's lease is over, and no retry is waiting for its time."""
        if self.next_attempt_at is not None:
            return self.wake is None and self.next_attempt_at <= now
        return self.wake is None or self.wake.is_over(now)

    def is_to_be_sent_again(self, now: int) -> bool:
        """Whether the time has come for the retry of a wake."""
        return self.wake is not None and self.next_attempt_at is not None and self.next_attempt_at <= now

    @property
    def named(self) -> tuple[str, ...]:
        """The streams that were named one by one."""
        return tuple(path for path, link in self.links.items() if link.explicit)

    def globs(self, path: str) -> bool:
        """Whether the pattern includes a stream. Its own wake stream never: each wake would cause the next."""
        pattern = self.terms.pattern
        return pattern is not None and path != self.terms.wake_stream and bool(matcher(pattern)(path))

    @property
    def topics(self) -> tuple[str, ...]:
        """The pattern and the streams: what it is woken by."""
        return self.named if self.terms.pattern is None else (self.terms.pattern, *self.named)

    def acked(self, path: str, tail: Cursor, *, fresh: bool) -> Cursor | None:
        """How far a stream is acknowledged that stands at `tail`; None: not at all, for it was not there before.

        `fresh`: nothing is known to have stood in it before `base`.
        """
        link = self.links.get(path)
        if link is not None:
            return link.acked
        if tail.position <= self.base.position:
            return tail
        return None if fresh else self.base

    # ---- what becomes of it -----------------------------------------------------------------------------------

    def woken(self, wake: Wake) -> Subscription:
        """A new wake is in flight."""
        return replace(self, generation=self.generation + 1, wake=wake, next_attempt_at=None)

    def held(self, until: int, holder: str | None = None) -> Subscription:
        """Somebody works on the wake, and may until then."""
        assert self.wake is not None, "only a wake can be held"
        wake = Wake(self.wake.id, until, holder or self.wake.holder)
        return replace(self, wake=wake, failures=0, next_attempt_at=None)

    def sent_again(self, until: int) -> Subscription:
        """The wake is on its way to the webhook once more."""
        assert self.wake is not None, "only a wake can be sent"
        return replace(self, wake=Wake(self.wake.id, until), next_attempt_at=None)

    def failed(self, again_at: int) -> Subscription:
        """Its wake did not arrive, or could not be told of; the same is tried again later."""
        wake = None if self.wake is None else Wake(self.wake.id)
        return replace(self, wake=wake, failures=self.failures + 1, next_attempt_at=again_at)

    def lapsed(self) -> Subscription:
        """Its wake's lease is over, and nobody has said what became of it."""
        return replace(self, wake=None, next_attempt_at=None)

    def idle(self) -> Subscription:
        """Whoever had its wake has come to an end with it."""
        return replace(self, wake=None, failures=0, next_attempt_at=None)

    def acknowledged(self, acks: Mapping[str, Cursor]) -> Subscription:
        """These streams are done up to there. Streams that it has nothing to do with any more are passed over."""
        links = dict(self.links)
        for path, place in acks.items():
            link = links.get(path)
            if link is not None or self.globs(path):
                links[path] = Link(place, explicit=link is not None and link.explicit)
        return replace(self, links=links)

    def level(self, place: Cursor) -> Subscription:
        """Up to that place of the log nothing is pending in any stream of the pattern."""
        base = max(self.base, place)
        links = {path: link for path, link in self.links.items() if link.explicit or _beyond(link.acked, base)}
        return replace(self, base=base, links=links)

    def pruned(self, existing: Collection[str]) -> Subscription:
        """Without the links of those of the pattern's streams that have been deleted."""
        links = {path: link for path, link in self.links.items() if link.explicit or path in existing}
        return self if len(links) == len(self.links) else replace(self, links=links)

    def linked(self, places: Mapping[str, Cursor | None]) -> Subscription:
        """These streams are named, too, and acknowledged so far."""
        return replace(self, links=self.links | {path: Link(acked, explicit=True) for path, acked in places.items()})

    def unlinked(self, path: str) -> Subscription:
        """A stream is no longer named; it stays if the pattern matches it."""
        link = self.links.get(path)
        if link is None or not link.explicit:
            return self
        links = {other: kept for other, kept in self.links.items() if other != path}
        if self.globs(path):
            links[path] = Link(link.acked)
        return replace(self, links=links)


def is_pending(acked: Cursor | None, tail: Cursor) -> bool:
    """Whether a stream at `tail` has more than was acknowledged.

    Positions are never reused, so those of one epoch compare. Beyond the end of an earlier epoch nothing is known of
    what was acknowledged: there any other place may hold something new.
    """
    if acked is None:
        return tail.position > 0
    if acked.epoch == tail.epoch or acked.position <= tail.position:
        return tail.position > acked.position
    return True


def _beyond(acked: Cursor | None, base: Cursor) -> bool:
    return acked is None or acked > base


def covers(granted: str, asked: str) -> bool:
    """Whether every topic that `asked` matches is matched by `granted`, too. Sure of a yes; a no may err."""
    if not is_pattern(asked):
        return bool(matcher(granted)(asked))
    return _covers(granted.split("/"), asked.split("/"))


def _covers(granted: list[str], asked: list[str]) -> bool:
    """By a table over both lists of segments: whether what follows in one is covered by what follows in the other."""
    rest = [at == len(asked) for at in range(len(asked) + 1)]
    for segment in reversed(granted):
        if segment == "**":
            found = [any(rest[at:]) for at in range(len(asked) + 1)]
        else:
            found = [
                at < len(asked) and rest[at + 1] and asked[at] != "**" and segment in ("*", asked[at])
                for at in range(len(asked) + 1)
            ]
        rest = found
    return rest[0]
