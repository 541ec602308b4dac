"""A program of the operator's, really run: its input, output, environment and end."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.linked import wait_until

from orchestrator.system import commands
from orchestrator.system.commands import MOST_OUTPUT, Outcome, Stop

LONG = 60.0
"""Seconds that no program here needs."""


@pytest.fixture
def stop() -> Iterator[Stop]:
    made = Stop()
    yield made
    made.close()


def shell(text: str, stop: Stop, *, given: bytes = b"", seconds: float = LONG, **variables: str) -> Outcome:
    environment = commands.environment({}, variables)
    return commands.run(["/bin/sh", "-c", text], given, variables=environment, seconds=seconds, stop=stop)


def is_gone(file: Path) -> bool:
    """Tell whether the process is gone whose number a program has written down."""
    try:
        return bool(psutil.Process(int(file.read_text())).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize(
    ("text", "status", "output"),
    [
        ("cat", 0, "what changed"),
        ("cat; cat >&2", 0, "what changed"),
        ("echo no >&2; exit 3", 3, "no"),
        ("exec true", 0, ""),  # a program that does not read holds nobody up
        ("kill -9 $$", -9, ""),
        ("exec >&- 2>&- <&-; exit 1", 1, ""),
        ("printf '\\377x'", 0, "\N{REPLACEMENT CHARACTER}x"),
    ],
)
def test_input_output_and_end(stop: Stop, text: str, status: int, output: str) -> None:
    found = shell(text, stop, given=b"what changed")
    assert found == Outcome(status, output)
    assert found.worked == (status == 0)


def test_only_the_end_of_the_output_is_kept(stop: Stop) -> None:
    found = shell("yes | head -c 3000000; echo the end", stop)
    assert found.worked
    assert len(found.output) <= MOST_OUTPUT
    assert found.output.endswith("y\nthe end")


def test_whoever_prints_without_end_is_killed_when_the_time_is_over(stop: Stop) -> None:
    found = shell("yes", stop, seconds=1.0)
    assert (found.is_late, found.worked) == (True, False)
    assert len(found.output) <= MOST_OUTPUT


def test_all_that_a_program_has_started_is_killed_with_it(stop: Stop, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    found = shell(f"sleep 300 & echo $! > {file}; wait", stop, seconds=4.0)
    assert (found.status, found.is_late) == (-9, True)
    wait_until(lambda: is_gone(file), "what the program started goes on")


def test_what_a_program_leaves_behind_may_go_on_until_the_time_is_over(stop: Stop, tmp_path: Path) -> None:
    file, done = tmp_path / "pid", tmp_path / "done"
    assert shell(f"(sleep 0.5; touch {done}) >/dev/null 2>&1 &", stop).worked
    assert done.exists(), "a letter was still being handed over"
    found = shell(f"sleep 300 >/dev/null 2>&1 & echo $! > {file}", stop, seconds=4.0)
    assert found.worked, "the program itself was in time"
    wait_until(lambda: is_gone(file), "what the program left behind goes on")


def test_another_thread_ends_a_program_and_all_that_come_later(stop: Stop, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    found: list[Outcome] = []
    thread = threading.Thread(target=lambda: found.append(shell(f"echo $$ > {file}; exec sleep 300", stop)))
    thread.start()
    wait_until(lambda: file.exists() and file.read_text().endswith("\n"), "the program does not begin")
    stop.set()
    thread.join(LONG)
    assert [(one.is_stopped, one.worked) for one in found] == [(True, False)]
    assert is_gone(file)
    assert shell("exec sleep 300", stop).is_stopped


def test_a_program_has_no_more_than_it_needs(stop: Stop) -> None:
    code = (
        "import json, os, resource; print(json.dumps({'files': sorted(os.listdir('/proc/self/fd')),"
        " 'folder': os.getcwd(), 'umask': os.umask(0), 'names': sorted(os.environ),"
        " 'leads': os.getpid() == os.getsid(0) == os.getpgid(0)}))"
    )
    base = {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "LC_TIME": "C",
        "NOTIFY_SOCKET": "/run/x",
        "SECRET": "1",
    }
    variables = commands.environment(base, {"TEAM": "berlin"})
    found = commands.run(
        [sys.executable, "-I", "-c", code], b"", variables=variables, seconds=LONG, stop=stop
    )
    told: dict[str, Any] = json.loads(found.output)
    assert told["names"] == ["LANG", "LC_TIME", "PATH", "TEAM"]
    assert told["files"] == ["0", "1", "2", "3"]  # the last one is of the listing itself
    assert (told["folder"], told["umask"], told["leads"]) == ("/", 0o077, True)


def test_the_sandbox_s_certificates_are_no_program_s() -> None:
    base = {"SSL_CERT_FILE": "/x/ca.pem"}
    assert commands.environment(base, {})["SSL_CERT_FILE"] == "/x/ca.pem"
    assert "SSL_CERT_FILE" not in commands.environment(base | {"ORCHESTRATOR_SANDBOX_ROOT_KEY": "k"}, {})


def test_what_cannot_be_started_is_an_error(stop: Stop, tmp_path: Path) -> None:
    (tmp_path / "no-program").write_text("not one")
    before = psutil.Process().num_fds()
    for name in ("missing", "no-program"):
        with pytest.raises(OSError, match=name):
            commands.run([str(tmp_path / name)], b"", variables={}, seconds=LONG, stop=stop)
    assert psutil.Process().num_fds() == before
