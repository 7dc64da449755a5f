"""`tailrace tail`: follow events live, resuming by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tailrace.cli.options import DEFAULT_URL, Json, Key, Url, console, run

if TYPE_CHECKING:
    from rich.console import Console

    from tailrace.client import Missing, Received, State, Subscription


_SHOWN = {code: repr(chr(code))[1:-1] for code in (*range(0x20), *range(0x7F, 0xA0))}
"""Control characters as escapes: an event is one line, and what it says does not command the terminal."""


def tail(  # noqa: PLR0913, PLR0917 - one parameter an option of the command
    patterns: Annotated[list[str] | None, typer.Argument(help="Topics or patterns (default: all).")] = None,
    type_: Annotated[list[str] | None, typer.Option("--type", help="Only this type (repeat for more).")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Only with this tag (repeat for all of them).")] = None,
    filter_: Annotated[
        str | None, typer.Option("--filter", help='A JSON filter: {"path": "/total", "gt": 100}.')
    ] = None,
    start: Annotated[str, typer.Option("--from", help="latest, earliest, a cursor or a time.")] = "latest",
    count: Annotated[int | None, typer.Option("--count", "-n", min=1, help="Stop after so many events.")] = None,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    key: Key = None,
) -> None:
    """Follow events live. Resumes by itself; what is missing is told on stderr."""
    from tailrace.client import Subscription

    said = console()
    run(_tail(Subscription(
        url, *(patterns or ()), types=type_ or (), tags=tag or (), filter=filter_, start=start, token=key,
        on_state=lambda state: _say_state(said, state),
    ), said, count, as_json))  # fmt: skip


async def _tail(subscription: Subscription, said: Console, count: int | None, as_json: bool) -> None:
    from tailrace.client import Received

    shown = 0
    async with subscription:
        async for item in subscription:
            if not isinstance(item, Received):
                _say_missing(said, item)
                continue
            print(_envelope(item) if as_json else _readable(item), flush=True)
            shown += 1
            if shown == count:
                return


def _readable(item: Received) -> str:
    """Time, topic, type if there is one, and the data, on one line."""
    kind = "" if item.type == "message" else f" {item.type}"
    return f"{item.time} {item.topic}{kind} {_compact(item)}".translate(_SHOWN)


def _compact(item: Received) -> str:
    """A JSON text and any other text as it reads, other JSON without spaces, bytes as base64."""
    import base64

    import msgspec

    from tailrace.core.event import is_json, is_text

    if not is_json(item.content_type):
        return item.text if is_text(item.content_type) else base64.b64encode(item.data).decode()
    value = item.json()
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _envelope(item: Received) -> str:
    from tailrace.wire.cloudevents import encode_envelope

    return encode_envelope(item).decode()


def _say_state(said: Console, state: State) -> None:
    if state.name == "waiting":
        said.print(f"{state.reason}; again in {state.seconds:.1f} s", style="yellow", highlight=False, markup=False)
    elif state.name == "ended":
        said.print(f"ended: {state.reason}", style="dim", highlight=False, markup=False)


def _say_missing(said: Console, missing: Missing) -> None:
    where = f" in {', '.join(missing.topics)}" if missing.topics else ""
    said.print(
        f"events between {missing.requested} and {missing.available} are missing{where} ({missing.reason})",
        style="red", highlight=False, markup=False, soft_wrap=True,
    )  # fmt: skip
