"""What is seen to before an account's process starts: its folders are there, and are no links elsewhere."""

from __future__ import annotations

import contextlib
import stat
from dataclasses import dataclass
from pathlib import Path

from orchestrator.accounts.failure import Kind, Outcome
from orchestrator.store import device, inboxes, realm, sessions, takeover, trial
from orchestrator.store.layout import DATABASE, REALM, StatePaths
from orchestrator.system.os_errors import shortage, trouble


@dataclass(frozen=True, slots=True)
class Admission:
    """What is to be known before an account's process starts.

    Attributes:
        refusal: Why no process may start, with what to do; None if one may.
        on_trial: Whether the session is only tried out here, with a copy kept.
    """

    refusal: Outcome | None = None
    on_trial: bool = False


def admit(paths: StatePaths, name: str, here: str) -> Admission:
    """Make the folders of an account ready for its process; no process of the account may run.

    A session that version 0.1 has left is taken over. One that cannot be taken over keeps the account from
    starting, because the account would be paired anew without it. So does a session that was paired
    elsewhere, because it would be refused here, and be lost for that.

    Args:
        paths: The state folder.
        name: The account.
        here: Where accounts connect to; see `realm.current`.
    """
    refusal = make_folders(paths, name) or _check_files(paths.home(name))
    return Admission(refusal) if refusal is not None else _check_realm(paths.home(name), here)


def make_folders(paths: StatePaths, name: str) -> Outcome | None:
    """Make the folders of an account on this machine; return why they cannot be used."""
    why = takeover.take_over_one(paths, name)
    if why is not None:
        return Outcome(Kind.MACHINE if why.lack else Kind.CONFIG, why.text)
    with contextlib.suppress(OSError):
        paths.messages.mkdir(0o700)
    for folder in (paths.home(name), paths.message_folder(name)):
        refusal = _make(folder)
        if refusal is not None:
            return refusal
    inboxes.take_up(paths.message_folder(name))
    with contextlib.suppress(OSError):  # the process looks at the modes, too, and says what is wrong
        sessions.repair_modes_of(paths.home(name), [])
    return None


def _check_realm(home: Path, here: str) -> Admission:
    """See that a session was paired where it is to be used, and note where a new one is going to be."""
    try:
        kept = realm.read(home)
    except OSError as error:
        return Admission(Outcome(Kind.MACHINE, trouble(error)))
    if kept == here:
        return Admission()
    linked = device.look(home / DATABASE).linked
    if linked is False and trial.is_under_way(home):
        return _end_trial(home, here)
    if linked is not False and not realm.is_unknown(kept, here):
        assert kept is not None
        return Admission(Outcome(Kind.CONFIG, realm.refusal(home.name, kept, here)))
    if linked is not False and here != realm.WHATSAPP:
        return _try_out(home, here)
    with contextlib.suppress(OSError):  # of a full disk the process says so
        realm.note(home, here)
    return Admission()


def _try_out(home: Path, here: str) -> Admission:
    """Let a session be tried out in a sandbox of which nobody knows where it was paired."""
    try:
        trial.begin(home, here)
    except OSError as error:
        lack = shortage(error)
        text = f"the session cannot be copied before it is tried out in a sandbox ({trouble(error)})"
        return Admission(Outcome(Kind.CONFIG, text) if lack is None else Outcome(Kind.MACHINE, lack))
    except trial.TooLargeError:
        text = (
            "nobody knows whether the session was paired with this sandbox, and it is too large to be tried"
            f" out: write {here!r} into {home / REALM} if it was"
        )
        return Admission(Outcome(Kind.CONFIG, text))
    return Admission(on_trial=True)


def _end_trial(home: Path, here: str) -> Admission:
    """Give a session back that was refused here, and whose process has ended without saying so."""
    try:
        trial.give_back(home)
    except OSError as error:
        return Admission(Outcome(Kind.MACHINE, trouble(error)))
    return Admission(Outcome(Kind.CONFIG, realm.refusal(home.name, realm.other_than(here), here)))


def _check_files(home: Path) -> Outcome | None:
    """Return why a session cannot be used: something else than a file is in the place of one."""
    for file in sessions.files(home / DATABASE):
        try:
            mode = file.lstat().st_mode
        except OSError:
            continue
        if stat.S_ISLNK(mode):
            text = f"{file} is a symbolic link: replace it by the file that it points to"
            return Outcome(Kind.CONFIG, text)
        if not stat.S_ISREG(mode):
            return Outcome(Kind.CONFIG, f"{file} is not a file: move it away")
    return None


def _make(folder: Path) -> Outcome | None:
    """Make a folder of an account, unless it is there; return why it cannot be used."""
    try:
        with contextlib.suppress(FileExistsError):
            folder.mkdir(0o700)
        mode = folder.lstat().st_mode
    except FileNotFoundError:
        # A disk that is not mounted, most likely: nobody must link all accounts anew for that.
        gone = f"the folder {folder.parent} is gone: restore it, or restart the service with an empty folder"
        return Outcome(Kind.MACHINE, gone)
    except OSError as error:
        lack = shortage(error)
        advice = (
            f"the folder {folder} cannot be made ({trouble(error)}): check owner and mode of {folder.parent}"
        )
        return Outcome(Kind.CONFIG, advice) if lack is None else Outcome(Kind.MACHINE, lack)
    if stat.S_ISLNK(mode):
        return Outcome(Kind.CONFIG, f"the folder {folder} is a symbolic link: remove it")
    if not stat.S_ISDIR(mode):
        return Outcome(Kind.CONFIG, f"{folder} is not a folder: move it away")
    return None
