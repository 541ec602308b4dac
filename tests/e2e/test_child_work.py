"""How much Python runs in an account's process until it is connected: each function costs memory.

A function that runs writes to some four pages that the process would otherwise share with all others. What
can be done once, before the processes are forked, belongs into `worker/library/rehearsal.py`.
"""

from __future__ import annotations

import os
from pathlib import Path

from support.ran.sitecustomize import RAN
from support.service import Service

from orchestrator.sandbox.process import SandboxProcess

NOTES = Path(__file__).parents[1] / "support/ran"
MOST = 720
"""Functions; with Python 3.11 there are some 680, and there were 930."""
DONE_BEFORE = {
    "patterns are compiled": ("/re/_compiler.py", "/re/_parser.py", "/fnmatch.py"),
    "types are evaluated": ("/typing.py",),
    "programs are looked for": ("/shutil.py",),
    "sources are looked at": ("/linecache.py", "/inspect.py", "/ast.py", "/tokenize.py"),
    "the notes of installers are read": ("/importlib/metadata/__init__.py",),
}
"""What must not happen in a child, and in which files it would."""


def functions(pid: int, notes: Path) -> list[tuple[str, str]]:
    """Return file and name of each function that has run in a process, in the order of their first runs."""
    lines = (line.split("\t") for line in notes.read_text().splitlines())
    return [(file, name) for one, file, name in lines if int(one) == pid]


def test_little_runs_in_an_account_that_connects_again(
    sandbox: SandboxProcess, tmp_path: Path, number: str
) -> None:
    notes = tmp_path / "ran"
    with Service(tmp_path, sandbox, ["support"]) as service:
        service.pair("support", number)
        service.stop()
        service.environment[RAN] = str(notes)
        service.environment["PYTHONPATH"] += os.pathsep + str(NOTES)
        service.start()
        service.wait_for_state("support", "connected")
        ran = functions(service.child("support"), notes)
    assert "Course._connected" in {name for _, name in ran}, "it was watched until it was connected"
    for what, files in DONE_BEFORE.items():
        late = [f"{file}: {name}" for file, name in ran if file.endswith(files)]
        assert late == [], what
    loaded = [file for file, name in ran if name == "<module>" and not file.startswith("<")]
    assert loaded == [], "modules are imported before the fork"
    assert len(ran) <= MOST
