"""Write the parts of docs/reference that the code knows: settings and errors (`make docs`)."""

from __future__ import annotations

from pathlib import Path

from tailrace.errors import BadInput, Refused, TailraceError, Unavailable
from tailrace.server.config import settings

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"

SETTINGS = """\
# Settings

A setting is given by a flag of `tailrace serve` (the first five), by an environment variable
(`TAILRACE_PORT`, `TAILRACE_LOG__PAGE_EVENTS`: two underscores for the dot), or in a file: `tailrace.toml` in the
current folder, or the one that `--config` names. They win in this order. An unknown name is an error. Lists in an
environment variable are comma-separated, or JSON.

| setting | default | what it does |
|---|---|---|
"""

ERRORS = """\
# Errors

Every error that Tailrace answers is a problem document (RFC 9457, `application/problem+json`) with a stable `code`, a
sentence in `detail` that says what to do, and `retry`: whether the same request can work later. Some carry more, such
as the `line`, the `parameter`, or a `position`.

To a reader whose `Accept` is exactly `text/event-stream` (a browser's `EventSource`) an error is a stream that ends
with `tailrace.end`, whose `reason` is the code.

| code | status | retry | what it means |
|---|---|---|---|
"""


def settings_page() -> str:
    """docs/reference/settings.md."""
    rows = [f"| `{one.name}` | `{_shown(one.default)}` | {one.text} |\n" for one in settings()]
    return SETTINGS + "".join(rows)


def errors_page() -> str:
    """docs/reference/errors.md: every error that is not only the name of a family."""
    families = {TailraceError, Refused, BadInput, Unavailable}
    rows = [
        f"| `{error.code}` | {error.status} | {'yes' if error.retry else 'no'} | {(error.__doc__ or '').strip()} |\n"
        for error in sorted(_below(TailraceError), key=lambda one: (one.status, one.code))
        if error not in families and error.__module__ == "tailrace.errors"
    ]
    return ERRORS + "".join(rows)


def pages() -> dict[str, str]:
    """Every generated page by its name."""
    return {"settings.md": settings_page(), "errors.md": errors_page()}


def _below(error: type[TailraceError]) -> set[type[TailraceError]]:
    return {error}.union(*(_below(one) for one in error.__subclasses__()))


def _shown(default: object) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    return "none" if default == () else f"{default:,}" if isinstance(default, int) and default > 9_999 else str(default)


if __name__ == "__main__":
    for name, text in pages().items():
        (REFERENCE / name).write_text(text)
