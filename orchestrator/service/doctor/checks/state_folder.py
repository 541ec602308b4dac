"""Whether the state folder is this user's, and closed to others."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from orchestrator.errors import OrchestratorError
from orchestrator.service.doctor.check import Check, Finding, fail, ok, warn
from orchestrator.service.doctor.context import Context
from orchestrator.store.layout import StatePaths
from orchestrator.system.folders import advice_on_owner, user_name


def find(context: Context) -> Iterator[Finding]:
    """Look at the state folder and those in it."""
    try:
        paths = context.paths.get()
    except OrchestratorError as error:
        yield fail(str(error), "name a folder with --state-dir")
        return
    if not paths.root.exists():
        yield _to_be_made(paths)
        return
    wrong = list(wrong_modes(paths))
    yield from wrong
    if not wrong:
        yield ok(f"{paths.root}: owner and modes are right")


def _to_be_made(paths: StatePaths) -> Finding:
    parent = next(folder for folder in paths.root.parents if folder.exists())
    if os.access(parent, os.W_OK | os.X_OK):
        return ok(f"the service makes {paths.root} when it starts")
    return fail(
        f"{paths.root} does not exist, and this user may not make it in {parent}",
        "make the folder and give it to this user, or choose another one with --state-dir",
    )


def wrong_modes(paths: StatePaths) -> Iterator[Finding]:
    """Find folders that belong to another user, or are open to others: sessions are as good as passwords."""
    for folder in (paths.root, *paths.private):
        if not folder.exists():
            continue
        status = folder.stat()
        if status.st_uid != os.geteuid():
            yield fail(
                f"{folder} belongs to {user_name(status.st_uid)}, but this user is {user_name(os.geteuid())}",
                advice_on_owner(status.st_uid, inside_ours=folder != paths.root),
            )
            return
        if status.st_mode & 0o077:
            mode = stat.S_IMODE(status.st_mode)
            yield warn(f"{folder} is open to others (mode {mode:04o})", f"chmod 700 {folder}")


CHECK = Check("state_folder", "state folder", "Whether the state folder is private to this user.", find)
