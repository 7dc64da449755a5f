"""What reader and writer share: who is called and how, and what a refusal says.

Whatever a person can mistype is checked here, before the first request: to the transport a wrong address looks like a
server that is down, and would be tried for ever.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Final

import httpx2
import msgspec

from tailrace.client.reconnect import Dropped, Garbled, Refused, Untrusted
from tailrace.errors import InvalidParameter

Token = str | Callable[[], str | Awaitable[str]]
"""An API key or a token, or what gives one for each attempt; a coroutine function will do."""
SyncToken = str | Callable[[], str]
"""The same, where nothing can be awaited."""
CONNECT_SECONDS: Final = 10.0
BROKEN: Final = (httpx2.RequestError,)
"""What the driver raises when a connection cannot be made or breaks."""
_HOPELESS: Final = (httpx2.TooManyRedirects, httpx2.UnsupportedProtocol, httpx2.LocalProtocolError)
"""What of that would be the same at every attempt."""
API: Final = "/api/v1"
"""Where the API is at a server of its own."""
_VISIBLE = re.compile(r"[!-~]+")


class _Problem(msgspec.Struct):
    """What a client acts on in a problem document (RFC 9457)."""

    detail: str | None = None
    code: str | None = None
    retry: bool | None = None


@cache
def trust() -> ssl.SSLContext:
    """The certificates that are trusted: made once, because reading them takes 60 ms."""
    return httpx2.create_ssl_context()


def checked_url(url: str) -> httpx2.URL:
    """The address of a server. Raises InvalidParameter."""
    try:
        address = httpx2.URL(url)
    except httpx2.InvalidURL:
        address = httpx2.URL()
    if address.scheme not in ("http", "https") or not address.host:
        raise InvalidParameter(f"{url[:200]!r} is not the address of a server: give one such as http://127.0.0.1:4437.")
    return address


def api_base(url: str) -> str:
    """Where the API of the server at `url` is, without a final slash. Raises InvalidParameter.

    A server of its own has it at `/api/v1`. An address with a path is that of the API itself, in an app that has
    Tailrace under a prefix.
    """
    address = checked_url(url)
    if address.query or address.fragment:
        raise InvalidParameter(f"{url[:200]!r} has a query or a fragment: give the address of the server alone.")
    path = address.path.rstrip("/")
    return str(address.copy_with(path=path or API))


def credentials(key: str | None) -> dict[str, str]:
    """The headers that show an API key. Raises InvalidParameter."""
    if key is not None and not _VISIBLE.fullmatch(key):
        raise InvalidParameter(
            "The API key is empty, or holds a space, a line end or a letter beyond ASCII: give the key alone."
        )
    return {"authorization": f"Bearer {key}"} if key else {}


def dropped(error: Exception) -> Dropped:
    """What became of a connection, in the driver's words."""
    return Dropped(str(error) or type(error).__name__, isinstance(error, httpx2.ReadTimeout))


def failed(error: Exception, read_seconds: float | None = None) -> Dropped | Garbled | Untrusted:
    """What became of a request: whether it is worth while to try again. `read_seconds` is how long a read may take."""
    if isinstance(error, httpx2.ReadTimeout) and read_seconds is not None:
        return Dropped(f"nothing came for {read_seconds:g} seconds", stalled=True)
    certificate = _certificate_error(error)
    if certificate is not None:
        return Untrusted(
            f"The server's TLS certificate is not trusted: {certificate.verify_message}. Give a client that trusts it "
            "(http=), or the name that the certificate is for."
        )
    if isinstance(error, _HOPELESS):
        return Garbled(f"The request cannot be sent: {str(error) or type(error).__name__}.")
    return dropped(error)


def _certificate_error(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    """The driver wraps it, more than once."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error


def refusal(status: int, phrase: str, headers: Mapping[str, str], body: bytes) -> Refused:
    """What a refusal says: in its problem document (RFC 9457), and in Retry-After."""
    problem = _problem(body)
    said = problem.detail or f"The server answered {status} {phrase}".strip()
    if 300 <= status < 400 and "location" in headers:
        said += f": it is at {headers['location'][:200]}. Give that address."
    after = retry_after(headers.get("retry-after", ""), datetime.now(UTC))
    return Refused(status, said, after, problem.code, problem.retry)


def sentence(response: httpx2.Response) -> str:
    """The sentence of a problem document, or the status of any other answer."""
    return refusal(response.status_code, response.reason_phrase, response.headers, response.content).reason


def retry_after(text: str, now: datetime) -> float | None:
    """Seconds that a Retry-After header asks for (RFC 9110, 10.2.3: seconds, or a date); None if it says nothing."""
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, IndexError, TypeError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())


def _problem(body: bytes) -> _Problem:
    try:
        return msgspec.json.decode(body, type=_Problem)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _Problem()
