"""How an account's process confines itself, and the process that makes it: before they hear anybody."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.accounts.failure import Kind, Outcome
from orchestrator.accounts.proxy import ProxyError
from orchestrator.system import confinement, cores, merging, open_files
from orchestrator.system.confinement import ConfinementError
from orchestrator.system.landlock import READ, Rule
from orchestrator.worker import proxy, session_check
from orchestrator.worker.spec import VARIABLE, ChildSpec, MakerSpec

log = logging.getLogger(__name__)

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
    own = {spec.database.parent, spec.lock.parent, *filter(None, (spec.home, spec.messages))}
    # For temporary files of SQLite, and of Python where it looks for a library: no other folder takes them.
    os.environ["SQLITE_TMPDIR"] = tempfile.tempdir = str(spec.database.parent)
    try:
        rules = open_files.of_account(own, _shared or open_files.here(spec.closed))
        rules += [Rule(path, READ) for path in spec.reads]
        lacks = confinement.confine(rules)
    except (ConfinementError, OSError) as error:
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
    if spec.merge:
        try:
            merging.allow()
        except OSError as error:
            log.warning("the accounts' memory cannot be merged: %s", error.strerror)
    if spec.confine != "off":
        try:
            _shared.extend(open_files.here(spec.closed, spec.modules))
            rules = open_files.of_maker(spec.folders, _shared, spec.reads)
            confinement.confine(rules, makes_processes=True)
        except (ConfinementError, OSError) as error:
            log.error("the process that makes the accounts' processes could not be confined: %s", error)
