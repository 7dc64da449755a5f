"""`tailrace topics`: list them, or create, close and delete one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple, TypeVar
from urllib.parse import quote

import msgspec
import typer

from tailrace.cli.options import DEFAULT_URL, Json, Key, Url

ANSWER_SECONDS = 30.0

topics: typer.Typer = typer.Typer(help="List topics, or create, close and delete one.", invoke_without_command=True)


class _Server(NamedTuple):
    """Where the server is, and the key to it."""

    url: str
    key: str | None


class _Topic(msgspec.Struct):
    """What the table shows of a topic."""

    topic: str
    events: int
    bytes: int
    first: str | None
    last: str | None
    closed: bool


class _Page(msgspec.Struct):
    topics: list[msgspec.Raw]
    next: str | None


_Answer = TypeVar("_Answer", _Topic, _Page)


@topics.callback()
def choose(
    context: typer.Context,
    pattern: Annotated[str, typer.Option(help="Only topics that match.")] = "**",
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    key: Key = None,
) -> None:
    """List topics: events, bytes, first and last cursor."""
    context.obj = server = _Server(url, key)
    if context.invoked_subcommand is None:
        _list_topics(server, pattern, as_json=as_json)


@topics.command("create")
def create_topic(
    context: typer.Context, topic: str, config: Annotated[str, typer.Argument(help="JSON.")] = "{}"
) -> None:
    """Create a topic, with a configuration as JSON."""
    typer.echo(_ask(context.obj, "PUT", f"/{quote(topic)}", content=config.encode()).decode())


@topics.command("close")
def close_topic(context: typer.Context, topic: str) -> None:
    """Close a topic for good: it can be read, and takes no more events."""
    typer.echo(_ask(context.obj, "PATCH", f"/{quote(topic)}", content=b'{"closed": true}').decode())


@topics.command("delete")
def delete_topic(context: typer.Context, topic: str) -> None:
    """Delete a topic and its events."""
    _ask(context.obj, "DELETE", f"/{quote(topic)}")


def _list_topics(server: _Server, pattern: str, *, as_json: bool) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("topic", box=None, pad_edge=False, header_style="dim")
    for name in ("events", "bytes", "first", "last"):
        table.add_column(name, justify="right")
    table.add_column("")
    for described in _all_topics(server, pattern):
        if as_json:
            typer.echo(bytes(described))
        else:
            one = _understood(server, bytes(described), _Topic)
            state = "closed" if one.closed else ""
            table.add_row(
                escape(one.topic), f"{one.events:,}", f"{one.bytes:,}", one.first or "-", one.last or "-", state
            )
    if not as_json:
        Console(soft_wrap=True).print(table)


def _all_topics(server: _Server, pattern: str) -> Iterator[msgspec.Raw]:
    after: str | None = ""
    while after is not None:
        page = _understood(server, _ask(server, "GET", "", params={"pattern": pattern, "after": after}), _Page)
        yield from page.topics
        after = page.next


def _understood(server: _Server, body: bytes, kind: type[_Answer]) -> _Answer:
    """An answer, decoded. Raises NotUnderstood if it is none of ours."""
    from tailrace.client import NotUnderstood

    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise NotUnderstood(f"{server.url} answered without topics: it is no Tailrace server.") from None


def _ask(server: _Server, method: str, path: str, **options: Any) -> bytes:
    """One request about topics. Raises InvalidParameter, Rejected with the server's sentence, or GaveUp."""
    import httpx2

    from tailrace.client import GaveUp, Rejected
    from tailrace.client.http import BROKEN, checked_url, credentials, sentence

    address, headers = checked_url(server.url), credentials(server.key)
    try:
        with httpx2.Client(base_url=address, headers=headers, timeout=ANSWER_SECONDS) as client:
            response = client.request(method, f"/api/v1/topics{path}", **options)
    except BROKEN as error:
        raise GaveUp(f"{server.url} cannot be reached: {error}.") from None
    if response.status_code >= 400:
        raise Rejected(sentence(response))
    return response.content
