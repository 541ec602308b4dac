"""In which unit a process runs, by what systemd and the kernel say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.system import whereabouts
from orchestrator.system.whereabouts import Unit, unit_of

OURS = {"SYSTEMD_EXEC_PID": "7"}


@pytest.mark.parametrize(
    ("cgroup", "expected"),
    [
        ("0::/system.slice/orchestrator.service\n", Unit("orchestrator")),
        ("0::/system.slice/system-orchestrator.slice/orchestrator@eu.service\n", Unit("orchestrator@eu")),
        (
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/wa.service\n",
            Unit("wa", of_user=True),
        ),
        ("12:cpu:/x\n1:name=systemd:/system.slice/orchestrator.service\n", Unit("orchestrator")),
        ("0::/system.slice/docker-abc.scope\n", None),
        ("0::/\n", None),
        ("", None),
        ("nonsense", None),
    ],
)
def test_the_unit_of_a_main_process(cgroup: str, expected: Unit | None) -> None:
    assert unit_of(OURS, 7, cgroup) == expected


@pytest.mark.parametrize("environ", [{}, {"SYSTEMD_EXEC_PID": "8"}, {"INVOCATION_ID": "x"}])
def test_a_process_in_the_group_of_a_unit_is_not_its_service(environ: dict[str, str]) -> None:
    """A shell on a desktop is in the group of the unit that runs the terminal."""
    assert unit_of(environ, 7, "0::/system.slice/gnome-terminal.service") is None


@given(st.text())
def test_whatever_the_kernel_says_has_an_answer(cgroup: str) -> None:
    unit_of(OURS, 7, cgroup)


def kind(**where: object) -> str:
    program = "import sys; from orchestrator.system import whereabouts; print(whereabouts.look().log)"
    done: subprocess.CompletedProcess[str] = subprocess.run(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        **where,  # type: ignore[call-overload]
    )
    return done.stdout.strip()


def test_where_a_log_goes(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as file:
        assert kind(stderr=file) == "file"
    assert kind(stderr=subprocess.DEVNULL) == "nowhere"
    read, write = os.pipe()
    assert kind(stderr=write) == "pipe"
    os.close(read)
    os.close(write)


def test_a_log_in_a_file_of_its_own_is_there(tmp_path: Path) -> None:
    found = whereabouts.look(tmp_path / "own.log")
    assert (found.log, found.path, found.pid) == ("file", str(tmp_path / "own.log"), os.getpid())
