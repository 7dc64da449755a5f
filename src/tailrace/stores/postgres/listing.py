"""Which topics there are, and what each of them is."""

from __future__ import annotations

from typing import Final, NamedTuple

from tailrace.core.topic import is_pattern, matcher, name_range
from tailrace.log.store import Fork, TopicInfo
from tailrace.stores.postgres.connection import Connection
from tailrace.stores.postgres.forks import absent
from tailrace.stores.postgres.statements import Statements
from tailrace.stores.postgres.topics import config_of

_LISTED: Final = 1_000
"""Topics that are fetched at a time."""


class Wanted(NamedTuple):
    """Topics that match a pattern, beyond the name `after`, at most so many, whose time is not up by `now`."""

    pattern: str
    after: str
    limit: int
    now: int


async def find(connection: Connection, statements: Statements, topic: str, now: int) -> TopicInfo:
    """A topic whose time is not up, asked for in a transaction. Raises TopicNotFound or TopicGone."""
    found = [] if is_pattern(topic) else await listed(connection, statements, Wanted(topic, "", 1, now))
    if not found:
        raise await absent(connection, statements, topic, now)
    return found[0]


async def listed(connection: Connection, statements: Statements, wanted: Wanted) -> list[TopicInfo]:
    """What is wanted, in order of name."""
    pattern, after, limit, now = wanted
    low, high = name_range(pattern)
    match, most = matcher(pattern), min(limit, _LISTED)
    found: list[TopicInfo] = []
    while True:
        infos = await connection.all(_info, statements["infos"], low, after, high, most, now)
        found += [info for info in infos if match(info.name)]
        if len(found) >= limit or len(infos) < most:
            return found[:limit]
        after = infos[-1].name


def _info(name: str, config: str, *row: int | str | None) -> TopicInfo:
    *columns, source, position, part = row
    fork = None if source is None else Fork(source, position, part)  # type: ignore[arg-type] # as the statement answers
    return TopicInfo(name, config_of(config), *columns, fork)  # type: ignore[arg-type,call-arg] # likewise
