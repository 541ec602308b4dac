"""What a bot's process gives up before it loads the bot: files, system calls, core files, too much memory."""

from __future__ import annotations

import contextlib
import importlib.machinery
import importlib.util
import logging
import os
import resource
import sys
import tempfile
import threading
from collections.abc import Iterable, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Final

from orchestrator.bots.errors import BotError
from orchestrator.control.companions import BotSpec
from orchestrator.system import confinement, cores, open_files
from orchestrator.system.confinement import ConfinementError
from orchestrator.system.landlock import Rule

log = logging.getLogger("orchestrator.bots")

_STACK: Final = 2 * 1024 * 1024
"""Bytes of a thread's stack. The kernel counts all of it as memory that is used; by default it is 8 MiB."""


def confine(spec: BotSpec) -> None:
    """Confine this process, in its only thread.

    It reads Python and the bot, and writes in its scratch folder. The way to the internet stays open.

    Raises:
        BotError: The configuration requires all parts, and one is missing.
    """
    cores.keep_out_of_cores()
    threading.stack_size(_STACK)
    if spec.memory_limit is not None:
        with contextlib.suppress(ValueError, OSError):  # a stricter limit is there already
            resource.setrlimit(resource.RLIMIT_DATA, (spec.memory_limit, spec.memory_limit))
    os.chdir(spec.folder)
    os.environ |= {"HOME": str(spec.folder), "TMPDIR": str(spec.folder)}
    tempfile.tempdir = str(spec.folder)
    if spec.confine == "off":
        return
    try:
        shared = open_files.here(spec.closed, [str(spec.path)])
        if not _is_whole(spec.path, shared):
            sys.meta_path.insert(_before_paths(), Listed(spec.path))
        lacks = confinement.confine(open_files.of_account([spec.folder], shared))
    except (ConfinementError, OSError) as error:
        log.error("the process could not be confined: %s", error)
        lacks = (confinement.FAULT,)
    if not lacks:
        return
    if spec.confine == "required":
        raise BotError(confinement.refusal(lacks))
    log.warning("the process lacks %s", "; ".join(lack.text for lack in lacks))


class Listed:
    """Finds the modules of a folder that cannot be listed any more, because it has more than modules in it.

    The folder of the configuration is such a folder. A bot may lie there, and must not read the
    configuration.

    Args:
        folder: The folder, which is listed now.
    """

    def __init__(self, folder: Path) -> None:
        self._found: dict[str, tuple[Path, bool]] = {}
        for name in sorted(os.listdir(folder)):  # noqa: PTH208 - Python's own import does it in this way
            path = folder / name
            if (path / "__init__.py").is_file():
                self._found[name] = (path / "__init__.py", True)
            for suffix in importlib.machinery.all_suffixes():
                if name.endswith(suffix) and path.is_file():
                    self._found.setdefault(name.removesuffix(suffix), (path, False))

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module, as `importlib` asks."""
        found = self._found.get(name) if path is None and target is None else None
        if found is None:
            return None
        file, is_package = found
        folders = [str(file.parent)] if is_package else None
        return importlib.util.spec_from_file_location(name, file, submodule_search_locations=folders)


def _is_whole(folder: Path, rules: Iterable[Rule]) -> bool:
    """Tell whether all of a folder can be read."""
    real = Path(os.path.realpath(folder))
    return any(rule.path == real or rule.path in real.parents for rule in rules)


def _before_paths() -> int:
    """Return where a finder stands before those that look into the folders of `sys.path`."""
    return next(
        (at for at, one in enumerate(sys.meta_path) if one is importlib.machinery.PathFinder),
        len(sys.meta_path),
    )
