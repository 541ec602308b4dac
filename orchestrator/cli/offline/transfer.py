"""Moves sessions from a state folder into the database of `store:`, and back, while no service runs.

What was moved goes into the quarantine of where it was: two services with copies of one session would throw
each other out.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from orchestrator.accounts.names import no_such_account
from orchestrator.errors import OrchestratorError, StateError
from orchestrator.gateway.dispatch import moving
from orchestrator.postgres import transfer
from orchestrator.postgres.record import RecordRows
from orchestrator.postgres.sessions import Sessions
from orchestrator.store import device, quarantine, realm, sessions
from orchestrator.store.layout import DATABASE, MESSAGES, StatePaths
from orchestrator.store.lock import InstanceLock
from orchestrator.store.protocols import Record, Store
from orchestrator.store.record_files import RecordFiles
from orchestrator.store.timeline import TimelineEntry
from orchestrator.system.clock import unix
from orchestrator.system.os_errors import trouble

_ALL = 1_000_000


@dataclass
class Moved:
    """What became of sessions.

    Attributes:
        done: The accounts whose sessions were moved.
        unlinked: Those that are linked to no phone, and stay: they would only show a code.
        quarantined: How many sessions lie in quarantine, and stay there.
        failed: Those that stay because of an error, with the sentence.
    """

    done: list[str] = field(default_factory=list)
    unlinked: list[str] = field(default_factory=list)
    quarantined: int = 0
    failed: dict[str, str] = field(default_factory=dict)


def bring_in(store: Store, source: StatePaths, names: Iterable[str]) -> Moved:
    """Move sessions from a state folder into the database.

    Args:
        store: The database's store; this process owns its accounts.
        source: The state folder.
        names: The accounts; none: all that have a session there.

    Raises:
        AlreadyRunning: A service uses the folder.
        NoSuchAccount: There is no session of such a name.
        StateError: A linked session is in the database already. Then nothing was moved.
    """
    target = store.sessions
    assert isinstance(target, Sessions)
    moved = Moved(quarantined=len(quarantine.quarantined(source.quarantine)))
    with contextlib.ExitStack() as held:
        if source.lock != store.paths.lock:
            held.enter_context(InstanceLock(source.lock, what="moves sessions into a database"))
        chosen = _chosen(names, sessions.names(source.sessions))
        linked = [name for name in chosen if _is_linked(source, name)]
        moved.unlinked = [name for name in chosen if name not in linked]
        for name in linked:
            found = target.device(name)
            if found.linked is not False and not found.marks & device.look(source.session(name)).marks:
                raise StateError(
                    f"{name}: the database has another linked session already: nothing was moved"
                )
        _record(RecordFiles(source), store.record, linked)
        for name in linked:
            _each(moved, name, partial(_bring_in, store, target, source, name))
    return moved


def _bring_in(store: Store, target: Sessions, source: StatePaths, name: str) -> None:
    home = source.home(name)
    with sessions.held(home):
        session = transfer.read_file(home / DATABASE)
        if target.device(name).linked is False:
            target.expect(name, realm.read(home))
            refusal = target.admit(name)
            dsn = target.place(name).dsn
            if refusal is not None or dsn is None:
                raise StateError(refusal.text if refusal is not None else "the database gives no password")
            transfer.fill(dsn, session)
    if store.consumers is not None and store.pulls is not None:
        moving.bring_in(source.gateway, name, store.consumers, store.pulls)
    target.take_messages(name, source.message_folder(name))
    place = quarantine.put(home, source.quarantine, "moved", time.time())
    if place is not None:
        _put_messages_away(source.message_folder(name), place / MESSAGES)


def bring_out(store: Store, to: StatePaths, names: Iterable[str]) -> Moved:
    """Move sessions from the database into a state folder; `bring_in` says how."""
    origin = store.sessions
    assert isinstance(origin, Sessions)
    moved = Moved(quarantined=len(origin.in_quarantine()))
    with contextlib.ExitStack() as held:
        if to.lock != store.paths.lock:
            to.prepare()
            held.enter_context(InstanceLock(to.lock, what="moves sessions out of a database"))
        chosen = _chosen(names, origin.names())
        linked = [name for name in chosen if origin.device(name).linked is not False]
        moved.unlinked = [name for name in chosen if name not in linked]
        for name in linked:
            if _is_linked(to, name):
                raise StateError(f"{to.session(name)}: is there already: nothing was moved")
        _record(store.record, RecordFiles(to), linked)
        for name in linked:
            _each(moved, name, partial(_bring_out, store, origin, to, name))
    return moved


def _bring_out(store: Store, origin: Sessions, to: StatePaths, name: str) -> None:
    where = origin.realm(name)
    if (refusal := origin.admit(name)) is not None:
        raise StateError(refusal.text)
    dsn = origin.place(name).dsn
    assert dsn is not None
    home = to.home(name)
    with contextlib.suppress(FileExistsError):
        to.sessions.mkdir(0o700)
    with contextlib.suppress(FileExistsError):
        home.mkdir(0o700)
    with sessions.held(home):
        for file in sessions.files(home / DATABASE):
            file.unlink(missing_ok=True)  # of an account that is not linked there
        transfer.write_file(home / DATABASE, transfer.drain(dsn))
        if where is not None:
            realm.note(home, where)
    if store.consumers is not None and store.pulls is not None:
        moving.bring_out(to.gateway, name, store.consumers, store.pulls)
    origin.give_messages(name, to.message_folder(name))
    origin.quarantine(name, "moved", time.time(), messages=True)


def _put_messages_away(folder: Path, place: Path) -> None:
    """Put the inbox and the outbox away with the session. Attachments stay: they are files in both cases."""
    found = [file for file in (*folder.glob("inbox.*"), *folder.glob("outbox.*")) if sessions.is_file(file)]
    if found:
        place.mkdir(0o700, exist_ok=True)
    for file in found:
        file.rename(place / file.name)


def _each(moved: Moved, name: str, work: Callable[[], None]) -> None:
    try:
        work()
    except OSError as error:
        moved.failed[name] = trouble(error)
    except OrchestratorError as error:
        moved.failed[name] = str(error)
    else:
        moved.done.append(name)


def _chosen(names: Iterable[str], known: list[str]) -> list[str]:
    """Return the accounts that are meant: all, if nobody is named.

    Raises:
        NoSuchAccount: There is no session of such a name.
    """
    chosen = list(names)
    if missing := [name for name in chosen if name not in known]:
        raise no_such_account(*missing, known=known)
    return chosen or known


def _is_linked(paths: StatePaths, name: str) -> bool:
    return device.look(sessions.find(paths.sessions, name)).linked is not False


def _record(source: Record, target: Record, names: list[str]) -> None:
    """Take over what is known of accounts: wishes, bans, and what of their histories is not there yet.

    This comes before their sessions, which can be moved once only.

    Raises:
        StateError: It is not kept. No session was moved.
    """
    known = source.load()
    target.save({**target.load(), **{name: known[name] for name in names if name in known}})
    for name in names:
        there = [unix(entry["at"]) or 0.0 for entry in target.tail(name, _ALL)]
        entries = source.tail(name, _ALL)
        if there and isinstance(target, RecordRows):
            target.prepend(name, [one for one in entries if (unix(one["at"]) or 0.0) < there[0]])
        for entry in entries:
            if not there or (unix(entry["at"]) or 0.0) > there[-1]:
                target.append(name, _entry(entry))
    if not target.flush(60):
        raise StateError("what is known of the accounts could not be stored: nothing was moved, try again")


def _entry(values: dict[str, Any]) -> TimelineEntry:
    rest = {
        key: values[key]
        for key in ("kind", "reason", "code", "attempt", "delay", "version", "others", "event", "by")
        if key in values
    }
    return TimelineEntry(unix(values["at"]) or 0.0, values["from"], values["to"], **rest)
