"""How much lies in quarantine, and since when."""

from __future__ import annotations

import time
from collections.abc import Iterator

from orchestrator.accounts.durations import words
from orchestrator.accounts.words import counted, size
from orchestrator.service.doctor.check import Check, Finding, ok, warn
from orchestrator.service.doctor.context import Context
from orchestrator.store import put_away


def find(context: Context) -> Iterator[Finding]:
    """Count the folders in quarantine, and their bytes."""
    paths, settings = context.paths.or_none(), context.settings.or_none()
    if paths is None:
        return
    sessions = context.store.get().sessions
    found = sessions.in_quarantine()
    if not found:
        return
    times = [one.at for one in found if one.at is not None]
    oldest = f", the oldest for {words(time.time() - min(times))}" if times else ""
    kept = "" if settings is None else f"; each is kept for {words(settings.quarantine_days * put_away.DAY)}"
    yield ok(
        f"{counted(len(found), 'folder')}, {size(sum(one.size for one in found))}{oldest}{kept}",
        "`orchestrator restore` lists what can be brought back, `orchestrator quarantine purge` deletes for"
        " good",
    )
    strange = [one.folder for one in found if one.at is None]
    if strange:
        yield warn(
            f"{strange[0]} in {sessions.quarantine_place} has no name that the service gives, so nothing"
            " deletes it",
            f"`orchestrator restore NAME {strange[0]}` brings its session back, or delete the folder",
        )


CHECK = Check("quarantine", "quarantine", "How much lies in quarantine, and since when.", find)
