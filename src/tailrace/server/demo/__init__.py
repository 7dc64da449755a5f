"""`tailrace demo`: a server, things that really happen, and one page that shows them live."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

from tailrace.errors import ConfigError
from tailrace.server.config import Settings, is_loopback
from tailrace.server.demo.app import demo_site
from tailrace.server.run import Running, listen, serve_until_stopped
from tailrace.server.run import run as run_loop

__all__ = ["run"]

PORTS_TRIED = 20
"""How many ports are tried, from the one that was asked for upwards."""
SWEEP_SECONDS = 60.0
"""How often old ticks are removed, at the latest: a page that is opened late begins with few of them."""


def run(settings: Settings, folder: Path | None = None, store: str | None = None) -> None:
    """Serve the demo until SIGTERM or SIGINT, and say on standard output where it is.

    `folder` is what is watched, and `store` the URL of the log; each is otherwise made for the occasion in a temporary
    folder, and removed at the end (`settings.store` is for `serve`). Raises ConfigError if the demo cannot start.
    """
    if not is_loopback(settings.host):
        raise ConfigError(f"The demo is for this machine only: leave out --host {settings.host}.")
    if folder is not None and not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder: give one that exists, or leave --folder out.")
    with tempfile.TemporaryDirectory(prefix="tailrace-demo-") as temporary:
        watched = folder or Path(temporary, "tailrace-demo")
        watched.mkdir(exist_ok=True)
        url = store or f"sqlite:///{Path(temporary, 'demo.db').as_posix()}"
        chosen = dataclasses.replace(
            settings,
            store=url,
            port=_free_port(settings),
            access=type(settings.access)(),  # the page shows no key
            log=dataclasses.replace(settings.log, sweep_seconds=min(settings.log.sweep_seconds, SWEEP_SECONDS)),
        )
        if chosen.port != settings.port:
            _say(f"Port {settings.port} is in use, so the demo takes {chosen.port}.")
        _say(f"Watching {watched.resolve()}" + ("" if folder else ", a folder made for this demo"))
        _say(f"The log is {url}")
        if folder is None or store is None:
            _say("What was made for the demo is removed when it ends.")
        run_loop(serve_until_stopped(chosen, _announce, demo_site(watched)))


def _announce(running: Running) -> None:
    _say(f"\nOpen {running.url} in a browser. Ctrl+C ends the demo.")


def _free_port(settings: Settings) -> int:
    """The first port from `settings.port` on that nobody listens on. Raises ConfigError if there is none near."""
    for port in range(settings.port, min(settings.port + PORTS_TRIED, 65_536)):
        try:
            listen(dataclasses.replace(settings, port=port)).close()
        except ConfigError:
            continue
        return port
    raise ConfigError(f"Ports {settings.port} to {settings.port + PORTS_TRIED - 1} are in use: give another --port.")


def _say(sentence: str) -> None:
    print(sentence, flush=True)
