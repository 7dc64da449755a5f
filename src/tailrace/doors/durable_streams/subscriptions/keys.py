"""The keys of subscriptions: one signs webhooks (Ed25519), the other makes the tokens that workers come back with.

Both are made once for a log, by whoever first needs them, and kept in it: in a topic whose name starts with `$keys/`,
which no grant of `$system/**` or `**` includes, nor the grant of a server that is open to everybody. Only one that
names `$keys/…` literally can read it, and whoever can read the log's own files.

A token is `<claims>.<mac>` in base64url: which subscription, generation and wake it is for, and an HMAC-SHA256 of
that. So nothing of it is stored, any worker process can check it, and a retry of a wake carries the same one. It has
no end of its own: it is worth something as long as its wake is (PROTOCOL.md section 12.9).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

import msgspec

from tailrace.core.event import Draft
from tailrace.core.position import Cursor
from tailrace.core.retention import TopicConfig
from tailrace.core.selection import Selection
from tailrace.doors.durable_streams.subscriptions.refusals import SubscriptionRefused
from tailrace.errors import StoreCorrupt, TopicExists
from tailrace.log.log import Log
from tailrace.log.store import Entry

TOPIC: Final = "$keys/durable-streams"
_KEY_BYTES: Final = 32
_LOOKS: Final = 3
"""One to see that there are none, one after somebody else was quicker, and one more."""


class Pass(msgspec.Struct, frozen=True):
    """What a token allows: to speak for one wake of one subscription."""

    sub: str
    generation: int
    wake_id: str


class _Kept(msgspec.Struct, frozen=True):
    """As it stands in the log, in base64url."""

    signing: str
    tokens: str


class Keys:
    """The keys of a log. Make them with `load`."""

    def __init__(self, signing: bytes, tokens: bytes) -> None:
        # A server without subscriptions never needs it, and it takes a fortieth of the time to start.
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415

        self._private = Ed25519PrivateKey.from_private_bytes(signing)
        self._tokens = tokens
        public = _text(self._private.public_key().public_bytes_raw())
        # RFC 7638: the members that make the key, in order of name
        thumbprint = msgspec.json.encode({"crv": "Ed25519", "kty": "OKP", "x": public})
        self.kid: str = "ds_" + _text(hashlib.sha256(thumbprint).digest())
        self.jwk: dict[str, str] = {
            "kty": "OKP",
            "crv": "Ed25519",
            "x": public,
            "kid": self.kid,
            "use": "sig",
            "alg": "EdDSA",
        }

    def signature(self, body: bytes, seconds: int) -> str:
        """The `Webhook-Signature` of a body sent at that time (PROTOCOL.md section 7.1)."""
        signed = self._private.sign(b"%d.%b" % (seconds, body))
        return f"t={seconds},kid={self.kid},ed25519={_text(signed)}"

    def token(self, allowed: Pass) -> str:
        """A token that only this log can have made."""
        claims = _text(msgspec.json.encode(allowed))
        return f"{claims}.{self._mac(claims)}"

    def read(self, token: str, name: str) -> Pass:
        """What a token allows with the subscription `name`. Raises SubscriptionRefused (TOKEN_INVALID)."""
        claims, _, mac = token.partition(".")
        if not hmac.compare_digest(mac.encode(), self._mac(claims).encode()):
            raise _bad_token()
        allowed = msgspec.json.decode(_bytes(claims), type=Pass)
        if allowed.sub != name:
            raise _bad_token()
        return allowed

    def _mac(self, claims: str) -> str:
        return _text(hmac.digest(self._tokens, claims.encode(), "sha256"))


async def load(log: Log) -> Keys:
    """The log's keys, made now if it has none: of several who try at once, one makes them for all."""
    for _ in range(_LOOKS):
        page = await log.store.read(Selection([TOPIC]), Cursor(log.tail.epoch, 0), 1)
        if page.events:
            return _opened(page.events[0].data)
        kept = _Kept(_text(secrets.token_bytes(_KEY_BYTES)), _text(secrets.token_bytes(_KEY_BYTES)))
        draft = Draft(topic=TOPIC, data=msgspec.json.encode(kept))
        try:
            await log.publish(Entry(topic=TOPIC, create=TopicConfig(), create_new=True, drafts=[draft]))
        except TopicExists:
            continue
    raise StoreCorrupt(f"The topic {TOPIC} is there, and the keys of this log are not in it.")


def _opened(data: bytes) -> Keys:
    try:
        kept = msgspec.json.decode(data, type=_Kept)
        return Keys(_bytes(kept.signing), _bytes(kept.tokens))
    except ValueError as error:
        raise StoreCorrupt(f"The topic {TOPIC} does not hold the keys of this log: {error}.") from None


def _bad_token() -> SubscriptionRefused:
    return SubscriptionRefused("TOKEN_INVALID", "This token was not given out for this subscription.")


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
