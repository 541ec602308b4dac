"""How a process is called where processes are listed."""

from __future__ import annotations

import subprocess
import sys

import psutil
import pytest

from orchestrator.system.title import cut

SHOW = """
import os, sys
from orchestrator.system import cores, title
if "closed" in sys.argv:
    cores.keep_out_of_cores()
before = dict(os.environ)
title.show("wa:" + sys.argv[1], "orchestrator: " + sys.argv[1])
print(sys.argv[1], sys.orig_argv[0] == sys.executable, dict(os.environ) == before, flush=True)
sys.stdin.read()
"""


def shown(name: str, *more: str) -> tuple[str, list[str], str]:
    """Return the short name and the command line of a process that has changed both, and what it has said."""
    line = [sys.executable, "-c", SHOW, name, *more]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        seen = psutil.Process(process.pid)
        with open(f"/proc/{process.pid}/comm") as file:  # noqa: PTH123 - psutil would add to it
            found = file.read().removesuffix("\n"), seen.cmdline(), said
        process.communicate("")
    assert process.returncode == 0
    return found


def test_a_process_is_listed_by_its_name() -> None:
    comm, line, said = shown("support")
    assert comm == "wa:support"
    assert [part for part in line if part] == ["orchestrator: support"]
    assert said == "support True True\n", "what the process itself has of both stays"


def test_long_names_are_cut() -> None:
    name = "a-name-of-63-characters".ljust(63, "x")
    comm, line, _ = shown(name)
    assert comm == f"wa:{name}"[:15]
    assert [part for part in line if part] == [f"orchestrator: {name}"]


def test_nothing_is_written_beside_the_command_line() -> None:
    comm, line, said = shown("x" * 5000)
    (text,) = [part for part in line if part]
    assert comm == "wa:xxxxxxxxxxxx"
    assert text.startswith("orchestrator: xxx")
    assert said.endswith("True True\n"), "the environment follows in memory"


def test_a_process_that_cannot_write_its_own_memory_keeps_its_command_line() -> None:
    comm, line, _ = shown("support", "closed")
    assert comm == "wa:support"
    if psutil.Process().uids().real != 0:
        assert line[:2] == [sys.executable, "-c"]


@pytest.mark.parametrize(
    ("text", "size", "found"),
    [("abc", 5, b"abc"), ("abc", 2, b"ab"), ("a…", 3, b"a"), ("a…", 4, "a…".encode()), ("", 0, b"")],
)
def test_no_character_is_cut_in_half(text: str, size: int, found: bytes) -> None:
    assert cut(text, size) == found
