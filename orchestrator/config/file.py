"""The bytes of the configuration file: what may be read at all, and what can be told without reading YAML.

Fast to import: commands that only want to reach the service must not wait for the YAML library.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path

from orchestrator.errors import ConfigError
from orchestrator.system.os_errors import advice

MAX_SIZE = 1024 * 1024
"""Bytes of the file. 5,000 accounts with a phone and a proxy have about 500,000."""

_BREAKS = "\\n\\r\\x85\\u2028\\u2029"
"""What ends a line in YAML 1.1, for a pattern."""
_COMMENT = re.compile(rf"(?:\A|(?<=[{_BREAKS}]))[ \t]*#[^'\"{_BREAKS}]*(?=[{_BREAKS}]|\Z)")
"""A line that has nothing but a comment, without quotes."""


def read(path: str | Path) -> bytes:
    """Return the bytes of a configuration file.

    Raises:
        ConfigError: It cannot be read, or has too many.
    """

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | os.O_NONBLOCK)  # a pipe in its place would hold the service up for ever

    try:
        with open(path, "rb", opener=opener) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError(errno.ENXIO, "")
            data = file.read(MAX_SIZE + 1)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{shown(path)}: {_reason(error)}") from None
    if len(data) > MAX_SIZE:
        raise ConfigError(f"{shown(path)}: expected at most {MAX_SIZE:,} bytes; is this the right file?")
    return data


def decode(data: bytes, path: str | Path) -> str:
    """Return the bytes of a configuration file as text, without a byte-order mark.

    Raises:
        ConfigError: They are no text in UTF-8.
    """
    if b"\0" in data:
        raise ConfigError(f"{shown(path)}: expected text, found binary data; is this the right file?")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{shown(path)}:{line}: expected text in UTF-8, found the byte 0x{data[error.start]:02X};"
            " save the file as UTF-8"
        ) from None


def digest(text: str) -> str:
    """Return by what a configuration's text is known."""
    import hashlib  # only where a summary is made or looked for: it loads OpenSSL

    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def may_have(key: str, text: str) -> bool:
    r"""Tell whether a key may stand in a text of YAML; False only if no reader of YAML could find it there.

    The characters of a key stand in the text as they are, or are written as escapes between double quotes: by
    number, such as ``\x5f``, or with a line break that is escaped in between. YAML has no other way to write
    them: an alias repeats what stands elsewhere, and a tag or an anchor changes no character.

    What stands in a line of comment is no key. Such a line may also be within a scalar. Then the scalar has
    the ``#``, too, and it can end in that line only where there is a quote.

    Args:
        key: The key, in ASCII.
        text: The text.
    """
    if key not in text and "\\" not in text:
        return False
    numbers = "|".join(sorted({f"{ord(one):02x}" for one in key}))
    written = re.compile(rf"{re.escape(key)}|\\(?:(?:x|u00|U0{{6}})(?i:{numbers})|[{_BREAKS}])")
    return bool(written.search(text) and written.search(_COMMENT.sub("", text)))


def shown(path: str | Path) -> str:
    """Return a path as a message may show it."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in str(path))


def _reason(error: OSError | ValueError) -> str:
    return advice(error, "read config") if isinstance(error, OSError) else "this is not the path of a file"
