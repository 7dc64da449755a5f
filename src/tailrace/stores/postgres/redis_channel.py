"""Hints over Redis pub/sub. Loaded only if the log's URL asks for it, because only then the driver need be there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

from redis.asyncio import Redis
from redis.exceptions import RedisError

from tailrace.stores.postgres.channels import Hear
from tailrace.stores.postgres.connection import Lost
from tailrace.stores.postgres.settings import Settings

logger: logging.Logger = logging.getLogger(__name__)


class RedisChannel:
    """Publish and subscribe in Redis, which keeps nothing. `position` answers the log's last position."""

    def __init__(self, url: str, name: str, settings: Settings, position: Callable[[], Awaitable[int]]) -> None:
        self._url = url
        self._name = name
        self._settings = settings
        self._position = position
        self._client: Redis | None = None
        self._listening: asyncio.Task[None] | None = None

    async def open(self, hear: Hear, lost: Callable[[], None]) -> int:
        """See `Channel.open`."""
        seconds = self._settings.connect_seconds
        with _redis_errors():
            self._client = Redis.from_url(
                self._url, decode_responses=True, socket_connect_timeout=seconds, socket_timeout=seconds
            )
            subscription = self._client.pubsub(ignore_subscribe_messages=True)
            await subscription.subscribe(self._name)

        async def listen() -> None:
            try:
                async for message in subscription.listen():
                    hear(message["data"])
            except (RedisError, OSError) as error:
                logger.debug("Redis: %s", error)
            finally:
                lost()
                with suppress(RedisError, OSError):
                    await subscription.aclose()  # type: ignore[no-untyped-call] # redis has it so

        self._listening = asyncio.create_task(listen())
        return await self._position()

    async def send(self, text: str) -> None:
        """See `Channel.send`."""
        with _redis_errors():
            await self._open.publish(self._name, text)

    async def check(self) -> None:
        """See `Channel.check`."""
        with _redis_errors():
            await self._open.ping()

    @property
    def _open(self) -> Redis:
        if self._client is None:
            raise Lost
        return self._client

    async def aclose(self) -> None:
        """See `Channel.aclose`."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
        if self._client is not None:
            with suppress(RedisError, OSError):
                await self._client.aclose()


@contextmanager
def _redis_errors() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError) as error:
        raise Lost(f"Redis does not answer ({error}): hints go on by themselves when it does.") from error
