"""Removes an account for good: WhatsApp logs it out first, and nothing of it is kept."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.accounts.words import counted, size
from orchestrator.cli import put_aside
from orchestrator.cli.formatting import printable
from orchestrator.cli.invocation import Places
from orchestrator.control.client import Client
from orchestrator.errors import NotRunning, OrchestratorError

if TYPE_CHECKING:
    from orchestrator.store.put_away import Entry


def check(
    where: Places, client: Client | None, file: Path, name: str, former: put_aside.Former, *, strictly: bool
) -> None:
    """See that an account can be removed, before anybody is asked and anything is done.

    Args:
        where: What the command's options say.
        client: A client for the service; None if none runs.
        file: The configuration.
        name: The account.
        former: Its session.
        strictly: Only if WhatsApp logs its device out.

    Raises:
        NotRunning: No service runs, so nobody can ask WhatsApp.
        NoSuchAccount: There is none of that name.
        ConfigError: The configuration cannot be edited.
    """
    from orchestrator.config import edit

    edit.remove_account(file, name, only_check=True)
    if strictly and client is None:
        raise NotRunning(
            f"the service is not running, so nobody can ask WhatsApp to log {name} out: nothing was changed."
            f" `{where.start_command(file)}` starts the service; or remove its device{former.device} on the"
            f" phone, under Linked devices, and run `orchestrator remove {name}` without --unlink"
        )


def remove(where: Places, client: Client, file: Path, name: str, former: put_aside.Former) -> None:
    """Have WhatsApp log an account out, take it out of the configuration, and delete what was kept of it.

    A session is deleted only if WhatsApp confirmed that it is logged out. Older sessions of the account stay
    in quarantine: their devices may still be linked.

    Args:
        where: What the command's options say.
        client: A client for the service.
        file: The configuration.
        name: The account, which `check` has found.
        former: Its session.

    Raises:
        ConfigError: The configuration cannot be edited.
        OrchestratorError: WhatsApp did not confirm; nothing was deleted.
    """
    from orchestrator.config import edit

    before = {one.folder for one in put_aside.read(where) if one.name == name}
    result = client.call("log_out", name=name)
    if result["unlinked"] is False:
        why = f" ({printable(result['why_linked'])})" if result["why_linked"] else ""
        raise OrchestratorError(
            f"WhatsApp did not confirm that the device of {name} is logged out{why}: nothing was deleted, and"
            f" {name} goes on as before. Try again later; or remove its device{former.device} on the phone,"
            f" under Linked devices, and run `orchestrator remove {name}` without --unlink",
            key="still_linked",
        )
    edit.remove_account(file, name)
    client.call("remove", name=name, keep_session=False)
    print(printable(f"{name} was removed from {file}"))
    if result["unlinked"]:
        print("WhatsApp has logged its device out: the phone does not show it any more")
    found = [one for one in put_aside.read(where) if one.name == name]
    ours = [one for one in found if one.folder not in before and _is_over(where, one)]
    if ours:
        gone = put_aside.delete(where, [one.folder for one in ours])
        print(f"its session and its messages are deleted ({size(gone['size'])})")
    if older := [one for one in found if one not in ours and one.session]:
        said = (
            f"{counted(len(older), 'other session')} of {name} in quarantine may still be of linked devices:"
            f" look under Linked devices on the phone, then run `orchestrator quarantine purge {name}`"
        )
        print(f"orchestrator: {printable(said)}", file=sys.stderr)


def _is_over(where: Places, one: Entry) -> bool:
    """Tell whether a session that was just put away can log in no more, or whether there is none.

    Somebody may have linked another device in the very moment. Its session stays.
    """
    from orchestrator.cli.offline import kept

    if not one.session or one.reason == "logged_out":
        return True
    return kept.store(where).sessions.former(one.folder).linked is False
