"""A child without WhatsApp: what it imports, what it prints, and what a neonize that fails makes of it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import multiprocess
import pytest
from support.worker_process import WorkerProcess

from orchestrator.accounts import pipe
from orchestrator.accounts.failure import EXIT_CODES, Kind
from orchestrator.worker.pipe import Link, ParentGone

ROOT = Path(__file__).resolve().parents[2]
BEAT = pipe.Heartbeat(last_seen_at=None, memory_bytes=1)


def python(program: str, *, stderr: int = subprocess.PIPE, timeout: float = 60.0) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=stderr,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
        timeout=timeout,
        check=True,
    )
    return done.stdout


# What it imports


@pytest.mark.parametrize("module", ["main", "library.loading", "spec"])
def test_nothing_loads_neonize_by_the_way(module: str) -> None:
    program = f"import sys, orchestrator.worker.{module}; print('neonize' in sys.modules)"
    assert python(program) == "False\n"


def test_the_fork_server_loads_what_neonize_needs_and_survives_what_is_missing() -> None:
    program = """
import gc, sys
sys.modules["h11"] = None
import orchestrator.worker.library.preload
print(all(name in sys.modules for name in ("PIL.Image", "google.protobuf.message", "sqlite3")))
print(gc.get_freeze_count() > 10_000)
"""
    assert python(program) == "True\nTrue\n"


# A neonize that does not work


@pytest.mark.parametrize(
    ("files", "advice"),
    [
        (
            {
                "download.py": '__GONEONIZE_VERSION__ = "9"\ndef download(): print("downloaded")\n',
                "__init__.py": "from .download import download\ndownload()\n",
            },
            "install neonize again",
        ),
        ({"__init__.py": 'raise OSError("wrong ELF class")\n'}, "wrong ELF class"),
        ({"__init__.py": "import a_module_that_nobody_has\n"}, "a_module_that_nobody_has"),
        ({"__init__.py": "1 / 0\n"}, "ZeroDivisionError"),
    ],
    ids=["library", "platform", "package", "error"],
)
def test_a_neonize_that_cannot_be_loaded(tmp_path: Path, files: dict[str, str], advice: str) -> None:
    (tmp_path / "neonize").mkdir()
    rows = []
    for name, text in {"download.py": '__GONEONIZE_VERSION__ = "9"\n', "neonize-x.so": "", **files}.items():
        (tmp_path / "neonize" / name).write_text(text)
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        rows.append(f"neonize/{name},sha256={digest},{len(text)}\n")
    (tmp_path / "neonize-9.dist-info").mkdir()
    (tmp_path / "neonize-9.dist-info/RECORD").write_text("".join(rows))
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    with WorkerProcess(tmp_path, environment, log_level="INFO") as run:
        end = run.ended()
    assert (end["kind"], end["status"]) == (Kind.MACHINE, EXIT_CODES[Kind.MACHINE])
    assert advice in end["text"]
    assert "downloaded" not in run.printed()


def test_an_error_of_ours_is_a_crash_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "from orchestrator.worker import session_check\nsession_check.prepare = lambda _: 1 / 0\n"
    )
    with WorkerProcess(tmp_path, {**os.environ, "PYTHONPATH": str(tmp_path)}) as run:
        end = run.ended()
    assert (end["kind"], end["status"]) == (Kind.CRASH, EXIT_CODES[Kind.CRASH])
    assert "ZeroDivisionError" in end["text"]
    assert "ERROR   [support]" in run.printed()


# What it prints

OUTPUT = """
import logging, os, sys, time
from orchestrator.worker.library.lines import Scrubber
from orchestrator.worker.output import Output, open_log
heard = []
report = os.fdopen(os.dup(1), "w")
open_log("support", logging.INFO, {form!r}, Scrubber(["hunter2"]))
output = Output(heard.append)
output.catch()
{body}
output.flush(50)
print(heard, file=report, flush=True)
os._exit(0)
"""


def output_of(body: str, *, form: str = "text") -> tuple[list[str], str]:
    """Run something with its output caught; return what was heard on stdout, and what came out of stderr."""
    done = subprocess.run(
        [sys.executable, "-c", OUTPUT.format(body=body, form=form)],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
        timeout=60,
        check=True,
    )
    return eval(done.stdout), done.stderr


def test_all_that_is_printed_bears_the_accounts_name() -> None:
    heard, printed = output_of(
        "print('one')\n"
        "os.write(1, b'Login event: timeout\\ntwo')\n"
        "os.write(1, b' and a half\\n')\n"
        "os.write(2, b'three: hunter2 \\xff\\n')\n"
        "logging.getLogger('four').warning('%s\\nlines', 'hunter2 has')\n"
        "logging.getLogger('five').debug('not wanted')\n"
        "logging.getLogger('whatsmeow').setLevel(0)\n"
        "logging.getLogger('whatsmeow.Client').debug('not wanted either')\n"
        "try: raise ValueError('hunter2')\n"
        "except ValueError: logging.exception('six')\n"
    )
    assert heard == ["one", "Login event: timeout", "two and a half"]
    lines = printed.splitlines()
    assert all("[support]" in line or line.startswith("    ") for line in lines)
    for text in (
        "INFO    [support] neonize: one",
        "INFO    [support] neonize: two and a half",
        "ERROR   [support] neonize: three: [hidden] \ufffd",
        "WARNING [support] four: [hidden] has",
        "    ValueError: [hidden]",
    ):
        assert any(line.endswith(text) for line in lines), text
    for text in ("hunter2", "not wanted", "Login event"):
        assert text not in printed


def test_a_log_for_machines_has_an_object_a_line() -> None:
    _, printed = output_of("logging.error('a \"word\"\\nand more')\nos.write(2, b'raw\\n')", form="json")
    records = sorted((json.loads(line) for line in printed.splitlines()), key=lambda one: str(one["message"]))
    assert [record["message"] for record in records] == ['a "word"\nand more', "raw"]
    assert {record["account"] for record in records} == {"support"}


def test_a_line_without_an_end_is_not_kept_for_ever() -> None:
    heard, printed = output_of("for _ in range(100): os.write(1, b'x' * 4096)\nos.write(1, b'\\nafter\\n')\n")
    assert heard[-1] == "after"
    assert len(printed) < 100_000


def test_a_log_that_nobody_reads_holds_nobody_up() -> None:
    read, write = os.pipe()
    body = (
        "for number in range(5_000): logging.error('line %d', number)\n"
        "for number in range(5_000): os.write(2, b'more\\n')\n"
    )
    try:
        assert python(OUTPUT.format(body=body, form="text"), stderr=write) == "[]\n"
    finally:
        os.close(read)
        os.close(write)


def test_a_service_without_an_output() -> None:
    program = OUTPUT.format(body="logging.error('to nobody')\nprint('to nobody')", form="text")
    assert "to nobody" in python(f"import os\nos.close(2)\n{program}")


# The way to the parent


def test_a_link_says_everything_in_order_and_only_the_newest_heartbeat() -> None:
    ours, theirs = multiprocess.Pipe()
    link = Link(theirs)
    said: list[pipe.FromChild] = []
    while not link.has_more:
        said.append(pipe.LinkLost(f"{len(said)} {'x' * 490}"))
        link.post(said[-1])
    for message in (pipe.Heartbeat(1.0, 1), BEAT, pipe.LinkLost("the last")):
        link.post(message)
    received: list[pipe.Message] = []

    def read() -> None:
        while not received or received[-1] != pipe.LinkLost("the last"):
            received.append(pipe.decode(ours.recv_bytes()))

    reader = threading.Thread(target=read)
    reader.start()
    assert link.flush(30)
    reader.join(30)
    assert received == [*said, BEAT, pipe.LinkLost("the last")]


def test_a_link_does_not_wait_for_a_parent_that_does_not_read() -> None:
    _ours, theirs = multiprocess.Pipe()
    link = Link(theirs)
    for _ in range(2_000):
        link.post(pipe.LinkLost("x" * 500))
    assert not link.flush(0.05)


def test_a_parent_that_is_gone_is_noticed() -> None:
    ours, theirs = multiprocess.Pipe()
    link = Link(theirs)
    ours.close()
    with pytest.raises(ParentGone):
        link.receive()
    with pytest.raises(ParentGone):
        link.post(BEAT)


def test_what_the_parent_says_is_heard_and_what_is_no_message_is_not() -> None:
    ours, theirs = multiprocess.Pipe()
    for data in (b"nonsense", pipe.encode(pipe.Stop()), pipe.encode(BEAT)):
        ours.send_bytes(data)
    assert Link(theirs).receive() == [pipe.Stop()]
