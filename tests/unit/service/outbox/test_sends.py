"""What is sent survives the end of a process; whoever goes away while a file comes leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from support.pictures import PNG

from orchestrator.accounts import pipe
from orchestrator.accounts.outgoing import Fault
from orchestrator.accounts.pipe import FromParent
from orchestrator.accounts.settings import Sending
from orchestrator.errors import NoSuchAccount, OrchestratorError, StoreAway
from orchestrator.sending import telling
from orchestrator.sending.forms import Kind
from orchestrator.sending.row import Row, State
from orchestrator.service.aside import Aside
from orchestrator.service.outbox import files, waiting
from orchestrator.service.outbox import sends as sends_module
from orchestrator.service.outbox.sends import Sends, Wanted
from orchestrator.service.outbox.waiting import MOST_AT_ONCE, Waiting
from orchestrator.store.layout import OUTGOING

SECONDS = 20.0
CHAT = "269139479534551@lid"
HELLO = {"to": "+4915100000042", "kind": "text", "text": "hello"}


class Accounts:
    """One account, which never writes into its outbox itself here."""

    sending = Sending()

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.sends = Waiting("a")
        self.child: Any = None
        self.error: Exception = AssertionError()

    def sender(self, _name: str) -> Any:  # noqa: ANN401 - a part of an account
        return self

    def messages(self, _name: str) -> Path:
        return self._folder

    def outbox(self, _name: str, *, makes: bool = True) -> Any:  # noqa: ANN401, ARG002 - nobody gets so far
        raise self.error

    def note_queued(self, name: str, count: int) -> None:
        raise AssertionError((name, count))


class Mute:
    """A process that answers nothing, and that nobody may ask any more once it has ended."""

    def __init__(self) -> None:
        self.ended = False
        self.told: list[FromParent] = []

    def tell(self, message: FromParent) -> None:
        assert not self.ended, "nobody would answer that"
        self.told.append(message)


class Quick:
    """A process that writes each row at once."""

    def __init__(self, waiting: Waiting) -> None:
        self._waiting = waiting
        self._keys: list[str] = []

    def tell(self, message: FromParent) -> None:
        assert isinstance(message, pipe.Send)
        self._keys.append(message.key)
        row = Row(len(self._keys), Kind.TEXT, CHAT, State.QUEUED, 1.0, 9.0, 2.0)
        asyncio.get_running_loop().call_soon(self._waiting.answered, telling.queued(message.id, row))


class Refusing:
    """A process that cannot use its outbox."""

    def __init__(self, waiting: Waiting) -> None:
        self._waiting = waiting

    def tell(self, message: FromParent) -> None:
        assert isinstance(message, pipe.Send)
        answer = telling.refused(message.id, Fault.UNUSABLE)
        asyncio.get_running_loop().call_soon(self._waiting.answered, answer)


def gone(_name: str) -> None:
    raise NoSuchAccount("there is no such account")


def open_files() -> int:
    return len([*Path("/proc/self/fd").iterdir()])


@pytest.mark.parametrize("step", ["begin", "copy", "finish"])
def test_whoever_goes_away_leaves_no_file_and_no_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    began, go_on, over = threading.Event(), threading.Event(), threading.Event()
    real = getattr(files.Incoming, step)

    def slow(*arguments: object) -> object:
        began.set()
        assert go_on.wait(SECONDS)
        try:
            return real(*arguments)
        finally:
            over.set()

    monkeypatch.setattr(files.Incoming, step, staticmethod(slow) if step == "begin" else slow)

    async def go_away() -> None:
        aside = Aside("test")
        source = os.memfd_create("source")
        os.write(source, PNG)
        sends = Sends(Accounts(tmp_path), aside)
        message = {"to": "+4915100000042", "kind": "document", "file_name": "a.png"}
        before = open_files()
        task = asyncio.ensure_future(sends.send("a", Wanted(message, bytes(32)), source))
        assert await asyncio.to_thread(began.wait, SECONDS)
        task.cancel()
        await asyncio.sleep(0)
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(over.wait, SECONDS)
        assert open_files() == before
        os.close(source)
        aside.close()

    asyncio.run(go_away())
    assert not list((tmp_path / OUTGOING).iterdir())


def test_all_that_was_to_be_sent_is_handed_to_the_next_process(tmp_path: Path) -> None:
    async def send() -> None:
        aside, accounts = Aside("test"), Accounts(tmp_path)
        sends = Sends(accounts, aside)
        accounts.child = first = Mute()
        number = 3 * MOST_AT_ONCE
        sent = [
            asyncio.ensure_future(sends.send("a", Wanted(HELLO, bytes([key] * 32)))) for key in range(number)
        ]
        await asyncio.sleep(0)
        assert len(first.told) == MOST_AT_ONCE, "the others wait for their turn"
        first.ended = True
        accounts.child = Quick(accounts.sends)
        accounts.sends.process_ended()
        sent.append(asyncio.ensure_future(sends.send("a", Wanted(HELLO, bytes([number] * 32)))))
        rows = [one["row"]["row"] for one in await asyncio.gather(*sent)]
        assert sorted(rows) == [*range(1, number + 2)]
        aside.close()

    asyncio.run(send())


@pytest.mark.parametrize("then", ["ends again", "full line", "unusable", "store away", "account gone"])
def test_a_file_stays_whose_row_a_process_may_have_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    """The process was asked, and ended; nobody can find out before the patience is over."""
    monkeypatch.setattr(sends_module, "WRITE_SECONDS", 0.0 if then == "ends again" else SECONDS)

    async def send() -> None:
        aside, accounts = Aside("test"), Accounts(tmp_path)
        accounts.child = first = Mute()
        source = os.memfd_create("source")
        os.write(source, PNG)
        message = {"to": "+4915100000042", "kind": "document", "file_name": "a.png"}
        sent = asyncio.ensure_future(Sends(accounts, aside).send("a", Wanted(message, bytes(32)), source))
        async with asyncio.timeout(SECONDS):
            while not first.told:  # noqa: ASYNC110 - a thread brings the file first
                await asyncio.sleep(0.005)
        accounts.child = Mute()
        match then:
            case "full line":
                monkeypatch.setattr(waiting, "MOST_WAITING", 0)
            case "unusable":
                accounts.child = Refusing(accounts.sends)
            case "store away":
                accounts.child, accounts.error = None, StoreAway("the database is away")
            case "account gone":
                monkeypatch.setattr(accounts, "sender", gone)
        accounts.sends.process_ended()
        with pytest.raises(OrchestratorError) as caught:
            await sent
        assert caught.value.key == "no_answer"
        os.close(source)
        aside.close()

    asyncio.run(send())
    assert len(list((tmp_path / OUTGOING).iterdir())) == 1


@pytest.mark.parametrize("in_doubt", [True, False])
def test_a_file_stays_whose_row_the_database_may_have(tmp_path: Path, *, in_doubt: bool) -> None:
    """The account has no process, so the service itself has the row written."""

    async def send() -> None:
        aside, accounts = Aside("test"), Accounts(tmp_path)
        accounts.error = StoreAway("the database is away", in_doubt=in_doubt)
        source = os.memfd_create("source")
        os.write(source, PNG)
        message = {"to": "+4915100000042", "kind": "document", "file_name": "a.png"}
        with pytest.raises(OrchestratorError) as caught:
            await Sends(accounts, aside).send("a", Wanted(message, bytes(32)), source)
        assert caught.value.key == ("no_answer" if in_doubt else "store_away")
        os.close(source)
        aside.close()

    asyncio.run(send())
    assert len(list((tmp_path / OUTGOING).iterdir())) == in_doubt


def test_a_file_goes_whose_row_nobody_was_asked_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "MOST_WAITING", 0)

    async def send() -> None:
        aside, accounts = Aside("test"), Accounts(tmp_path)
        accounts.child = Mute()
        source = os.memfd_create("source")
        os.write(source, PNG)
        message = {"to": "+4915100000042", "kind": "document", "file_name": "a.png"}
        with pytest.raises(OrchestratorError) as caught:
            await Sends(accounts, aside).send("a", Wanted(message, bytes(32)), source)
        assert caught.value.key == "service_busy"
        os.close(source)
        aside.close()

    asyncio.run(send())
    assert not list((tmp_path / OUTGOING).iterdir())
