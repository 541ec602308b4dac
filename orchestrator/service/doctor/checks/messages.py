"""Whether messages come in that nobody keeps, and whether some wait or are kept in vain."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from orchestrator.accounts.words import counted
from orchestrator.config.settings import Settings
from orchestrator.control.outlook import how_to_allow
from orchestrator.control.view import AccountView
from orchestrator.messages import media_files
from orchestrator.messages.outbox import NoOutbox, OutboxError, OutboxReader
from orchestrator.sending.row import State
from orchestrator.service.doctor.check import Check, Finding, ok, warn
from orchestrator.service.doctor.context import Context
from orchestrator.store import inboxes
from orchestrator.store.layout import StatePaths

SHOWN = 5
"""How many accounts are named."""


def find(context: Context) -> Iterator[Finding]:
    """Compare what accounts keep with what comes in, and find messages of no use, or that nobody sends."""
    settings, paths = context.settings.or_none(), context.paths.or_none()
    if settings is None:
        return
    yield from _refused(context, settings)
    if paths is not None:
        yield from _of_nobody(paths, settings)
        yield from _waiting(paths, settings)
        yield from _damaged(paths)
        yield from _files(paths, settings)


def _refused(context: Context, settings: Settings) -> Iterator[Finding]:
    closed = {name for name, one in settings.accounts.items() if one.enabled and not one.messages.allow}
    try:
        result = context.client.get().call("list", names=[])["accounts"] if closed else []
    except Exception:  # noqa: BLE001 - without a service nothing comes in; another check looks at it
        return
    found = [one for one in map(AccountView.from_json, result) if one.name in closed and one.refused]
    if found:
        count = sum(one.refused for one in found)
        came = "1 message came in that is" if count == 1 else f"{count} messages came in that are"
        yield ok(
            f"{came} not kept, because these accounts allow nobody: {_named([one.name for one in found])}",
            how_to_allow(found[0].name),
        )


def _of_nobody(paths: StatePaths, settings: Settings) -> Iterator[Finding]:
    strange = [name for name in inboxes.names(paths.messages) if name not in settings.accounts]
    found = [name for name in strange if inboxes.holds(paths.messages / name)]
    if found:
        yield warn(
            f"{paths.messages} has messages of accounts that the configuration does not name, and nothing"
            f" deletes them: {_named(found)}",
            f"`orchestrator add {found[0]}` uses them again; `orchestrator remove {found[0]}` after that"
            " moves them to quarantine, so that no number comes again",
        )


def _waiting(paths: StatePaths, settings: Settings) -> Iterator[Finding]:
    """Look for messages that nobody will send, because their accounts are disabled."""
    count, found = 0, []
    for name in (name for name, one in settings.accounts.items() if not one.enabled):
        try:
            with closing(OutboxReader.open(paths.message_folder(name))) as outbox:
                waiting = outbox.count({State.QUEUED})
        except NoOutbox:
            continue
        except OutboxError as error:
            yield warn(
                str(error), f"`orchestrator start {name}` puts a damaged outbox aside and begins a new one"
            )
            continue
        if waiting:
            count += waiting
            found.append(name)
    if found:
        yield warn(
            f"{counted(count, 'message waits', 'messages wait')} to be sent by accounts that are disabled:"
            f" {_named(found)}",
            f"`orchestrator enable {found[0]}` has them sent; `orchestrator outbox {found[0]}` shows them,"
            " `--take-back` takes one back",
        )


def _damaged(paths: StatePaths) -> Iterator[Finding]:
    names = inboxes.names(paths.messages)
    found = [file for name in names for file in inboxes.put_aside(paths.messages / name)]
    if found:
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        yield warn(
            f"damaged inboxes or outboxes were put aside, and nothing deletes them: {found[0]}{more}",
            "keep a copy if somebody can read messages out of it, then delete the file",
        )


def _files(paths: StatePaths, settings: Settings) -> Iterator[Finding]:
    found = [media_files.usage(paths.message_folder(name)) for name in settings.accounts]
    count, size = sum(one.files for one in found), sum(one.size for one in found)
    if count:
        yield ok(f"attachments ({count}) take {size / 1e6:,.1f} MB in {paths.messages}")


def _named(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


CHECK = Check(
    "messages", "messages", "Whether messages come in that nobody keeps, or belong to nobody.", find
)
