"""Carries wakes to webhooks: one signed POST, within its time, and what came of it (PROTOCOL.md section 7.1).

Loaded when the first webhook is called: a server without any need not wait for an HTTP client.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

import httpx2
import msgspec

from tailrace.doors.durable_streams.subscriptions.limits import SubscriptionLimits
from tailrace.doors.durable_streams.subscriptions.refusals import SubscriptionRefused
from tailrace.doors.durable_streams.subscriptions.state import Outcome
from tailrace.doors.durable_streams.subscriptions.urls import Resolve, target_of

logger: logging.Logger = logging.getLogger(__name__)

USER_AGENT: Final = "tailrace"


class _Answer(msgspec.Struct, frozen=True):
    done: bool = False


class Courier:
    """One HTTP client for all webhooks of a process. No proxies and no credentials of the environment are used."""

    def __init__(self, limits: SubscriptionLimits, resolve: Resolve) -> None:
        self._limits = limits
        self._resolve = resolve
        # a connection is to an address, and belongs to no name: it is not kept for another delivery
        keep = httpx2.Limits(max_connections=limits.deliveries, max_keepalive_connections=0)
        self._http = httpx2.AsyncClient(follow_redirects=False, trust_env=False, limits=keep, timeout=None)

    async def deliver(self, url: str, body: bytes, signature: str, seconds: float) -> Outcome:
        """Send a wake. Never raises: what goes wrong is a failure like any other, and is tried again."""
        try:
            async with asyncio.timeout(seconds):
                return await self._post(url, body, signature)
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, TimeoutError, SubscriptionRefused) as error:
            logger.warning("the webhook %s was not reached: %s", url, error or type(error).__name__)
            return Outcome.FAILED

    async def _post(self, url: str, body: bytes, signature: str) -> Outcome:
        target = await target_of(url, self._resolve)
        headers = {
            "host": target.host,
            "content-type": "application/json",
            "user-agent": USER_AGENT,
            "accept-encoding": "identity",
            "webhook-signature": signature,
        }
        extensions = {"sni_hostname": target.name}
        request = self._http.build_request("POST", target.url, content=body, headers=headers, extensions=extensions)
        response = await self._http.send(request, stream=True)
        try:
            if not response.is_success:
                logger.warning("the webhook %s answered %d", url, response.status_code)
                return Outcome.FAILED
            return Outcome.DONE if _says_done(await self._read(response)) else Outcome.TAKEN
        finally:
            await response.aclose()

    async def _read(self, response: httpx2.Response) -> bytes:
        """What it answers, or nothing if that is too much."""
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > self._limits.response_bytes:
                return b""
        return bytes(body)

    async def aclose(self) -> None:
        """Close the client."""
        await self._http.aclose()


def _says_done(body: bytes) -> bool:
    try:
        return msgspec.json.decode(body, type=_Answer).done
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
