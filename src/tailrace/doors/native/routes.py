"""The addresses of the native door."""

from __future__ import annotations

from typing import Final, NamedTuple

from starlette.routing import BaseRoute, Match, Route
from starlette.types import Scope

from tailrace.doors.access import Access
from tailrace.doors.asgi import Call, Resource
from tailrace.doors.describe.page import docs, openapi
from tailrace.doors.endpoint import Endpoint
from tailrace.doors.health import Health
from tailrace.doors.native.pages import History, Poll
from tailrace.doors.native.publish import API, Publish, published_topic
from tailrace.doors.native.stream import StreamEvents
from tailrace.doors.native.topics import Topics
from tailrace.doors.streams import Streams
from tailrace.errors import NotFound


class PublishRoute(Route):
    """The route of most requests, found by its ends: matching its pattern would take a tenth of the answer's time."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As Starlette has it."""
        topic = published_topic(scope)
        if topic is None:
            return super().matches(scope)
        return Match.FULL, {"endpoint": self.endpoint, "path_params": {"topic": topic}}


def make_publish(streams: Streams, *, create_topics: bool) -> Publish:
    """The handler of most requests."""
    return Publish(streams.log, streams.limits, streams.metrics, create_topics=create_topics)


class Address(NamedTuple):
    """A path below the API's, and the methods it answers."""

    path: str
    methods: tuple[str, ...]


_STREAMED = ("GET", "HEAD", "POST", "QUERY")
ADDRESSES: Final = {
    # Only POST: with any other method the path names a topic that ends in "/events".
    "publish": Address("/topics/{topic:path}/events", ("POST",)),
    "stream": Address("/events/stream", _STREAMED),
    "poll": Address("/events/poll", ("GET", "HEAD")),
    "history": Address("/events/history", ("GET", "HEAD")),
    "topics": Address("/topics", ("GET", "HEAD")),
    "topic": Address("/topics/{topic:path}", ("GET", "HEAD", "PUT", "PATCH", "DELETE")),
}
"""The native door, in the order in which it is matched."""


def resources(streams: Streams, publish: Publish) -> dict[str, Resource]:
    """What answers at each address."""
    log, limits, metrics = streams.log, streams.limits, streams.metrics
    stream, topics = StreamEvents(streams), Topics(log, limits)
    return {
        "publish": Resource({"POST": publish}),
        "stream": Resource({"GET": stream, "POST": stream, "QUERY": stream}),
        "poll": Resource({"GET": Poll(streams)}),
        "history": Resource({"GET": History(log, limits, metrics)}),
        "topics": Resource({"GET": topics.list}),
        "topic": Resource(topics.one),
    }


def native_routes(streams: Streams, access: Access, publish: Publish) -> list[BaseRoute]:
    """Publish, stream, poll, history and topics."""
    routes: list[BaseRoute] = []
    for name, resource in resources(streams, publish).items():
        path, endpoint = API + ADDRESSES[name].path, Endpoint(resource, access, streams.metrics)
        if name == "publish":
            routes.append(PublishRoute(path, endpoint, methods=["POST"]))
        else:
            routes.append(Route(path, endpoint))
    return routes


def operations_routes(streams: Streams, access: Access) -> list[BaseRoute]:
    """Probes and descriptions, open to all, and metrics, for callers who are known."""
    metrics = streams.metrics
    health = Health(streams.log, streams, metrics)
    return [
        Route("/livez", Endpoint(Resource({"GET": health.live}), None, metrics)),
        Route("/readyz", Endpoint(Resource({"GET": health.ready}), None, metrics)),
        Route("/openapi.json", Endpoint(Resource({"GET": openapi}), None, metrics)),
        Route("/docs", Endpoint(Resource({"GET": docs}), None, metrics)),
        Route("/metrics", Endpoint(Resource({"GET": health.metrics}), access, metrics)),
    ]


def nowhere(streams: Streams) -> Endpoint:
    """What any other address answers."""

    async def refuse(call: Call) -> None:
        raise NotFound(f"There is nothing at {call.path[:200]}. The API starts at {API}; see /docs.")

    methods = ("GET", "POST", "PUT", "PATCH", "DELETE", "QUERY", "OPTIONS")
    return Endpoint(Resource(dict.fromkeys(methods, refuse)), None, streams.metrics)
