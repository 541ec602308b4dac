"""Whether the program that is told of changes can be run, and worked the last time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from orchestrator.accounts.moments import say_time
from orchestrator.errors import StateError
from orchestrator.service.doctor.check import Check, Finding, fail, ok, warn
from orchestrator.service.doctor.context import Context
from orchestrator.service.on_change import problem
from orchestrator.store.layout import StatePaths

_TRY = "`orchestrator on-change test` tries the program"


def find(context: Context) -> Iterator[Finding]:
    """Look at the program and at how its last call ended, if one is configured."""
    settings = context.settings.or_none()
    if settings is None or settings.on_change is None:
        return
    paths = context.paths.or_none()
    program = settings.on_change.run[0]
    if wrong := problem(Path(program), _owner(paths)):
        text, _, advice = wrong.rpartition(": ")
        yield fail(text, advice)
        return
    try:
        last = None if paths is None else context.store.get().record.told().last
    except StateError as error:
        yield fail(str(error))
        return
    if last is None or last.program != program:
        yield ok(f"{program} can be run, and was not called yet", _TRY)
    elif last.problem is not None:
        yield warn(f"the last call, at {say_time(last.at)}, failed: {last.problem}", _TRY)
    else:
        yield ok(f"{program} can be run, and worked at {say_time(last.at)}")


def _owner(paths: StatePaths | None) -> int | None:
    """Return the service's user, if root looks at the service of another user."""
    if paths is None or os.geteuid() != 0:
        return None
    try:
        return paths.root.stat().st_uid
    except OSError:
        return None


CHECK = Check(
    "on_change", "on_change", "Whether the program that is told of changes is safe, and worked last.", find
)
