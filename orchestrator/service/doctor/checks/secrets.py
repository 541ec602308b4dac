"""Whether tokens, and what the gateway keeps, are where only the service can read them."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from orchestrator.service.doctor.check import Check, Finding, ok, warn
from orchestrator.service.doctor.context import Context
from orchestrator.store.layout import StatePaths


def find(context: Context) -> Iterator[Finding]:
    """Look at the modes of the folders of tokens and of the gateway, and of the files in them.

    The files that the configuration names are looked at where the configuration is read.
    """
    paths = context.paths.or_none()
    if paths is None:
        return
    found = list(_open(paths))
    for path, mode in found:
        yield warn(f"other users can access {path} (mode {mode:04o})", f"chmod go= {path}")
    if not found:
        yield ok("nobody else can read the tokens, and what the gateway keeps")


def _open(paths: StatePaths) -> Iterator[tuple[Path, int]]:
    for folder in (paths.tokens, paths.gateway):
        for path in (folder, *sorted(folder.iterdir())) if folder.is_dir() else ():
            mode = stat.S_IMODE(path.lstat().st_mode)
            if mode & 0o077 and not path.is_symlink():
                yield path, mode


CHECK = Check("secrets", "secrets", "Whether other users can read tokens, or what the gateway keeps.", find)
