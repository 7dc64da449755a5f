"""Write the parts of docs/reference that the code knows: settings, errors and the Python face (`make docs`)."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, is_typeddict

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


PYTHON = """\
# Python

What these modules export is public; everything else may change tomorrow. Types are complete (`py.typed`).
"""

PUBLIC = ("tailrace", "tailrace.fastapi", "tailrace.starlette", "tailrace.client", "tailrace.testing")
_PATH = re.compile(r"\b(?:tailrace|collections\.abc|datetime|typing|asyncio|contextlib)\.(?:\w+\.)*(?=\w)")


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


def python_page() -> str:
    """docs/reference/python.md: every public name, with what its docstring says."""
    return PYTHON + "".join(_module(name) for name in PUBLIC)


def public_names(module: str) -> dict[str, Any]:
    """What a module exports, but for what another public module before it does."""
    found = import_module(module)
    names = getattr(found, "__all__", None) or [
        name
        for name, one in vars(found).items()
        if not name.startswith("_") and getattr(one, "__module__", "") == module
    ]
    earlier = {id(one) for name in PUBLIC[: PUBLIC.index(module)] for one in public_names(name).values()}
    return {name: one for name in sorted(names) if id(one := getattr(found, name)) not in earlier}


def members(owner: type) -> Iterator[tuple[str, Any]]:
    """The public methods and properties of a class, its own and those of bases of ours."""
    seen: set[str] = set()
    for base in owner.__mro__:
        if not base.__module__.startswith("tailrace"):
            continue
        for name, member in vars(base).items():
            shown = isinstance(member, property | classmethod | staticmethod) or inspect.isfunction(member)
            if shown and not name.startswith("_") and name not in seen:
                seen.add(name)
                yield name, member


def _module(name: str) -> str:
    about = (import_module(name).__doc__ or "").strip()
    names = public_names(name).items()
    return f"\n## {name}\n\n{_text(about)}\n" + "".join(_name(one, what) for one, what in names)


def _name(name: str, what: Any) -> str:
    if not inspect.isclass(what):
        if not callable(what) or not hasattr(what, "__name__"):
            return f"\n### {name}\n\n`{_PATH.sub('', str(what))}`\n"
        return f"\n### {name}\n\n{_signature(name, what)}\n\n{_text(inspect.getdoc(what) or '')}\n"
    head = f"\n### {name}\n\n"
    if not is_typeddict(what) and not issubclass(what, Exception):
        head += f"{_signature(name, what)}\n\n"
    text = head + _text(inspect.getdoc(what) or "") + "\n"
    if is_typeddict(what):
        return text
    for member_name, member in members(what):
        function = getattr(member, "fget", None) or getattr(member, "__func__", member)
        doc = _text(inspect.getdoc(member) or "")
        shown = f"`{member_name}`" if isinstance(member, property) else _signature(member_name, function)
        text += f"\n#### {name}.{member_name}\n\n{shown}\n\n{doc}\n"
    return text


class _Annotation:
    """A type as it is written."""

    def __init__(self, written: Any) -> None:
        written = getattr(written, "__forward_arg__", written)
        self._text = written if isinstance(written, str) else inspect.formatannotation(written)

    def __repr__(self) -> str:
        return _PATH.sub("", self._text)


def _written(parameter: inspect.Parameter) -> inspect.Parameter:
    """A parameter as it is written."""
    if parameter.annotation is not parameter.empty:
        parameter = parameter.replace(annotation=_Annotation(parameter.annotation))
    if inspect.isfunction(parameter.default):
        parameter = parameter.replace(default=_Annotation(parameter.default.__name__))
    return parameter


def _signature(name: str, what: Any) -> str:
    try:
        signature = inspect.signature(what)
    except ValueError:
        return f"`{name}`"
    shown = [_written(one) for one in signature.parameters.values() if one.name not in ("self", "cls")]
    result = signature.return_annotation
    result = result if result is signature.empty else _Annotation(result)
    text = str(signature.replace(parameters=shown, return_annotation=result))
    begin = "async " if inspect.iscoroutinefunction(what) else ""
    return f"`{begin}{name}{text}`"


def _text(doc: str) -> str:
    """A docstring as Markdown: what is indented is code."""
    lines: list[str] = []
    code = False
    for line in inspect.cleandoc(doc).splitlines():
        indented = line.startswith("    ")
        if line.strip() and indented != code:
            lines.append("```python" if indented else "```")
            code = indented
        lines.append(line[4:] if indented else line)
    if code:
        lines.append("```")
    return re.sub(r"\n\n```\n(?=\S)", "\n```\n\n", "\n".join(lines))


def pages() -> dict[str, str]:
    """Every generated page by its name."""
    return {"settings.md": settings_page(), "errors.md": errors_page(), "python.md": python_page()}


def _below(error: type[TailraceError]) -> set[type[TailraceError]]:
    return {error}.union(*(_below(one) for one in error.__subclasses__()))


def _shown(default: object) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    return "none" if default == () else f"{default:,}" if isinstance(default, int) and default > 9_999 else str(default)


if __name__ == "__main__":
    for name, text in pages().items():
        (REFERENCE / name).write_text(text)
