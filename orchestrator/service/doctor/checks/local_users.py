"""Whether other users of the machine can put files of their own in the place of the service's."""

from __future__ import annotations

import os
from collections.abc import Iterator

from orchestrator.service import ways
from orchestrator.service.doctor.check import Check, Finding, fail, ok, warn
from orchestrator.service.doctor.context import Context


def find(context: Context) -> Iterator[Finding]:
    """Look at the program, and at the folders above the files of the service, whose user may be another."""
    settings, paths = context.settings.or_none(), context.paths.or_none()
    owners = [paths.root.stat().st_uid] if paths is not None and paths.root.exists() else []
    things = ways.used_by_program() if settings is None or paths is None else ways.used(settings, paths)
    is_roots = os.geteuid() == 0 and owners in ([], [0])
    found = list(ways.find_weak(things, *owners))
    for thing, weak in found:
        text = f"{weak.text}, so others can put another file in the place of {thing.what} ({thing.path})"
        advice = f"{weak.advice(owners[0] if owners else os.geteuid())}, or choose another place"
        # `run` refuses as root, and there only.
        yield fail(text, advice) if is_roots else warn(text, advice)
    if not found:
        yield ok("nobody else can change the program, or rename the folders of the service")


CHECK = Check(
    "local_users",
    "other users",
    "Whether other users can change the program, or rename the folders of the service.",
    find,
)
