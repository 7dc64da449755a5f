"""Every error Tailrace raises on purpose: a stable code, a sentence, an HTTP status, and whether to try again.

The tree:

    TailraceError
    ├── BadInput (400)         the request cannot be understood: InvalidTopic, InvalidPattern, InvalidCursor, …
    ├── Refused                understood, and not done: TopicClosed, ConditionFailed, StaleProducer, Forbidden, …
    └── Unavailable (5xx)      not now: StoreFull, StoreLocked, StoreCorrupt, Draining

A class's docstring is its default sentence, so no error exists without one. `extra` holds what a program may
want to act on (the position, the line, the nearest name); doors print it beside the sentence. Doors translate in
one place (`doors/native/problem.py`); nothing else maps errors to HTTP.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar


class TailraceError(Exception):
    """Something went wrong."""

    code: str = "error"
    status: int = 500
    retry: ClassVar[bool] = False

    def __init__(self, sentence: str = "", **extra: object) -> None:
        super().__init__(sentence or (type(self).__doc__ or "").strip())
        self.extra = extra

    @property
    def sentence(self) -> str:
        """What is wrong, and what to do."""
        return str(self.args[0])


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a sentence that helps with a misspelt name: " Did you mean 'x'?", or the known names."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else f" Known: {', '.join(names)}."


# ---- the request cannot be understood ---------------------------------------------------------------------


class BadInput(TailraceError):
    """The request is not valid."""

    code = "bad_request"
    status = 400


class InvalidTopic(BadInput):
    """That is not a topic name."""

    code = "invalid_topic"


class InvalidPattern(BadInput):
    """That is not a topic pattern."""

    code = "invalid_pattern"


class InvalidCursor(BadInput):
    """That is not a cursor: cursors look like 1-42, and are best copied from an event's id."""

    code = "invalid_cursor"


class InvalidEvent(BadInput):
    """That is not a valid event."""

    code = "invalid_event"


class InvalidFilter(BadInput):
    """That filter does not parse."""

    code = "invalid_filter"


class InvalidJson(BadInput):
    """That is not JSON."""

    code = "invalid_json"


class InvalidParameter(BadInput):
    """A parameter has a value that it cannot have."""

    code = "invalid_parameter"


class UnknownParameter(BadInput):
    """There is no parameter of that name."""

    code = "unknown_parameter"


class InvalidConfig(BadInput):
    """That topic configuration is not valid."""

    code = "invalid_config"
    status = 422


class Unsupported(BadInput):
    """This log cannot do that."""

    code = "unsupported"
    status = 422


class TooLarge(BadInput):
    """The request body is larger than this server accepts."""

    code = "too_large"
    status = 413


class UnsupportedMediaType(BadInput):
    """That Content-Type cannot be published here."""

    code = "unsupported_media_type"
    status = 415


# ---- understood, and not done -----------------------------------------------------------------------------


class Refused(TailraceError):
    """Understood, and not done."""

    code = "refused"
    status = 409


class Unauthorized(Refused):
    """This needs an API key: send it as 'Authorization: Bearer <key>'."""

    code = "unauthorized"
    status = 401


class Forbidden(Refused):
    """This key may not do that."""

    code = "forbidden"
    status = 403


class NotFound(Refused):
    """There is nothing at this address."""

    code = "not_found"
    status = 404


class MethodNotAllowed(Refused):
    """This address does not answer that method."""

    code = "method_not_allowed"
    status = 405


class NotAcceptable(Refused):
    """The answer cannot have the content coding that was asked for."""

    code = "not_acceptable"
    status = 406


class TopicNotFound(Refused):
    """There is no such topic."""

    code = "topic_not_found"
    status = 404


class TopicGone(Refused):
    """The topic was deleted, and lives on in the topics that were forked from it."""

    code = "topic_gone"
    status = 410


class TopicExists(Refused):
    """The topic exists with another configuration."""

    code = "topic_exists"


class TopicClosed(Refused):
    """The topic is closed: it can be read, and takes no more events."""

    code = "topic_closed"


class ContentTypeConflict(Refused):
    """The topic holds data of another media type."""

    code = "content_type_conflict"


class SequenceConflict(Refused):
    """The publisher's own sequence does not rise: something was published after it, or it was published before."""

    code = "sequence_conflict"


class InvalidFork(Refused):
    """A topic cannot be forked there."""

    code = "invalid_fork"
    status = 400


class ConditionFailed(Refused):
    """An event that the append condition rules out has been stored."""

    code = "condition_failed"


class ConditionUnknowable(Refused):
    """Events that the append condition asks about have been removed, so it cannot be judged: read again first."""

    code = "condition_unknowable"


class StaleProducer(Refused):
    """A newer instance of this producer has taken over (its epoch is higher)."""

    code = "stale_producer"


class ProducerGap(Refused):
    """The producer's sequence skips numbers: send the missing ones first."""

    code = "producer_gap"


# ---- not now ----------------------------------------------------------------------------------------------


class Unavailable(TailraceError):
    """Not now: try again in a moment."""

    code = "unavailable"
    status = 503
    retry = True


class Overloaded(Unavailable):
    """More is waiting to be stored than this server holds: try again in a moment."""

    code = "overloaded"


class Draining(Unavailable):
    """This server is shutting down: try again, another or the next one will answer."""

    code = "draining"


class StoreFull(Unavailable):
    """The disk is full: reading goes on, and publishing resumes by itself when there is room."""

    code = "store_full"
    status = 507


class StoreLocked(Unavailable):
    """Another process holds the store."""

    code = "store_locked"


class StoreCorrupt(Unavailable):
    """The store is damaged."""

    code = "store_corrupt"
    retry = False


class StoreUnusable(TailraceError):
    """The store cannot be opened; nothing in it was changed."""

    code = "store_unusable"


class CopyFailed(TailraceError):
    """The copy of a log is not finished."""

    code = "copy_failed"


class StoreClosed(Unavailable):
    """The store has been closed."""

    code = "store_closed"


class NotOpen(TailraceError):
    """The log is not open: use it inside `async with log:`, or give the application its lifespan."""

    code = "not_open"


class WrongLoop(TailraceError):
    """The log belongs to another event loop."""

    code = "wrong_loop"


class ConfigError(TailraceError):
    """The configuration is not valid."""

    code = "config"
