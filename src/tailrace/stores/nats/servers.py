"""A connection to NATS servers: the one place that calls the driver, and where its errors become ours.

Every wait is bounded by the address's `timeout_seconds`.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError

from tailrace.errors import StoreFull, StoreUnusable, Unavailable
from tailrace.stores.nats.address import Address
from tailrace.stores.nats.identity import Settings

logger: logging.Logger = logging.getLogger(__name__)

OLDEST_SERVER: Final = (2, 12)
"""The first with atomic batches and direct reads of many messages."""
_CONNECT_ATTEMPTS: Final = 1
"""How often each server is tried again at opening."""
_CONNECT_PATIENCE: Final = 2
"""How many times the time-out of an answer opening may take to connect."""
_RECONNECT_SECONDS: Final = 0.2
"""Between attempts to reach a server again."""
_PING_SECONDS: Final = 5
"""A server that has left two pings without an answer is given up."""
_HEADERS_BYTES: Final = 4096
"""Of a message's room, kept for its headers."""
_FETCH_MESSAGES: Final = 500
_FETCH_BYTES: Final = 8 * 1024 * 1024
"""The most that is asked for at a time."""
_NOTHING_MORE: Final = ("404", "204", "408")
"""The status of a message that ends an answer of many."""
_MOVED: Final = (10071, 10164)
"""JetStream's codes of a failed expectation of the last sequence."""
_FULL: Final = (10023, 10047, 10077, 10122)
"""JetStream's codes of a lack of room."""
_LAST: Final = re.compile(r"wrong last sequence: (\d+)")


class Moved(Exception):
    """Nothing was written: somebody else wrote first. `last`, if it is known: how far the stream reaches by now."""

    def __init__(self, last: int | None) -> None:
        super().__init__(last)
        self.last: int | None = last


class Unsure(Exception):
    """Nobody has told whether it was written. The argument is a sentence."""


class Problem(msgspec.Struct, frozen=True):
    """Why JetStream did not do it."""

    code: int = 0
    err_code: int = 0
    description: str = ""


class State(msgspec.Struct, frozen=True):
    """Where a stream begins and ends, and its size."""

    first_seq: int = 0
    last_seq: int = 0
    messages: int = 0
    bytes: int = 0


class Answer(msgspec.Struct, frozen=True):
    """What JetStream answers, as far as it matters here."""

    error: Problem | None = None
    config: Settings = Settings()
    state: State = State()
    seq: int = 0


class Servers:
    """A connection that is made again whenever it is lost. Make it with `Servers.connect`."""

    def __init__(self, address: Address, reconnected: Callable[[], None]) -> None:
        """Raises StoreUnusable if a file that the address names cannot be read."""
        self._address = address
        self._trusted = _trusted(address)
        self._client = Client()
        self._reconnected = reconnected
        self.losses: int = 0
        """How often the connection was lost."""
        self._trouble = ""
        self._is_refused = False

    @classmethod
    async def connect(cls, address: Address, reconnected: Callable[[], None]) -> Servers:
        """Connect, and look whether these servers can do what is needed. `reconnected` is called whenever the
        connection was lost and is there again. Raises StoreUnusable.
        """
        servers = cls(address, reconnected)
        try:
            await servers._connect()
        except BaseException:
            await servers.aclose()
            raise
        return servers

    async def _connect(self) -> None:
        shown = self._address.shown
        try:
            await asyncio.wait_for(self._open(), self._address.timeout_seconds * _CONNECT_PATIENCE)
        except ModuleNotFoundError as error:
            raise StoreUnusable(
                f"{shown}: credentials need the package {error.name}: pip install {error.name}."
            ) from error
        except (NatsError, OSError, TimeoutError, ValueError) as error:
            raise StoreUnusable(self._unreachable(error)) from error
        self._client.options["max_reconnect_attempts"] = -1  # for ever, now that it is known to work
        version = self._client.connected_server_version
        if (version.major, version.minor) < OLDEST_SERVER:
            raise StoreUnusable(
                f"{shown} is a NATS server {version.major}.{version.minor}, and Tailrace needs "
                f"{OLDEST_SERVER[0]}.{OLDEST_SERVER[1]} or newer: upgrade the server."
            )
        try:
            await self._client.request("$JS.API.INFO", b"", self._address.timeout_seconds)
        except NoRespondersError:
            raise StoreUnusable(
                f"{shown} has no JetStream for this user: start nats-server with --jetstream, or enable it for the "
                "account."
            ) from None
        except (NatsError, TimeoutError, OSError) as error:
            raise StoreUnusable(f"{shown} cannot be used: {self._trouble or repr(error)}.") from error

    async def _open(self) -> None:
        address = self._address
        is_token = address.user is not None and address.password is None
        await self._client.connect(
            servers=list(address.servers),
            name=f"tailrace {address.log}",
            error_cb=self._note,
            disconnected_cb=self._gone,
            reconnected_cb=self._again,
            connect_timeout=math.ceil(address.timeout_seconds),
            reconnect_time_wait=_RECONNECT_SECONDS,  # type: ignore[arg-type]  # seconds, of which it takes parts too
            max_reconnect_attempts=_CONNECT_ATTEMPTS,
            ping_interval=_PING_SECONDS,
            user=None if is_token else address.user,
            password=address.password,
            token=address.user if is_token else None,
            user_credentials=None if address.credentials is None else str(address.credentials),
            tls=self._trusted,
        )

    def _unreachable(self, error: Exception) -> str:
        shown = self._address.shown
        if self._is_refused:
            return f"{shown} refused this user or password: put the right ones into the URL."
        return f"{shown} cannot be reached ({self._trouble or repr(error)}): check host, port and that it runs."

    async def _note(self, error: Exception) -> None:
        self._trouble = str(error) or repr(error)
        self._is_refused = self._is_refused or "Authorization" in repr(error)
        logger.debug("the connection to NATS: %s", self._trouble)

    async def _gone(self) -> None:
        self.losses += 1

    async def _again(self) -> None:
        self._trouble = ""
        self._reconnected()

    @property
    def message_bytes(self) -> int:
        """The most data that one message can carry."""
        return self._client.max_payload - _HEADERS_BYTES

    @property
    def id(self) -> str:
        """What the server calls this connection."""
        return str(self._client.client_id)

    # ---- what can be done with it ---------------------------------------------------------------------------

    async def ask(self, subject: str, question: Mapping[str, object] | None = None) -> Answer:
        """Ask JetStream. Raises Unavailable."""
        self._require_connection()
        data = b"" if question is None else msgspec.json.encode(question)
        try:
            message = await self._client.request(f"$JS.API.{subject}", data, self._address.timeout_seconds)
            return msgspec.json.decode(message.data, type=Answer)
        except NoRespondersError:
            raise Unavailable("JetStream does not answer at the moment.") from None
        except (NatsError, TimeoutError, OSError, msgspec.MsgspecError) as error:
            raise Unavailable(f"NATS does not answer: {self._trouble or repr(error)}.") from error

    async def store(self, subject: str, data: bytes, headers: dict[str, str]) -> int:
        """Have a message stored; answers its sequence. Raises Moved, StoreFull or Unavailable if that was not done,
        and Unsure.
        """
        self._require_connection()
        try:
            message = await self._client.request(subject, data, self._address.timeout_seconds, headers=headers)
            answer = msgspec.json.decode(message.data, type=Answer)
        except NoRespondersError as error:
            raise Unsure("NATS has no stream that takes it at the moment.") from error
        except (NatsError, TimeoutError, OSError, msgspec.MsgspecError) as error:
            raise Unsure(f"NATS did not answer: {self._trouble or repr(error)}.") from error
        if answer.error is not None:
            raise _refusal(answer.error)
        return answer.seq

    async def send(self, subject: str, data: bytes, headers: dict[str, str] | None = None) -> None:
        """Send a message, and wait for nothing. Raises Unavailable."""
        self._require_connection()
        try:
            await self._client.publish(subject, data, headers=headers)
        except NatsError as error:
            raise Unavailable(f"NATS takes nothing at the moment: {error!r}.") from error

    async def fetch(self, stream: str, after: int, most: int = _FETCH_MESSAGES) -> Sequence[Msg]:
        """What follows a sequence, as one of the servers has it: perhaps not all, and none if there is nothing yet.

        Raises Unavailable.
        """
        question = {"seq": after + 1, "batch": min(most, _FETCH_MESSAGES), "max_bytes": _FETCH_BYTES}
        self._require_connection()
        inbox = self._client.new_inbox()
        found: list[Msg] = []
        try:
            answers = await self._client.subscribe(inbox)
            try:
                asked = msgspec.json.encode(question)
                await self._client.publish(f"$JS.API.DIRECT.GET.{stream}", asked, reply=inbox)
                while True:
                    message = await answers.next_msg(self._address.timeout_seconds)
                    status = (message.headers or {}).get("Status")
                    if status is not None:
                        break
                    found.append(message)
            finally:
                await answers.unsubscribe()
        except (NatsError, TimeoutError, OSError) as error:
            raise Unavailable(f"NATS does not answer: {self._trouble or repr(error)}.") from error
        if status not in _NOTHING_MORE:
            raise Unavailable(f"NATS does not give out what it holds (status {status}).")
        return found

    async def newest(self, stream: str, subject: str) -> bytes | None:
        """The newest message of a subject, if there is one. Raises Unavailable."""
        question = msgspec.json.encode({"last_by_subj": subject})
        self._require_connection()
        try:
            message = await self._client.request(
                f"$JS.API.DIRECT.GET.{stream}", question, self._address.timeout_seconds
            )
        except NoRespondersError:  # no such stream
            return None
        except (NatsError, TimeoutError, OSError) as error:
            raise Unavailable(f"NATS does not answer: {self._trouble or repr(error)}.") from error
        return None if (message.headers or {}).get("Status") else message.data

    async def subscribe(self, subject: str, handle: Callable[[Msg], Awaitable[None]]) -> None:
        """From now on hand over what is published."""
        await self._client.subscribe(subject, cb=handle)

    def _require_connection(self) -> None:
        if not self._client.is_connected:
            raise Unavailable(f"NATS cannot be reached at the moment: {self._trouble or 'the connection was lost'}.")

    async def aclose(self) -> None:
        """Close the connection."""
        with suppress(NatsError, TimeoutError, OSError, AssertionError):  # the last: it never began to connect
            await self._client.close()


def _trusted(address: Address) -> ssl.SSLContext | None:
    """What a connection with TLS trusts; and that there are credentials, if there are to be."""
    try:
        if address.credentials is not None:
            address.credentials.open().close()
        is_safe = address.servers[0].startswith("tls://")
        return ssl.create_default_context(cafile=address.authorities) if is_safe else None
    except OSError as error:
        file = error.filename or address.authorities
        raise StoreUnusable(f"{file} cannot be read: {error.strerror or error}.") from error


def _refusal(problem: Problem) -> Exception:
    if problem.err_code in _MOVED:
        found = _LAST.search(problem.description)
        return Moved(int(found[1]) if found else None)
    if problem.err_code in _FULL:
        return StoreFull(f"NATS has no room: {problem.description}.")
    if problem.code >= 500:  # it may have been passed on before something failed
        return Unsure(f"NATS could not say: {problem.description}.")
    return Unavailable(f"NATS did not take it: {problem.description}.")
