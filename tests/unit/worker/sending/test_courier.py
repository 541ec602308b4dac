"""How a message is carried to the library, and in which order that is written down."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.protobufs import ME, Message, neonize, source

from orchestrator.accounts.settings import Messages
from orchestrator.messages.entry import Entry
from orchestrator.messages.inbox import Inbox
from orchestrator.messages.outbox import Outbox
from orchestrator.messages.outbox_form import New
from orchestrator.sending import asks, wire
from orchestrator.sending.forms import Kind, Outgoing, Reaction, Text
from orchestrator.sending.row import Pace, State, key_digest
from orchestrator.sending.steps import EndKind
from orchestrator.worker.composing.composer import Composer
from orchestrator.worker.composing.contents import Uploaded
from orchestrator.worker.intake import Intake
from orchestrator.worker.sending.courier import Carried, Courier

BOB = "269139479534552@lid"
NOW = 1_800_000_000.0


class Library:
    """Sends nothing, and remembers what it was to send."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.error: str | None = None

    def send(self, chat: str, message: Any) -> tuple[str, float]:  # noqa: ANN401
        assert isinstance(message, Message), "never a text, which the library would open or look through"
        if self.error is not None:
            raise RuntimeError(self.error)
        self.sent.append((chat, message))
        return f"3EB0{len(self.sent)}", NOW

    def upload(self, data: bytes, kind: Kind) -> Uploaded:
        raise NotImplementedError

    def mark_read(self, chat: str, sender: str, ids: tuple[str, ...]) -> None:
        raise NotImplementedError

    def is_on_whatsapp(self, numbers: tuple[str, ...]) -> list[asks.Found]:
        raise NotImplementedError

    def show_typing(self, chat: str, *, writes: bool, records: bool) -> None:
        raise NotImplementedError

    def own_addresses(self) -> list[str]:
        return [ME]

    def hidden_address_of(self, digits: str) -> str | None:  # noqa: ARG002
        return None

    def number_of(self, user: str) -> str | None:  # noqa: ARG002
        return None

    def words(self, error: Exception) -> str:
        return str(error)


class Place:
    """An account with an inbox and an outbox."""

    def __init__(self, folder: Path) -> None:
        self.library = Library()
        self.inbox, self.outbox = Inbox.open(folder), Outbox.open(folder)
        self.intake = Intake(self.inbox, Messages(allow=("*",), groups=True), lambda _: None, folder)
        composer = Composer(self.library, self.intake, folder, self.outbox)
        self.courier = Courier(self.library, composer, self.intake, self.outbox, lambda: NOW)

    def carry(self, outgoing: Outgoing) -> Carried:
        body = wire.as_text(outgoing)
        key = key_digest(str(self.outbox.count))
        number = self.outbox.add(New(outgoing, body, key, NOW * 2, NOW * 2, 100)).row.number
        return self.courier.carry(number, outgoing, self.outbox.hand_over(number, Pace.NEW))

    def statuses(self) -> list[str]:
        rows = self.inbox._connection.execute(
            "SELECT extra FROM entries WHERE source = 'receipt' ORDER BY seq"
        )
        return [extra for (extra,) in rows]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.inbox.close()
    place.outbox.close()


def test_what_was_sent_is_in_the_outbox_and_told(place: Place) -> None:
    carried = place.carry(Outgoing(BOB, Text("/etc/passwd")))
    ((chat, message),) = place.library.sent
    assert (chat, message.conversation, carried.end.kind) == (BOB, "/etc/passwd", EndKind.SENT)
    row = place.outbox.row(carried.number)
    assert (row.state, row.message) == (State.SENT, "3EB01")
    assert place.statuses() == ["sent"]


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        ("server returned error 463", EndKind.REFUSED, 463),
        ("no LID found for 4915100002@s.whatsapp.net from server", EndKind.REFUSED, None),
        ("failed to send message node: websocket not connected", EndKind.BEFORE, None),
        ("timed out waiting for message send response", EndKind.UNKNOWN, None),
    ],
)
def test_how_a_message_ended_that_was_not_sent(
    place: Place, error: str, kind: EndKind, code: int | None
) -> None:
    place.library.error = error
    carried = place.carry(Outgoing(BOB, Text("Hello")))
    assert (carried.end.kind, carried.end.code, carried.row) == (kind, code, None)
    assert "4915100002" not in str(carried.end.why)
    assert place.outbox.row(carried.number).state is State.SENDING


def test_nothing_is_handed_over_once_the_process_ends(place: Place) -> None:
    place.courier.halt()
    assert place.carry(Outgoing(BOB, Text("Hello"))).end.kind is EndKind.BEFORE
    assert place.library.sent == []


def test_what_can_never_be_sent_is_not_tried(place: Place) -> None:
    carried = place.carry(Outgoing(BOB, Reaction("M9", "")))
    assert (carried.end.kind, place.library.sent) == (EndKind.REFUSED, [])


def test_that_a_text_was_sent_is_stored_before_what_became_of_it(place: Place) -> None:
    """The receipt may come, in another thread, while it is noted that WhatsApp has taken the text."""
    receipt = neonize.Receipt(
        MessageSource=source(BOB, BOB),
        MessageIDs=["3EB01"],
        Timestamp=1_800_000_001,
        Type=neonize.Receipt.ReceiptType.Value("DELIVERED"),
    )
    hearing = threading.Thread(
        target=place.intake.take, args=("receipt", receipt, receipt.SerializeToString()), daemon=True
    )
    store = place.intake.store

    def store_late(entry: Entry) -> None:
        if entry.extra == "sent":
            hearing.start()
            hearing.join(0.5)  # it may have to wait for this thread
        store(entry)

    place.intake.store = store_late  # type: ignore[method-assign]
    assert place.carry(Outgoing(BOB, Text("Hello"))).end.kind is EndKind.SENT
    hearing.join(30)
    assert place.statuses() == ["sent", "delivered"]
