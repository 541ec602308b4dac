"""The names of accounts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from orchestrator.accounts import characters
from orchestrator.errors import ConfigError, NoSuchAccount

NAME_RULE = "1 to 63 of a-z, 0-9, dot, dash and underscore, the first a letter or digit"

NAME_PATTERN = "[a-z0-9][a-z0-9._-]{0,62}"
"""What a name has to match, also as a part of file names; it has no groups."""
_NAME = re.compile(NAME_PATTERN)


def check_name(name: str) -> str:
    """Return an account's name if it is one.

    A name becomes part of file names, which is why it can neither be a path nor start with a dot or a dash.
    Names with two dots in a row are fine: without a slash they lead nowhere.

    Raises:
        ConfigError: It is none.
    """
    if is_name(name):
        return name
    raise ConfigError(
        f"{shorten(name)} is no account name: {NAME_RULE}{characters.remark(name)}", key="bad_name"
    )


def no_such_account(*names: str, known: Iterable[str] = (), file: Path | None = None) -> NoSuchAccount:
    """Return the error that says that there are no accounts of these names.

    Args:
        names: The names, as somebody wrote them.
        known: The names that there are, for a proposal.
        file: The configuration that was looked at, if a command looked at one.
    """
    quoted = ", ".join(f"{shorten(name)}{characters.remark(name)}" for name in names)
    where = f" in {file}" if file else ""
    close: list[str] = []
    if len(names) == 1:
        from difflib import get_close_matches  # only when something is wrong

        close = get_close_matches(names[0][:63], known, 1)
    hint = f"did you mean {close[0]}?" if close else "`orchestrator list` shows all accounts"
    return NoSuchAccount(f"there is no account {quoted}{where}; {hint}")


def is_name(name: str) -> bool:
    """Tell whether a text is a valid name of an account."""
    return _NAME.fullmatch(name) is not None


def shorten(text: str) -> str:
    """Return text from outside as a message may show it: quoted, on one line, not too long, and printable."""
    cut = text if len(text) <= 40 else text[:39] + "…"
    return '"' + "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in cut) + '"'
