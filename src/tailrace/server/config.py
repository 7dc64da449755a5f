"""TEMP."""

from dataclasses import dataclass

from tailrace.doors.limits import DoorLimits
from tailrace.log.limits import LogLimits


@dataclass(frozen=True)
class _T:
    create_on_publish: bool = True


@dataclass(frozen=True)
class _A:
    keys: tuple = ()
    cors_origins: tuple = ()
    hosts: tuple = ()


@dataclass(frozen=True)
class Settings:
    host: str = "127.0.0.1"
    port: int = 4437
    store: str = "sqlite:///tailrace.db"
    insecure: bool = False
    log: LogLimits = LogLimits()
    http: DoorLimits = DoorLimits()
    topics: _T = _T()
    access: _A = _A()
