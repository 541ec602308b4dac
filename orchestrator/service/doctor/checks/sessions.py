"""Whether each session belongs to one account, and only this user can read it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from orchestrator.accounts import duplicates, same_phone
from orchestrator.config.settings import Settings
from orchestrator.errors import StateError
from orchestrator.service.doctor.check import Check, Finding, fail, warn
from orchestrator.service.doctor.context import Context
from orchestrator.store import sessions, status, takeover
from orchestrator.store.layout import StatePaths
from orchestrator.store.protocols import Store
from orchestrator.system.masking import mask_number

_SHOWN = 10
"""How many accounts a finding names."""


def find(context: Context) -> Iterator[Finding]:
    """Find sessions that others can read, that several accounts have, and that no account has."""
    paths, settings = context.paths.or_none(), context.settings.or_none()
    if paths is None or not paths.sessions.exists():
        return
    yield from _readable(paths.sessions)
    yield from _of_old(paths)
    if settings is None:
        return
    store = context.store.get()
    yield from _shared(store, settings)
    for sentence in store.moves.about_strays(store.moves.strays(settings.accounts), settings.accounts):
        text, _, advice = sentence.partition(": ")
        yield warn(text, advice)


def _readable(folder: Path) -> Iterator[Finding]:
    opened = sessions.open_to_others(folder)
    if opened:
        yield warn(
            f"other users can access {len(opened)} session files, such as {opened[0]}",
            f"chmod -R go-rwx {folder}",
        )


def _of_old(paths: StatePaths) -> Iterator[Finding]:
    """Find sessions as version 0.1 kept them."""
    ready = []
    for name in takeover.waiting(paths.sessions):
        why = takeover.problem(paths.sessions, name)
        if why is None:
            ready += [name] if takeover.is_waiting(paths.sessions, name) else []
        else:
            what, _, advice = why.partition(": ")
            yield fail(f"{name}: the session of version 0.1 cannot be taken over: {what}", advice)
    if ready:
        which = ", ".join(ready[:_SHOWN]) + (
            f" and {len(ready) - _SHOWN} more" if len(ready) > _SHOWN else ""
        )
        yield warn(
            f"{len(ready)} sessions are still in the folders of version 0.1: {which}",
            "start or restart the service: it moves the sessions to the folders of this version, without a"
            " new code",
        )


def _shared(store: Store, settings: Settings) -> Iterator[Finding]:
    try:
        kept = store.record.load()
    except StateError as error:
        yield fail(str(error))
        kept = {}
    devices = {name: store.sessions.device(name) for name in settings.accounts}
    copies = duplicates.groups({name: one.marks for name, one in devices.items()})
    for group in copies:
        run = [n for n in group if settings.accounts[n].enabled and not kept.get(n, status.Kept()).stopped]
        first = run[0] if run else group[0]
        other = next(name for name in reversed(group) if name != first)
        text = f"the accounts {' and '.join(group)} have the session of one device, which only one can use"
        yield (fail if len(run) > 1 else warn)(text, duplicates.advice(other))
    for names in same_phone.groups((name, one.number) for name, one in devices.items()):
        if not any(set(names) <= set(group) for group in copies):
            phone = mask_number(devices[names[0]].number or "")
            yield warn(same_phone.finding(names, phone), same_phone.cost(names))


CHECK = Check("sessions", "sessions", "Whether each session is private and belongs to one account.", find)
