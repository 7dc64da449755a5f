"""The connections that ask the same in the same way: one reader of the log, many sockets.

A cohort has no task. It is woken when something may match, and the pump (`pump.py`) then writes it a page. A cohort
that was not woken since it last looked has nothing to read, whatever was published since: it is level with the log,
and its cursor is the log's. So ten thousand quiet cohorts cost a busy topic nothing, and never fall behind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tailrace.core.event import Event
from tailrace.core.position import Cursor
from tailrace.core.selection import Selection
from tailrace.fanout.dialect import Frames, chunk
from tailrace.fanout.member import Member
from tailrace.fanout.window import Window
from tailrace.log.follower import Reading
from tailrace.log.store import Page
from tailrace.wire.deflate import HEADER, stored

if TYPE_CHECKING:
    from tailrace.fanout.fanout import Asked, Fanout

_SPARSE = 8
"""Members that may have left before the list is cleared of them, outside a pass."""


class Cohort:
    """Members that share a selection, a dialect, an encoding and a heartbeat.

    `dirty`: there is something after `reading.cursor` to be looked at. `queued`: the pump has it in hand. While a page
    is being written, `chunk` holds its bytes (`shared` for members in the window), `events` their number, `before` the
    cursor of a member that has not got it, and `at` how many members have. `told`: the last position they know of.
    `begun_at` and `written_at`: when the newest page was begun and given to all, in the loop's time.
    """

    __slots__ = (
        *("asked", "at", "before", "begun_at", "chunk", "dirty", "ends", "events", "fanout", "frames", "joining"),
        *("left", "members", "opens", "queued", "reading", "rests_until", "shared", "told", "told_at", "users"),
        *("window", "written_at"),
    )

    def __init__(self, fanout: Fanout, asked: Asked, frames: Frames) -> None:
        self.fanout = fanout
        self.asked = asked
        self.frames = frames
        self.reading: Reading = Reading(fanout.log.tail.tip, behind=False)
        self.dirty: bool = False
        self.queued: bool = False
        self.chunk: bytes | None = None
        self.before: Cursor = self.reading.cursor
        self.at = 0
        self.events: int = 0
        self.ends = False
        self.window: Window | None = Window() if asked.gzip else None
        self.shared: bytes = b""
        self.opens: bool = False
        self.members: list[Member] = []
        self.joining: list[Member] = []
        self.left: int = 0
        self.users: int = 0
        self.told: int = self.before.position
        self.begun_at: float = 0.0
        self.rests_until: float = 0.0
        self.written_at: float = fanout.now()
        self.told_at: float = self.written_at

    @property
    def selection(self) -> Selection:
        """What its members follow."""
        return self.asked.selection

    @property
    def heartbeat(self) -> float:
        """Seconds of quiet after which its members get a comment."""
        return self.asked.heartbeat

    @property
    def key(self) -> tuple[str, str, float, bool, bool]:
        """What tells it from other cohorts."""
        return self.asked.key

    # ---- the log tells ------------------------------------------------------------------------------------

    def wake(self, previous: Cursor) -> None:
        """Something may match after `previous`; what stood before was told of, and was looked at or is no match."""
        if self.dirty:
            return
        self.dirty = True
        self.reading.cursor = max(self.reading.cursor, previous)  # the store may have shown it more than the tail had
        if not self.queued:
            self.queued = True
            self.fanout.pump.write(self)

    @property
    def position(self) -> Cursor:
        """Up to where its members have been served, the page in hand included."""
        return self.reading.cursor if self.dirty else max(self.reading.cursor, self.fanout.log.tail.tip)

    # ---- members come and go ------------------------------------------------------------------------------

    def join(self, member: Member) -> None:
        """Take in a member that is level with the log: now, or at the end of the page in hand."""
        assert member.place is not None
        if self.queued or member.place.cursor != self.position:
            self.joining.append(member)
        else:
            self.admit(member)

    def admit(self, member: Member) -> bool:
        """Bring a member to the cohort's place, and let it stand there. False if that was too far for one step."""
        place, position = member.place, self.position
        assert place is not None
        if place.cursor != position:
            page = self.fanout.log.tail.after(self.selection, place.cursor, position.position)
            if page is None:
                return False
            self.fanout.pump.late.give(member, page)
            if place.cursor != position or member.paused or member.gone:
                return False
        member.place = None
        member.ready = True
        self.members.append(member)
        return True

    def must_wait(self, member: Member) -> bool:
        """Whether a member that wants to join is ahead of the cohort, or of the tail from which it would be served."""
        assert member.place is not None
        cursor, position = member.place.cursor, self.position
        return cursor > position or (cursor != position and cursor >= self.fanout.log.tail.tip)

    def leave(self, member: Member) -> None:
        """Let a member go that cannot be written now. It has not got the page in hand."""
        member.place = Reading(self.before, behind=False)
        self.left += 1
        self.let_out(member)

    def lose(self, member: Member) -> None:
        """A member's stream is over."""
        self.users -= 1
        self.let_out(member)
        if member.place is None:
            self.left += 1
            if not self.queued and self.left > _SPARSE and 2 * self.left > len(self.members):
                self.compact()

    def let_out(self, member: Member) -> None:
        """From now on it gets pieces of its own, until the next one begins the shared stream anew."""
        if member.inside:
            assert self.window is not None
            member.inside = False
            self.window.inside -= 1

    def compact(self) -> None:
        """Clear the list of those who have left."""
        self.members = [member for member in self.members if member.place is None and not member.gone]
        self.left = 0

    # ---- what is written ----------------------------------------------------------------------------------

    def take(self, page: Page, reading: Reading) -> tuple[Page, bytes]:
        """A page as a reader has it that goes on to its end, and how that is written."""
        was_behind = reading.behind
        page = reading.take(page)
        if self.ends_with(page):
            page = page._replace(events=())
        return page, self.frames.page(page, caught_up=was_behind and not reading.behind)

    def ends_with(self, page: Page) -> bool:
        """Whether its members' streams end where events are missing, and some are."""
        return page.gap is not None and self.frames.dialect.ends_at_gap

    def fill_single(self, event: Event) -> None:
        """Take one event in hand: its chunk is made once for all cohorts."""
        epoch = self.reading.cursor.epoch
        if self.window is not None:
            self.fill(self.frames.single(event, epoch), 1)
        else:
            self.events = 1
            framed = self.frames.single_chunk if self.asked.chunked else self.frames.single
            self.chunk = framed(event, epoch)

    def fill(self, body: bytes, events: int) -> None:
        """Take a piece in hand that all members get."""
        self.events = events
        if self.window is None:
            self.chunk = self.framed(body)
            return
        packed = self.window.pack(body, len(self.members) - self.left)
        self.chunk, self.shared, self.opens = self.framed(packed.alone), self.framed(packed.shared), packed.opens

    def first(self, body: bytes) -> bytes:
        """The first piece of a member's stream, in the cohort's encoding."""
        return first_piece(body, gzip=self.window is not None)

    def alone(self, body: bytes) -> bytes:
        """A piece for one member, in the cohort's encoding."""
        return body if self.window is None or not body else stored(body)

    def framed(self, body: bytes) -> bytes:
        """As a chunk of an HTTP/1.1 body, if the fan-out writes to the socket itself."""
        return chunk(body) if body and self.asked.chunked else body

    @property
    def terminator(self) -> bytes:
        """What ends the response."""
        return b"0\r\n\r\n" if self.asked.chunked else b""


def first_piece(body: bytes, *, gzip: bool) -> bytes:
    """How a stream begins, compressed or not."""
    return HEADER + stored(body) if gzip else body
