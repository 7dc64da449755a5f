"""How a lineage is fetched from the file, and the statement that reads what it shows: an arm for each of its topics."""

from __future__ import annotations

from functools import cache
from typing import Final

import msgspec

from tailrace.stores.sqlite.connection import Connection, Value
from tailrace.stores.sqlite.statements import SQL
from tailrace.stores.tables.lineage import Ancestor, Lineage
from tailrace.stores.tables.pages import END

_ancestors_decoder: Final = msgspec.json.Decoder(list[Ancestor])


def lineage_of(connection: Connection, id_: int) -> Lineage | None:
    """The lineage of a fork; None if it has been deleted since."""
    found = connection.json(_ancestors_decoder, SQL["lineage"], {"id": id_, "end": END})
    return Lineage(found) if len(found) > 1 else None


def inherited(
    lineage: Lineage, after: int, before: int, *, backwards: bool
) -> tuple[str, dict[str, Value], int | None]:
    """The statement that answers the rows between two positions, with its parameters; and how far it looks, if there
    are so many topics that it does not look at all of them.
    """
    shown, bound = lineage.shown(after, before, backwards=backwards)
    count = rounded(len(shown))
    parameters: dict[str, Value] = {"ids": msgspec.json.encode(list(lineage.names)).decode()}
    for index in range(count):
        ancestor = shown[index] if index < len(shown) else None
        parameters[f"id{index}"] = ancestor and ancestor.id
        parameters[f"before{index}"] = ancestor and min(before, ancestor.upto + 1 if ancestor.upto < END else END)
    return arms("inherited", count), parameters, bound


def rounded(count: int) -> int:
    """A number of topics, rounded up, so that there are few different statements."""
    return 1 << max(0, count - 1).bit_length()


@cache
def arms(statement: str, count: int) -> str:
    """The same statement for so many topics, joined."""
    return "\nUNION ALL\n".join([SQL[statement].replace("{n}", str(index)) for index in range(count)])
