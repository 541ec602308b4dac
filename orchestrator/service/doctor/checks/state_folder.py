"""Whether the state folder is this user's, and closed to others."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from orchestrator.errors import OrchestratorError
from orchestrator.service.doctor.check import Check, Finding, fail, ok, warn
from orchestrator.service.doctor.context import Context
from orchestrator.store.layout import StatePaths
from orchestrator.system.folders import advice_on_owner, runs_services, user_name


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
        owner = paths.root.stat().st_uid
        whose = "" if owner == os.geteuid() else f", for a service of {user_name(owner)}"
        yield ok(f"{paths.root}: owner and modes are right{whose}")


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
    us = owner = os.geteuid()
    if us == 0 and paths.root.exists() and runs_services(of_root := paths.root.stat().st_uid):
        owner = of_root  # root gives commands to the service of that user, and does not run it
    for folder in (paths.root, *paths.private):
        if not folder.exists():
            continue
        status = folder.stat()
        if status.st_uid != owner:
            yield _of_another(paths, folder, status.st_uid, owner)
            return
        if status.st_mode & 0o077:
            mode = stat.S_IMODE(status.st_mode)
            yield warn(f"{folder} is open to others (mode {mode:04o})", f"chmod 700 {folder}")


def _of_another(paths: StatePaths, folder: Path, found: int, wanted: int) -> Finding:
    text = f"{folder} belongs to {user_name(found)}"
    if wanted != os.geteuid():
        name = user_name(wanted)
        return fail(
            f"{text}, but {paths.root} to {name}, so a service of {name} cannot use it",
            f"chown -R {name} {paths.root}",
        )
    return fail(
        f"{text}, but this user is {user_name(wanted)}",
        advice_on_owner(found, inside_ours=folder != paths.root),
    )


CHECK = Check("state_folder", "state folder", "Whether the state folder is private to this user.", find)
