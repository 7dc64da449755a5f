"""Functions that tell their own progress: each call is a piece of work.

    @log.tracked("imports/{number}", stages=["read", "store"])
    async def import_rows(number: int) -> int:
        await current_work().stage("read")
        ...

The topic is formatted with the call's arguments. What the function returns is the work's result.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from tailrace.errors import InvalidTopic, NotOpen
from tailrace.work.work import ThreadWork, Work

_current: ContextVar[Work | ThreadWork | None] = ContextVar("tailrace_work", default=None)


def current_work() -> Any:
    """The work that the running function is told as: `Work` in a coroutine, `ThreadWork` in a plain function.

    Raises NotOpen outside of a tracked function. Threads that it starts by itself do not know: hand them the work.
    """
    work = _current.get()
    if work is None:
        raise NotOpen(
            "No tracked function runs here: decorate it with @log.tracked(…), or use `async with log.work(…)`"
        )
    return work


@contextmanager
def as_current(work: Work | ThreadWork) -> Iterator[None]:
    """Make `work` the current one inside the block."""
    token = _current.set(work)
    try:
        yield
    finally:
        _current.reset(token)


class Template:
    """A topic with the names of a function's parameters in braces. Raises InvalidTopic for a name it does not have."""

    def __init__(self, topic: str, function: Callable[..., Any]) -> None:
        self._topic = topic
        self._signature = inspect.signature(function)
        known = dict.fromkeys(self._signature.parameters, "x")
        try:
            topic.format(**known)
        except (KeyError, IndexError, ValueError, AttributeError) as error:
            raise InvalidTopic(
                f"{topic!r} cannot be filled in from {function.__name__}{self._signature}: {error}."
            ) from None

    def topic(self, *args: Any, **kwargs: Any) -> str:
        """The topic of one call. Raises TypeError for arguments that the function does not take."""
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return self._topic.format(**bound.arguments)


def named(name: str | None, function: Callable[..., Any]) -> str:
    """What the work is called: as said, or as the function is."""
    return name or function.__name__.replace("_", " ")
