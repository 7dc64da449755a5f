"""`/docs`: the OpenAPI document as one page that needs no script and nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from html import escape
from typing import Final

from tailrace.doors.asgi import Call
from tailrace.doors.describe.openapi import document
from tailrace.doors.describe.schemas import PARAMETERS, SCHEMAS, Schema

_POLICY = (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'")
_METHODS: Final = ("get", "post", "query", "put", "patch", "delete")
_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5d6877; --line: #dfe4ea; --back: #fff; --code: #f4f6f8;
  --accent: #0b6e69; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e9ef; --soft: #98a4b3; --line: #2c3540; --back: #11161c;
  --code: #1a212a; --accent: #57c4bc; } }
body { margin: 0 auto; max-width: 54rem; padding: 2rem 1.25rem 5rem; font: 16px/1.55 system-ui, sans-serif;
  color: var(--ink); background: var(--back); }
h1 { margin: 0; } h2 { margin: 3rem 0 .5rem; text-transform: capitalize; }
section { border-top: 1px solid var(--line); padding: 1.1rem 0 .6rem; }
h3 { margin: 0 0 .3rem; font: 600 1rem/1.4 ui-monospace, monospace; overflow-wrap: anywhere; }
h3 b { color: var(--accent); display: inline-block; min-width: 4.2em; }
p { margin: .3rem 0; } .soft { color: var(--soft); }
table { border-collapse: collapse; width: 100%; margin: .6rem 0; font-size: .92rem; }
td { border-top: 1px solid var(--line); padding: .3rem .8rem .3rem 0; vertical-align: top; }
td:first-child { white-space: nowrap; } code, pre { font: .9em ui-monospace, monospace; background: var(--code);
  border-radius: 4px; padding: .1em .3em; } pre { padding: .8rem 1rem; overflow-x: auto; } a { color: var(--accent); }
"""
_START: Final = """\
curl --json '{"total": 99}' localhost:4437/api/v1/topics/orders/42/events
curl -N 'localhost:4437/api/v1/events/stream?topics=orders/*&amp;from=earliest'"""


async def openapi(call: Call) -> None:
    """The document itself."""
    await call.answer_json(200, document())


async def docs(call: Call) -> None:
    """The page."""
    await call.answer(200, page(), [(b"content-type", b"text/html; charset=utf-8"), _POLICY])


@cache
def page() -> bytes:
    """The whole page."""
    return "".join(_page(document())).encode()


def _page(described: Schema) -> Iterator[str]:
    info, paths = _object(described["info"]), _object(described["paths"])
    yield '<!doctype html><html lang="en"><meta charset="utf-8"><title>Tailrace API</title>'
    yield f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>'
    yield f"<h1>Tailrace</h1><p>{_text(info['summary'])}</p>"
    yield f'<p class="soft">Version {_text(info["version"])} · <a href="openapi.json">openapi.json</a></p>'
    yield f"<pre>{_START}</pre>"
    for tag in ("events", "topics", "operation"):
        yield f"<h2>{tag}</h2>"
        for path, methods in paths.items():
            for method in _METHODS:
                operation = _object(_object(methods).get(method))
                if operation.get("tags") == [tag]:
                    yield from _operation(method, path, operation)
    yield "<h2>Shapes</h2>"
    for name, schema in SCHEMAS.items():
        yield from _shape(name, schema)


def _operation(method: str, path: str, operation: Schema) -> Iterator[str]:
    yield f"<section><h3><b>{method.upper()}</b> {_text(path)}</h3><p>{_text(operation['summary'])}</p>"
    if description := operation.get("description"):
        yield f'<p class="soft">{_text(description)}</p>'
    if parameters := operation.get("parameters"):
        yield "<table>"
        for given in _list(parameters):
            parameter = _object(given)
            if "$ref" in parameter:
                parameter = PARAMETERS[str(parameter["$ref"]).rpartition("/")[2]]
            yield _row(str(parameter["name"]), str(parameter.get("description", "")))
        yield "</table>"
    yield "<table>"
    for status, response in _object(operation["responses"]).items():
        if int(status) < 300:
            content = _object(_object(response).get("content"))
            yield _row(status, f"{_object(response)['description']} {', '.join(content)}")
    errors = ", ".join(status for status in _object(operation["responses"]) if int(status) >= 300)
    if errors:
        yield _row(errors, "A problem: what is wrong, and what to do.")
    yield "</table></section>"


def _shape(name: str, schema: Schema) -> Iterator[str]:
    yield f"<section><h3>{_text(name)}</h3><p>{_text(schema.get('description', ''))}</p><table>"
    for field, given in _object(schema.get("properties")).items():
        yield _row(field, _describe(_object(given)))
    yield "</table></section>"


def _describe(schema: Schema) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(_describe(_object(one)) for one in _list(schema["anyOf"]))
    if "enum" in schema:
        return " · ".join("null" if one is None else str(one) for one in _list(schema["enum"]))
    kind = schema.get("type", "")
    shown = " or ".join(map(str, kind)) if isinstance(kind, list) else str(kind)
    return f"{shown} {schema.get('description', '')}".strip()


def _row(name: str, text: str) -> str:
    return f"<tr><td><code>{_text(name)}</code></td><td>{_text(text)}</td></tr>"


def _text(value: object) -> str:
    """Escaped, with `code` in backticks shown as such."""
    parts = escape(str(value)).split("`")
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))


def _object(value: object) -> Schema:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
