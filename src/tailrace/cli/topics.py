"""`tailrace topics`: list them, or create, close and delete one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple
from urllib.parse import quote

import typer

from tailrace.cli.options import DEFAULT_URL, Json, Key, Url

ANSWER_SECONDS = 30.0

topics = typer.Typer(help="List topics, or create, close and delete one.", invoke_without_command=True)


class _Server(NamedTuple):
    """Where the server is, and the key to it."""

    url: str
    key: str | None


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
    import msgspec
    from rich.console import Console
    from rich.table import Table

    table = Table("topic", box=None, pad_edge=False, header_style="dim")
    for name in ("events", "bytes", "first", "last"):
        table.add_column(name, justify="right")
    table.add_column("")
    for topic in _all_topics(server, pattern):
        if as_json:
            typer.echo(msgspec.json.encode(topic).decode())
        else:
            first, last = topic["first"] or "-", topic["last"] or "-"
            state = "closed" if topic["closed"] else ""
            table.add_row(topic["topic"], f"{topic['events']:,}", f"{topic['bytes']:,}", first, last, state)
    if not as_json:
        Console(soft_wrap=True).print(table)


def _all_topics(server: _Server, pattern: str) -> Iterator[dict[str, Any]]:
    import msgspec

    after: str | None = ""
    while after is not None:
        page = msgspec.json.decode(_ask(server, "GET", "", params={"pattern": pattern, "after": after}))
        yield from page["topics"]
        after = page["next"]


def _ask(server: _Server, method: str, path: str, **options: Any) -> bytes:
    """One request about topics. Raises Rejected with the server's sentence, or GaveUp."""
    import httpx2

    from tailrace.client import GaveUp, Rejected
    from tailrace.client.http import sentence

    headers = {"authorization": f"Bearer {server.key}"} if server.key else {}
    try:
        response = httpx2.request(
            method, f"{server.url}/api/v1/topics{path}", headers=headers, timeout=ANSWER_SECONDS, **options
        )
    except (httpx2.TransportError, httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
        raise GaveUp(f"{server.url} cannot be reached: {error}.") from None
    if response.status_code >= 400:
        raise Rejected(sentence(response))
    return response.content
