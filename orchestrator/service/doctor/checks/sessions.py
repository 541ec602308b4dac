"""Whether each session belongs to one account, and only this user can read it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from orchestrator.accounts import duplicates
from orchestrator.config.settings import Settings
from orchestrator.errors import StateError
from orchestrator.service.doctor.check import Check, Finding, fail, warn
from orchestrator.service.doctor.context import Context
from orchestrator.store import device, moving, status
from orchestrator.store.layout import StatePaths


def find(context: Context) -> Iterator[Finding]:
    """Find sessions that others can read, that several accounts have, and that no account has."""
    paths, settings = context.paths.or_none(), context.settings.or_none()
    if paths is None or not paths.sessions.exists():
        return
    yield from _readable(paths.sessions)
    if settings is None:
        return
    yield from _shared(paths, settings)
    for sentence in moving.about_strays(paths, moving.strays(paths, settings.accounts), settings.accounts):
        text, _, advice = sentence.partition(": ")
        yield warn(text, advice)


def _readable(folder: Path) -> Iterator[Finding]:
    files = [path for path in folder.iterdir() if path.is_file()]
    opened = [path for path in files if path.stat().st_mode & 0o077]
    if opened:
        yield warn(
            f"other users can access {len(opened)} session files, such as {opened[0]}",
            f"chmod 600 {folder}/*",
        )


def _shared(paths: StatePaths, settings: Settings) -> Iterator[Finding]:
    try:
        kept = status.load(paths.status)
    except StateError as error:
        yield fail(str(error))
        kept = {}
    marks = {name: device.look(paths.session(name)).marks for name in settings.accounts}
    for group in duplicates.groups(marks):
        run = [n for n in group if settings.accounts[n].enabled and not kept.get(n, status.Kept()).stopped]
        first = run[0] if run else group[0]
        other = next(name for name in reversed(group) if name != first)
        text = f"the accounts {' and '.join(group)} have the session of one device, which only one can use"
        yield (fail if len(run) > 1 else warn)(text, duplicates.advice(other))


CHECK = Check("sessions", "sessions", "Whether each session is private and belongs to one account.", find)
