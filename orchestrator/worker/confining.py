"""How an account's process confines itself, and the process that makes it: before they hear anybody."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator.accounts.failure import Kind, Outcome
from orchestrator.accounts.proxy import ProxyError
from orchestrator.accounts.settings import Confine
from orchestrator.system import confinement, cores, open_files
from orchestrator.system.confinement import ConfinementError
from orchestrator.system.landlock import Rule
from orchestrator.worker import proxy, session_check
from orchestrator.worker.spec import ChildSpec

log = logging.getLogger(__name__)

VARIABLE: Final = "ORCHESTRATOR_CONFINEMENT"
"""By which the service tells the process that makes the others how to confine itself, see `MakerSpec`."""


_shared: list[Rule] = []
"""What every account reads, as the process found it that makes the others: its children inherit this."""


@dataclass(frozen=True, slots=True)
class Confined:
    """How it went.

    Attributes:
        missing: Words for what the process could not give up; see `confinement.LACKS`.
        outcome: How the run ends before it begins, None if it goes on.
    """

    missing: str = ""
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True)
class MakerSpec:
    """How the process that makes the others confines itself.

    Attributes:
        confine: Whether it does.
        folders: In which the accounts have folders of their own, or write to at their start.
        closed: Folders that are never read as a whole.
        modules: Where the service finds modules of Python.
    """

    confine: Confine
    folders: tuple[Path, ...]
    closed: tuple[Path, ...]
    modules: tuple[str, ...]

    def as_text(self) -> str:
        """Return it as a text, for a variable of the environment."""
        folders, closed = ([str(path) for path in paths] for paths in (self.folders, self.closed))
        return json.dumps([self.confine, folders, closed, list(self.modules)])

    @classmethod
    def from_text(cls, text: str) -> MakerSpec:
        """Read what `as_text` returns."""
        mode, folders, closed, modules = json.loads(text)
        return cls(mode, tuple(map(Path, folders)), tuple(map(Path, closed)), tuple(modules))


def confine(spec: ChildSpec) -> Confined:
    """Confine an account's process, as its first step after it has opened what it writes to.

    What it must do beforehand is done here as well: a confined process cannot change the modes of files.
    """
    try:
        if spec.proxy is not None:
            proxy.forget_environment()
    except ProxyError as error:
        return Confined(outcome=Outcome(Kind.CONFIG, str(error)))
    with contextlib.suppress(session_check.SessionUnusable):  # the check of the session says so
        session_check.make_private(spec.database)
    cores.keep_out_of_cores()
    if spec.confine == "off":
        return Confined(confinement.ALL.word)
    own = {spec.database.parent, spec.lock.parent, *([spec.messages] if spec.messages else [])}
    for folder in own:
        with contextlib.suppress(OSError):  # whoever needs it says what is wrong
            folder.mkdir(mode=0o700)
    # Should SQLite need a temporary file, no other folder would take it.
    os.environ["SQLITE_TMPDIR"] = str(spec.database.parent)
    rules = open_files.of_account(own, _shared or open_files.here(spec.closed))
    try:
        lacks = confinement.confine(rules)
    except ConfinementError as error:
        log.error("the process could not be confined: %s", error)
        outcome = Outcome(Kind.MACHINE, f"the process could not be confined: {error}")
        return Confined(confinement.FAULT.word, outcome if spec.confine == "required" else None)
    if lacks and spec.confine == "required":
        return Confined(confinement.words(lacks), Outcome(Kind.CONFIG, confinement.refusal(lacks)))
    return Confined(confinement.words(lacks))


def confine_maker(environ: Mapping[str, str] = os.environ) -> None:
    """Confine the process that makes the accounts' processes, as the service has told it to."""
    cores.keep_out_of_cores()
    text = environ.get(VARIABLE)
    if text is None:
        return
    spec = MakerSpec.from_text(text)
    if spec.confine != "off":
        _shared.extend(open_files.here(spec.closed, spec.modules))
        rules = open_files.of_maker(spec.folders, _shared)
        try:
            confinement.confine(rules, makes_processes=True)
        except ConfinementError as error:
            log.error("the process that makes the accounts' processes could not be confined: %s", error)
