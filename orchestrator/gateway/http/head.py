"""What the head of a request must be like. Pure.

The parser refuses what two servers could read in two ways: a length beside chunks, two lengths, folded lines,
line feeds without carriage returns. This module refuses what the parser takes and should not.
"""

from __future__ import annotations

import re
from typing import Final

MAX_HEAD: Final = 32 * 1024
"""Bytes of a request's head: the target and all fields. Common proxies take 8 to 32 kB."""
MAX_FIELDS: Final = 100
"""Fields of a head. Browsers send about 20."""
_HOST: Final = re.compile(rb"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_VERSIONS: Final = frozenset({"1.0", "1.1"})


class RefusedError(Exception):
    """A request is refused before anybody looks at what it asks for.

    Args:
        status: The status of the answer.
        key: Why, for programs; one of `errors.KEYS`.
    """

    def __init__(self, status: int, key: str) -> None:
        super().__init__(key)
        self.status = status
        self.key = key


class Head:
    """The head of one request, as it comes in.

    Attributes:
        is_complete: Whether all of it is there.
    """

    def __init__(self) -> None:
        self.is_complete = False
        self._size = 0
        self._fields = 0
        self._hosts: list[bytes] = []
        self._lengths = 0
        self._codings: list[bytes] = []

    def add_target(self, part: bytes) -> None:
        """Take a part of the target.

        Raises:
            RefusedError: The head is too long.
        """
        self._count(len(part))

    def add_field(self, name: bytes, value: bytes) -> None:
        """Take a field.

        Raises:
            RefusedError: The head is too long, or the field comes after the body.
        """
        if self.is_complete:
            # A field behind a chunked body could pretend to be one of the head, after the head was checked.
            raise RefusedError(400, "bad_http")
        self._fields += 1
        if self._fields > MAX_FIELDS:
            raise RefusedError(431, "head_too_large")
        self._count(len(name) + len(value) + 4)
        name = name.lower()
        if name == b"host":
            self._hosts.append(value)
        elif name == b"content-length":
            self._lengths += 1
        elif name == b"transfer-encoding":
            self._codings.append(value.strip().lower())

    def finish(self, target: bytes, version: str, *, upgrades: bool) -> None:
        """Take the end of the head.

        Args:
            target: What the request is for.
            version: The version of HTTP, such as ``1.1``.
            upgrades: Whether the request asks for another protocol on this connection.

        Raises:
            RefusedError: The request cannot be answered safely.
        """
        self.is_complete = True
        if version not in _VERSIONS:
            raise RefusedError(505, "bad_http")
        # A target with a host of its own would leave open which host is meant.
        fits = target.startswith(b"/") and not upgrades
        if not fits or len(self._hosts) != 1 or not _HOST.fullmatch(self._hosts[0]):
            raise RefusedError(400, "bad_http")
        if self._codings and (self._codings != [b"chunked"] or self._lengths or version != "1.1"):
            raise RefusedError(400, "bad_http")
        if self._lengths > 1:
            raise RefusedError(400, "bad_http")

    def _count(self, size: int) -> None:
        self._size += size
        if self._size > MAX_HEAD:
            raise RefusedError(431, "head_too_large")
