"""The JSON filter (placeholder for the interface)."""

from __future__ import annotations

from tailrace.core.event import Event


class Filter:
    """A compiled filter. `canonical` is its canonical text."""

    canonical: str = ""

    def matches(self, event: Event) -> bool:
        """Whether `event` passes."""
        raise NotImplementedError
