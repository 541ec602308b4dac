"""A process that hangs hands over what its library holds before it ends, and shows where it hung."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.accounts import Account, StartWorker, devices, make_account, starter
from support.conversation import Contact
from support.linked import wait_until

from orchestrator.messages.inbox import Reader
from orchestrator.sandbox.process import SandboxProcess
from orchestrator.store.tracebacks import SIGNAL
from orchestrator.worker.spec import LAST_CALL_SIGNAL

HOOK = Path(__file__).parents[1] / "support" / "slow_callbacks"
COUNT = 30


@pytest.fixture
def worker(sandbox: SandboxProcess, tmp_path: Path) -> Iterator[StartWorker]:
    with ExitStack() as running:
        yield starter(sandbox, tmp_path, running)


@pytest.fixture
def account(sandbox: SandboxProcess, make_number: Callable[[], str], tmp_path: Path) -> Account:
    (tmp_path / "account").mkdir()
    return make_account(sandbox, make_number(), tmp_path / "account")


def queued(sandbox: SandboxProcess, account: Account) -> int:
    (device,) = devices(sandbox, account.number)
    return int(device["queued"])


@pytest.mark.parametrize("traced", [True, False])
def test_what_the_library_holds_is_taken_while_the_main_thread_hangs(
    worker: StartWorker,
    sandbox: SandboxProcess,
    account: Account,
    ada: Contact,
    tmp_path: Path,
    *,
    traced: bool,
) -> None:
    words = tmp_path / "support"
    words.mkdir()
    (tmp_path / "messages").mkdir(0o700)
    environment = {
        "ORCHESTRATOR_TEST_SLOW_CALLBACKS": str(tmp_path),
        "PYTHONPATH": os.pathsep.join([sandbox.environment()["PYTHONPATH"], str(HOOK)]),
    }
    spec: dict[str, object] = {"messages": str(tmp_path / "messages"), "allow": ["*"]}
    if traced:
        spec["trace"] = str(tmp_path / "trace")
    run = worker(account=account, environment=environment, spawn=False, **spec)
    run.wait_for("Connected")
    (words / "word").write_text("loop")
    wait_until((words / "hangs").exists, "the main thread does not hang")

    sent = [ada.write(account.number, f"number {number}") for number in range(COUNT)]
    # WhatsApp takes them all for delivered, and the library holds them.
    wait_until(lambda: queued(sandbox, account) == 0, "not all is confirmed")
    reader = Reader.open(tmp_path / "messages")
    assert not reader.after(0)
    run.signal(LAST_CALL_SIGNAL)
    (words / "go").touch()

    assert run.wait_for("exit")["status"] == -SIGNAL
    assert "Ended" not in run.said
    assert [one.id for one in reader.after(0)] == sent
    if traced:
        assert " in hang_if_asked\n" in (tmp_path / "trace").read_text()
