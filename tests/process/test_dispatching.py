"""Deliveries from real inboxes by a process that is killed again and again: at least once, in order."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from support.dispatching_program import ACCOUNTS
from support.inboxes import append, writing

MESSAGES, KILLS, SECONDS = 600, 6, 120.0
CHATS = tuple(f"49151000{number:02}@s.whatsapp.net" for number in range(9))


@contextmanager
def dispatching(state: Path, path: Path) -> Iterator[subprocess.Popen[str]]:
    """Run the program, in a session of its own, and end it with all its processes."""
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-P", "-m", "support.dispatching_program", str(state), str(path)]
    environ = {**os.environ, "PYTHONPATH": f"{root / 'tests'}:{root}"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environ, start_new_session=True
    ) as program:
        try:
            assert program.stdout is not None
            assert program.stdout.readline() == "ready\n"
            yield program
        finally:
            program.kill()
            program.wait()


def lines(path: Path) -> list[dict[str, Any]]:
    whole = path.read_bytes().rpartition(b"\n")[0] if path.exists() else b""
    return [json.loads(line) for line in whole.splitlines()]


def taken(path: Path) -> set[str]:
    return {line["id"] for line in lines(path) if line["taken"]}


def wait_for(path: Path, number: int) -> None:
    deadline = time.monotonic() + SECONDS
    while len(taken(path)) < number:
        assert time.monotonic() < deadline, f"{len(taken(path))} of {number}"
        time.sleep(0.02)


def test_nothing_is_lost_and_order_is_kept_however_often_it_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "got"
    (tmp_path / "messages").mkdir()
    (tmp_path / "gateway").mkdir()
    sent: list[tuple[str, str]] = []

    with ExitStack() as stack:
        inboxes = {name: stack.enter_context(writing(tmp_path, name)) for name in ACCOUNTS}
        with dispatching(tmp_path, path):  # it has to be there first: what came before does not concern it
            for name, inbox in inboxes.items():
                (seq,) = append(inbox, "text", chat=CHATS[0], at=time.time())
                sent.append((f"evt_{name}_{seq}", f"{name} {CHATS[0]}"))
            wait_for(path, len(ACCOUNTS))

        def write() -> None:
            for number in range(MESSAGES):
                name = ACCOUNTS[number % 3]
                chat = CHATS[number % len(CHATS)]
                (seq,) = append(inboxes[name], "text", chat=chat)
                sent.append((f"evt_{name}_{seq}", f"{name} {chat}"))

        writer = threading.Thread(target=write)
        writer.start()
        for kill in range(KILLS):
            with dispatching(tmp_path, path) as program:
                wait_for(path, min(MESSAGES, (kill + 1) * MESSAGES // (KILLS + 2)))
                program.send_signal(signal.SIGKILL)
        writer.join()
        with dispatching(tmp_path, path):
            wait_for(path, len(sent))

    got = lines(path)
    assert {line["id"] for line in got} == {event for event, _ in sent}
    bodies: dict[str, set[int]] = {}
    firsts: dict[str, list[str]] = {}
    for line in got:
        bodies.setdefault(line["id"], set()).add(line["body"])
        lane = f"{line['account']} {line['chat']}"
        mine = [event for event, chat in sent if chat == lane]
        if line["taken"] and line["id"] not in firsts.setdefault(lane, []):
            firsts[lane].append(line["id"])
            assert firsts[lane] == mine[: len(firsts[lane])], "in order"
        # Nothing is even tried before all that is older was taken.
        assert line["id"] in mine[: len(firsts.get(lane, [])) + 1]
    assert all(len(one) == 1 for one in bodies.values()), "byte for byte"
    assert len(got) < 3 * len(sent)
