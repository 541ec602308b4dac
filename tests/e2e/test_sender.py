"""An account's process and its outbox, with the real neonize: what arrives, and what is told of it."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support.accounts import Account, StartWorker, make_account, starter
from support.conversation import Contact
from support.linked import wait_until
from support.worker_process import Event, WorkerProcess

from orchestrator.accounts import pipe
from orchestrator.accounts.acts import person
from orchestrator.messages.inbox import Reader
from orchestrator.messages.loss import digest
from orchestrator.messages.outbox import OutboxReader
from orchestrator.sandbox.process import SandboxProcess
from orchestrator.sending import wire
from orchestrator.sending.forms import Content, Outgoing, Reaction, Text
from orchestrator.sending.row import Row, State, key_digest
from orchestrator.store import sent_secrets

FAR = 2**35
OFF = {"pacing": "off", "check_numbers": False}


@dataclass
class Sending:
    """An account whose processes send, one after the other."""

    start: StartWorker
    account: Account
    messages: Path
    settings: dict[str, Any] = field(default_factory=lambda: {**OFF})
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    worker: WorkerProcess | None = None

    def run(self) -> WorkerProcess:
        """Start a process; it gets connected."""
        self.worker = self.start(
            account=self.account, messages=str(self.messages), allow=["*"], sending=self.settings
        )
        self.worker.wait_for("Connected")
        return self.worker

    def send(self, content: Content, to: str, key: str | None = None) -> int:
        """Ask for something to be sent; return the row."""
        assert self.worker is not None
        number = next(self.numbers)
        sign = key_digest(key or os.urandom(8).hex()).hex()
        order = pipe.Send(number, wire.as_text(Outgoing(address(to), content)), sign, FAR, FAR)
        self.worker.tell(pipe.encode(order).decode())
        answer = self.worker.wait_for("Queued", predicate=lambda event: event["id"] == number)
        assert answer["fault"] is None, answer
        return int(answer["row"])

    def moved(self, row: int, state: str) -> Event:
        assert self.worker is not None
        return self.worker.wait_for(
            "Moved", predicate=lambda event: event["row"] == row and event["state"] == state
        )

    def row(self, number: int) -> Row:
        with contextlib.closing(OutboxReader.open(self.messages)) as reader:
            return reader.row(number)

    def statuses(self) -> list[tuple[str, int | None]]:
        with contextlib.closing(Reader.open(self.messages)) as reader:
            found = [one for one in reader.after(0) if one.source == "receipt"]
            return [(one.notes["status"], one.notes.get("row")) for one in found]

    def stop(self) -> None:
        assert self.worker is not None
        self.worker.tell("stop")
        assert self.worker.ended()["kind"] == "stopped"

    def kill(self) -> None:
        assert self.worker is not None
        self.worker.signal(signal.SIGKILL)
        self.worker.wait_for("exit")

    def answer_secrets(self) -> None:
        """Answer what the process asks about secrets, as the service does."""
        assert self.worker is not None
        digests = self.worker.wait_for("Unsettled")["digests"]
        with contextlib.closing(sqlite3.connect(f"file:{self.worker.database}?mode=ro", uri=True)) as session:
            found = sent_secrets.find(session, [bytes.fromhex(one) for one in digests.split()], digest)
        assert found is not None
        said = " ".join(f"{sign.hex()}:{id_}" for sign, id_ in found.items())
        self.worker.tell(pipe.encode(pipe.Secrets(digests, said)).decode())


def address(number: str) -> str:
    return person(number.removeprefix("+"))


@pytest.fixture(scope="module")
def account(
    shared_sandbox: SandboxProcess, make_number: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> Account:
    """A linked account; each test has a copy of its session."""
    return make_account(shared_sandbox, make_number(), tmp_path_factory.mktemp("account"))


@pytest.fixture
def sending(sandbox: SandboxProcess, account: Account, tmp_path: Path) -> Iterator[Sending]:
    (tmp_path / "messages").mkdir()
    with ExitStack() as running:
        yield Sending(starter(sandbox, tmp_path, running), account, tmp_path / "messages")


def texts(contact: Contact) -> list[str]:
    return [message["text"] for message in contact.sandbox.inbox(contact.number) if "text" in message]


def test_what_is_asked_for_arrives_and_is_told(sending: Sending, ada: Contact) -> None:
    sending.run()
    row = sending.send(Text("Hello"), ada.number, key="k")
    sent = sending.moved(row, "sent")
    assert ada.gets(sent["message"])["text"] == "Hello"
    assert sending.send(Text("Hello"), ada.number, key="k") == row
    wait_until(lambda: ("delivered", row) in sending.statuses(), "it was not delivered")
    assert sending.statuses()[0] == ("sent", row)
    reaction = sending.send(Reaction(sent["message"], "\N{THUMBS UP SIGN}"), ada.number)
    sending.moved(reaction, "sent")
    sending.stop()
    assert texts(ada) == ["Hello"]


def test_what_waits_while_there_is_no_link_is_sent_later_in_order(
    sending: Sending, ada: Contact, sandbox: SandboxProcess
) -> None:
    worker = sending.run()
    sandbox.client.fault("refuse")
    worker.wait_for("LinkLost")
    rows = [sending.send(Text(str(number)), ada.number) for number in range(5)]
    assert {sending.row(row).state for row in rows} == {State.QUEUED}
    sandbox.client.clear_faults()
    for row in rows:
        sending.moved(row, "sent")
    wait_until(lambda: texts(ada) == ["0", "1", "2", "3", "4"], "not all has arrived, or not in order")


def test_a_refusal_to_write_to_strangers_closes_new_chats_until_somebody_writes(
    sending: Sending, ada: Contact, sandbox: SandboxProcess
) -> None:
    sending.settings = {"typing": False, "check_numbers": False}
    worker = sending.run()
    fault = sandbox.client.refuse_sends(sending.account.number, ada.number, code=463, times=1)
    row = sending.send(Text("Hello"), ada.number)
    assert sending.moved(row, "queued")["why"] is not None
    assert worker.wait_for("Restricted", predicate=lambda event: event["what"] == "new")["code"] == 463
    assert fault["id"] not in [one["id"] for one in sandbox.client.faults()]
    # She writes herself: what waits for her is an answer now.
    ada.write(sending.account.number, "Hi")
    assert sending.moved(row, "sent")["pace"] == "reply"
    assert texts(ada) == ["Hello"]


def test_a_number_that_is_not_on_whatsapp_gets_nothing(
    sending: Sending, ada: Contact, make_number: Callable[[], str]
) -> None:
    sending.settings = {"typing": False}
    sending.run()
    nobody = sending.send(Text("Hello"), make_number())
    assert "not on WhatsApp" in sending.moved(nobody, "failed")["why"]
    row = sending.send(Text("Hello"), ada.number)
    assert ada.gets(sending.moved(row, "sent")["message"])["text"] == "Hello"
    assert sending.statuses()[0] == ("failed", nobody)


@pytest.mark.parametrize("delivered", [True, False])
def test_what_was_on_its_way_when_the_process_was_killed_arrives_once(
    sending: Sending, ada: Contact, sandbox: SandboxProcess, delivered: bool
) -> None:
    sending.run()
    since = sandbox.client.last_event()
    sandbox.client.lose_acks(sending.account.number, ada.number, delivered=delivered)
    row = sending.send(Text("once"), ada.number)
    lost = sandbox.client.wait_for("ack-lost", 60, since, phone=sending.account.number)
    sending.kill()
    assert sending.row(row).state is State.SENDING
    sending.run()
    unknown = sending.moved(row, "unknown")
    assert unknown["message"] == lost["id"], "the session says which message it is"
    if delivered:
        # Its receipt was not heard before, or it is heard when the message is read.
        sandbox.client.read(ada.number, lost["id"])
        assert sending.moved(row, "sent")["message"] == lost["id"]
        assert texts(ada) == ["once"]
    later = sending.send(Text("later"), ada.number)
    if delivered:
        sending.moved(later, "sent")
        assert texts(ada) == ["once", "later"]


def test_what_was_killed_before_it_left_is_sent_by_the_next_process(
    sending: Sending, ada: Contact, sandbox: SandboxProcess
) -> None:
    sending.run()
    sandbox.client.fault("blackhole", target=sending.account.target)
    # The library asks for the receiver's devices before it writes the secret? It writes the secret first.
    row = sending.send(Text("once"), ada.number)
    sending.moved(row, "sending")
    sending.kill()
    sandbox.client.clear_faults()
    sending.run()
    worker = sending.worker
    assert worker is not None
    first = worker.wait_for("Moved", predicate=lambda event: event["row"] == row)
    assert first["state"] in ("unknown", "queued")
    if first["state"] == "queued":
        sending.moved(row, "sent")
        assert texts(ada) == ["once"]


@pytest.mark.parametrize("delivered", [True, False])
def test_what_is_cut_off_for_long_is_settled_by_the_session_and_a_receipt(
    sending: Sending, ada: Contact, sandbox: SandboxProcess, delivered: bool
) -> None:
    worker = sending.run()
    since = sandbox.client.last_event()
    sandbox.client.lose_acks(sending.account.number, ada.number, delivered=delivered)
    row = sending.send(Text("once"), ada.number)
    lost = sandbox.client.wait_for("ack-lost", 60, since, phone=sending.account.number)
    sandbox.client.fault("refuse")  # for longer than the library waits before it would send it once more
    assert sending.moved(row, "unknown")["message"] is None
    sending.answer_secrets()
    sandbox.client.clear_faults()

    def is_named(event: Event) -> bool:
        return bool(event["row"] == row and event["message"] == lost["id"])

    assert worker.wait_for("Moved", predicate=is_named)["state"] == "unknown"
    if delivered:
        sandbox.client.read(ada.number, lost["id"])
        sending.moved(row, "sent")
        assert texts(ada) == ["once"]
    else:
        other = sending.send(Text("another chat"), sending.account.number)
        sending.moved(other, "sent")
        assert (sending.row(row).state, texts(ada)) == (State.UNKNOWN, [])


def test_a_planned_stop_waits_for_what_is_on_its_way(sending: Sending, ada: Contact) -> None:
    for round_ in range(3):
        sending.run()
        rows = [sending.send(Text(f"{round_} {number}"), ada.number) for number in range(10)]
        sending.stop()
        states = {sending.row(row).state for row in rows}
        assert states <= {State.QUEUED, State.SENT}, states
    sending.run()
    wait_until(lambda: len(texts(ada)) == 30, "not all has arrived")
    assert texts(ada) == [f"{round_} {number}" for round_ in range(3) for number in range(10)]
