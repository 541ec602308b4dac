"""The deadlines that two processes have for one thing: the nearer one passes first, and each stands once."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.accounts import deadlines
from orchestrator.accounts.deadlines import Pair

PACKAGE = Path(deadlines.__file__).parents[1]
PAIRS = {name: value for name, value in vars(deadlines).items() if isinstance(value, Pair)}


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_the_process_nearer_to_the_work_gives_up_first(pair: Pair) -> None:
    assert 0 < pair.inner < pair.outer


@pytest.mark.parametrize(
    ("pair", "room"),
    [
        (deadlines.STARTING, 2.0),  # to load the library
        (deadlines.CONNECTING, deadlines.UNLINK_SECONDS),
        (deadlines.CONNECTING, deadlines.CLOSE_SECONDS + deadlines.EXITING.inner),
        (deadlines.PAIRING, deadlines.EXITING.inner),
        (deadlines.RECONNECTING, deadlines.CLOSE_SECONDS + deadlines.EXITING.inner),
        (deadlines.HEARTBEAT, deadlines.HEARTBEAT.inner),  # one heartbeat may be lost
        (deadlines.SHUTDOWN, deadlines.REAP_SECONDS - 1),
        (deadlines.SEND_ANSWER, 5.0),
    ],
)
def test_what_comes_after_the_nearer_deadline_has_room(pair: Pair, room: float) -> None:
    assert pair.outer - pair.inner >= room


def test_a_pair_builds_on_the_one_below() -> None:
    assert deadlines.SHUTDOWN.inner == deadlines.STOPPING.outer
    assert deadlines.ANSWER.inner == deadlines.STOP_COMMAND.outer
    assert deadlines.SEND_ANSWER.inner == deadlines.SENDING.outer


def numbers(path: Path) -> Iterator[str]:
    """Yield the names that a module gives to numbers it writes down itself."""
    for node in ast.parse(path.read_text()).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        inside = ast.walk(getattr(node, "value", None) or ast.Pass())
        if isinstance(target, ast.Name) and any(
            isinstance(one, ast.Constant) and isinstance(one.value, int | float) for one in inside
        ):
            yield target.id


def test_no_other_module_writes_such_a_deadline_down() -> None:
    ours = {name for name, value in vars(deadlines).items() if isinstance(value, float)}
    shared = {
        *ours,
        "DIAL_SECONDS",
        "LOST_SECONDS",
        "LINK_CODE_SECONDS",
        "HEARTBEAT_SECONDS",
        "SPAWN_SECONDS",
        "SHUTDOWN_SECONDS",
        "ANSWER_SECONDS",
    }
    apart = {  # the same word for something else: another lock, another program that is busy
        ("access/tokens.py", "LOCK_SECONDS"),
        ("config/edit.py", "LOCK_SECONDS"),
        ("gateway/parent.py", "BUSY_SECONDS"),
    }
    found = {
        (str(path.relative_to(PACKAGE)), name)
        for path in PACKAGE.rglob("*.py")
        for name in numbers(path)
        if path != Path(deadlines.__file__) and path.relative_to(PACKAGE).parts[0] != "sandbox"
        if name in shared or name.endswith("_DEADLINE")
    }
    assert found == apart
