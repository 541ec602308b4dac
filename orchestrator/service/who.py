"""Who has given the command that is being carried out.

Each command has a task of its own, and the name goes with the task. It is read where the command begins: what
follows later, in other tasks and by timers, has the name handed on as a value.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

from orchestrator.accounts import orderers
from orchestrator.system import people

_CURRENT: Final[ContextVar[str]] = ContextVar("who has given the command", default="")


def current() -> str | None:
    """Return who has given the command that this task carries out, None if it carries out none."""
    return _CURRENT.get() or None


def by() -> str:
    """Return what a log says of that behind what was done: a space and ``by anna (1000)``, or nothing."""
    who = current()
    return f" by {who}" if who else ""


def begin(who: str) -> None:
    """Note who gives the command that this task carries out from now on; empty if nobody is to be named."""
    _CURRENT.set(who)


def peer(process: int, user: int) -> str:
    """Return the name of whoever is at the other end of the control socket.

    Args:
        process: The process there.
        user: The user whose rights it has.
    """
    login = people.login_of(process, user)
    users = {user} if login is None else {user, login}
    return orderers.person(user, login, people.names(users))
