"""When a picture goes: before anybody is told of what ends its code. How long that takes is not measured."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
from support.fleet import QUICK, Fleet, asynchronous
from support.stand_in_child import NUMBER

from orchestrator.accounts.events import Order
from orchestrator.accounts.pipe import Pairing
from orchestrator.accounts.settings import AccountSettings
from orchestrator.accounts.states import State
from orchestrator.errors import NoSuchAccount

Act = Callable[[Fleet], Coroutine[Any, Any, None]]


class Reader(logging.Handler):
    """Reads what is told of the account ``a``, and looks for its picture at that very moment.

    It reads the log, a line of which is written with that of the timeline; and, whenever commands are told of
    a change, what they would show. It does so as a context manager.

    Attributes:
        lines: What the log said when the account ceased to show codes.
        wrong: What was told while the picture was there in spite of it, or was not in spite of it.
    """

    def __init__(self, fleet: Fleet) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.wrong: list[str] = []
        self._fleet = fleet
        self._picture = fleet.picture("a")

    async def __aenter__(self) -> Self:
        logging.getLogger("orchestrator").addHandler(self)
        self._task = asyncio.get_running_loop().create_task(self._read())
        await asyncio.sleep(0)  # it waits from now on
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        logging.getLogger("orchestrator").removeHandler(self)
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        if error is None:
            assert not self.wrong

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage()
        if line.startswith("a: pairing → "):
            self.lines.append(line)
            if self._picture.exists():
                self.wrong.append(line)

    async def _read(self) -> None:
        while True:
            await self._fleet.supervisor.wait_for_change()
            try:
                about = self._fleet.about("a")
            except NoSuchAccount:
                about = {"state": "removed", "qr_path": None}
            is_shown = about["state"] == State.PAIRING and about["qr_path"] is not None
            if self._picture.exists() != is_shown:
                self.wrong.append(f"{'no' if is_shown else 'a'} picture is there: {about}")


async def go_on(fleet: Fleet) -> None:
    fleet.puppets.go("a", "word")


def obey(order: Order, pairing: Pairing = "qr") -> Act:
    async def act(fleet: Fleet) -> None:
        fleet.supervisor.order("a", order, pairing)

    return act


def reload(accounts: str) -> Act:
    async def act(fleet: Fleet) -> None:
        fleet.config_file.write_text(f"accounts: {accounts}\n")
        await fleet.supervisor.reload()

    return act


@pytest.mark.parametrize(
    ("last", "act"),
    [
        pytest.param("paired", go_on, id="it is used"),
        pytest.param("end: pairing_expired", go_on, id="its round is over"),
        pytest.param("kill: 9", go_on, id="its process has died"),
        pytest.param("idle", obey(Order.STOP), id="an operator stops it"),
        pytest.param("idle", obey(Order.RESTART), id="it gets a new process"),
        pytest.param("idle", obey(Order.REPAIR, "code"), id="it is paired another way"),
        pytest.param("idle", reload("{a: {enabled: false}}"), id="it is disabled"),
        pytest.param("idle", reload("{}"), id="it is removed"),
        pytest.param("idle", lambda fleet: fleet.supervisor.stop(), id="the service stops"),
    ],
)
@asynchronous
async def test_nobody_is_told_of_the_end_of_a_code_while_its_picture_is_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, last: str, act: Act
) -> None:
    caplog.set_level("INFO", "orchestrator")
    fleet = Fleet(tmp_path, AccountSettings("a", phone=NUMBER, backoff=QUICK))
    fleet.puppets.play("a", ["connecting: unpaired", "code", "await: word", last], ["idle"])
    async with fleet, Reader(fleet) as reader:
        await fleet.until("a", State.PAIRING)
        assert fleet.picture("a").exists()
        await act(fleet)
        await fleet.until_true(lambda: reader.lines, "it shows codes no more")


@asynchronous
async def test_a_code_that_is_out_of_date_goes_even_if_none_follows(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, "a")
    fleet.puppets.play("a", ["connecting: unpaired", "code: 0.1", "await: word", "code", "await: scanned"])
    async with fleet, Reader(fleet):
        await fleet.until_true(lambda: fleet.about("a")["qr_path"], "it shows a code")
        await fleet.until_true(lambda: not fleet.about("a")["qr_path"], "it shows that no more")
        assert fleet.supervisor.code("a") is None
        about = fleet.about("a")
        assert (about["state"], about["qr_expires_at"]) == (State.PAIRING, None)
        assert about["reason"] == "its code is out of date, waiting for the next one"
        fleet.puppets.go("a", "word")
        await fleet.until_true(lambda: fleet.about("a")["qr_path"], "it shows the next one")
        assert fleet.about("a")["reason"] == "waiting for its code to be used"
