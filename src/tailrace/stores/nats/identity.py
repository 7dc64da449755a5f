"""What a log in JetStream is, as its stream tells: kept as the stream's metadata, so that it comes and goes with it.

Pure. A stream that is no log of ours, or is set up otherwise than it was made, is refused with what differs.
"""

from __future__ import annotations

import msgspec

from tailrace.core.retention import Durability
from tailrace.errors import StoreUnusable
from tailrace.stores.nats.address import Address


class Identity(msgspec.Struct, frozen=True):
    """Which log it is. `epoch`: the one it was born in; `replicas`: on so many servers; `syncs`: see `Address`."""

    log: str
    epoch: int
    replicas: int
    syncs: bool

    @property
    def level(self) -> Durability:
        """What an acknowledgement of its servers promises."""
        if self.replicas > 1:
            return "replicated"
        return "fsync" if self.syncs else "written"


class Settings(msgspec.Struct, frozen=True):
    """Of a stream, as JetStream names them. Nothing is ever dropped, and what is full takes no more."""

    subjects: list[str] = []
    num_replicas: int = 1
    storage: str = ""
    retention: str = "limits"
    discard: str = "old"
    max_msgs: int = -1
    max_bytes: int = -1
    max_age: int = 0
    max_msgs_per_subject: int = -1
    allow_atomic: bool = False
    allow_direct: bool = False
    deny_delete: bool = False
    metadata: dict[str, str] = {}


_PREFIX = "tailrace."
_COPYING = "copying"


def settings_of(name: str, identity: Identity, copying: str = "") -> Settings:
    """How the stream `name` of a log is set up. While a copy is put into it (`copying`: of which log, see
    `copying_of`), no record can be written to it.
    """
    told = {_PREFIX + field: str(value) for field, value in msgspec.structs.asdict(identity).items()}
    if copying:
        told[_PREFIX + _COPYING] = copying
    return Settings(
        subjects=[subject_of_copy(name)] if copying else [f"{name}.e.>", f"{name}.c"],
        num_replicas=identity.replicas,
        storage="file",
        discard="new",
        allow_atomic=True,
        allow_direct=True,
        deny_delete=True,
        metadata=told,
    )


def subject_of_copy(name: str) -> str:
    """What a stream takes while a copy is put into it."""
    return f"{name}.copy"


def copying_of(found: Settings) -> str:
    """Which log is being copied into a stream, as whoever copies it has called it; nothing if none is."""
    return found.metadata.get(_PREFIX + _COPYING, "")


def identity_of(address: Address, found: Settings) -> Identity:
    """Which log a stream holds. Raises StoreUnusable if it is none, or a copy that is not finished, or not as it was
    made, or not as the URL says.
    """
    shown, copying = address.shown, copying_of(found)
    if copying:
        raise StoreUnusable(
            f"A copy into {shown} was not finished: run tailrace copy again, or remove the stream {address.log!r}."
        )
    identity = told_identity(address, found)
    expected = settings_of(address.log, identity)
    for field in Settings.__struct_fields__:
        is_so, was = getattr(found, field), getattr(expected, field)
        if is_so != was and field != "metadata":
            raise StoreUnusable(f"{shown}: {field} of the stream is {is_so!r}, and was {was!r}: change it back.")
    _compare(shown, "replicas", str(address.replicas or identity.replicas), str(identity.replicas))
    _compare(shown, "sync", _sync(address.syncs), _sync(identity.syncs))
    return identity


def told_identity(address: Address, found: Settings) -> Identity:
    """Which log a stream says that it holds, finished or not. Raises StoreUnusable if it is none."""
    told = {name.removeprefix(_PREFIX): value for name, value in found.metadata.items() if name.startswith(_PREFIX)}
    try:
        return msgspec.convert(told | {"syncs": told.get("syncs") == "True"}, Identity, strict=False)
    except msgspec.ValidationError:
        raise StoreUnusable(
            f"{address.shown}: there is a stream {address.log!r} that is no log: choose another name."
        ) from None


def _compare(shown: str, name: str, asked: str, is_so: str) -> None:
    if asked != is_so:
        raise StoreUnusable(
            f"{shown}: the log was created with {name}={is_so}, and the URL says {asked}: say the same, or copy it to "
            "a new log."
        )


def _sync(syncs: bool) -> str:
    return "always" if syncs else "no"
