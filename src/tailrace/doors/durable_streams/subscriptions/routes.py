"""The addresses of subscriptions, below `<prefix>/__ds` (PROTOCOL.md sections 6 and 7).

Who may call: to make, change or delete a subscription takes the right to `manage` its pattern and every stream it
names, and to `publish` to its wake stream; to see or claim it, the right to `read` them. A pattern is granted if
every topic that it matches is. `callback`, `ack` and `release` are for whoever has the token of the wake; the public
keys are for all.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import quote

import msgspec
from starlette.routing import BaseRoute, Route
from starlette.types import Scope

from tailrace.core.event import format_time
from tailrace.core.grant import Grant, Right
from tailrace.doors.access import Access
from tailrace.doors.asgi import NO_STORE, Call, Handler, Resource, Started
from tailrace.doors.durable_streams.headers import COMMON
from tailrace.doors.durable_streams.subscriptions.refusals import (
    HEADERS,
    SubscriptionRefused,
    refusal_of,
)
from tailrace.doors.durable_streams.subscriptions.requests import (
    Report,
    check_id,
    path_of,
    report_of,
    streams_of,
    terms_of,
    worker_of,
)
from tailrace.doors.durable_streams.subscriptions.service import Service
from tailrace.doors.durable_streams.subscriptions.state import Subscription, covers
from tailrace.doors.endpoint import Endpoint
from tailrace.doors.metrics import Metrics
from tailrace.errors import Forbidden, NotFound, TailraceError

Base = Callable[[Scope], str]
"""Where the server is found from outside, given a request: scheme and host, without a slash at the end."""
_JWK_HEADERS = (
    (b"content-type", b"application/jwk-set+json"),
    (b"cache-control", b"public, max-age=300"),
)


class Addresses:
    """Handlers. `root`: the path of the door with `/__ds`."""

    def __init__(self, service: Service, root: str, base: Base) -> None:
        self._service = service
        self._root = root
        self._base = base

    def routes(self, access: Access, metrics: Metrics) -> list[BaseRoute]:
        """Every address, in the order in which they are matched."""
        one = f"{self._root}/subscriptions/{{id}}"

        def route(path: str, handlers: dict[str, Handler], *, who: Access | None = access) -> Route:
            return Route(path, ControlEndpoint(Resource(handlers), who, metrics, COMMON))

        # a token, and not an API key, is what these three are called with
        reports = [
            route(f"{one}/{name}", {"POST": handler}, who=None)
            for name, handler in (("callback", self.callback), ("ack", self.ack), ("release", self.release))
        ]
        everything = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
        return [
            route(f"{self._root}/jwks.json", {"GET": self.jwks}, who=None),
            route(one, {"GET": self.show, "PUT": self.create, "DELETE": self.delete}),
            route(f"{one}/streams", {"POST": self.add}),
            route(f"{one}/streams/{{path:path}}", {"DELETE": self.remove}),
            route(f"{one}/claim", {"POST": self.claim}),
            *reports,
            route(f"{self._root}/{{rest:path}}", dict.fromkeys(everything, nowhere), who=None),
            route(self._root, dict.fromkeys(everything, nowhere), who=None),
        ]

    # ---- managing -------------------------------------------------------------------------------------------

    async def create(self, call: Call) -> None:
        """PUT: make a subscription (201), or find it there with the same settings (200)."""
        name = _id(call)
        terms = terms_of(await self._body(call), self._service.limits)
        topics = terms.streams if terms.pattern is None else (terms.pattern, *terms.streams)
        for topic in topics:
            require(call.grant, "manage", topic)
        if terms.wake_stream is not None:
            call.grant.require("publish", terms.wake_stream)
        address = f"{self._above(call)}/subscriptions/{quote(name, safe='')}"
        state, created = await self._service.create(name, terms, address)
        await self._answer(call, 201 if created else 200, await self._described(call, name, state))

    async def show(self, call: Call) -> None:
        """GET."""
        name = _id(call)
        state = await self._allowed(call, name, "read")
        await self._answer(call, 200, await self._described(call, name, state))

    async def delete(self, call: Call) -> None:
        """DELETE: 204 also if there was none."""
        name = _id(call)
        record = await self._service.records.find(name)
        if record is not None:
            _require_all(call.grant, "manage", record.state)
            await self._service.records.delete(name)
        await call.answer(204, b"", [NO_STORE])

    async def add(self, call: Call) -> None:
        """POST …/streams: name more streams."""
        name = _id(call)
        paths = streams_of(await self._body(call), self._service.limits)
        await self._allowed(call, name, "manage")
        for path in paths:
            call.grant.require("manage", path)
        await self._service.add(name, paths)
        await call.answer(204, b"", [NO_STORE])

    async def remove(self, call: Call) -> None:
        """DELETE …/streams/{path}: name a stream no longer."""
        name = _id(call)
        await self._allowed(call, name, "manage")
        await self._service.remove(name, path_of(call.scope["path_params"]["path"]))
        await call.answer(204, b"", [NO_STORE])

    async def jwks(self, call: Call) -> None:
        """GET jwks.json: the public key of webhooks' signatures (RFC 7517)."""
        keys = await self._service.keys()
        await call.answer(200, msgspec.json.encode({"keys": [keys.jwk]}), _JWK_HEADERS)

    # ---- working --------------------------------------------------------------------------------------------

    async def claim(self, call: Call) -> None:
        """POST …/claim."""
        name = _id(call)
        worker = worker_of(await self._body(call))
        await self._allowed(call, name, "read")
        await self._answer(call, 200, await self._service.claim(name, worker))

    async def callback(self, call: Call) -> None:
        """POST …/callback: what a webhook's worker says."""
        await self._reported(call, pull=False)

    async def ack(self, call: Call) -> None:
        """POST …/ack: what a worker says that has claimed."""
        await self._reported(call, pull=True)

    async def release(self, call: Call) -> None:
        """POST …/release."""
        name, token, report = await self._report(call)
        await self._service.release(name, token, report)
        await call.answer(204, b"", [NO_STORE])

    async def _reported(self, call: Call, *, pull: bool) -> None:
        name, token, report = await self._report(call)
        pending = await self._service.report(name, token, report, pull=pull)
        await self._answer(call, 200, {"ok": True, "next_wake": pending})

    async def _report(self, call: Call) -> tuple[str, str, Report]:
        name = _id(call)
        scheme, _, token = (call.header(b"authorization") or "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise SubscriptionRefused("TOKEN_INVALID", "Send the wake's token as 'Authorization: Bearer <token>'.")
        return name, token.strip(), report_of(await self._body(call), self._service.limits)

    # ---- the rest -------------------------------------------------------------------------------------------

    async def _allowed(self, call: Call, name: str, right: Right) -> Subscription:
        """The subscription, if the caller has this right to all of it."""
        record = await self._service.records.get(name)
        _require_all(call.grant, right, record.state)
        return record.state

    async def _described(self, call: Call, name: str, state: Subscription) -> dict[str, object]:
        view = await self._service.view(state)
        terms = state.terms
        described: dict[str, object] = {
            "id": name,
            "subscription_id": name,
            "type": terms.kind,
            "pattern": terms.pattern,
            "streams": [place.brief() for place in view.places],
            "webhook": None,
            "wake_stream": terms.wake_stream,
            "lease_ttl_ms": terms.lease_ms,
            "created_at": format_time(state.created_at),
            "status": state.status,
            "description": terms.description,
        }
        if terms.url is not None:
            keys = await self._service.keys()
            signing = {"alg": "ed25519", "kid": keys.kid, "jwks_url": f"{self._above(call)}/jwks.json"}
            described["webhook"] = {"url": terms.url, "signing": signing}
        if view.streams > len(view.places):  # not of the protocol: a list that is not whole says so
            described["streams_total"] = view.streams
        return {name: value for name, value in described.items() if value is not None or name == "wake_stream"}

    def _above(self, call: Call) -> str:
        return self._base(call.scope) + self._root

    async def _body(self, call: Call) -> bytes:
        return await call.body(self._service.limits.body_bytes)

    async def _answer(self, call: Call, status: int, value: object) -> None:
        await call.answer(status, msgspec.json.encode(value), HEADERS)


class ControlEndpoint(Endpoint):
    """An endpoint whose errors are of the form that this protocol has for them."""

    async def _answer_error(self, error: TailraceError, started: Started, *, head: bool) -> None:
        status, headers, body = refusal_of(error)
        content = msgspec.json.encode(body)
        headers.append((b"content-length", b"%d" % len(content)))
        await started({"type": "http.response.start", "status": HTTPStatus(status), "headers": headers})
        await started({"type": "http.response.body", "body": b"" if head else content})


def base_of_request(scope: Scope) -> str:
    """Scheme and host as the request has them."""
    host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "localhost")
    return f"{scope['scheme']}://{host}"


def require(grant: Grant, right: Right, pattern: str) -> None:
    """Raise Forbidden unless all topics of a pattern are granted."""
    granted: tuple[str, ...] = getattr(grant, right)
    if not any(covers(one, pattern) for one in granted):
        raise Forbidden(f"{grant.subject} may not {right} all of {pattern!r}.", right=right, topic=pattern)


async def nowhere(call: Call) -> None:
    """What any other address under `__ds` answers."""
    raise NotFound(f"There is nothing at {call.path[:200]}: see PROTOCOL.md, Reserved Subscription APIs.")


def _require_all(grant: Grant, right: Right, state: Subscription) -> None:
    for topic in state.topics:
        require(grant, right, topic)


def _id(call: Call) -> str:
    return check_id(call.scope["path_params"]["id"])
