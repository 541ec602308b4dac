"""Nothing of what handles codes and sessions gets into a core file, wherever it is run."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.linked import wait_until
from support.probed import PROGRAM, as_nobody, give, python_path
from support.service import Service
from support.trouble import fork_server

from orchestrator.service import library

UNLIMITED = ("prlimit", "--core=unlimited:unlimited")
"""As a shell after ``ulimit -c unlimited``."""


class Nowhere:
    """In the place of a sandbox, where nobody dials."""

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        return dict(base)


@pytest.fixture
def service(tmp_path: Path) -> Service:
    """A service of a user without privileges, with core files of any size allowed."""
    sandbox: Any = Nowhere()
    folder = tmp_path / "home"
    folder.mkdir()
    program = (*UNLIMITED, *as_nobody(), PROGRAM)
    made = Service(folder, sandbox, ["a"], program=program, start=False)
    made.environment |= {"PYTHONPATH": python_path(), "HOME": str(folder)}
    tmp_path.chmod(0o755)
    give(folder)
    return made


def is_closed(pid: int) -> bool:
    """Tell whether a process of the user is closed to that user: what is in /proc/PID belongs to root then.

    For root there is no such sign, and the test is skipped.
    """
    if os.geteuid() != 0:
        pytest.skip("only root can look at another user's processes")
    return Path(f"/proc/{pid}/mem").stat().st_uid == 0


def is_users(pid: int) -> bool:
    """Tell whether a process has become the user's."""
    return Path(f"/proc/{pid}").stat().st_uid != 0


def core_limit(pid: int) -> str:
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return " ".join(next(line for line in lines if line.startswith("Max core")).split()[4:6])


def test_the_service_leaves_no_core(service: Service) -> None:
    with service:
        service.start()
        service.wait_for_state("a", "pairing")
        server, child = fork_server(service.pid).pid, service.child("a")
        for pid in (service.pid, server, child):
            assert is_closed(pid)
        for process in service.processes():
            assert core_limit(process.pid) == "0 0", process.cmdline()
        for pid in (child, server, service.pid):
            os.kill(pid, signal.SIGABRT)
        service.wait()
        assert list(service.folder.glob("core*")) == []


@contextmanager
def command(service: Service, *arguments: str) -> Iterator[int]:
    """Give a command that goes on until it is ended; return its process."""
    line = service.command_line(*arguments)
    with subprocess.Popen(
        line, env=service.environment, cwd=service.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        try:
            yield process.pid
        finally:
            process.kill()


@pytest.mark.parametrize("arguments", [["qr", "a"]], ids=["qr"])
def test_commands_that_show_codes_leave_none(service: Service, arguments: list[str]) -> None:
    with service:
        service.start()
        service.wait_for_state("a", "pairing")
        with command(service, *arguments) as pid:
            wait_until(lambda: is_users(pid) and is_closed(pid), "it is not closed")
            assert core_limit(pid) == "0 0"
            os.kill(pid, signal.SIGABRT)
    assert list(service.folder.glob("core*")) == []


def test_a_repair_without_a_service_leaves_none(service: Service) -> None:
    with command(service, "repair", "a") as pid:
        wait_until(lambda: (service.state / "qr/a.png").exists(), "no code")
        assert is_closed(pid)
        assert core_limit(pid) == "0 0"
        server = fork_server(pid).pid
        for one in (server, pid):
            os.kill(one, signal.SIGABRT)
    assert list(service.folder.glob("core*")) == []


def test_the_check_of_the_library_leaves_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = tmp_path / "mark"
    (tmp_path / "PIL.py").write_text(
        "from pathlib import Path\n"
        "from orchestrator.system import cores\n"
        f"Path({str(mark)!r}).write_text(str(cores.is_kept_out()))\n"
        "class Image: Image = None\n"
        "ImageSequence = None\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    library.check_library()
    assert mark.read_text() == "True"
