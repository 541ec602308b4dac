"""How the accounts' processes are isolated: what this machine can do, and what the fork server is told."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestrator.accounts.settings import Confine
from orchestrator.config.settings import Settings
from orchestrator.errors import OrchestratorError
from orchestrator.store.layout import StatePaths
from orchestrator.system import confinement, merging, open_files
from orchestrator.system.confinement import Lack
from orchestrator.worker.spec import MakerSpec

log = logging.getLogger(__name__)

FULL = "full"
"""What is shown of a process that gave up all that it does not need."""
WITHOUT = "without "
"""What comes before the parts that a process lacks."""


@dataclass(frozen=True, slots=True)
class Isolation:
    """How the accounts' processes are isolated.

    Attributes:
        confine: Whether they are.
        folders: In which the accounts have folders of their own, or write to at their start.
        closed: Folders that their processes never read as a whole.
        merge: Whether the kernel may merge their memory, which takes a little of the isolation back.
        reads: Files that they read to open their sessions.
    """

    confine: Confine
    folders: tuple[Path, ...]
    closed: tuple[Path, ...]
    merge: bool = False
    reads: tuple[Path, ...] = ()

    @classmethod
    def of(cls, settings: Settings, paths: StatePaths, reads: tuple[Path, ...] = ()) -> Isolation:
        """Return what a configuration, the state folder, and what the store reads make of it."""
        return cls(
            settings.confine,
            (paths.sessions, paths.messages, paths.tracebacks),
            (paths.root, settings.config_file.parent, settings.qr_dir, paths.control_socket.parent),
            settings.memory_merge,
            reads,
        )

    def maker(self) -> tuple[str, object]:
        """Return what the fork server is told, and a value that changes whenever that is out of date.

        What is opened to a process is the file that is there at that moment. If another one takes its place,
        such as a new list of name servers, a folder of sessions put back from a backup, or the database's new
        certificate, only a fork server that begins after that opens it.
        """
        spec = MakerSpec(self.confine, self.folders, self.closed, tuple(sys.path), self.merge, self.reads)
        if self.confine == "off":
            return spec.as_text(), None
        rules = open_files.of_maker(self.folders, open_files.here(self.closed), self.reads)
        return spec.as_text(), open_files.identities(rules)


def check(mode: Confine) -> None:
    """Say what this machine lacks, once.

    Raises:
        OrchestratorError: The configuration requires all parts.
    """
    if mode == "off":
        log.warning("`confine: off` is set: the process of each account can read and change those of all")
        return
    lacks = confinement.missing()
    if lacks and mode == "required":
        raise OrchestratorError(confinement.refusal(lacks), key="machine_unfit")
    for sentence in map(say, lacks):
        log.warning("%s", sentence)


def check_merging(*, wanted: bool) -> None:
    """Say once if the configuration wants memory merged, and this machine does not; the service starts."""
    lack = merging.lack() if wanted else None
    if lack is not None:
        log.warning("`memory_merge: true` is set, and %s: %s", lack.text, lack.advice)


def say(lack: Lack) -> str:
    """Return a sentence about a part that is missing."""
    advice = f": {lack.advice}" if lack.advice else ""
    return f"the accounts' processes run without {lack.text}{advice}"


def describe(missing: str | None) -> str | None:
    """Return for people how a process is isolated.

    Args:
        missing: The words of its `Loading`, None if it has not said it yet.
    """
    if missing is None:
        return None
    texts = list(_texts(missing))
    if confinement.ALL.text in texts:
        return "off"
    return WITHOUT + ", ".join(texts) if texts else FULL


def _texts(missing: str) -> Iterator[str]:
    for word in missing.split():
        lack = confinement.LACKS.get(word)
        yield "a part that this service does not know" if lack is None else lack.text
