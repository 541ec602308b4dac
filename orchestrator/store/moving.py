"""Renames accounts, and restores sessions from quarantine.

Both move several files, and a process can be killed between any two of them. So the task is written to
``moving.json`` first, and this file is removed when the task is done. The next process that opens the state
folder completes the task with `finish`, before it uses any session.

For a rename, the configuration decides. Once the configuration has the new name, the files follow. As long as
the configuration has the old name, nothing is moved. No process may use the sessions meanwhile.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Container, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from orchestrator.accounts.characters import remark
from orchestrator.accounts.names import is_name, no_such_account, shorten
from orchestrator.errors import NoSuchAccount, OrchestratorError, StateError
from orchestrator.store import counted, device, inboxes, quarantine, sessions, status, takeover, trial
from orchestrator.store.codes.folder import QrFolder
from orchestrator.store.configured import Configured
from orchestrator.store.layout import DATABASE, MESSAGES, StatePaths
from orchestrator.store.timeline import Timeline
from orchestrator.store.tracebacks import Tracebacks
from orchestrator.system.files import read_file, replacing, sync, sync_folder
from orchestrator.system.os_errors import trouble

SHOWN = 10
"""How many folders of the quarantine an error names."""
_MAX_SIZE = 4096
NOTES = {
    "logged_out": "WhatsApp logged this session out, so it will not log in again",
    "locked": "WhatsApp locked the account, so this session will probably not log in again",
    "damaged": "this session went to quarantine because it is damaged",
    "wrong_phone": "this session belongs to another phone than the configuration named",
}
"""What an operator should know about a session that went to quarantine for a reason."""


@dataclass(frozen=True, slots=True)
class Rename:
    """An account gets another name.

    Attributes:
        old: The name it had.
        new: The name it gets.
        begun: Whether files may have been moved.
    """

    old: str
    new: str
    begun: bool = False


@dataclass(frozen=True, slots=True)
class Restore:
    """A session goes back from quarantine.

    Attributes:
        name: The account that gets it.
        folder: The name of its folder in quarantine.
        database: The name of the file in there.
    """

    name: str
    folder: str
    database: str


@dataclass(frozen=True, slots=True)
class Restored:
    """What was put back.

    Attributes:
        folder: Its folder in quarantine, which is gone unless messages stay there.
        notes: What is to be known of it, a sentence each.
    """

    folder: str
    notes: tuple[str, ...] = ()


# What is written down


def pending(paths: StatePaths) -> Rename | Restore | None:
    """Return the task that was begun and not completed; None if there is none.

    Raises:
        StateError: The file of the task cannot be read.
    """
    try:
        values = json.loads(read_file(paths.moving, _MAX_SIZE))
        task = Rename(**values["rename"]) if "rename" in values else Restore(**values["restore"])
        names = (task.old, task.new) if isinstance(task, Rename) else (task.name,)
        parts = () if isinstance(task, Rename) else (task.folder, task.database)
        if not all(map(is_name, names)) or not all(map(_is_entry, parts)):
            raise ValueError("no names")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(f"{paths.moving}: cannot be read: {trouble(error)}") from None
    except (ValueError, KeyError, TypeError):
        raise StateError(
            f"{paths.moving}: is damaged. This file says which session was being moved. Check whether a"
            f" session is missing in {paths.sessions}, then move this file away"
        ) from None
    return task


def _is_entry(name: object) -> bool:
    """Tell whether something can be the name of an entry of a folder, and leads nowhere else."""
    return isinstance(name, str) and name not in ("", ".", "..") and not {"/", "\0"} & {*name}


def begin(paths: StatePaths, task: Rename | Restore) -> None:
    """Write a task down.

    Raises:
        StateError: The file cannot be written.
    """
    values = {"rename" if isinstance(task, Rename) else "restore": asdict(task)}
    try:
        with replacing(paths.moving) as file:
            file.write(json.dumps(values).encode())
            sync(file)
        sync_folder(paths.root)
    except OSError as error:
        raise StateError(f"{paths.moving}: cannot be written: {trouble(error)}") from None


def give_up(paths: StatePaths) -> None:
    """Forget a task of which nothing has been done yet."""
    with contextlib.suppress(OSError):
        paths.moving.unlink(missing_ok=True)


def finish(paths: StatePaths, settings: Configured) -> str | None:
    """Complete the task that was begun, or undo it.

    Returns:
        What was done, for the log; None if there was no task.

    Raises:
        StateError: A file cannot be moved. The task stays written down.
    """
    task = pending(paths)
    if task is None:
        return None
    try:
        _finish_old(paths, task)
        if isinstance(task, Restore):
            _put_back(paths, task)
            said = f"{task.name}: restored from {paths.quarantine / task.folder}"
        else:
            said = _finish_rename(paths, settings, task)
        paths.moving.unlink(missing_ok=True)
        sync_folder(paths.root)
    except OSError as error:
        place = error.filename or paths.moving
        # Of a lock that a process holds, the number would mean that no process can be made.
        why = error.strerror if isinstance(error, BlockingIOError) else trouble(error)
        raise StateError(f"{place}: cannot be moved ({why}); fix this, then run the command again") from None
    return said


def _finish_old(paths: StatePaths, task: Rename | Restore) -> None:
    """Take over the sessions that a task is about, should version 0.1 have begun it.

    Raises:
        StateError: One cannot be taken over.
        OSError: A file cannot be moved.
    """
    names: tuple[str, ...]
    if isinstance(task, Rename):
        names = (task.old, task.new)
        source = takeover.old_database(paths, task.old)
        target = takeover.old_database(paths, task.new)
    else:
        names = (task.name,)
        source = paths.quarantine / task.folder / task.database
        target = takeover.old_database(paths, task.name)
    if source.name != DATABASE:
        takeover.finish_moving(source, target)
    for name in names:
        if why := takeover.take_over_one(paths, name):
            raise StateError(f"{name}: {why.text}")


# Rename


def check_names(settings: Configured, old: str, new: str, *, there: bool) -> bool:
    """See by the configuration that an account can be renamed, wherever its session is.

    Args:
        settings: The configuration.
        old: The name that it has or had.
        new: Its new name.
        there: Whether there is an account or a session of the old name.

    Returns:
        Whether the configuration still has the old name.

    Raises:
        NoSuchAccount: There is neither an account nor a session with the old name.
        OrchestratorError: The configuration has the new name already.
    """
    file = settings.config_file
    configured = old in settings.accounts
    if not configured and not there:
        raise no_such_account(old, known=settings.accounts, file=file)
    if configured and new in settings.accounts:
        raise OrchestratorError(
            f"{file} already has an account {new}: choose another name", key="account_exists"
        )
    if not configured and new not in settings.accounts:
        raise NoSuchAccount(
            f"neither {old} nor {new} is an account in {file}, but there is a session of {old}:"
            f" `orchestrator add {old}` adds an account with this session"
        )
    return configured


def check_rename(
    paths: StatePaths, settings: Configured, old: str, new: str, *, known: Container[str] = ()
) -> bool:
    """Check that an account can be renamed.

    Args:
        paths: The state folder.
        settings: The configuration.
        old: The account; or the name it had, if it was renamed in the configuration by hand.
        new: Its new name, which is a valid one.
        known: Accounts that a service runs, whatever the configuration says by now.

    Returns:
        Whether the configuration still has the old name.

    Raises:
        NoSuchAccount: There is neither an account nor a session with the old name.
        OrchestratorError: The new name is taken.
    """
    there = old in known or (is_name(old) and os.path.lexists(sessions.find(paths.sessions, old)))
    configured = check_names(settings, old, new, there=there)
    if has_session(paths, new):
        whose = "belongs to no account" if configured else f"belongs to the account {new}"
        raise OrchestratorError(
            f"{paths.session(new)} exists already and {whose}: choose another name, or move that file away",
            key="session_exists",
        )
    kept = paths.message_folder(new)
    for folder in (paths.message_folder(old), kept):
        _refuse_other(folder)
    if inboxes.holds(kept):
        raise OrchestratorError(
            f"{kept} has messages of an earlier account {new}: choose another name, or move that folder away",
            key="session_exists",
        )
    if counted.begin(kept) and inboxes.holds(paths.message_folder(old)) and not _was_called(paths, new, old):
        raise OrchestratorError(
            f"an earlier account {new} has had messages, and the messages of {old} would get the same"
            " identifiers: choose another name",
            key="session_exists",
        )
    return configured


def _refuse_other(folder: Path) -> None:
    """See that messages can be moved from or to a folder: it is one, or is missing.

    Raises:
        StateError: Something else is there.
    """
    try:
        inboxes.refuse_link(folder)
    except OSError as error:
        raise StateError(f"{folder}: {error.strerror}") from None


def _was_called(paths: StatePaths, former: str, name: str) -> bool:
    """Tell whether an account had another name before: then its messages had identifiers of that name."""
    met = set()
    at: str | None = former
    while at is not None and at != name and at not in met:
        met.add(at)
        at = inboxes.was_renamed(paths.message_folder(at))
    return at == name and former != name


def any_in(folder: Path) -> bool:
    """Tell whether anything is in a folder, which may be missing."""
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is not None
    except OSError:
        return False


def has_session(paths: StatePaths, name: str) -> bool:
    """Tell whether there is a session, and not only the file that the library makes before a code is used."""
    path = sessions.find(paths.sessions, name)
    return os.path.lexists(path) and device.look(path).linked is not False


def _finish_rename(paths: StatePaths, settings: Configured, task: Rename) -> str:
    old, new = task.old, task.new
    forward = new in settings.accounts and old not in settings.accounts
    back = old in settings.accounts and new not in settings.accounts
    if not task.begun and not forward:
        return f"{old}: not renamed to {new}, because the configuration was not changed; nothing was moved"
    if not task.begun:
        begin(paths, Rename(old, new, begun=True))
    if back:
        old, new = new, old
    _rename(paths, old, new)
    with contextlib.suppress(OSError):  # the process that has shown the code is gone
        QrFolder(settings.qr_dir).hide(old)
    return f"{old}: renamed to {new}, with its session and its history"


def _rename(paths: StatePaths, old: str, new: str) -> None:
    source, target = paths.home(old), paths.home(new)
    there = sessions.has_files(source)
    if there:
        _clear(paths, new)
    with sessions.held(source), sessions.held(target):
        if there:
            trial.end(source)
            quarantine.move(source, target)
        _rename_messages(paths, old, new)
        Timeline(paths.timeline).rename(old, new)
        Tracebacks(paths.tracebacks).rename(old, new)
        kept = status.load(paths.status)
        if old in kept:
            status.save(paths.status, {**_without(kept, old), new: status.renamed(kept[old], old, new)})
        sync_folder(paths.sessions)
    with contextlib.suppress(OSError):
        quarantine.make_room(source)  # of an account that has had no session


def _rename_messages(paths: StatePaths, old: str, new: str) -> None:
    source, target = paths.message_folder(old), paths.message_folder(new)
    inboxes.refuse_link(source)
    inboxes.refuse_link(target)
    if inboxes.holds(source):
        inboxes.put_in(source, target)
    else:
        inboxes.drop_unused(source)
        if not any_in(source):
            with contextlib.suppress(OSError):
                source.rmdir()
    if inboxes.holds(target) and not inboxes.holds(source):
        # Also of what was moved before a crash: a later account of the old name goes on counting.
        inboxes.leave(source, inboxes.settle(target), new)


def _without(kept: dict[str, status.Kept], name: str) -> dict[str, status.Kept]:
    return {other: entry for other, entry in kept.items() if other != name}


def _clear(paths: StatePaths, name: str) -> None:
    """Clear the place where a session is about to go: only a file without a linked device is moved away.

    Raises:
        StateError: There is a session.
        OSError: A file cannot be moved.
    """
    home = paths.home(name)
    if not os.path.lexists(home):
        return
    if sessions.has_files(home) and has_session(paths, name):
        raise StateError(f"{paths.session(name)}: another session is already there: move that file away")
    _make_room(paths, home, "unlinked")


def _make_room(paths: StatePaths, home: Path, reason: str) -> None:
    """Clear away the folder of an account without a linked session; what is in it goes to quarantine.

    Raises:
        OSError: It cannot be moved.
    """
    if quarantine.put(home, paths.quarantine, reason, time.time()) is not None:
        return
    try:
        quarantine.make_room(home)
    except OSError:
        if any_in(home):
            quarantine.put_folder(home, paths.quarantine, reason, time.time())


# Restore


def find(paths: StatePaths, settings: Configured, name: str, wanted: str | None) -> quarantine.Quarantined:
    """Find a session in quarantine.

    Args:
        paths: The state folder.
        settings: The configuration.
        name: The account it is for.
        wanted: The name or the absolute path of its folder; None for the newest of the account.

    Raises:
        NoSuchAccount: There is neither an account of that name nor a session of one.
        OrchestratorError: There is no such session; the message names the sessions that there are.
    """
    every = quarantine.quarantined(paths.quarantine)
    own = [one for one in every if one.name == name]
    if wanted is None:
        found = next((one for one in own if one.reason not in quarantine.BY_THE_WAY), None)
        missing = f"there is no session of {shorten(name)} in {paths.quarantine}"
    else:
        folder = _folder_name(paths.quarantine, wanted)
        found = next((one for one in every if one.path.name == folder), None)
        missing = f"{shorten(wanted)} is not a session in {paths.quarantine}"
    if found is not None and is_name(name):
        return found
    is_known = name in settings.accounts or bool(own)
    raise not_found(name, missing, [one.path.name for one in own or every], is_known=is_known)


def not_found(name: str, missing: str, names: Sequence[str], *, is_known: bool) -> OrchestratorError:
    """Return the error that a session is not in quarantine.

    Args:
        name: The account it was wanted for.
        missing: What is missing, as a sentence without its end.
        names: What is there of the account, else what is there at all.
        is_known: Whether there is an account of that name, or anything of one.
    """
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    there = f"; found: {', '.join(names[:SHOWN])}{more}" if names else "; the quarantine has no sessions"
    if not is_known:
        return NoSuchAccount(f"there is no account {shorten(name)}{remark(name)}, and {missing}{there}")
    return OrchestratorError(f"{missing}{there}", key="no_such_session")


def _folder_name(folder: Path, wanted: str) -> str | None:
    """Return the name of the folder that is meant: by its name, its path, or that of a file in it."""
    if "/" not in wanted:
        return wanted
    path = Path(os.path.normpath(wanted))
    for place in (path, path.parent):
        if os.path.realpath(place.parent) == os.path.realpath(folder):
            return place.name
    return None


def check_restore(
    paths: StatePaths, settings: Configured, name: str, found: quarantine.Quarantined
) -> Restored:
    """Check that a session can be restored.

    Raises:
        OrchestratorError: The account has a session, or another account has this one; or there are only
            messages, and the account has newer ones.
    """
    messages = _about_messages(paths, name, found)
    if not found.has_session:
        if not _takes_messages(paths, name, found):
            raise OrchestratorError(
                f"{found.path.name} has no session, only messages, and {name} has other messages since:"
                " nothing was restored",
                key="messages_exist",
            )
        return Restored(found.path.name, ("there was no session, so only the messages are back",))
    if has_session(paths, name):
        raise OrchestratorError(
            f"{name} already has a session, {paths.session(name)}: nothing was restored."
            f" `orchestrator remove {name}` or `orchestrator repair {name}` moves that session to quarantine",
            key="session_exists",
        )
    about = device.look(found.database)
    for other in settings.accounts:
        if other != name and about.marks & device.look(sessions.find(paths.sessions, other)).marks:
            raise OrchestratorError(
                f"{found.path.name} is a session of the device that the account {other} uses, and WhatsApp"
                " keeps one connection per device: nothing was restored."
                f" `orchestrator repair {name}` pairs {name} again",
                key="duplicate_session",
            )
    notes = [NOTES[found.reason]] if found.reason in NOTES else []
    if about.linked is False:
        notes.append("this session is not linked to a phone any more, so the account will show a code")
    return Restored(found.path.name, (*notes, *messages))


def _takes_messages(paths: StatePaths, name: str, found: quarantine.Quarantined) -> bool:
    """Tell whether messages in quarantine can become an account's: newer ones are never replaced.

    Messages of another account would get identifiers that messages of this one had before.
    """
    own = paths.message_folder(name)
    return not inboxes.holds(own) and (found.name == name or not counted.begin(own))


def _about_messages(paths: StatePaths, name: str, found: quarantine.Quarantined) -> list[str]:
    """Say what becomes of the messages in quarantine, if there are any."""
    if found.messages is None or not inboxes.holds(found.messages):
        return []
    if _takes_messages(paths, name, found):
        return ["the messages that were put away with this session are back, too"]
    why = (
        "has other messages since" if inboxes.holds(paths.message_folder(name)) else "has had messages before"
    )
    return [f"the messages that were put away with this session stay in {found.path}, because {name} {why}"]


def restore(paths: StatePaths, settings: Configured, name: str, found: quarantine.Quarantined) -> None:
    """Restore a session that `check_restore` has checked; no process of the account may run.

    Raises:
        StateError: A file cannot be moved.
    """
    begin(paths, Restore(name, found.path.name, found.database.name))
    finish(paths, settings)


def _put_back(paths: StatePaths, task: Restore) -> None:
    place, home = paths.quarantine / task.folder, paths.home(task.name)
    source = place / DATABASE
    if task.database != DATABASE:
        _give_new_names(place / task.database, source)
    found = quarantine.find(place)
    if found is not None and found.messages is not None and _takes_messages(paths, task.name, found):
        with contextlib.suppress(FileExistsError):
            paths.messages.mkdir(0o700)
        inboxes.put_in(found.messages, paths.message_folder(task.name))
    if os.path.lexists(source):
        # Nothing linked was there before: these files are unlinked, or half a copy of another file system.
        if os.path.lexists(home):
            _make_room(paths, home, "leftover")
        quarantine.move(place, home)
        sync_folder(paths.sessions)
        with contextlib.suppress(OSError):
            sessions.repair_modes_of(home, [])
    _leave_messages(home, place)
    with contextlib.suppress(OSError):
        # There is one if it is on another file system; it stays if something else is in it.
        quarantine.make_room(place)


def _leave_messages(home: Path, place: Path) -> None:
    """Put messages back into quarantine that came along with a session and do not become the account's."""
    messages = home / MESSAGES
    if messages.is_dir() and not messages.is_symlink():
        with contextlib.suppress(FileExistsError):
            place.mkdir(0o700)
        inboxes.move(messages, place / MESSAGES)


def _give_new_names(old: Path, new: Path) -> None:
    """Name the files of a session that 0.1 has put into quarantine as they are named today.

    The database is the last: once it has its new name, it has everything beside it.
    """
    for source, target in reversed(list(zip(sessions.files(old), sessions.files(new), strict=True))):
        with contextlib.suppress(FileNotFoundError):
            source.rename(target)


# Sessions without an account


def strays(paths: StatePaths, accounts: Container[str]) -> list[str]:
    """Return the names of sessions without an account."""
    return [
        name for name in sessions.names(paths.sessions) if name not in accounts and has_session(paths, name)
    ]


def about_strays(paths: StatePaths, names: list[str], accounts: Iterable[str]) -> list[str]:
    """Say of sessions without an account what to do about them, a sentence each.

    Args:
        paths: The state folder.
        names: The sessions' names.
        accounts: The accounts that may be theirs under another name.
    """
    if not names:
        return []
    free = [name for name in accounts if not has_session(paths, name)]
    to = free[0] if len(free) == 1 else "NEW"
    return [
        f"{sessions.find(paths.sessions, name)} belongs to no account: if the account was renamed, run"
        f" `orchestrator rename {name} {to}`; if it was removed, `orchestrator add {name}` adds it again"
        for name in names
    ]
