"""An address as an ASGI application: who calls, what is answered, and what becomes of errors.

Every door hangs its resources on this, so that grants and problems are the same everywhere, and a route can be
mounted in anybody's Starlette or FastAPI application.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from starlette.types import Receive, Scope, Send

from tailrace.core.grant import Grant
from tailrace.doors.access import Access
from tailrace.doors.asgi import Call, Disconnected, Resource, Started
from tailrace.doors.metrics import Metrics
from tailrace.doors.problem import InternalError, answer_problem
from tailrace.errors import TailraceError

logger: logging.Logger = logging.getLogger(__name__)

NOBODY = Grant("nobody")


class Endpoint:
    """Calls a resource with the caller's grant. `access` None: open to all, and grants nothing (probes).

    `headers` are on every answer.
    """

    def __init__(
        self,
        resource: Resource,
        access: Access | None,
        metrics: Metrics,
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        self._headers = headers
        self._resource = resource
        self._access = access
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; an error becomes a problem document, if nothing has been sent."""
        started = Started(send, self._headers)
        try:
            grant = NOBODY if self._access is None else self._access.grant(scope)
            call = Call(scope, receive, started, grant)
            await self._resource.handler(call)(call)
        except TailraceError as error:
            await self._fail(error, started, scope)
        except Disconnected:
            return
        except Exception:
            logger.exception("a request to %s failed", scope["path"])
            await self._fail(InternalError(), started, scope)

    async def _fail(self, error: TailraceError, started: Started, scope: Scope) -> None:
        self._metrics.refused(error.code, error.status)
        if not started.begun:
            await self._answer_error(error, started, head=scope["method"] == "HEAD")
        elif error.status >= 500:
            logger.warning("a response was cut short: %s", error.sentence)

    async def _answer_error(self, error: TailraceError, started: Started, *, head: bool) -> None:
        """A problem document; a door whose protocol has another form for errors says so here."""
        await answer_problem(started, error, head=head)
