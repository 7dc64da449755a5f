"""Drafts on their way to a server: one alone in CloudEvents' binary form, several as envelopes on lines. Pure.

The counterpart of `decode_binary` and `decode_structured` in `cloudevents.py`: either way the same event arrives.
Sources: CloudEvents 1.0.2, its JSON format, and its HTTP protocol binding (section 3.1.3.2 for header values).
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

import msgspec

from tailrace.core.event import DEFAULT_TYPE, JSON_TYPE, Draft, Extension, format_time
from tailrace.wire.cloudevents import BATCH_TYPE, STRUCTURED_TYPE, data_out
from tailrace.wire.jsonlines import MEDIA_TYPE

_NOT_DATA: Final = frozenset({
    *(MEDIA_TYPE, STRUCTURED_TYPE, BATCH_TYPE),
    *("application/x-www-form-urlencoded", "multipart/form-data"),
})  # fmt: skip
"""As the type of a request these say how events are written, or are refused: such data travels in an envelope."""
HEADER_BYTES: Final = 4096
"""The most bytes of attributes as headers: servers and proxies refuse large heads, some without a word."""
_SAFE: Final = ",/:"
_encode = msgspec.json.encode


def binary_headers(draft: Draft) -> dict[str, str] | None:
    """A draft's attributes as headers, its data being the body; None if something would be changed by it, or cut off.

    Headers know texts alone, so numbers among the extension attributes need an envelope.
    """
    content_type = draft.content_type or JSON_TYPE
    if content_type.partition(";")[0].strip().lower() in _NOT_DATA:
        return None
    if any(not isinstance(value, str) for value in (draft.extensions or {}).values()):
        return None
    headers = {f"ce-{name}": quote(str(value), safe=_SAFE) for name, value in _attributes(draft).items()}
    headers["content-type"] = content_type
    return headers if sum(map(len, headers.values())) <= HEADER_BYTES else None


def encode_draft(draft: Draft) -> bytes:
    """A draft as an envelope on one line. JSON data must be valid: it stands there as it is."""
    name, data = data_out(draft)
    attributes = _attributes(draft)
    if draft.content_type is not None and draft.content_type != JSON_TYPE:
        attributes["datacontenttype"] = draft.content_type
    if not attributes:
        return b'{"%b":%b}' % (name, data)
    return b'%b,"%b":%b}' % (_encode(attributes)[:-1], name, data)


def _attributes(draft: Draft) -> dict[str, Extension]:
    """What is said of the data; what is left to the log is left out."""
    said: dict[str, Extension | None] = {
        "type": None if draft.type == DEFAULT_TYPE else draft.type,
        "id": draft.id,
        "source": draft.source,
        "time": draft.time,
        "partitionkey": draft.key,
        "tags": ",".join(draft.tags) or None,
        "expirytime": None if draft.expires_at is None else format_time(draft.expires_at),
        **(draft.extensions or {}),
    }
    return {name: value for name, value in said.items() if value is not None}
