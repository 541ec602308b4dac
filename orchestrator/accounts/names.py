"""The names of accounts."""

from __future__ import annotations

import re

from orchestrator.accounts import characters
from orchestrator.errors import ConfigError

NAME_RULE = "1 to 63 of a-z, 0-9, dot, dash and underscore, the first a letter or digit"

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


def check_name(name: str) -> str:
    """Return an account's name if it is one.

    A name becomes part of file names, which is why it can neither be a path nor start with a dot or a dash.
    Names with two dots in a row are fine: without a slash they lead nowhere.

    Raises:
        ConfigError: It is none.
    """
    if is_name(name):
        return name
    raise ConfigError(f"{shorten(name)} is no account name: {NAME_RULE}{characters.remark(name)}")


def is_name(name: str) -> bool:
    """Tell whether a text is a valid name of an account."""
    return _NAME.fullmatch(name) is not None


def shorten(text: str) -> str:
    """Return text from outside as a message may show it: quoted, on one line, not too long, and printable."""
    cut = text if len(text) <= 40 else text[:39] + "…"
    return '"' + "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in cut) + '"'
