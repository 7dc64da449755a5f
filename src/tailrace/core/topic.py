"""Topics and the patterns that select them.

A topic is a path: at most 32 non-empty segments and 512 UTF-8 bytes, with no `.` or `..` segment, no control
character and none of `, * ? #`. In a pattern `*` stands for one whole segment and `**` for any number, none
included. First segments `$…` are the server's own and `__ds` is reserved; a pattern matches `$…` only if it
starts so itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from tailrace.errors import BadInput, InvalidPattern, InvalidTopic

MAX_SEGMENTS: Final = 32
MAX_BYTES: Final = 512
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029,*?#]")
_FORBIDDEN_IN_PATTERN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029,?#]")


def check_topic(name: str, *, reserved: bool = False) -> str:
    """Answer `name` if it is a topic; `reserved` allows the server's own. Raises InvalidTopic."""
    if (hit := _FORBIDDEN.search(name)) is not None:
        raise InvalidTopic(f"{_short(name)} is not a topic: {hit[0]!r} cannot be part of one.", at=hit.start())
    _check_segments(name, InvalidTopic, "a topic")
    if not reserved and (name.startswith(("$", "__ds/")) or name == "__ds"):
        raise InvalidTopic(f"{_short(name)} is reserved: topics that start with '$' or '__ds' are the server's own.")
    return name


def check_pattern(pattern: str) -> str:
    """Answer `pattern` if it is a topic or a pattern of topics. Raises InvalidPattern."""
    if (hit := _FORBIDDEN_IN_PATTERN.search(pattern)) is not None:
        raise InvalidPattern(f"{_short(pattern)} is not a pattern: {hit[0]!r} cannot be part of one.", at=hit.start())
    _check_segments(pattern, InvalidPattern, "a pattern")
    for segment in pattern.split("/"):
        if "*" in segment and segment not in ("*", "**"):
            raise InvalidPattern(
                f"{_short(pattern)} is not a pattern: '*' (one segment) and '**' (any number) fill whole segments."
            )
    return pattern


def is_pattern(text: str) -> bool:
    return "*" in text


def literal_prefix(pattern: str) -> str:
    """The text every topic of `pattern` starts with: `orders/` of `orders/*`, `orders` of `orders/**`, "" of `**`.

    A store uses it to look at the few names that can match. `orders/**` also matches `orders` itself, so its
    prefix has no final slash.
    """
    before, star, _ = pattern.partition("*")
    if not star:
        return pattern
    return before.rstrip("/") if pattern[len(before) :].startswith("**") else before


def name_range(pattern: str) -> tuple[str, str | None]:
    """The topics that `pattern` can select lie between two names, by code point: from the first, and up to but without
    the second (None: to the end).
    """
    low = literal_prefix(pattern)
    if not is_pattern(pattern):
        return low, low + "\x01"  # no topic holds a control character
    stem = low.rstrip("\U0010ffff")
    if not stem:
        return low, None
    following = ord(stem[-1]) + 1
    return low, stem[:-1] + chr(0xE000 if following == 0xD800 else following)  # there are no characters in between


@lru_cache(maxsize=4096)
def matcher(pattern: str) -> Callable[[str], object]:
    """A function that answers something true of a topic that `pattern` selects."""
    if not is_pattern(pattern):
        return pattern.__eq__
    match = re.compile(_regex(pattern)).fullmatch
    return lambda topic: match("/" + topic)


def _regex(pattern: str) -> str:
    """The pattern over "/" + topic, so that every segment brings its own slash.

    What stands between two `**` may match at its first place, for good: a later place cannot help what follows.
    Hence the atomic groups, without which `**/a/**/a/**/a…` would try every way to divide a topic.
    """
    runs: list[list[str]] = [[]]
    for segment in pattern.split("/"):
        if segment == "**":
            runs.append([])
        else:
            runs[-1].append("/[^/]+" if segment == "*" else "/" + re.escape(segment))
    own = "" if pattern.startswith("$") else r"(?!/\$)"
    first, *rest = ("".join(run) for run in runs)
    if not rest:
        return own + first
    *middle, last = rest
    skip = "(?:/[^/]+)*?"
    return own + first + r"(?=/|\Z)" + "".join(rf"(?>{skip}{run}(?=/|\Z))" for run in middle if run) + skip + last


def _check_segments(name: str, error: type[BadInput], what: str) -> None:
    if not name:
        raise error(f"{what.capitalize()} cannot be empty.")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise error(f"{_short(name)} is not {what}: it is not valid Unicode.") from None
    if size > MAX_BYTES:
        raise error(f"{_short(name)} is not {what}: it has {size} bytes, and {MAX_BYTES} are the most.")
    segments = name.split("/")
    if len(segments) > MAX_SEGMENTS:
        raise error(f"{_short(name)} is not {what}: it has {len(segments)} segments, and {MAX_SEGMENTS} are the most.")
    for segment in segments:
        if segment in ("", ".", ".."):
            shown = "an empty segment" if not segment else f"the segment {segment!r}"
            raise error(f"{_short(name)} is not {what}: it has {shown}.")


def _short(name: str) -> str:
    return repr(name if len(name) <= 80 else name[:77] + "…")
