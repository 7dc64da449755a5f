"""What every store's URL needs said of it: itself without its password, and which package it takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tailrace.errors import ConfigError


def without_password(url: str) -> str:
    """A store's URL as it may be shown: its password left out."""
    scheme, separator, rest = url.partition("://")
    user, at, where = rest.rpartition("@")
    name, colon, _ = user.partition(":")
    return f"{scheme}{separator}{name}:***{at}{where}" if at and colon else url


@contextmanager
def needing(package: str, extra: str) -> Iterator[None]:
    """Say what to install if `package` is not there."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != package:
            raise
        raise ConfigError(
            f"This store needs the package {package}, which is not installed: pip install 'tailrace[{extra}]'."
        ) from None
