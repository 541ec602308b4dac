"""What an account's process does until it is connected, and what that costs: each function costs memory.

A function that runs writes to pages that the process would otherwise share with all others: to some four on
Python 3.11, to one or two since 3.12. What can be done once, before the processes are forked, belongs into
`worker/library/rehearsal.py`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
from support.ran.sitecustomize import RAN
from support.service import Service

from benchmarks import mappings
from orchestrator.sandbox.process import SandboxProcess
from orchestrator.system import certificates
from orchestrator.worker.library import order

NOTES = Path(__file__).parents[1] / "support/ran"
MOST = 720
"""Functions; with Python 3.11 there are some 680, and there were 930."""
MOST_OF_ITS_OWN = (8.9 if sys.version_info < (3, 12) else 5.0) * 2**20
"""Bytes that an account's process may have for itself of the memory from before the fork, and added to it.
Without messages, decision 026 made 7.4 of 9.7 MB on Python 3.11, and 3.1 of 9.1 MB on 3.13."""
_WATCHING = ("sitecustomize",)
DONE_BEFORE = {
    "patterns are compiled": ("/re/_compiler.py", "/re/_parser.py", "/fnmatch.py"),
    "types are evaluated": ("/typing.py",),
    "programs are looked for": ("/shutil.py",),
    "sources are looked at": ("/linecache.py", "/inspect.py", "/ast.py", "/tokenize.py"),
    "the notes of installers are read": ("/importlib/metadata/__init__.py",),
}
"""What must not happen in a child, and in which files it would."""


class Ran(NamedTuple):
    """A function that has run."""

    file: str
    module: str
    name: str


def functions(pid: int, notes: Path) -> list[Ran]:
    """Return each function that has run in a process, in the order of their first runs."""
    lines = (line.split("\t") for line in notes.read_text().splitlines())
    return [Ran(*ran) for one, *ran in lines if int(one) == pid]


def write_order(ran: list[str], file: Path) -> None:
    """Write the order of what ran now; what of other modules ran on another Python follows."""
    others = [name for name in order.read() if not name.startswith("orchestrator.") and name not in ran]
    file.write_text("\n".join([*ran, *others, ""]))


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
    assert "Course._connected" in {one.name for one in ran}, "it was watched until it was connected"
    for what, files in DONE_BEFORE.items():
        late = [f"{one.file}: {one.name}" for one in ran if one.file.endswith(files)]
        assert late == [], what
    loaded = [one.file for one in ran if one.name == "<module>" and not one.file.startswith("<")]
    assert loaded == [], "modules are imported before the fork"
    assert len(ran) <= MOST
    names = dict.fromkeys(f"{one.module}:{one.name}" for one in ran if one.module not in _WATCHING)
    unknown = names.keys() - set(order.read())
    write_order(list(names), tmp_path / "order.txt")
    assert len(unknown) <= len(names) // 20, f"copy {tmp_path}/order.txt to {order.FILE}"


def test_an_account_shares_most_of_what_was_there_before_the_fork(
    sandbox: SandboxProcess, tmp_path: Path, number: str
) -> None:
    with Service(tmp_path, sandbox, {"support": {"messages": {"keep": "7d"}}}) as service:
        service.pair("support", number)
        service.stop()
        service.start()
        service.wait_for_state("support", "connected")
        child = service.child("support")
        parts = mappings.parts(child, psutil.Process(child).ppid())
    assert parts[mappings.INHERITED].dirty < MOST_OF_ITS_OWN


SYSTEM = next((path for path in map(Path, certificates.FILES) if path.exists()), None)


@pytest.mark.skipif(SYSTEM is None, reason="this machine has no file with the certificates it trusts")
def test_an_account_reads_each_certificate_once(sandbox: SandboxProcess, tmp_path: Path, number: str) -> None:
    assert SYSTEM is not None
    ours = Path(sandbox.environment()["SSL_CERT_FILE"]).read_text() + "\n"
    both, folder = tmp_path / "both.pem", tmp_path / "folder"
    both.write_text(ours + SYSTEM.read_text())
    folder.mkdir()
    (folder / "the same.pem").write_text(SYSTEM.read_text())
    with Service(tmp_path, sandbox, ["support"], start=False) as service:
        service.environment |= {"SSL_CERT_FILE": str(both), "SSL_CERT_DIR": str(folder)}
        service.start()
        service.pair("support", number)
        once = restarted(service)
        # A folder with something that may be a certificate, and is not in the file, must be read.
        (folder / "another.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        twice = restarted(service)
    assert twice - once > SYSTEM.stat().st_size // 2


def restarted(service: Service) -> int:
    """Return how many bytes the account's process has read until it was connected again."""
    service.stop()
    service.start()
    service.wait_for_state("support", "connected")
    return psutil.Process(service.child("support")).io_counters().read_chars
