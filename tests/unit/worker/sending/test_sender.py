"""What becomes of what is to be sent: with the real outbox and desk, and a library that does as told."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.devices import JID, add_secrets, write_session
from support.linked import wait_until
from support.protobufs import ADA, GROUP, ME, Message, event, info, neonize, source

from orchestrator.accounts import pipe
from orchestrator.accounts.acts import person
from orchestrator.accounts.settings import Messages, Sending
from orchestrator.messages import loss
from orchestrator.messages.database import InboxError
from orchestrator.messages.entry import Entry
from orchestrator.messages.inbox import Inbox, Reader
from orchestrator.messages.loss import digest
from orchestrator.messages.outbox import Outbox, OutboxReader
from orchestrator.messages.retention import Retention
from orchestrator.sending import asks, wire
from orchestrator.sending.forms import (
    Content,
    File,
    Kind,
    Media,
    Outgoing,
    Reaction,
    Read,
    Text,
)
from orchestrator.sending.memory import Memory
from orchestrator.sending.row import Row, State, key_digest
from orchestrator.store.layout import OUTGOING
from orchestrator.worker.composing.contents import Uploaded
from orchestrator.worker.intake import Intake
from orchestrator.worker.sending import beginning
from orchestrator.worker.sending.files import OutgoingFiles
from orchestrator.worker.sending.sender import Sender

BOB = "269139479534552@lid"
NUMBER = "4915100002"
OWN = "200000000000001@lid"
DEVICE = loss.device_of(JID)
FOREVER = 2**35
OFF = Sending(pacing="off", check_numbers=False)


class Library:
    """Sends nothing; writes down secrets where the library does, and does as `script` says."""

    def __init__(self, database: Path) -> None:
        self.database = database
        self.sent: list[tuple[str, Any]] = []
        self.done: list[tuple[str, Any]] = []
        self.script: list[Exception | Callable[[], object]] = []
        self.exists: list[bool | Exception] = []
        self.known = {NUMBER: ADA}
        self.lock = threading.Lock()
        self.at_once = 0
        self.most_at_once = 0

    def send(self, chat: str, message: Any) -> tuple[str, float]:  # noqa: ANN401
        assert isinstance(message, Message)
        with self.lock:
            self.sent.append((chat, message))
            id_ = f"3EB0{len(self.sent)}"
            add_secrets(self.database, id_, sender=OWN, key=message.messageContextInfo.messageSecret)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            todo = self.script.pop(0) if self.script else None
        try:
            if isinstance(todo, Exception):
                raise todo
            if todo is not None:
                todo()
        finally:
            with self.lock:
                self.at_once -= 1
        return id_, time.time()

    def mark_read(self, chat: str, sender: str, ids: tuple[str, ...]) -> None:
        self.done.append(("read", (chat, sender, ids)))

    def show_typing(self, chat: str, *, writes: bool, records: bool) -> None:
        self.done.append(("typing", (chat, writes, records)))

    def upload(self, data: bytes, kind: Kind) -> Uploaded:
        del kind
        return Uploaded("https://mmg.whatsapp.net/v", "/v", bytes(32), bytes(32), bytes(32), len(data))

    def is_on_whatsapp(self, numbers: tuple[str, ...]) -> list[asks.Found]:
        self.done.append(("look", numbers))
        found = self.exists.pop(0)
        if isinstance(found, Exception):
            raise found
        return [asks.Found(numbers[0], found, None)]

    def own_addresses(self) -> list[str]:
        return [ME]

    def hidden_address_of(self, digits: str) -> str | None:
        return self.known.get(digits)

    def number_of(self, user: str) -> str | None:
        return next((one for one, of in self.known.items() if of == f"{user}@lid"), None)

    def words(self, error: Exception) -> str:
        return str(error)


class Process:
    """One run of an account, as far as sending goes."""

    def __init__(
        self,
        folder: Path,
        library: Library,
        settings: Sending = OFF,
        allow: tuple[str, ...] = ("*",),
        *,
        online: bool = True,
        starts: bool = True,
    ) -> None:
        self.folder = folder
        self.library = library
        self.said: list[pipe.FromChild] = []
        keeps = Messages(allow=allow, groups=True)
        self.inbox = Inbox.open(folder) if allow else None
        self.intake = Intake(self.inbox, keeps, lambda _: None, folder)
        self.sender = Sender(folder, settings, self.intake, self.said.append)
        self.sender.open(beginning.in_file(library.database))
        if starts:
            self.sender.start(library)
        self.count = 0
        if online:
            self.sender.online(DEVICE)

    @property
    def outbox(self) -> Outbox:
        """The outbox that the sender has open."""
        assert isinstance(self.sender._outbox, Outbox)
        return self.sender._outbox

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Have somebody else hold the outbox, so that nothing can be written."""
        with self.outbox._lock:
            self.outbox._connection.execute("PRAGMA busy_timeout = 0")
        other = sqlite3.connect(self.folder / "outbox.sqlite3", isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")
            yield
            other.execute("ROLLBACK")
        finally:
            other.close()

    def send(self, content: Content, to: str = BOB, key: str = "", expires: float = FOREVER) -> int:
        """Ask for something to be sent; return the number of the order."""
        self.count += 1
        body = wire.as_text(Outgoing(to, content, tag="mine"))
        digest_ = key_digest("test", "me", key or os.urandom(8).hex()).hex()
        self.sender.order(pipe.Send(self.count, body, digest_, FOREVER, expires))
        return self.count

    def answer(self, order: int) -> pipe.Queued:
        def found() -> list[pipe.Queued]:
            return [one for one in self.said if isinstance(one, pipe.Queued) and one.id == order]

        wait_until(lambda: bool(found()), "no answer")
        (answer,) = found()
        return answer

    def moves(self, row: int | None = 1) -> list[str]:
        return [one.state for one in self.said if isinstance(one, pipe.Moved) and one.row == row]

    def wait(self, *states: str, row: int = 1) -> Row:
        """Wait until a row has had these states, one after the other."""
        wait_until(lambda: self.moves(row) == [*states], f"not {states}: {self.moves(row)}")
        return self.row(row)

    def row(self, number: int = 1) -> Row:
        reader = OutboxReader.open(self.folder)
        try:
            return reader.row(number)
        finally:
            reader.close()

    def receipt(self, id_: str, chat: str = BOB) -> None:
        receipt = neonize.Receipt(
            MessageSource=source(chat, chat), MessageIDs=[id_], Timestamp=int(time.time()), Type=1
        )
        self.intake.take("receipt", receipt, receipt.SerializeToString())

    def write(self, text: str, chat: str = BOB, sender: str = BOB) -> None:
        """Have somebody write to the account."""
        message = event(Message(conversation=text), info(os.urandom(4).hex(), source(chat, sender)))
        message.Info.Timestamp = int(time.time())
        self.intake.take("message", message, message.SerializeToString())

    def statuses(self) -> list[tuple[str, Any]]:
        reader = Reader.open(self.folder)
        try:
            found = [one for one in reader.after(0) if one.source == "receipt"]
            return [(one.notes["status"], one.notes.get("row")) for one in found]
        finally:
            reader.close()

    def end(self) -> None:
        """End in good order."""
        assert self.sender.finish(5)
        assert self.sender.close(5)
        if self.inbox is not None:
            self.inbox.close()

    def die(self) -> None:
        """End as if killed: what the library has goes on, and nothing of it is written down."""
        assert self.sender.close(5)
        if self.inbox is not None:
            self.inbox.close()


class World:
    """An account's folder, its session, and one process after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "messages"
        self.folder.mkdir()
        self.database = write_session(folder)
        self.library = Library(self.database)
        self.processes: list[Process] = []

    def run(self, settings: Sending = OFF, **more: Any) -> Process:  # noqa: ANN401
        self.processes.append(Process(self.folder, self.library, settings, **more))
        return self.processes[-1]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    for process in world.processes:
        process.sender.close(5)
        if process.inbox is not None:
            process.inbox.close()


# What is sent


def test_what_is_asked_for_is_written_down_sent_and_told(world: World) -> None:
    process = world.run()
    answer = process.answer(process.send(Text("Hello")))
    assert (answer.row, answer.state, answer.fault, answer.again, answer.to) == (
        1,
        "queued",
        None,
        False,
        BOB,
    )
    row = process.wait("sending", "sent")
    assert (row.state, row.message, row.tag) == (State.SENT, "3EB01", "mine")
    ((chat, message),) = world.library.sent
    assert (chat, message.conversation) == (BOB, "Hello")
    wait_until(lambda: process.statuses() == [("sent", 1)], "no status")
    process.receipt("3EB01")
    assert process.statuses() == [("sent", 1), ("delivered", 1)]


def test_the_same_key_is_the_same_row_and_never_two_messages(world: World) -> None:
    process = world.run()
    first = process.answer(process.send(Text("Hello"), key="k"))
    process.wait("sending", "sent")
    again = process.answer(process.send(Text("Hello"), key="k"))
    assert (again.row, again.again, again.state) == (first.row, True, "sent")
    other = process.answer(process.send(Text("Hello!"), key="k"))
    assert (other.row, other.fault) == (None, "conflict")
    assert len(world.library.sent) == 1


def test_the_order_within_a_chat_is_kept_and_other_chats_go_on(world: World) -> None:
    process, gate = world.run(), threading.Event()
    world.library.script = [gate.wait]
    process.send(Text("1"))
    wait_until(lambda: len(world.library.sent) == 1, "nothing was sent")
    for text in "2345":
        process.send(Text(text))
    for chat in range(7):
        process.send(Text("x"), to=f"26913947953460{chat}@lid")
    wait_until(lambda: len(world.library.sent) == 8, "other chats wait")
    gate.set()
    wait_until(lambda: len(world.library.sent) == 12, "not all was sent")
    texts = [message.conversation for chat, message in world.library.sent if chat == BOB]
    assert texts == ["1", "2", "3", "4", "5"]


def test_at_most_four_are_with_the_library_at_once(world: World) -> None:
    process, gate = world.run(), threading.Event()
    world.library.script = [gate.wait] * 10
    for chat in range(10):
        process.send(Text("x"), to=f"26913947953460{chat}@lid")
    wait_until(lambda: len(world.library.sent) == 4, "nothing was sent")
    gate.set()
    wait_until(lambda: len(world.library.sent) == 10, "not all was sent")
    assert world.library.most_at_once == 4


def test_what_waits_still_counts_after_the_end(world: World) -> None:
    process = world.run(online=False)
    for text in "12":
        process.answer(process.send(Text(text)))
    assert process.sender.close(5)
    assert process.sender.waiting == 2, "what the last heartbeat says"


def test_nothing_is_sent_before_the_account_is_connected_and_what_waits_can_be_taken_back(
    world: World,
) -> None:
    process = world.run(online=False)
    for text in "12":
        process.answer(process.send(Text(text)))
    assert process.sender.waiting == 2
    process.sender.order(pipe.TakeBack(7, 1))
    taken = process.answer(7)
    assert (taken.row, taken.state) == (1, "taken_back")
    process.sender.online(DEVICE)
    process.wait("sending", "sent", row=2)
    process.sender.order(pipe.TakeBack(8, 2))
    assert process.answer(8).fault == "not_waiting"
    process.sender.order(pipe.TakeBack(9, 3))
    assert process.answer(9).fault == "no_row"
    assert [message.conversation for _, message in world.library.sent] == ["2"]


def test_what_is_not_sent_in_its_time_has_failed(world: World) -> None:
    process = world.run(online=False)
    process.send(Text("Hello"), expires=time.time() + 0.2)
    row = process.wait("expired")
    assert row.state is State.EXPIRED
    wait_until(lambda: process.statuses() == [("failed", 1)], "no status")
    assert world.library.sent == []


def test_more_than_may_wait_is_refused(world: World) -> None:
    process = world.run(Sending(pacing="off", most_waiting=1), online=False)
    assert process.answer(process.send(Text("1"))).row == 1
    assert process.answer(process.send(Text("2"))).fault == "full"


def test_marks_have_no_identifier_and_no_status(world: World) -> None:
    process = world.run()
    process.write("Hi")
    reader = Reader.open(world.folder)
    (stored,) = reader.after(0)
    reader.close()
    process.send(Read((stored.id,)))
    row = process.wait("sending", "sent")
    assert row.message is None
    assert ("read", (BOB, BOB, (stored.id,))) in world.library.done
    assert process.statuses() == []


def test_a_person_with_two_addresses_is_one_chat(world: World) -> None:
    world.library.known = {}
    process, gate = world.run(), threading.Event()
    process.sender.offline()
    process.answer(process.send(Text("1"), to=person(NUMBER)))
    world.library.known = {NUMBER: ADA}
    process.answer(process.send(Text("2"), to=ADA))
    world.library.script = [gate.wait]
    process.sender.online(DEVICE)
    wait_until(lambda: len(world.library.sent) == 1, "nothing was sent")
    process.answer(process.send(Text("3"), to=person(NUMBER)))
    assert len(world.library.sent) == 1
    gate.set()
    wait_until(lambda: len(world.library.sent) == 3, "not all was sent")
    assert [message.conversation for _, message in world.library.sent] == ["1", "2", "3"]


# What WhatsApp refuses


def test_a_person_whose_other_address_turns_up_on_the_way_is_one_chat_still(world: World) -> None:
    process, gate = world.run(), threading.Event()
    world.library.known = {}
    world.library.script = [gate.wait]
    process.send(Text("first"), to=person(NUMBER))
    process.wait("sending")
    world.library.known = {NUMBER: ADA}  # as WhatsApp has said when it was asked about the number
    process.send(Text("second"), to=person(NUMBER))
    process.send(Text("third"), to=ADA)
    process.answer(3)
    process.send(Text("other"))
    process.wait("sending", "sent", row=4)
    assert process.moves(2) == process.moves(3) == []
    gate.set()
    process.wait("sending", "sent", row=3)
    texts = [message.conversation for _, message in world.library.sent]
    assert texts == ["first", "other", "second", "third"]


def test_what_whatsapp_refuses_has_failed_with_its_number(world: World) -> None:
    process = world.run()
    process.write("Hi")
    world.library.script = [Exception("server returned error 463")]
    process.send(Text("Hello"))
    row = process.wait("sending", "failed")
    assert row.code == 463
    assert row.why is not None
    assert "refuses" in row.why
    wait_until(lambda: process.statuses() == [("failed", 1)], "no status")


def test_new_chats_are_closed_and_the_row_waits(world: World) -> None:
    process = world.run(Sending(typing=False, check_numbers=False))
    world.library.script = [Exception("server returned error 463")]
    process.send(Text("Hello"), to=BOB)
    row = process.wait("sending", "queued")
    assert row.why is not None
    assert row.queued_until is not None
    limits = [one for one in process.said if isinstance(one, pipe.Restricted)]
    assert [one.what for one in limits] == ["nothing", "new"]
    assert limits[-1].code == 463
    # Who has written is answered all the same.
    process.write("Hi", ADA, ADA)
    process.send(Text("Yes"), to=ADA)
    process.wait("sending", "sent", row=2)


def test_a_restriction_outlasts_the_process(world: World) -> None:
    process = world.run(Sending(typing=False, check_numbers=False))
    world.library.script = [Exception("server returned error 429")]
    process.send(Text("Hello"))
    process.wait("sending", "queued")
    process.end()
    later = world.run(Sending(typing=False, check_numbers=False))
    wait_until(
        lambda: any(isinstance(one, pipe.Restricted) and one.what == "all" for one in later.said),
        "the restriction is forgotten",
    )
    assert len(world.library.sent) == 1


def test_who_wrote_before_a_restart_is_answered_at_once(world: World) -> None:
    process = world.run()
    process.write("Hi", GROUP, ADA)
    process.write("Hi")
    wait_until(lambda: process.sender._tasks.empty(), "not heard")
    process.end()
    later = world.run(Sending(typing=False, check_numbers=False))
    later.send(Text("Hello"))
    assert later.wait("sending", "sent").pace == "reply"


def test_a_number_that_is_not_on_whatsapp_is_found_out_before(world: World) -> None:
    process = world.run(Sending(typing=False))
    world.library.exists = [Exception("info query timed out"), False]
    process.send(Text("Hello"), to=person("4915100009"))
    row = process.wait("sending", "sent")
    assert row.state is State.SENT
    process.send(Text("Hello"), to=person("4915100008"))
    wait_until(lambda: "failed" in process.moves(2), "it has not failed")
    assert process.row(2).why == "this number is not on WhatsApp"
    assert len(world.library.sent) == 1


def test_typing_is_shown_before_a_message(world: World) -> None:
    process = world.run(Sending(typing_most=0.1, check_numbers=False))
    process.write("Hi")
    process.send(Text("Hello"))
    process.wait("sending", "sent")
    assert ("typing", (BOB, True, False)) in world.library.done


def test_whom_the_account_knows_from_before_is_not_new(world: World) -> None:
    """The inbox is older than the outbox; and what the account's phone sends counts, too."""
    with contextlib.closing(Inbox.open(world.folder)) as inbox:
        about = info("A1", source(ADA, ADA))
        raw = event(Message(conversation="x"), about).SerializePartialToString()
        inbox.append(Entry("message", ADA, ADA, "A1", time.time() - 10 * 86_400, raw))
    process = world.run(Sending(typing=False, check_numbers=False))
    process.send(Text("Hello"), to=ADA)
    assert process.wait("sending", "sent").pace == "known"
    mine = event(Message(conversation="Hi"), info("A2", source(BOB, ME, from_me=True)))
    mine.Info.Timestamp = int(time.time())
    process.intake.take("message", mine, mine.SerializeToString())
    process.send(Text("Hello"))
    assert process.wait("sending", "sent", row=2).pace == "known"


# Files


def a_file(folder: Path, name: str, data: bytes = b"%PDF-1.7") -> File:
    (folder / OUTGOING).mkdir(exist_ok=True)
    (folder / OUTGOING / name).write_bytes(data)
    return File(name, hashlib.sha256(data).hexdigest(), len(data), "application/pdf")


def test_a_file_goes_once_it_is_sent_or_taken_back(world: World) -> None:
    process = world.run(online=False)
    for name in ("17", "18"):
        document = Media(Kind.DOCUMENT, file=a_file(world.folder, name), file_name="a.pdf")
        process.answer(process.send(document, key=name))
    # The same once more, by the same key: the row has its own file.
    again = process.send(Media(Kind.DOCUMENT, file=a_file(world.folder, "19"), file_name="a.pdf"), key="17")
    assert process.answer(again).again
    left = world.folder / OUTGOING
    wait_until(lambda: {one.name for one in left.iterdir()} == {"17", "18"}, "the third file is there")
    process.sender.order(pipe.TakeBack(9, 2))
    process.answer(9)
    wait_until(lambda: {one.name for one in left.iterdir()} == {"17"}, "the second file is there")
    process.sender.online(DEVICE)
    process.wait("sending", "sent")
    wait_until(lambda: not list(left.iterdir()), "the file is there")


def test_a_file_that_is_gone_or_altered_fails_its_message(world: World) -> None:
    process = world.run(online=False)
    file = a_file(world.folder, "17")
    process.answer(process.send(Media(Kind.DOCUMENT, file=file, file_name="a.pdf")))
    (world.folder / OUTGOING / "17").write_bytes(b"%PDF-1.8")
    process.sender.online(DEVICE)
    assert process.wait("sending", "failed").why is not None
    assert world.library.sent == []


def test_old_files_that_no_row_needs_go(world: World, tmp_path: Path) -> None:
    files = OutgoingFiles(world.folder, time.time)
    files.sweep([])
    for name in ("17", "18", "19"):
        a_file(world.folder, name)
        if name != "18":
            os.utime(world.folder / OUTGOING / name, (1, 1))
    outside = tmp_path / "outside"
    outside.write_text("x")
    (world.folder / OUTGOING / "20").symlink_to(outside)
    os.utime(world.folder / OUTGOING / "20", (1, 1), follow_symlinks=False)
    files.sweep(["19"])
    assert {one.name for one in (world.folder / OUTGOING).iterdir()} == {"18", "19"}
    files.delete(["18", "../outbox.sqlite3", "no"])
    assert {one.name for one in (world.folder / OUTGOING).iterdir()} == {"19"}
    assert outside.exists()


def test_texts_go_once_they_were_kept_long_enough(world: World) -> None:
    process = world.run()
    process.send(Text("needle in the outbox"))
    process.wait("sending", "sent")
    process.sender.clear(Retention(0.0, 0.0))
    process.end()
    assert b"needle" not in (world.folder / "outbox.sqlite3").read_bytes()


# What nobody knows


def unsettled(process: Process) -> list[str]:
    return [one.digests for one in process.said if isinstance(one, pipe.Unsettled)]


def test_what_timed_out_is_settled_by_a_receipt(world: World) -> None:
    process = world.run()
    world.library.script = [Exception("timed out waiting for message send response")]
    process.send(Text("Hello"))
    row = process.wait("sending", "unknown")
    assert row.message is None
    wait_until(lambda: len(unsettled(process)) == 1, "nobody asks")
    sign = unsettled(process)[0]
    process.sender.order(pipe.Secrets(sign, f"{sign}:3EB01"))
    assert process.wait("sending", "unknown", "unknown").message == "3EB01"
    process.receipt("3EB01")
    assert process.wait("sending", "unknown", "unknown", "sent").state is State.SENT
    # The row is settled in one thread, the receipt stored in the other.
    wait_until(lambda: ("delivered", 1) in process.statuses(), "no status")
    assert process.statuses() in ([("delivered", 1)], [("sent", 1), ("delivered", 1)])
    assert len(world.library.sent) == 1


@pytest.mark.parametrize("allow", [("*",), ()])
def test_a_receipt_may_come_long_before_anybody_knows_whose_it_is(
    world: World, allow: tuple[str, ...]
) -> None:
    process = world.run(allow=allow)

    def arrive_and_fail() -> None:
        process.receipt("3EB01")
        raise ValueError("websocket disconnected before info query returned response")

    world.library.script = [arrive_and_fail]
    process.send(Text("Hello"))
    process.wait("sending", "unknown")
    wait_until(lambda: len(unsettled(process)) == 1, "nobody asks")
    (sign,) = unsettled(process)
    process.sender.order(pipe.Secrets(sign, f"{sign}:3EB01"))
    process.wait("sending", "unknown", "unknown", "sent")
    if allow:
        wait_until(lambda: len(process.statuses()) >= 1, "no status")


def test_what_has_never_left_is_sent_again(world: World) -> None:
    process = world.run()
    world.library.script = [Exception("timed out waiting for message send response")]
    process.send(Text("Hello"))
    process.wait("sending", "unknown")
    wait_until(lambda: len(unsettled(process)) == 1, "nobody asks")
    process.sender.order(pipe.Secrets(unsettled(process)[0], ""))
    process.wait("sending", "unknown", "queued", "sending", "sent")
    secrets = {message.messageContextInfo.messageSecret for _, message in world.library.sent}
    assert len(secrets) == 2, "each try has a secret of its own"


def test_reactions_are_simply_done_again(world: World) -> None:
    process = world.run()
    process.write("Hi")
    reader = Reader.open(world.folder)
    (stored,) = reader.after(0)
    reader.close()
    world.library.script = [Exception("timed out waiting for message send response")]
    process.send(Reaction(stored.id, "\N{THUMBS UP SIGN}"))
    process.wait("sending", "queued", "sending", "sent")
    assert unsettled(process) == []


def test_what_is_about_a_message_waits_for_an_inbox_that_cannot_be_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = world.run()
    process.write("Hi")
    reader = Reader.open(world.folder)
    (stored,) = reader.after(0)
    reader.close()
    left = [InboxError("the inbox cannot be read: disk I/O error")]
    opened = Reader.open

    def open_(*arguments: Any) -> Reader:  # noqa: ANN401 - as `Reader.open` takes them
        if left:
            raise left.pop()
        return opened(*arguments)

    monkeypatch.setattr("orchestrator.messages.inbox.Reader.open", open_)
    process.send(Reaction(stored.id, "\N{THUMBS UP SIGN}"))
    process.wait("sending", "queued", "sending", "sent")


@pytest.mark.parametrize(
    "error",
    [
        "failed to send message node: websocket not connected",
        "failed to get device list: info query timed out",
    ],
)
def test_what_fails_before_anything_is_sent_is_tried_again(world: World, error: str) -> None:
    process = world.run()
    world.library.script = [Exception(error)]
    process.send(Text("Hello"))
    process.wait("sending", "queued", "sending", "sent")
    assert unsettled(process) == []


# An outbox that cannot be used for a while


class Failing:
    """Has a method of something fail the first few times, as SQLite does on a full disk."""

    def __init__(self, method: Callable[..., Any], times: int) -> None:
        self.method = method
        self.left = times

    def __call__(self, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401
        if self.left:
            self.left -= 1
            raise sqlite3.OperationalError("database or disk is full")
        return self.method(*arguments, **named)


def fail(process: Process, method: str, times: int, monkeypatch: pytest.MonkeyPatch) -> Failing:
    failing = Failing(getattr(process.outbox, method), times)
    monkeypatch.setattr(process.outbox, method, failing)
    return failing


def test_a_row_whose_way_back_cannot_be_written_is_not_begun_anew_before(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = world.run()
    world.library.script = [Exception("failed to get device list: info query timed out")]
    # The row is tried again after two seconds, and what could not be written each second.
    fail(process, "put_back", 4, monkeypatch)
    process.send(Text("Hello"))
    process.wait("sending", "queued", "sending", "sent")
    assert len(world.library.sent) == 2


def test_a_receipt_counts_also_if_it_cannot_be_written_down_at_first(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    process = world.run()
    world.library.script = [Exception("timed out waiting for message send response")]
    process.send(Text("Hello"))
    process.wait("sending", "unknown")
    wait_until(lambda: len(unsettled(process)) == 1, "nobody asks")
    sign = unsettled(process)[0]
    process.sender.order(pipe.Secrets(sign, f"{sign}:3EB01"))
    process.wait("sending", "unknown", "unknown")
    with process.held():
        process.receipt("3EB01")
        wait_until(lambda: "the outbox cannot be" in caplog.text, "it could be written")
    process.wait("sending", "unknown", "unknown", "sent")


def test_rows_wait_for_an_outbox_that_cannot_be_written_at_the_start(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    process, gate = world.run(), threading.Event()
    world.library.script = [gate.wait]
    process.write("Hi")
    reader = Reader.open(world.folder)
    (stored,) = reader.after(0)
    reader.close()
    process.send(Reaction(stored.id, "\N{THUMBS UP SIGN}"))
    process.wait("sending")
    process.send(Text("Hello"))
    process.answer(2)
    process.die()
    later = world.run(starts=False)
    with later.held():
        later.sender.start(world.library)
        wait_until(lambda: "the outbox cannot be" in caplog.text, "it could be written")
    later.wait("queued", "sending", "sent")
    later.wait("sending", "sent", row=2)
    gate.set()


def test_a_row_that_is_under_way_stays_so_if_it_cannot_be_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, gate = world.run(), threading.Event()
    world.library.script = [gate.wait]
    failing = fail(process, "row", 1, monkeypatch)
    process.send(Text("Hello"))
    wait_until(lambda: not failing.left, "the row was not read")
    time.sleep(1.5)  # as long as it takes until what could not be done is done again
    gate.set()
    wait_until(lambda: process.row().state.is_over, "the row is not over")
    assert process.row().state is State.SENT
    assert len(world.library.sent) == 1


def test_a_chat_goes_on_although_a_file_could_not_be_deleted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, gate = world.run(), threading.Event()
    world.library.script = [gate.wait]
    file = a_file(world.folder, "17")
    process.send(Media(Kind.DOCUMENT, file=file, file_name="a.pdf"))
    process.wait("sending")
    failing = fail(process, "files", 1, monkeypatch)
    gate.set()
    wait_until(lambda: not failing.left, "nothing was deleted")
    process.send(Text("Hello"))
    process.wait("sending", "sent", row=2)


def test_an_account_is_connected_although_its_rows_cannot_be_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = world.run(online=False)
    process.send(Text("Hello"))
    process.answer(1)
    fail(process, "waiting", 1, monkeypatch)
    process.sender.online(DEVICE)
    process.wait("sending", "sent")


def test_a_secret_that_the_library_could_not_write_down_proves_nothing(world: World) -> None:
    process = world.run()
    world.library.database = world.database.with_name("elsewhere.sqlite3")
    world.library.database.write_bytes(world.database.read_bytes())
    gate, failing = threading.Event(), Exception("timed out waiting for message send response")

    def be_lost() -> None:
        gate.wait()
        raise failing

    world.library.script = [be_lost]
    process.send(Text("Hello"))
    wait_until(lambda: process.moves() == ["sending"], "nothing was sent")
    process.sender.secret_missing()
    wait_until(lambda: process.sender._tasks.empty(), "not heard")
    gate.set()
    process.wait("sending", "unknown")
    wait_until(lambda: len(unsettled(process)) == 1, "nobody asks")
    process.sender.order(pipe.Secrets(unsettled(process)[0], ""))
    process.answer(process.send(Text("Other"), to=ADA))
    assert process.moves() == ["sending", "unknown"]
    process.end()
    later = world.run()
    later.wait("unknown")
    assert unsettled(later) == []
    assert [chat for chat, _ in world.library.sent].count(BOB) == 1


def test_that_a_secret_could_not_be_written_down_may_be_known_after_the_end_of_the_call(
    world: World,
) -> None:
    process = world.run()
    world.library.script = [Exception("timed out waiting for message send response")]
    process.send(Text("Hello"))
    process.wait("sending", "unknown")
    wait_until(lambda: len(unsettled(process)) == 1, "nobody asks")
    process.sender.secret_missing()
    process.sender.order(pipe.Secrets(unsettled(process)[0], ""))
    process.answer(process.send(Text("Other"), to=ADA))
    assert process.moves() == ["sending", "unknown"]
    process.end()
    world.run().wait("unknown")
    assert [chat for chat, _ in world.library.sent].count(BOB) == 1


# The end of a process, and the next one


def killed_while_sending(world: World) -> Process:
    process, gate = world.run(), threading.Event()
    world.library.script = [gate.wait]
    process.send(Text("Hello"))
    wait_until(lambda: len(world.library.sent) == 1, "nothing was sent")
    wait_until(lambda: process.moves() == ["sending"], "not written")
    process.die()
    return world.run()


def test_what_was_with_the_library_when_the_process_was_killed_is_settled_by_its_receipt(
    world: World,
) -> None:
    later = killed_while_sending(world)
    row = later.wait("unknown")
    assert (row.message, row.state) == ("3EB01", State.UNKNOWN)
    assert unsettled(later) == []
    later.receipt("3EB01")
    later.wait("unknown", "sent")
    assert len(world.library.sent) == 1


@pytest.mark.parametrize("allow", [("*",), ()])
def test_a_receipt_that_came_before_the_process_was_killed_counts(
    world: World, allow: tuple[str, ...]
) -> None:
    process, gate = world.run(allow=allow), threading.Event()
    world.library.script = [gate.wait]
    process.send(Text("Hello"))
    wait_until(lambda: process.moves() == ["sending"] and len(world.library.sent) == 1, "not sent")
    process.receipt("3EB01")
    process.die()
    later = world.run(allow=allow)
    row = later.wait("unknown", "sent")
    assert (row.message, row.state) == ("3EB01", State.SENT)
    if allow:
        wait_until(lambda: later.statuses() == [("sent", 1)], "no status")
    later.send(Text("Bye"))
    later.wait("sending", "sent", row=2)
    assert later.outbox.receipts() == []
    assert len(world.library.sent) == 2


def test_a_receipt_for_a_known_message_counts_although_its_process_did_not_come_to_it(world: World) -> None:
    later = killed_while_sending(world)
    assert later.wait("unknown").message == "3EB01"
    later.outbox.note_receipt(["3EB01"])  # and the process is killed before its thread has taken it in
    later.die()
    last = world.run()
    last.wait("sent")


def test_a_receipt_that_cannot_be_written_down_has_all_its_other_effects(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    process = world.run()
    process.send(Text("Hello"))
    process.wait("sending", "sent")
    wait_until(lambda: process.statuses() == [("sent", 1)], "no status")
    world.library.script = [Exception("timed out waiting for message send response")]
    process.send(Text("Bye"))
    process.wait("sending", "unknown", row=2)
    fail(process, "note_receipt", 2, monkeypatch)
    process.receipt("3EB01")
    process.receipt("3EB02")
    assert process.statuses() == [("sent", 1), ("delivered", 1)]
    assert "a receipt could not be written down" in caplog.text
    wait_until(lambda: len(unsettled(process)) == 1, "nobody asks")
    sign = unsettled(process)[0]
    process.sender.order(pipe.Secrets(sign, f"{sign}:3EB02"))
    process.wait("sending", "unknown", "unknown", "sent", row=2)


def test_what_had_not_left_when_the_process_was_killed_is_sent_by_the_next(world: World) -> None:
    world.library.database = write_elsewhere = world.database.with_name("elsewhere.sqlite3")
    write_elsewhere.write_bytes(
        world.database.read_bytes()
    )  # the library writes no secret down: it got not so far
    process, gate = world.run(), threading.Event()
    process.library.database = write_elsewhere
    world.library.script = [gate.wait]
    process.send(Text("Hello"))
    wait_until(lambda: process.moves() == ["sending"], "not written")
    process.die()
    world.library.database = world.database
    later = world.run()
    later.wait("queued", "sending", "sent")


def test_nothing_is_concluded_from_the_session_of_another_device(world: World, tmp_path: Path) -> None:
    process, gate = world.run(), threading.Event()
    world.library.script = [gate.wait]
    process.send(Text("Hello"))
    wait_until(lambda: process.moves() == ["sending"], "not written")
    process.die()
    (tmp_path / "other").mkdir()
    other = write_session(tmp_path / "other")
    connection = sqlite3.connect(other)
    with connection:
        connection.execute("UPDATE whatsmeow_device SET jid = '4915100000001:2@s.whatsapp.net'")
    connection.close()
    other.replace(world.database)  # at once: the process that was killed may still look into the file
    later = world.run()
    later.wait("unknown")
    later.send(Text("Other"), to=ADA)
    later.wait("sending", "sent", row=2)
    assert unsettled(later) == []
    assert len(world.library.sent) == 2


def test_what_waits_is_not_sent_from_the_number_of_another_phone(world: World) -> None:
    process = world.run(online=False)
    process.sender.online(DEVICE, "first number")
    wait_until(lambda: "first number" in (process.outbox.memory() or ""), "not written down")
    world.library.script = [Exception("timed out waiting for message send response")]
    process.send(Text("1"))
    process.wait("sending", "unknown")
    process.sender.offline()
    for text in "23":
        process.answer(process.send(Text(text), to=ADA))
    process.die()
    resends = replace(OFF, on_unknown="resend")
    later = world.run(resends, online=False)
    later.sender.online("another device", "second number")
    failed = later.wait("failed", row=2)
    assert failed.why == "the account was linked to another phone meanwhile"
    later.wait("failed", row=3)
    wait_until(lambda: later.statuses() == [("failed", 2), ("failed", 3)], "no statuses")
    later.send(Text("4"), to=ADA)
    later.wait("sending", "sent", row=4)
    assert later.row().state is State.UNKNOWN
    later.end()
    last = world.run(resends, online=False)
    last.sender.online("another device", "second number")
    last.send(Text("5"))
    last.wait("sending", "sent", row=5)
    assert last.row().state is State.UNKNOWN
    assert [message.conversation for _, message in world.library.sent] == ["1", "4", "5"]


def test_what_waits_for_another_number_fails_also_if_the_process_is_killed_meanwhile(world: World) -> None:
    process = world.run(online=False)
    process.answer(process.send(Text("1")))
    process.die()
    with contextlib.closing(Outbox.open(world.folder)) as outbox:  # it was about to say that row 1 has failed
        outbox.remember(Memory(DEVICE, "second number", before=1).dump())
    later = world.run(online=False)
    later.wait("failed")
    assert world.library.sent == []


@pytest.mark.parametrize("known", ["", "first number"])
def test_what_waits_is_sent_by_another_device_of_the_same_number(world: World, known: str) -> None:
    process = world.run(online=False)
    if known:
        process.sender.online(DEVICE, known)
        wait_until(lambda: known in (process.outbox.memory() or ""), "not written down")
        process.sender.offline()
    process.answer(process.send(Text("1")))
    process.die()
    later = world.run(online=False)
    later.sender.online("another device", "first number")
    later.wait("sending", "sent")


def test_a_planned_end_waits_for_what_is_under_way_and_begins_nothing(world: World) -> None:
    process, gate = world.run(), threading.Event()
    world.library.script = [gate.wait]
    process.send(Text("1"))
    process.send(Text("2"))
    wait_until(lambda: len(world.library.sent) == 1, "nothing was sent")
    assert not process.sender.finish(0.05)
    gate.set()
    assert process.sender.finish(5)
    assert process.sender.close(5)
    assert process.row(1).state is State.SENT
    assert process.row(2).state is State.QUEUED
    later = world.run()
    later.wait("sending", "sent", row=2)


def test_what_is_asked_for_while_the_account_starts_is_not_lost(tmp_path: Path) -> None:
    world = World(tmp_path)
    said: list[pipe.FromChild] = []
    intake = Intake(None, Messages(), lambda _: None, world.folder)
    sender = Sender(world.folder, OFF, intake, said.append)
    body = wire.as_text(Outgoing(BOB, Text("Hello")))
    sender.order(pipe.Send(1, body, "0" * 64, FOREVER, FOREVER))
    assert (said, sender.waiting) == ([], 0)
    sender.open(beginning.in_file(world.database))
    sender.start(world.library)
    sender.online(DEVICE)
    wait_until(lambda: any(isinstance(one, pipe.Moved) and one.state == "sent" for one in said), "not sent")
    assert sender.close(5)


def test_an_account_without_a_folder_sends_nothing(tmp_path: Path) -> None:
    said: list[pipe.FromChild] = []
    sender = Sender(None, OFF, Intake(None, Messages(), lambda _: None), said.append)
    sender.open(beginning.in_file(tmp_path / "session.sqlite3"))
    sender.order(pipe.Send(1, wire.as_text(Outgoing(BOB, Text("Hello"))), "0" * 64, FOREVER, FOREVER))
    sender.order(pipe.TakeBack(2, 1))
    assert [(one.id, one.fault) for one in said if isinstance(one, pipe.Queued)] == [
        (1, "unusable"),
        (2, "unusable"),
    ]
    sender.clear(Retention(1.0, 1.0))
    assert sender.finish(0.0)
    assert sender.close(0.0)


def test_a_digest_stands_for_the_secret_that_is_in_the_message(world: World) -> None:
    process = world.run()
    world.library.script = [Exception("timed out waiting for message send response")]
    process.send(Text("Hello"))
    wait_until(lambda: len(unsettled(process)) == 1, "nobody asks")
    ((_, message),) = world.library.sent
    assert unsettled(process) == [digest(message.messageContextInfo.messageSecret).hex()]
