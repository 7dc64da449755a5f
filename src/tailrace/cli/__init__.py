"""The command line: `tailrace serve | publish | tail | topics | copy | migrate | demo | bench | doctor`.

Each command loads only what it uses, because `serve` has to be ready in half a second. Errors are one sentence on
stderr and exit code 1 (2 for a wrong call, or a setting or store that cannot be used), never a traceback. Results go to
stdout, everything else to stderr.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from tailrace.cli.bench import bench
from tailrace.cli.copy import copy
from tailrace.cli.doctor import doctor
from tailrace.cli.migrate import migrate
from tailrace.cli.options import console
from tailrace.cli.publish import publish
from tailrace.cli.tail import tail
from tailrace.cli.topics import topics
from tailrace.errors import ConfigError, StoreLocked, StoreUnusable, TailraceError

UNUSABLE = 2
"""The exit code if what was asked for cannot be used as it is: the same as for a wrong option."""
INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells have it."""

app: typer.Typer = typer.Typer(
    help="One durable event log, followed live.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(publish)
app.command()(tail)
app.add_typer(topics, name="topics")
app.command()(bench)
app.command()(doctor)
app.command()(copy)
app.command()(migrate)


def main() -> None:
    """Run the command line."""
    try:
        app()
    except TailraceError as error:
        console().print(f"tailrace: {error.sentence}", style="red", highlight=False, markup=False, soft_wrap=True)
        sys.exit(UNUSABLE if isinstance(error, ConfigError | StoreUnusable | StoreLocked) else 1)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _say_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"tailrace {version('tailrace')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Say the version.", is_eager=True, callback=_say_version)
    ] = False,
) -> None:
    """One durable event log, followed live."""


@app.command()
def serve(  # noqa: PLR0913, PLR0917 - one parameter an option, as typer has it
    host: Annotated[str | None, typer.Option(help="The address to listen on (default: 127.0.0.1).")] = None,
    port: Annotated[int | None, typer.Option(help="The port (default: 4437; 0: any).")] = None,
    store: Annotated[
        str | None,
        typer.Option(help="sqlite:///file.db (default: tailrace.db), memory://, postgres://, redis:// or nats://."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(envvar="TAILRACE_CONFIG", help="Settings (default: tailrace.toml, if it is there).")
    ] = None,
    insecure: Annotated[bool | None, typer.Option("--insecure", help="Listen beyond loopback without keys.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that serve the port (default: 1; Linux).")] = None,
    durable_streams_long_poll_seconds: Annotated[
        float | None, typer.Option(help="How long a Durable Streams long-poll waits (default: 30).")
    ] = None,
    durable_streams_faults: Annotated[
        bool | None, typer.Option("--durable-streams-faults", help="Inject faults on request, for client suites.")
    ] = None,
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], typer.Option(case_sensitive=False, help="What is logged.")
    ] = "warning",
) -> None:
    """Serve a log until told to stop."""
    import logging

    from tailrace.server.config import load
    from tailrace.stores.urls import without_password

    logging.basicConfig(level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    flags: dict[str, object] = {
        "host": host,
        "port": port,
        "store": store,
        "insecure": insecure,
        "workers": workers,
        "durable_streams.long_poll_seconds": durable_streams_long_poll_seconds,
        "durable_streams.faults": durable_streams_faults,
    }
    settings = load(flags, os.environ, config)

    def ready(url: str) -> None:
        print(f"Tailrace serves {without_password(settings.store)} at {url}  (API: {url}/docs)", flush=True)

    if settings.workers > 1:
        from tailrace.server.workers import serve_with_workers

        serve_with_workers(settings, ready)
    else:
        from tailrace.server.run import serve as run

        run(settings, lambda running: ready(running.url))


@app.command()
def demo(
    folder: Annotated[Path | None, typer.Option(help="The folder to watch (default: a fresh one).")] = None,
    port: Annotated[int | None, typer.Option(help="The port (default: 4437, or the next that is free).")] = None,
    store: Annotated[str | None, typer.Option(help="Where the log is kept (default: for the demo only).")] = None,
) -> None:
    """A server, and a page that watches real work happen."""
    from tailrace.server.config import load
    from tailrace.server.demo import run as run_demo

    run_demo(load({"port": port}, os.environ), folder, store)
