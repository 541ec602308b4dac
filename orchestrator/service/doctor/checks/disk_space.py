"""Whether the disk of the state folder has room."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

from orchestrator.service.doctor.check import Check, Finding, fail, ok, warn
from orchestrator.service.doctor.context import Context
from orchestrator.service.room import SPACE_FAIL, SPACE_WARN

INODES_WARN = 1000


def find(context: Context) -> Iterator[Finding]:
    """Look how many bytes and files the disk has left."""
    paths = context.paths.or_none()
    if paths is None:
        return
    folder = next(place for place in (paths.root, *paths.root.parents) if place.exists())
    inodes = os.statvfs(folder)
    files = inodes.f_favail if inodes.f_files else None
    yield judge(shutil.disk_usage(folder).free, files, str(paths.root))


def judge(free: int, files: int | None, place: str) -> Finding:
    """Judge what a disk has left.

    Args:
        free: Bytes.
        files: Files that can be made; None if the file system does not count them.
        place: The state folder.
    """
    text = f"{free / 1e9:.1f} GB free for {place}"
    advice = "free some space: an account whose session cannot be written fails"
    if free < SPACE_FAIL:
        return fail(text, advice)
    if free < SPACE_WARN:
        return warn(text, advice)
    if files is not None and files < INODES_WARN:
        return warn(f"{text}, but only {files} more files", advice)
    return ok(text)


CHECK = Check("disk_space", "disk space", "Whether the disk of the state folder has room.", find)
