"""Says who has given a command: how an operator, a token, a bot or a signal is named for people. Pure.

Whoever is named is shown beside what was done, in the log and in timelines. So a name is short and printable,
wherever it comes from.
"""

from __future__ import annotations

from typing import Final

from orchestrator.accounts import characters

LONGEST: Final = 80
"""Characters of a text that says who has given a command."""
_LONGEST_NAME: Final = 32
"""Characters of one name in it: useradd takes no longer ones."""
_LIKE_A_PHONE: Final = 10_000_000
"""Numbers from here on are masked in the log unless it is said what they are."""
LOCAL: Final = "a program on the gateway's UNIX socket"
"""Who asks without any token there."""
STOPPED: Final = "stopped by an operator"
"""The reason of an account that somebody has stopped. It names nobody: webhooks and other clients get it."""
SIGHUP: Final = "the signal SIGHUP"
"""Who asks for a reload by a signal: nobody can tell who has sent it."""


def person(user: int, login: int | None, names: dict[int, str]) -> str:
    """Return the name of somebody who gives a command on this machine, such as ``anna (1000), as root``.

    Args:
        user: The user whose rights the command has.
        login: The user who had logged in, None if the kernel does not know.
        names: The names of users, as far as they are known.
    """
    who = _user(user if login is None else login, names)
    if login is not None and login != user:
        who += f", as {_name(names.get(user)) or _number(user, 'the user ')}"
    return characters.one_line(who, LONGEST)


def token(name: str, *, of_page: bool = False) -> str:
    """Return the name of a client with a token, or of a browser that a link has let in.

    Args:
        name: The name of the token, or of the row of the page in the tokens' file.
        of_page: Whether it is such a row.
    """
    return f"the {'page session' if of_page else 'token'} {_name(name)}"


def bot(name: str) -> str:
    """Return the name of a bot that gives a command."""
    return f"the bot {_name(name)}"


def with_who(reason: str | None, by: str | None) -> str:
    """Return what follows after a change: its reason and who has caused it.

    Args:
        reason: Why, None if there is nothing to say.
        by: Who, None if no command has caused it.
    """
    text = f": {reason}" if reason else ""
    if by is None:
        return text
    if reason == STOPPED:
        return f": stopped by {by}"
    return f"{text}, by {by}" if text else f": by {by}"


def _user(user: int, names: dict[int, str]) -> str:
    name = _name(names.get(user))
    return f"{name} ({_number(user)})" if name else _number(user, "the user ")


def _number(user: int, before: str = "") -> str:
    """Return the number of a user; a long one, as directories give them, must not look like a phone's."""
    return f"{before}{user}" if user < _LIKE_A_PHONE else f"uid={user}"


def _name(name: str | None) -> str:
    """Return a name as it can be shown; empty if nothing of it can be."""
    return characters.one_line(name or "", _LONGEST_NAME)
