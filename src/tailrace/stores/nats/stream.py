"""The JetStream stream that holds the journal: the one place that talks to the servers.

Foreign errors become ours here. Every wait is bounded by the address's `timeout_seconds`.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError

from tailrace.errors import StoreFull, StoreUnusable, Unavailable
from tailrace.stores.nats.address import Address
from tailrace.stores.nats.identity import Identity, Settings, identity_of, settings_of
from tailrace.stores.nats.journal import FORMAT, Part, split

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
_NO_STREAM: Final = 10059
_NOTHING_THERE: Final = ("404", "204", "408")
"""The status of a message that ends an answer of many."""
_MOVED: Final = (10071, 10164)
"""JetStream's codes of a failed expectation of the last sequence."""
_FULL: Final = (10023, 10047, 10077, 10122)
"""JetStream's codes of a lack of room."""
_LAST: Final = re.compile(r"wrong last sequence: (\d+)")

_FORMAT_HEADER: Final = "Tailrace"
_NODE: Final = "Tailrace-Node"
_EXPECTED: Final = "Nats-Expected-Last-Sequence"
_BATCH: Final = "Nats-Batch-Id"
_INDEX: Final = "Nats-Batch-Sequence"
_COMMIT: Final = "Nats-Batch-Commit"


class Moved(Exception):
    """Nothing was written: somebody else wrote first. `last`, if it is known: how far the journal reaches by now."""

    def __init__(self, last: int | None) -> None:
        super().__init__(last)
        self.last: int | None = last


class Unsure(Exception):
    """Nobody has told whether it was written. The argument is a sentence."""


class NoStream(Exception):
    """There is no stream of that name."""


class _Problem(msgspec.Struct, frozen=True):
    code: int = 0
    err_code: int = 0
    description: str = ""


class _State(msgspec.Struct, frozen=True):
    first_seq: int = 0
    last_seq: int = 0
    messages: int = 0
    bytes: int = 0


class _Answer(msgspec.Struct, frozen=True):
    error: _Problem | None = None
    config: Settings = Settings()
    state: _State = _State()
    seq: int = 0


class Standing(msgspec.Struct, frozen=True):
    """A stream as it is: which log it holds, and where it begins and ends."""

    identity: Identity
    first: int
    last: int
    size: int


class Stream:
    """A connection to the servers, and one stream there. Make it with `Stream.connect`."""

    def __init__(self, address: Address, client: Client, reconnected: Callable[[], None]) -> None:
        self._address = address
        self._client = client
        self._reconnected = reconnected
        self._trouble = ""
        self._batches = 0

    @classmethod
    async def connect(cls, address: Address, reconnected: Callable[[], None]) -> Stream:
        """Connect, and look whether these servers can do what is needed. `reconnected` is called whenever the
        connection was lost and is there again. Raises StoreUnusable.
        """
        stream = cls(address, Client(), reconnected)
        try:
            await stream._connect()
        except BaseException:
            await stream.aclose()
            raise
        return stream

    async def _connect(self) -> None:
        address, client = self._address, self._client
        try:
            await asyncio.wait_for(self._open_connection(), address.timeout_seconds * _CONNECT_PATIENCE)
        except (NatsError, OSError, TimeoutError, ValueError) as error:
            raise StoreUnusable(self._unreachable(error)) from error
        client.options["max_reconnect_attempts"] = -1  # for ever, now that it is known to work
        version = client.connected_server_version
        if (version.major, version.minor) < OLDEST_SERVER:
            raise StoreUnusable(
                f"{address.shown} is a NATS server {version.major}.{version.minor}, and Tailrace needs "
                f"{OLDEST_SERVER[0]}.{OLDEST_SERVER[1]} or newer: upgrade the server."
            )
        try:
            await self._ask("$JS.API.INFO")
        except NoRespondersError:
            raise StoreUnusable(
                f"{address.shown} has no JetStream for this user: start nats-server with --jetstream, or enable it "
                "for the account."
            ) from None
        except Unavailable as error:
            raise StoreUnusable(f"{address.shown} cannot be used: {self._trouble or error.sentence}") from error

    async def _open_connection(self) -> None:
        address = self._address
        is_token = address.user is not None and address.password is None
        await self._client.connect(
            servers=list(address.servers),
            name=f"tailrace {address.log}",
            error_cb=self._note,
            reconnected_cb=self._again,
            connect_timeout=math.ceil(address.timeout_seconds),
            reconnect_time_wait=_RECONNECT_SECONDS,  # type: ignore[arg-type]  # seconds, of which it takes parts too
            max_reconnect_attempts=_CONNECT_ATTEMPTS,
            ping_interval=_PING_SECONDS,
            user=None if is_token else address.user,
            password=address.password,
            token=address.user if is_token else None,
            user_credentials=None if address.credentials is None else str(address.credentials),
            tls=self._trust(),
        )

    def _trust(self) -> ssl.SSLContext | None:
        address = self._address
        if not address.servers[0].startswith("tls://"):
            return None
        try:
            return ssl.create_default_context(cafile=address.authorities)
        except OSError as error:
            raise StoreUnusable(f"{address.authorities} cannot be read: {error.strerror}.") from error

    def _unreachable(self, error: Exception) -> str:
        told = f"{self._trouble} {error!r}"
        if "Authorization" in told:
            return f"{self._address.shown} refused this user or password: put the right ones into the URL."
        return (
            f"{self._address.shown} cannot be reached ({self._trouble or error!r}): check host, port and that it runs."
        )

    async def _note(self, error: Exception) -> None:
        self._trouble = str(error) or repr(error)
        logger.debug("the connection to NATS: %s", self._trouble)

    async def _again(self) -> None:
        self._trouble = ""
        self._reconnected()

    # ---- the stream ---------------------------------------------------------------------------------------

    async def begin(self, identity: Identity) -> Standing:
        """Make the stream. If somebody else makes it at the same time, theirs counts. Raises StoreUnusable."""
        log = self._address.log
        asked = msgspec.structs.asdict(settings_of(log, identity)) | {
            "name": log,
            "duplicate_window": 100_000_000,  # nanoseconds, the least: records are told apart by their names
            "republish": {"src": ">", "dest": f"{log}.r.>"},
        }
        answer = await self._ask(f"$JS.API.STREAM.CREATE.{log}", msgspec.json.encode(asked))
        if answer.error is not None:
            with suppress(NoStream):
                return await self.standing()
            raise StoreUnusable(f"{self._address.shown} did not take the log: {answer.error.description}.")
        return await self.standing()

    async def standing(self) -> Standing:
        """The stream as its leader has it. Raises NoStream, StoreUnusable or Unavailable."""
        answer = await self._ask(f"$JS.API.STREAM.INFO.{self._address.log}")
        if answer.error is not None:
            if answer.error.err_code == _NO_STREAM:
                raise NoStream
            raise Unavailable(f"NATS does not tell of the log: {answer.error.description}.")
        identity, state = identity_of(self._address, answer.config), answer.state
        return Standing(identity, state.first_seq, state.last_seq, state.bytes)

    async def listen(self, arrived: Callable[[Part], None], wanted: Callable[[str], None]) -> None:
        """From now on hand over what is written, as it is written, and which nodes ask for their turn. Both are hints,
        of which any may be lost.
        """

        async def hand_over(message: Msg) -> None:
            part = _part_of(message)
            if part is not None:
                arrived(part)

        async def tell(message: Msg) -> None:
            wanted(message.data.decode(errors="replace"))

        await self._client.subscribe(f"{self._address.log}.r.>", cb=hand_over)
        await self._client.subscribe(f"{self._address.log}.w", cb=tell)

    # ---- the journal --------------------------------------------------------------------------------------

    async def ask_for_turn(self, node: str) -> None:
        """Ask the other nodes to let this one write. A hint: nobody need hear it."""
        if self._client.is_connected:
            await self._client.publish(f"{self._address.log}.w", node.encode())

    async def write(self, subject: str, data: bytes, expected: int, node: str) -> int:
        """Write a record of a node behind the message `expected`, or not at all; answers the sequence of its last
        message. Raises Moved, StoreFull or Unavailable if it was not written, and Unsure.
        """
        self._require_connection()
        parts = split(data, self._client.max_payload - _HEADERS_BYTES)
        headers = {_FORMAT_HEADER: str(FORMAT), _NODE: node, _EXPECTED: str(expected)}
        if len(parts) > 1:
            self._batches += 1
            headers[_BATCH] = f"{self._client.client_id}-{self._batches}-{expected}"
        try:
            for index, part in enumerate(parts[:-1], 1):
                await self._client.publish(subject, part, headers=headers | {_INDEX: str(index)})
                headers.pop(_EXPECTED, None)
            if len(parts) > 1:
                headers |= {_INDEX: str(len(parts)), _COMMIT: "1"}
            message = await self._client.request(subject, parts[-1], self._address.timeout_seconds, headers=headers)
            answer = msgspec.json.decode(message.data, type=_Answer)
        except NoRespondersError as error:
            raise Unsure("NATS has no stream that takes it at the moment.") from error
        except (NatsError, TimeoutError, OSError, msgspec.MsgspecError) as error:
            raise Unsure(f"NATS did not answer: {self._trouble or repr(error)}.") from error
        if answer.error is not None:
            raise _refusal(answer.error)
        return answer.seq

    async def fetch(self, after: int) -> Sequence[Part]:
        """What follows a sequence, as one of the servers has it: perhaps not all, and none if there is nothing yet.

        Raises Unavailable.
        """
        self._require_connection()
        asked = {"seq": after + 1, "batch": _FETCH_MESSAGES, "max_bytes": _FETCH_BYTES}
        inbox = self._client.new_inbox()
        parts: list[Part] = []
        try:
            answers = await self._client.subscribe(inbox)
            try:
                await self._client.publish(
                    f"$JS.API.DIRECT.GET.{self._address.log}", msgspec.json.encode(asked), reply=inbox
                )
                while True:
                    message = await answers.next_msg(self._address.timeout_seconds)
                    status = (message.headers or {}).get("Status")
                    if status is not None:
                        break
                    part = _part_of(message)
                    if part is not None:
                        parts.append(part)
            finally:
                await answers.unsubscribe()
        except (NatsError, TimeoutError, OSError) as error:
            raise Unavailable(f"NATS does not answer: {self._trouble or repr(error)}.") from error
        if status not in _NOTHING_THERE:
            raise Unavailable(f"NATS does not give the journal out (status {status}).")
        return parts

    # ---- the connection -----------------------------------------------------------------------------------

    async def _ask(self, subject: str, data: bytes = b"") -> _Answer:
        self._require_connection()
        try:
            message = await self._client.request(subject, data, self._address.timeout_seconds)
            return msgspec.json.decode(message.data, type=_Answer)
        except NoRespondersError:
            if subject == "$JS.API.INFO":
                raise
            raise Unavailable("JetStream does not answer at the moment.") from None
        except (NatsError, TimeoutError, OSError, msgspec.MsgspecError) as error:
            raise Unavailable(f"NATS does not answer: {self._trouble or error!r}.") from error

    def _require_connection(self) -> None:
        if not self._client.is_connected:
            raise Unavailable(f"NATS cannot be reached at the moment: {self._trouble or 'the connection was lost'}.")

    async def aclose(self) -> None:
        """Close the connection."""
        with suppress(NatsError, TimeoutError, OSError):
            await self._client.close()


def _part_of(message: Msg) -> Part | None:
    """A message of the stream; None if it is none. Raises Unavailable if a newer program wrote it."""
    headers = message.headers or {}
    sequence = headers.get("Nats-Sequence")
    if sequence is None:
        return None
    written = headers.get(_FORMAT_HEADER)
    if written is None:  # somebody else's; it has a place, and says nothing
        return Part(int(sequence), b"")
    if int(written) > FORMAT:
        raise Unavailable(f"The journal was written by a newer Tailrace (format {written}): upgrade Tailrace.")
    batch, node = headers.get(_BATCH), headers.get(_NODE, "")
    if batch is None:
        return Part(int(sequence), message.data, node)
    return Part(int(sequence), message.data, node, batch, int(headers[_INDEX]), _COMMIT in headers)


def _refusal(problem: _Problem) -> Exception:
    if problem.err_code in _MOVED:
        found = _LAST.search(problem.description)
        return Moved(int(found[1]) if found else None)
    if problem.err_code in _FULL:
        return StoreFull(f"NATS has no room: {problem.description}.")
    if problem.code >= 500:  # it may have been passed on before something failed
        return Unsure(f"NATS could not say: {problem.description}.")
    return Unavailable(f"NATS did not take it: {problem.description}.")
