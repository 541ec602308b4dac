"""What is seen to before an account's process starts: its folders are there, and are no links elsewhere."""

from __future__ import annotations

import contextlib
import stat
from pathlib import Path

from orchestrator.accounts.failure import Kind, Outcome
from orchestrator.store import sessions, takeover
from orchestrator.store.layout import DATABASE, StatePaths
from orchestrator.system.os_errors import shortage, trouble


def admit(paths: StatePaths, name: str) -> Outcome | None:
    """Make the folders of an account ready for its process; no process of the account may run.

    A session that version 0.1 has left is taken over. One that cannot be taken over keeps the account from
    starting, because the account would be paired anew without it.

    Args:
        paths: The state folder.
        name: The account.

    Returns:
        Why no process may start, with what to do; None if one may.
    """
    why = takeover.take_over_one(paths, name)
    if why is not None:
        return Outcome(Kind.CONFIG, why.removeprefix(f"{name}: "))
    with contextlib.suppress(OSError):
        paths.messages.mkdir(0o700)
    for folder in (paths.home(name), paths.message_folder(name)):
        refusal = _make(folder)
        if refusal is not None:
            return refusal
    with contextlib.suppress(OSError):  # the process looks at the modes, too, and says what is wrong
        sessions.repair_modes_of(paths.home(name), [])
    return _check_files(paths.home(name))


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
