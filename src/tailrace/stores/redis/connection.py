"""Talking to Redis: one script is one step. Whatever the driver raises becomes an error of ours here, and only here."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from importlib import resources
from typing import Final, cast

from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from tailrace.errors import StoreFull, StoreUnusable, Unavailable
from tailrace.stores.redis.settings import Settings

Argument = str | int | float | bytes
_CONNECTIONS: Final = 32
"""The most connections of one node: as many reads at once."""
_TRIES: Final = 3
"""How often is asked what can be asked again, on connections that may have been cut long ago."""
_ANSWERS: Final = (exceptions.AuthenticationError, exceptions.BusyLoadingError)
"""What the driver calls lost connections, and is not."""


class Unanswered(Unavailable):
    """Redis did not answer: whether it has done what it was asked is not known."""


class LogGone(Unavailable):
    """The log is gone from Redis: it begins anew with the next look at it."""


class Script:
    """A script by its name, and the hash that Redis calls it by."""

    def __init__(self, name: str) -> None:
        folder = resources.files("tailrace.stores.redis") / "lua"
        self.text: str = "\n".join([(folder / f"{part}.lua").read_text(encoding="utf-8") for part in ("prelude", name)])
        self.sha: str = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


script: Final = cache(Script)


class Connection:
    """Redis, or the node of a Redis Cluster that has the log's keys."""

    def __init__(self, settings: Settings) -> None:
        self.settings: Settings = settings
        self.sharded: bool = False
        """Whether other nodes are told over the log's own hash slot."""
        self.listeners: int = 0
        """How many listen to other nodes over this connection's settings."""
        self._client = _cluster(settings) if settings.cluster else single(settings)

    async def run(self, name: str, *arguments: Argument) -> list[object]:
        """What a script answers. Raises Unavailable (Unanswered), StoreFull, or StoreUnusable (part of a cluster)."""
        one = script(name)
        for left in reversed(range(_TRIES)):
            async with patiently(self.settings):
                try:
                    return await self._call(one, arguments)
                except exceptions.ConnectionError as error:
                    # A connection that was cut while nobody used it. Whoever writes asks again in his own way.
                    if not left or name == "apply" or isinstance(error, _ANSWERS):
                        raise
        raise AssertionError("the last try answers or raises")

    async def _call(self, one: Script, arguments: tuple[Argument, ...]) -> list[object]:
        try:
            answer = await self._client.evalsha(one.sha, 1, self.settings.key, *arguments)
        except exceptions.NoScriptError:  # a server that was restarted, or told to forget them
            answer = await self._client.eval(one.text, 1, self.settings.key, *arguments)
        return cast("list[object]", answer)

    async def ask(self, *command: str) -> object:
        """What the server that has the log's keys answers to a command about itself."""
        async with patiently(self.settings):
            if isinstance(self._client, RedisCluster):
                await self._client.initialize()
                node = self._client.get_node_from_key(self.settings.key)
                return await self._client.execute_command(*command, target_nodes=node)
            asked = self._client.execute_command(*command)  # type: ignore[no-untyped-call] # it has no types
            return cast("object", await asked)

    def listener(self) -> Redis:
        """A client of its own for whoever listens: at the server that has the log's keys."""
        if isinstance(self._client, RedisCluster):
            node = self._client.get_node_from_key(self.settings.key) or self._client.get_default_node()
            return single(self.settings._replace(host=str(node.host), port=int(node.port)))
        return single(self.settings)

    async def aclose(self) -> None:
        """Let go of all connections."""
        await self._client.aclose()


def single(settings: Settings) -> Redis:
    """A client of one server, which asks nothing twice by itself."""
    return Redis(
        host=settings.host,
        port=settings.port,
        db=settings.database,
        username=settings.user,
        password=settings.password,
        socket_timeout=None,  # see `patiently`
        socket_connect_timeout=settings.timeout,
        max_connections=_CONNECTIONS,
        retry=Retry(NoBackoff(), 0),
        ssl=settings.tls,
        ssl_ca_certs=settings.ca,
    )


def _cluster(settings: Settings) -> RedisCluster:
    return RedisCluster(
        host=settings.host,
        port=settings.port,
        username=settings.user,
        password=settings.password,
        socket_timeout=None,  # see `patiently`
        socket_connect_timeout=settings.timeout,
        max_connections=_CONNECTIONS,
        retry=Retry(NoBackoff(), 1),
        ssl=settings.tls,
        ssl_ca_certs=settings.ca,
    )


@asynccontextmanager
async def patiently(settings: Settings) -> AsyncIterator[None]:
    """Wait for an answer no longer than is set. The driver's own timeout makes a task of each command, and, before
    Python 3.12, may swallow a cancellation (python/cpython#86296).
    """
    with translated(settings):
        async with asyncio.timeout(settings.timeout):
            yield


@contextmanager
def translated(settings: Settings) -> Iterator[None]:
    """Say in our own words what the driver raises."""
    where = settings.where
    try:
        yield
    except (exceptions.MovedError, exceptions.AskError) as error:
        raise StoreUnusable(f"{where} is part of a Redis Cluster: add cluster=true to the URL.") from error
    except exceptions.AuthenticationError as error:
        raise Unavailable(f"{where} does not accept the user or the password: correct them in the URL.") from error
    except exceptions.OutOfMemoryError as error:
        raise StoreFull(f"{where} has reached its maxmemory: raise it, or have topics keep less.") from error
    except exceptions.ReadOnlyError as error:
        raise Unavailable(f"{where} is a replica that only reads: give the URL of the primary.") from error
    except exceptions.NoPermissionError as error:
        raise Unavailable(
            f"{where} forbids what the log needs ({error}): allow the user all commands on the log's keys."
        ) from error
    except exceptions.BusyLoadingError as error:
        raise Unavailable(f"{where} is still reading its files: it will answer by itself.") from error
    except TimeoutError as error:
        raise Unanswered(f"{where} has not answered for {settings.timeout:g} seconds.") from error
    except (exceptions.ConnectionError, exceptions.TimeoutError, OSError, RuntimeError) as error:
        raise Unanswered(f"{where} does not answer: {_said(error)}") from error
    except exceptions.ResponseError as error:
        if str(error).startswith("MISCONF") and "No space" in str(error):
            raise StoreFull(f"The disk of {where} is full: publishing resumes by itself when there is room.") from error
        raise Unavailable(f"{where} refuses: {_said(error)}") from error
    except exceptions.RedisError as error:
        raise Unanswered(f"{where} does not answer: {_said(error)}") from error


def _said(error: Exception) -> str:
    return f"{str(error).rstrip('.') or type(error).__name__}."
