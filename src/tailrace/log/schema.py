"""In which format a store keeps its log. Formats are numbered; opening a store brings an older one up to date."""

from __future__ import annotations

from typing import NamedTuple


class Schema(NamedTuple):
    """The format found, and the newest this program knows; `found` is 0 if there is no log yet.

    `steps` say what bringing it up to date does, a sentence each.
    """

    found: int
    known: int
    steps: tuple[str, ...] = ()
