"""What reader and writer share: who is called and how, and what a refusal says.

Whatever a person can mistype is checked here, before the first request: to the transport a wrong address looks like a
server that is down, and would be tried for ever.
"""

from __future__ import annotations

import re
from typing import Final

import httpx2
import msgspec

from tailrace.client.reconnect import Dropped, Refused
from tailrace.errors import InvalidParameter

CONNECT_SECONDS: Final = 10.0
BROKEN: Final = (httpx2.TransportError, httpx2.DecodingError)
"""What the driver raises when a connection cannot be made or breaks."""
_VISIBLE = re.compile(r"[!-~]+")


def open_client(url: str, key: str | None, timeout: httpx2.Timeout) -> httpx2.AsyncClient:
    """A client of the server at `url`. Raises InvalidParameter for an address or a key that cannot be used."""
    return httpx2.AsyncClient(base_url=checked_url(url), headers=credentials(key), timeout=timeout)


def checked_url(url: str) -> httpx2.URL:
    """The address of a server. Raises InvalidParameter."""
    try:
        address = httpx2.URL(url)
    except httpx2.InvalidURL:
        address = httpx2.URL()
    if address.scheme not in ("http", "https") or not address.host:
        raise InvalidParameter(f"{url[:200]!r} is not the address of a server: give one such as http://127.0.0.1:4437.")
    return address


def credentials(key: str | None) -> dict[str, str]:
    """The headers that show an API key. Raises InvalidParameter."""
    if key is not None and not _VISIBLE.fullmatch(key):
        raise InvalidParameter(
            "The API key is empty, or holds a space, a line end or a letter beyond ASCII: give the key alone."
        )
    return {"authorization": f"Bearer {key}"} if key else {}


def dropped(error: Exception) -> Dropped:
    """What became of a connection, in the driver's words."""
    return Dropped(str(error) or type(error).__name__)


def refused(response: httpx2.Response) -> Refused:
    """What a refusal says. Retry-After counts in seconds; as a date it is left to the backoff."""
    after = response.headers.get("retry-after", "")
    return Refused(response.status_code, sentence(response), float(after) if after.isdecimal() else None)


def sentence(response: httpx2.Response) -> str:
    """The sentence of a problem document (RFC 9457), or the status of any other answer."""
    try:
        detail = msgspec.json.decode(response.content, type=dict[str, object]).get("detail")
    except (msgspec.MsgspecError, UnicodeDecodeError):
        detail = None
    return str(detail) if detail else f"The server answered {response.status_code} {response.reason_phrase}".strip()
