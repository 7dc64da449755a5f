"""Publishing and following at one server, by one object: `Publisher`, `Subscription` and what is made of them.

    async with Client("http://127.0.0.1:4437", token="s3cret") as client:
        await client.publish("orders/42", {"total": 99})
        async for event in client.subscribe("orders/*", start="earliest"):
            print(event.cursor, event.json())

`SyncClient` is the same for scripts and threads, without `await`.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Self, Unpack

import httpx2

from tailrace.client.http import SyncToken, Token
from tailrace.client.lanes import PublishLimits, Statistics
from tailrace.client.publisher import Publisher
from tailrace.client.subscription import SubscribeOptions, Subscription, SyncSubscription
from tailrace.client.sync_publisher import SyncPublisher
from tailrace.core.drafting import Attributes
from tailrace.core.event import Draft
from tailrace.core.receipt import Receipt
from tailrace.work.pump import as_text
from tailrace.work.work import Work, told_whole


class Client:
    """A client of one server, for one event loop.

    `url`: where the server is; with a path, where its API is (`http://app.example/live`). `token`: an API key or a
    token, or a callable (async or not) that gives one for each attempt. `max_retries`: give up after so many failures
    in a row; without, never. `limits` are those of publishing. `http`: a client of your own, for certificates or
    proxies; it is left open.

    Raises InvalidParameter for an address or token that cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        token: Token | None = None,
        max_retries: int | None = None,
        limits: PublishLimits | None = None,
        http: httpx2.AsyncClient | None = None,
    ) -> None:
        self._url = url
        self._token = token
        self._max_retries = max_retries
        self._http = http
        self._publisher = Publisher(url, token=token, max_retries=max_retries, limits=limits, http=http)

    async def __aenter__(self) -> Self:
        await self._publisher.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Send what is waiting, then close. Subscriptions are closed by themselves."""
        await self._publisher.aclose()

    def subscribe(self, *topics: str, **options: Unpack[SubscribeOptions]) -> Subscription:
        """Follow topics or patterns (all, if none is named); see `Subscription`."""
        if "max_retries" not in options:
            options["max_retries"] = self._max_retries
        return Subscription(self._url, *topics, token=self._token, http=self._http, **options)

    async def publish(
        self, topic: str, data: object = None, *, idempotency_key: str | None = None, **attributes: Unpack[Attributes]
    ) -> Receipt:
        """Publish one event, and wait until it is stored: once, whatever is cut on the way. See `Publisher.publish`."""
        return await self._publisher.publish(topic, data, idempotency_key=idempotency_key, **attributes)

    async def publish_many(
        self, topic: str, events: Iterable[object], **attributes: Unpack[Attributes]
    ) -> list[Receipt]:
        """Publish events in order, in few requests; a receipt for each. See `Publisher.publish_many`."""
        return await self._publisher.publish_many(topic, events, **attributes)

    def work(self, topic: str, name: str, stages: Sequence[str] = ()) -> Work:
        """Tell a long piece of work as typed events: `async with client.work("jobs/7", "import") as work`."""
        return Work(self._tell, topic, name, stages)

    async def publish_stream(
        self,
        topic: str,
        pieces: AsyncIterable[Any] | Iterable[Any],
        *,
        name: str = "stream",
        text: Callable[[Any], str | None] = as_text,
    ) -> str:
        """Publish what an iterator gives, such as a language model's answer, as it comes; answers the whole text.

        The events are `work.started`, `work.chunk` for each text, and at the end `work.completed`, or `work.failed` if
        the iterator fails or this is cancelled. `text` takes the text out of a piece.
        """
        return await told_whole(self.work(topic, name), pieces, text)

    async def _tell(self, told: Draft) -> None:
        await self._publisher.publish(told.topic, told)

    def statistics(self) -> Statistics:
        """What it has published, and what is waiting."""
        return self._publisher.statistics()


class SyncClient:
    """`Client` for scripts and threads; any number of threads may publish, and each subscription is for one."""

    def __init__(
        self,
        url: str,
        *,
        token: SyncToken | None = None,
        max_retries: int | None = None,
        limits: PublishLimits | None = None,
        http: httpx2.Client | None = None,
    ) -> None:
        self._url = url
        self._token = token
        self._max_retries = max_retries
        self._http = http
        self._publisher = SyncPublisher(url, token=token, max_retries=max_retries, limits=limits, http=http)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Send what is waiting, then close. Subscriptions are closed by themselves."""
        self._publisher.close()

    def subscribe(self, *topics: str, **options: Unpack[SubscribeOptions]) -> SyncSubscription:
        """Follow topics or patterns (all, if none is named); see `SyncSubscription`."""
        if "max_retries" not in options:
            options["max_retries"] = self._max_retries
        return SyncSubscription(self._url, *topics, token=self._token, http=self._http, **options)

    def publish(
        self, topic: str, data: object = None, *, idempotency_key: str | None = None, **attributes: Unpack[Attributes]
    ) -> Receipt:
        """Publish one event, and wait until it is stored: once, whatever is cut on the way."""
        return self._publisher.publish(topic, data, idempotency_key=idempotency_key, **attributes)

    def publish_many(self, topic: str, events: Iterable[object], **attributes: Unpack[Attributes]) -> list[Receipt]:
        """Publish events in order, in few requests; a receipt for each."""
        return self._publisher.publish_many(topic, events, **attributes)

    def statistics(self) -> Statistics:
        """What it has published, and what is waiting."""
        return self._publisher.statistics()
