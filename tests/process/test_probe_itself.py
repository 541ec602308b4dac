"""The probe where nothing is closed: it must say so, and do no harm."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.probed import abstract_socket, as_nobody, give, python_path

from orchestrator.system.probe import report
from orchestrator.system.probe.report import Aims, Finding

_RUN = """
import sys
from orchestrator.system.probe import attempts, report
aims = report.Aims.from_json(sys.stdin.read())
print(report.as_json(attempts.try_all(aims)))
"""
SECURE = "somebody else's keys"


@pytest.fixture
def sleeper() -> Iterator[int]:
    """Another process of the same user."""
    with subprocess.Popen([*as_nobody(), "-c", "print('up', flush=True); import time; time.sleep(3600)"],
                          stdout=subprocess.PIPE, text=True) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        yield process.pid
        process.kill()


def probe(aims: Aims) -> list[Finding]:
    done = subprocess.run(
        [*as_nobody(), "-c", _RUN],
        input=aims.as_json(),
        env={"PYTHONPATH": python_path()},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return report.from_json(done.stdout)


def about(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Return mode, owner and content of all that is in a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content = path.read_text() if path.is_file() else ""
        found[str(path.relative_to(folder))] = (status.st_mode, status.st_uid, content)
    return found


def test_it_says_that_all_is_open_and_does_no_harm(tmp_path: Path, sleeper: int) -> None:
    own, other, decoys = tmp_path / "own", tmp_path / "other", tmp_path / "decoys"
    for folder in (own, other, decoys, other / "inner"):
        folder.mkdir()
    session, config, decoy = other / "session", other / "inner/config", decoys / "decoy"
    for file in (session, config, decoy):
        file.write_text(SECURE)
        file.chmod(0o600)
    with socket.socket(socket.AF_UNIX) as listener, abstract_socket() as abstract:
        listener.bind(str(tmp_path / "listener"))
        listener.listen()
        give(tmp_path)
        before = about(tmp_path)
        found = probe(
            Aims(
                own=(str(own),),
                files={"sessions": tuple(map(str, (other, session))), "configuration": (str(config),)},
                decoys=(str(decoy),),
                folders=(str(other), str(tmp_path)),
                processes={"service": sleeper},
                sockets={"a socket": str(tmp_path / "listener"), "abstract": abstract},
            )
        )  # fmt: skip
        after = about(tmp_path)
    # What needs nothing but the rights of a user is open, each and all of it.
    for by in ("files", "signals", "abstract"):
        tried = [one for one in found if one.by == by and one.wanted != "either"]
        assert tried, by
        assert not [one for one in tried if one.result != "open" and "/dev/tty" not in one.what]
    opened = {f"{one.door}: {one.what}" for one in found if one.result == "open"}
    for what in (
        f"a socket: connect to {tmp_path / 'listener'}",
        "limits of others: prlimit for the service",
        "running programs: make a process",
        "running programs: posix_spawn of /bin/true",
        "running programs: execve of a file of its own",
        "running programs: execveat of a file in memory",
        "cores: the process is dumpable",
        f"sessions: change the mode of {session}",
        "own folder: rename and remove a file in " + str(own),
    ):
        assert what in opened
    # Nothing has changed but the decoy.
    assert before.pop("decoys/decoy")[2] == SECURE
    assert after == before
    # The process it aimed at is none the worse for it.
    status = dict(
        line.split(":\t", 1)
        for line in Path(f"/proc/{sleeper}/status").read_text().splitlines()
        if ":\t" in line
    )
    assert status["State"].startswith("S")
    assert status["TracerPid"].strip() == "0"
    os.kill(sleeper, signal.SIG_DFL)


def test_it_says_that_all_is_closed_where_the_files_are_another_users(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may be another user")
    own, other = tmp_path / "own", tmp_path / "other"
    own.mkdir()
    give(own)
    other.mkdir(0o700)
    (other / "session").write_text(SECURE)
    (other / "decoy").write_text(SECURE)
    tmp_path.chmod(0o755)
    paths = (str(other), str(other / "session"))
    found = probe(
        Aims((str(own),), files={"sessions": paths}, decoys=(str(other / "decoy"),), folders=(str(other),),
             processes={"root's": os.getpid()})
    )  # fmt: skip
    doors = {"sessions", "writing outside", "signals", "memory of the root's", "tracing the root's"}
    tried = [one for one in found if one.door in doors and one.wanted == "closed"]
    assert {one.door for one in tried} == doors
    # There may be more processes of that user, and the kernel lets SIGCONT through within a session.
    others = {"signal 0 to all processes", "kill with SIGCONT to the root's"}
    assert [one.what for one in tried if one.result != "closed" and one.what not in others] == []
    assert [one.result for one in found if one.door == "decoy"] == ["closed"] * 5
    assert (other / "decoy").read_text() == SECURE


def test_it_says_what_is_inherited(tmp_path: Path) -> None:
    """Each open descriptor is named; one of a file that is not its own is no business of the process."""
    secret = tmp_path / "secret"
    secret.write_text(SECURE)
    own = tmp_path / "own"
    own.mkdir()
    give(tmp_path)
    aims = Aims((str(own),), kept=(str(own / "log"),))
    with secret.open() as file, (own / "log").open("w") as log:
        line = [*as_nobody(), "-c", _RUN]
        done = subprocess.run(
            line, input=aims.as_json(), env={"PYTHONPATH": python_path()}, cwd="/", capture_output=True,
            text=True, check=True, pass_fds=(file.fileno(), log.fileno()),
        )  # fmt: skip
        numbers = (file.fileno(), log.fileno())
    found = {one.what: one for one in report.from_json(done.stdout)}
    of_secret, of_log = (found[f"use descriptor {number}"] for number in numbers)
    assert of_secret.detail == f"file, read, {secret}"
    assert (of_secret.is_as_wanted, of_log.is_as_wanted) == (False, True)
    assert found["use descriptor 0"].detail.startswith("pipe, read, pipe:")
    assert json.loads(done.stdout)
