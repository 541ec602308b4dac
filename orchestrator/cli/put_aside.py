"""What commands say of sessions in quarantine, and their deletion."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from orchestrator.accounts.words import size
from orchestrator.cli.formatting import local, printable
from orchestrator.errors import ConfigError
from orchestrator.system.clock import iso, utc

if TYPE_CHECKING:
    from orchestrator.cli.invocation import Places
    from orchestrator.config.settings import Settings
    from orchestrator.store.put_away import Entry

_AT_ONCE: Final = 500
"""Folders of one request to the service."""
_NAMED: Final = 5
"""Accounts that a sentence names."""
WHY: Final = {
    "repair": "paired anew",
    "removed": "account removed",
    "logged_out": "logged out",
    "locked": "locked by WhatsApp",
    "wrong_phone": "wrong phone",
    "damaged": "damaged",
    "unlinked": "never linked",
    "leftover": "left over",
}
"""Words for the reasons; a reason without words is shown as it is."""
LOGGED_OUT: Final = ("logged_out", "wrong_phone")
"""The reasons for which WhatsApp has unlinked the device, so that its session cannot log in any more."""


def read(where: Places) -> list[Entry]:
    """Return what lies in quarantine, the newest first.

    Args:
        where: What the command's options say.

    Raises:
        StateError: The quarantine cannot be read.
    """
    from orchestrator.cli.offline import kept

    return kept.store(where).sessions.in_quarantine()


def show(found: Sequence[Entry], settings: Settings, *, as_json: bool) -> None:
    """Print a table of what lies in quarantine, or JSON for programs.

    Args:
        found: What is shown.
        settings: The configuration.
        as_json: Print JSON.
    """
    days, accounts = settings.quarantine_days, settings.accounts
    if as_json:
        print(json.dumps([_as_json(one, days, exists=one.name in accounts) for one in found], indent=2))
        return
    from orchestrator.cli.table import show_rows  # loads rich

    show_rows(
        ("NAME", "PUT AWAY", "WHY", "HOLDS", "SIZE", "KEPT UNTIL", "ACCOUNT", "QUARANTINE"),
        (
            (
                one.name or "-",
                _local(one.at),
                printable(WHY.get(one.reason, one.reason)) or "-",
                holds(one),
                size(one.size),
                _local(one.until(days)),
                "yes" if one.name in accounts else "no",
                printable(one.folder),
            )
            for one in found
        ),
        # The name of the folder says much of the same, and people copy it.
        unimportant=("PUT AWAY", "ACCOUNT", "SIZE", "HOLDS", "WHY"),
    )


def about_logged_out(found: Sequence[Entry]) -> str | None:
    """Say which sessions are listed in vain, None if there are none such."""
    over = [one.name or one.folder for one in found if one.session and one.reason in LOGGED_OUT]
    if not over:
        return None
    names = [*dict.fromkeys(over)]
    which = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
    them = "it" if len(over) == 1 else "them"
    return f"{len(over)} of these sessions cannot log in again, because WhatsApp has unlinked {them}: {which}"


def _as_json(one: Entry, days: float, *, exists: bool) -> dict[str, Any]:
    return {
        "quarantine": one.folder,
        "name": one.name or None,
        "at": iso(one.at),
        "reason": one.reason or None,
        "session": one.session,
        "messages": one.messages,
        "bytes": one.size,
        "until": iso(one.until(days)),
        "account": exists,
    }


def _local(at: float | None) -> str:
    return "-" if at is None else local(utc(at))


def holds(one: Entry) -> str:
    """Say what lies in a folder: a session, messages, both or neither."""
    parts = [word for word, there in (("session", one.session), ("messages", one.messages)) if there]
    return " + ".join(parts) or "files"


def delete(where: Places, folders: Sequence[str]) -> dict[str, Any]:
    """Delete folders of the quarantine for good, and say on stderr which stay, with why.

    Args:
        where: What the command's options say.
        folders: The names of the folders.

    Returns:
        What is gone (``done``), how many bytes that were (``size``), and what stays, with why (``kept``).

    Raises:
        AlreadyRunning: Another command changes the state folder.
        StateError: The quarantine cannot be used.
    """
    client = where.running_service()
    result: dict[str, Any] = {"done": [], "size": 0, "kept": {}}
    if client is None:
        from orchestrator.cli.offline import kept
        from orchestrator.cli.offline.changes import exclusive

        store = kept.store(where)
        with exclusive(store, "deletes what lies in quarantine"):
            found = store.sessions.purge(folders)
        result = {"done": found.done, "size": found.size, "kept": found.kept}
    else:
        for begin in range(0, len(folders), _AT_ONCE):
            # Messages can have many large files, so there is no time limit, as there is for a call.
            with client.stream("purge", folders=list(folders[begin : begin + _AT_ONCE])) as answer:
                for _ in answer:
                    pass
            result["done"] += answer.result["done"]
            result["size"] += answer.result["size"]
            result["kept"] |= answer.result["kept"]
    for folder, why in result["kept"].items():
        print(f"orchestrator: {printable(folder)} stays: {printable(why)}", file=sys.stderr)
    return result


@dataclass(frozen=True, slots=True)
class Former:
    """The session that an account has before a command takes it away.

    Attributes:
        linked: Whether it may be of a linked device.
        device: What the phone shows under Linked devices, in quotes and for people; empty if that is unknown.
        days: How long the quarantine keeps it; None if that is unknown.
    """

    linked: bool
    device: str
    days: float | None

    def until(self, at: float | None = None) -> str:
        """Say until when the quarantine keeps what was put away at a time, by default now.

        Args:
            at: Unix seconds.
        """
        if self.days is None:
            return "for `quarantine_days`"
        return f"until {local(utc((time.time() if at is None else at) + self.days * 86_400))}"


def former(where: Places, name: str) -> Former:
    """Look at the session of an account that is about to be put away, with or without a configuration.

    Args:
        where: What the command's options say.
        name: The account.
    """
    from orchestrator.accounts.names import is_name
    from orchestrator.cli.offline import kept

    device_name, days = "", None
    try:
        settings = where.settings()
    except ConfigError:
        pass
    else:
        days = settings.quarantine_days
        if name in settings.accounts:
            device_name = f' ("{printable(settings.accounts[name].device_name)}")'
    try:
        found = is_name(name) and kept.store(where).sessions.device(name).linked is not False
    except ConfigError:
        found = True  # nobody knows where the session is
    return Former(found, device_name, days)
