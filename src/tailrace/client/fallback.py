"""Stream or poll: when a subscription that may do both changes from one to the other. Pure.

Something on the way (a proxy that gathers answers before it passes them on, a firewall that cuts what lasts) can make
streams useless where ordinary requests go through. A stream is **short** if it ended within a second, or if its first
event never came.

    happened, while streaming      then
    a short stream                 the third in a row: poll, and stream again after a minute
    a stream that stood            the count starts anew
    anything else (refused,        nothing: it says nothing about streams
    drained, ended, no connection)

    happened, while polling
    a minute has passed            try a stream
    it was short                   poll, and try again after twice the time
    it stood                       stream
    anything else                  poll, and try again after the same time
    an answer to a poll was cut    try a stream at once: of one that is cut, what came is kept
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final, Literal, assert_never

Transport = Literal["sse", "poll"]
Choice = Literal["auto", "sse", "poll"]
CHOICES: Final = ("auto", "sse", "poll")

SHORT_SECONDS: Final = 1.0
"""A stream that ended sooner was short."""
SHORT_STREAMS: Final = 3
"""So many short streams in a row are enough."""
SSE_AGAIN_SECONDS: Final = 60.0
"""After so long a stream is tried again, and after twice as long each time that it fails."""
SSE_AGAIN_SECONDS_MAX: Final = 3600.0


@dataclass(slots=True)
class Fallback:
    """What a subscription remembers of its streams."""

    choice: Choice = "auto"
    short: int = 0
    again_after: float = field(default_factory=lambda: SSE_AGAIN_SECONDS)
    again_at: float = math.inf
    polling: bool = False

    def transport(self, now: float) -> Transport:
        """What to do now; `now` in seconds, by any clock that does not go back."""
        match self.choice:
            case "sse" | "poll":
                return self.choice
            case "auto":
                return "poll" if self.polling and now < self.again_at else "sse"
            case _:
                assert_never(self.choice)

    def streamed(self, lasted: float | None, now: float) -> None:
        """A stream is over: `lasted` seconds since it opened, 0 if no event came; None if it says nothing."""
        if lasted is None:
            self.again_at = now + self.again_after
        elif lasted >= SHORT_SECONDS:
            self.short, self.polling, self.again_after = 0, False, SSE_AGAIN_SECONDS
        elif self.polling:
            self.again_after = min(2 * self.again_after, SSE_AGAIN_SECONDS_MAX)
            self.again_at = now + self.again_after
        else:
            self.short += 1
            if self.short >= SHORT_STREAMS:
                self.polling, self.again_at = True, now + self.again_after

    def poll_cut(self, now: float) -> None:
        """The answer to a poll broke off."""
        self.again_at, self.again_after = now, SSE_AGAIN_SECONDS
