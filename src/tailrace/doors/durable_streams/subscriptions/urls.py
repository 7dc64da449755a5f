"""Where a webhook may be: what keeps a subscription from being a way into the server's own network.

Two checks. When a subscription is made, its URL must be `https`, and its host neither an address of a private, local or
otherwise special network nor a name of this machine; `http` is for development, to `localhost` and `127.*` alone. When
a wake is sent, the name is resolved, every address it has must be public, and the connection goes to the address that
was looked at, not to the name again: a name that is bound to another address between the two (DNS rebinding) gains
nothing. TLS is checked against the name all the same. Redirects are not followed.

Not prevented: a public address that a router or proxy outside leads back inside, and, with `http` to this machine,
reaching a service that listens there on any port. Who may manage subscriptions may cause such requests; the server's
grants decide who that is.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

from tailrace.doors.durable_streams.subscriptions.refusals import SubscriptionRefused

URL_CHARACTERS_MAX: Final = 2_048
"""The longest URL of a webhook."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a host and port. Raises OSError."""


class Target(NamedTuple):
    """Where a request goes: the URL with an address in it, and the name for `Host` and TLS."""

    url: str
    host: str
    name: str


def check_url(text: str) -> str:
    """Answer the URL of a webhook if it may be called. Raises SubscriptionRefused (WEBHOOK_URL_REJECTED)."""
    parts = _split(text)
    host, number = parts.hostname or "", _literal(parts.hostname or "")
    if parts.scheme == "http":
        if not is_development(host):
            raise _rejected("http is for webhooks on localhost or 127.*: use https.")
    elif parts.scheme != "https":
        raise _rejected("a webhook's URL starts with https://.")
    elif host.rstrip(".") == "localhost" or host.rstrip(".").endswith(".localhost"):
        raise _rejected("a webhook on localhost is called by http.")
    elif number is not None and not is_public(number):
        raise _rejected(f"{host} is an address of a private or special network.")
    return text


def is_development(host: str) -> bool:
    """Whether a host is this machine, in one of the two ways in which that may be said."""
    number = _literal(host)
    return host == "localhost" or (isinstance(number, ipaddress.IPv4Address) and str(number).startswith("127."))


def is_public(address: Address) -> bool:
    """Whether an address is one of the public Internet, and leads to no other that is written inside it."""
    if isinstance(address, ipaddress.IPv6Address):
        inside = address.ipv4_mapped or address.sixtofour or (address.teredo and address.teredo[1])
        if inside or address in _NAT64 or address in _COMPATIBLE:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


async def target_of(url: str, resolve: Resolve) -> Target:
    """Where to send a request now. Raises SubscriptionRefused, or OSError if the name has no address."""
    parts = _split(check_url(url))
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    number = _literal(host)
    found = [number] if number is not None else [ipaddress.ip_address(text) for text in await resolve(host, port)]
    if not found:
        raise OSError(f"{host} has no address")
    local = parts.scheme == "http"
    bad = [address for address in found if not (address.is_loopback if local else is_public(address))]
    if bad:
        raise _rejected(f"{host} leads to {bad[0]}, an address of a private or special network.")
    address = found[0]
    place = f"[{address}]:{port}" if isinstance(address, ipaddress.IPv6Address) else f"{address}:{port}"
    return Target(parts._replace(netloc=place, fragment="").geturl(), parts.netloc, host)


async def resolve_by_system(host: str, port: int) -> Sequence[str]:
    """By the system's resolver, in a thread."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]).partition("%")[0] for *_, address in found]


_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_COMPATIBLE: Final = ipaddress.ip_network("::/96")
"""IPv6 addresses that stand for one of IPv4 (RFC 6052, RFC 4291 section 2.5.5.1)."""


def _split(text: str) -> SplitResult:
    if len(text) > URL_CHARACTERS_MAX or not text.isascii() or not text.isprintable() or set(text) & set(" \\"):
        raise _rejected(
            f"a URL has at most {URL_CHARACTERS_MAX} printable ASCII characters, no space and no backslash."
        )
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise _rejected(f"it is no URL: {error}.") from None
    if not parts.hostname or port == 0:
        raise _rejected("it names no host.")
    if parts.username is not None or parts.password is not None:
        raise _rejected("a name and password in a URL would be shown to everybody who may read the subscription.")
    return parts


def _literal(host: str) -> Address | None:
    """The address that a host is, in any of the ways in which a resolver understands one (`127.1`, `0x7f000001`)."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host.rstrip(".")))
    except (OSError, ValueError):
        return None


def _rejected(sentence: str) -> SubscriptionRefused:
    return SubscriptionRefused("WEBHOOK_URL_REJECTED", f"This webhook cannot be called: {sentence}")
