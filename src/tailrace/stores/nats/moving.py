"""What `tailrace copy` and `tailrace migrate` need of a log in JetStream, without opening it to be served."""

from __future__ import annotations

from collections.abc import Callable

from tailrace.errors import StoreUnusable, Unavailable
from tailrace.log.schema import Schema
from tailrace.stores.nats.address import Address, parse
from tailrace.stores.nats.archiving import NatsArchive
from tailrace.stores.nats.filling import Filling
from tailrace.stores.nats.following import Following
from tailrace.stores.nats.journal import FORMAT
from tailrace.stores.nats.stream import NoStream


class NatsTarget:
    """Where a log can be copied to: servers, and perhaps a stream with an unfinished copy. `open_target` makes it."""

    def __init__(self, address: Address, following: Following, clock: Callable[[], int]) -> None:
        self._following = following
        self._filling = Filling(address, following, clock)
        self.archive: NatsArchive = NatsArchive(following, self._filling)
        """To be filled; it tells of nothing before `begin`."""

    async def aclose(self) -> None:
        """Let go of everything."""
        await self._filling.aclose()
        await self._following.aclose()


async def open_target(url: str, clock: Callable[[], int]) -> NatsTarget:
    """Connect, and make nothing yet. Raises ConfigError or StoreUnusable."""
    address = parse(url)
    return NatsTarget(address, await Following.connect(address, clock), clock)


async def schema_of(url: str) -> Schema:
    """The format of the journal's newest record; nothing is changed. Raises ConfigError or StoreUnusable."""
    address = parse(url)
    following = await Following.connect(address, lambda: 0)
    try:
        standing = await following.stream.standing()
        if standing.last:
            await following.stream.fetch(standing.last - 1)  # refuses what is newer
    except NoStream:
        return Schema(0, FORMAT)
    except Unavailable as error:
        raise StoreUnusable(f"{address.shown} cannot be used: {error.sentence}") from error
    finally:
        await following.aclose()
    return Schema(FORMAT, FORMAT)
