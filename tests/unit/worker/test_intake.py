"""What the library brings: who is allowed is stored, all others are counted, and nothing gets lost."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.full_disk import small_disk
from support.linked import wait_until
from support.protobufs import ADA, GROUP, ME, Message, Proto, e2e, event, info, jid, neonize, source

from orchestrator.accounts.failure import Kind
from orchestrator.accounts.settings import Messages
from orchestrator.messages import reserve
from orchestrator.messages.database import DATABASE
from orchestrator.messages.entry import MAX_RAW, Stored, inner
from orchestrator.messages.inbox import Inbox, Reader
from orchestrator.messages.rendering import render
from orchestrator.store.layout import RESERVE
from orchestrator.worker import events, session_check
from orchestrator.worker.intake import Intake, open_inbox

NUMBER = "4915100001234"
TEXT = Message(conversation="needle")


class People:
    """What a session knows."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def number_of(self, user: str) -> str | None:
        self.asked.append(user)
        return NUMBER if f"{user}@lid" == ADA else None

    def name_of(self, user: str, server: str) -> str | None:
        return "Ada" * 100 if f"{user}@{server}" == ADA else None

    def vote_of(self, event: Proto) -> list[bytes]:
        del event
        return [b"\1" * 32]


class Broken(People):
    """A session that knows nothing, and says so by errors."""

    def number_of(self, user: str) -> str | None:
        raise RuntimeError(user)

    def name_of(self, user: str, server: str) -> str | None:
        raise RuntimeError(user, server)

    def vote_of(self, event: Proto) -> list[bytes]:
        raise RuntimeError(event)


class Set:
    """An intake with an inbox of its own."""

    def __init__(self, folder: Path, **settings: Any) -> None:  # noqa: ANN401
        self.folder = folder
        self.told: list[events.Event] = []
        keeps = Messages(**{"allow": ("*",), **settings})
        self.intake = Intake(open_inbox(folder, keeps), keeps, self.told.append, folder)
        self.people = People()
        self.intake.ask(self.people)

    def take(self, message: Proto = TEXT, where: Proto = None, message_id: str = "3EB0A1") -> None:
        made = event(message, info(message_id, where))
        self.intake.take("message", made, made.SerializeToString())

    @property
    def inbox(self) -> Inbox:
        assert isinstance(self.intake.inbox, Inbox)
        return self.intake.inbox

    @property
    def stored(self) -> list[Stored]:
        if not (self.folder / DATABASE).exists():
            return []
        reader = Reader.open(self.folder)
        try:
            return reader.after(0)
        finally:
            reader.close()


def test_a_message_is_stored_as_the_library_gave_it(tmp_path: Path) -> None:
    at = Set(tmp_path)
    made = event(TEXT)
    at.intake.take("message", made, made.SerializeToString())
    (stored,) = at.stored
    assert (stored.source, stored.chat, stored.sender, stored.id) == ("message", ADA, ADA, "3EB0A1")
    assert neonize.Message.FromString(stored.raw) == made
    assert stored.at == 1_764_323_999
    assert stored.notes == {"phones": {ADA: f"+{NUMBER}"}, "names": {ADA: ("Ada" * 100)[:200]}}
    assert (at.intake.stored, at.intake.refused, at.told) == (1, 0, [])


def test_nobody_allowed_stores_nothing_and_makes_no_file(tmp_path: Path) -> None:
    at = Set(tmp_path, allow=())
    for count in range(5):
        at.take(message_id=str(count))
    assert at.intake.inbox is None
    assert (at.intake.stored, at.intake.refused) == (None, 5)
    assert list(tmp_path.iterdir()) == []
    assert at.people.asked == [], "nobody is looked up who is not allowed"


@pytest.mark.parametrize(
    ("allow", "where", "kept"),
    [
        ((NUMBER,), source(sender_alt=f"{NUMBER}@s.whatsapp.net"), True),
        ((NUMBER,), source(), True),
        ((NUMBER,), source("1@lid", "1@lid"), False),
        ((NUMBER,), source(GROUP, ADA), False),
        ((NUMBER,), source(f"{NUMBER}@s.whatsapp.net", f"{NUMBER}@s.whatsapp.net"), True),
        ((GROUP,), source(GROUP, "1@lid"), True),
        (("*",), source(GROUP, ADA), False),
        (("*",), source(ADA, ME, from_me=True), False),
        (("*",), source("status@broadcast", ADA), False),
        (("*",), source("1203@newsletter", "1203@newsletter"), False),
    ],
)
def test_who_is_allowed(tmp_path: Path, allow: tuple[str, ...], where: Proto, kept: bool) -> None:
    at = Set(tmp_path, allow=allow)
    at.take(where=where)
    assert len(at.stored) == kept


def test_a_message_to_a_list_of_receivers_is_a_direct_one_of_its_sender(tmp_path: Path) -> None:
    at = Set(tmp_path, allow=(NUMBER,), from_me=True)
    at.take(where=source("1234567@broadcast", ADA), message_id="1")
    at.take(where=source("1234567@broadcast", "1@lid"), message_id="2")
    at.take(where=source("1234567@broadcast", ME, from_me=True), message_id="3")
    (stored,) = at.stored
    assert (stored.id, stored.chat, stored.sender) == ("1", ADA, ADA)
    assert at.intake.refused == 2


def test_a_vote_that_names_no_options_is_stored_without_them(tmp_path: Path) -> None:
    class Liar(People):
        def vote_of(self, event: Proto) -> list[bytes]:
            del event
            return [b"needle" * 400, b"", b"\2" * 32] * 100

    at = Set(tmp_path)
    at.intake.ask(Liar())
    at.take(Message(pollUpdateMessage={"vote": {"encPayload": b"x"}}))
    (stored,) = at.stored
    assert set(stored.notes["vote"]) == {"AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI="}


def test_what_is_no_message_is_neither_stored_nor_counted(tmp_path: Path) -> None:
    at = Set(tmp_path)
    key = e2e.SenderKeyDistributionMessage(groupID=GROUP, axolotlSenderKeyDistributionMessage=b"x")
    at.take(Message(senderKeyDistributionMessage=key))
    at.take(Message(messageContextInfo={}))
    at.take(Message(protocolMessage={"type": "APP_STATE_SYNC_KEY_SHARE"}))
    assert (at.stored, at.intake.refused) == ([], 0)
    at.take(TEXT)
    assert len(at.stored) == 1, "the same identifier again, with a text this time"


def test_an_attachment_gets_an_identifier_of_ours_and_a_vote_its_options(tmp_path: Path) -> None:
    at = Set(tmp_path)
    at.take(Message(imageMessage={"directPath": "/v/x", "mediaKey": b"k" * 32}), message_id="1")
    at.take(Message(pollUpdateMessage={"vote": {"encPayload": b"x"}}), message_id="2")
    image, vote = at.stored
    assert 0 <= int(image.notes["media"]) < 2**63
    assert vote.notes["vote"] == ["AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="]


def test_what_the_session_does_not_know_is_left_out(tmp_path: Path) -> None:
    at = Set(tmp_path)
    at.intake.ask(Broken())
    at.take(Message(pollUpdateMessage={"vote": {"encPayload": b"x"}}))
    (stored,) = at.stored
    assert stored.notes == {}


def test_news_of_a_group_are_stored_once_if_the_group_is_allowed(tmp_path: Path) -> None:
    at = Set(tmp_path, allow=(GROUP,))
    for group in (GROUP, GROUP, "120363000000000002@g.us"):
        made = neonize.GroupInfoEvent(JID=jid(group), Sender=jid(ADA), Timestamp=1_764_323_999)
        at.intake.take("group", made, made.SerializePartialToString())
    (stored,) = at.stored
    assert (stored.source, stored.chat, stored.sender) == ("group", GROUP, ADA)


def test_a_message_too_large_for_an_entry_leaves_a_trace(tmp_path: Path) -> None:
    at = Set(tmp_path)
    at.take(Message(conversation="x" * (MAX_RAW + 1)))
    (stored,) = at.stored
    assert stored.raw == b""
    assert stored.notes["too_large"] > MAX_RAW


@settings(max_examples=200)
@given(user=st.text(max_size=20), server=st.text(max_size=12), message_id=st.text(max_size=200))
@example(user="", server="newsletter", message_id="")
@example(user="status", server="broadcast", message_id="")
def test_addresses_and_identifiers_of_any_form_harm_nobody(user: str, server: str, message_id: str) -> None:
    told: list[events.Event] = []
    intake = Intake(None, Messages(allow=("*",), groups=True), told.append)
    kept: list[object] = []
    setattr(intake, "store", kept.append)  # noqa: B010 - a file for each example is slow
    made = event(TEXT, info(message_id, source(f"{user}@{server}", f"{user}@{server}")))
    intake.take("message", made, made.SerializeToString())
    is_no_message = server == "newsletter" or (user, server) == ("status", "broadcast")
    assert len(kept) + intake.refused == (0 if is_no_message else 1)
    assert told == []


def test_an_error_of_any_kind_is_counted_and_does_not_quote(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Odd:
        def __getattr__(self, name: str) -> object:
            raise ValueError("needle")

    at = Set(tmp_path)
    at.intake.take("message", Odd(), b"")
    at.intake.take_unread("message", b"\xff", neonize.MessageInfo.FromString)
    assert at.intake.refused == 2
    assert "needle" not in caplog.text
    assert "ValueError" in caplog.text


def nested(depth: int) -> bytes:
    """Return a text in more wrappers than Python's protobuf reads."""
    wrapped: bytes = Message(conversation="needle").SerializeToString()
    for _ in range(depth):
        inside = b"\x0a" + varint(len(wrapped)) + wrapped  # FutureProofMessage.message
        wrapped = b"\xc2\x02" + varint(len(inside)) + inside  # Message.ephemeralMessage
    return wrapped


def varint(value: int) -> bytes:
    found = b""
    while value > 127:
        found, value = found + bytes([value & 127 | 128]), value >> 7
    return found + bytes([value])


@pytest.mark.parametrize(
    ("allow", "where", "category", "kept"),
    [
        (("*",), source(), "", True),
        (("*",), source(), "peer", False),
        (("*",), source(ADA, ME, from_me=True), "", False),
        (("1234567",), source(), "", False),
        (("*",), source("status@broadcast", ADA), "", False),
    ],
)
def test_a_message_too_deep_to_be_read_is_stored(
    tmp_path: Path, allow: tuple[str, ...], where: Proto, category: str, kept: bool
) -> None:
    at = Set(tmp_path, allow=allow)
    about = info("3EB0A1", where, category=category).SerializeToString()
    deep = nested(60)
    raw = b"\x0a" + varint(len(about)) + about + b"\x12" + varint(len(deep)) + deep
    with pytest.raises(DecodeError):
        neonize.Message.FromString(raw)
    at.intake.take_unread("message", raw, neonize.MessageInfo.FromString)
    at.intake.take_unread("message", raw, neonize.MessageInfo.FromString)
    assert len(at.stored) == kept
    if kept:
        event = render(at.stored[0], "support")
        assert event is not None
        assert event["data"]["unsupported"] == {"kind": "unreadable"}
        assert event["data"]["sender"]["id"] == ADA


@given(st.binary(max_size=200), st.integers(1, 20))
def test_a_field_of_any_bytes_is_one_or_none(raw: bytes, number: int) -> None:
    found = inner(raw, number)
    assert found is None or found in raw


def test_a_full_disk_holds_the_library_up_until_there_is_room(tmp_path: Path) -> None:
    at = Set(tmp_path)
    assert at.intake.inbox is not None
    connection = at.inbox._connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    returned = threading.Event()

    def callback() -> None:
        at.take(Message(conversation="x" * 50_000))
        returned.set()

    thread = threading.Thread(target=callback, daemon=True)
    thread.start()
    wait_until(lambda: bool(at.told), "nobody was told")
    assert at.told == [events.DiskFull()]
    assert not (tmp_path / RESERVE).exists(), "what waits in the library needs the room"
    assert not returned.wait(1.5), "WhatsApp would take the message for delivered"
    with at.inbox._lock:
        connection.execute("PRAGMA max_page_count = 100000")
    assert returned.wait(30)
    assert len(at.stored) == 1
    assert at.told == [events.DiskFull()], "told once"


def test_an_inbox_has_a_reserve_where_somebody_is_allowed(tmp_path: Path) -> None:
    assert open_inbox(tmp_path, Messages(allow=("*",))) is not None
    about = (tmp_path / RESERVE).stat()
    assert (about.st_size, about.st_mode & 0o777) == (reserve.SIZE, 0o600)
    assert about.st_blocks * 512 >= reserve.SIZE
    reserve.keep(tmp_path)
    assert (tmp_path / RESERVE).stat().st_ino == about.st_ino


def test_an_account_does_not_start_without_room_for_its_reserve(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", (reserve.SIZE + reserve.MARGIN) // 1024) as folder:
        with pytest.raises(session_check.SessionUnusable) as caught:
            open_inbox(folder, Messages(allow=("*",)))
        assert caught.value.outcome.kind is Kind.MACHINE
        assert "the disk is full: make room" in caught.value.outcome.text
        assert open_inbox(folder, Messages()) is not None, "nothing comes in that would need room"


@pytest.mark.parametrize("make", ["link", "small"])
def test_something_else_in_the_place_of_the_reserve_is_replaced(tmp_path: Path, make: str) -> None:
    other = tmp_path / "other"
    other.write_text("precious")
    if make == "link":
        (tmp_path / RESERVE).symlink_to(other)
    else:
        (tmp_path / RESERVE).write_text("x")
    reserve.keep(tmp_path)
    assert (tmp_path / RESERVE).lstat().st_size == reserve.SIZE
    assert other.read_text() == "precious"


@pytest.mark.parametrize("why", ["folder", "no fallocate"])
def test_an_account_starts_where_no_reserve_can_be_made_for_another_reason_than_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, why: str
) -> None:
    if why == "folder":
        (tmp_path / RESERVE / "inside").mkdir(parents=True)
    else:

        def refuse(*_: int) -> None:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

        monkeypatch.setattr(os, "posix_fallocate", refuse)  # as some file systems do
    inbox = open_inbox(tmp_path, Messages(allow=("*",)))
    assert inbox is not None
    assert "the inbox has no reserve for a full disk" in caplog.text
    inbox.close()


def test_another_program_that_holds_the_inbox_is_waited_for(tmp_path: Path) -> None:
    at = Set(tmp_path)
    assert at.intake.inbox is not None
    at.inbox._connection.execute("PRAGMA busy_timeout = 10")
    other = sqlite3.connect(tmp_path / DATABASE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    thread = threading.Thread(target=at.take, daemon=True)
    thread.start()
    thread.join(1.2)
    assert thread.is_alive()
    assert at.told == []
    other.execute("ROLLBACK")
    other.close()
    thread.join(30)
    assert len(at.stored) == 1


def test_an_inbox_that_breaks_ends_the_run_with_words(tmp_path: Path) -> None:
    at = Set(tmp_path)
    assert at.intake.inbox is not None
    at.inbox._connection.execute("PRAGMA query_only = ON")
    threading.Thread(target=at.take, daemon=True).start()
    wait_until(lambda: bool(at.told), "nobody was told")
    (told,) = at.told
    assert isinstance(told, events.InboxFailed)
    assert told.outcome.kind is Kind.MACHINE
    assert "could not be stored" in told.outcome.text
    at.inbox._connection.execute("PRAGMA query_only = OFF")


@pytest.mark.parametrize(
    "error",
    [MemoryError(), sqlite3.OperationalError("busy"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "needle")],
)
def test_a_message_waits_for_whatever_keeps_it_from_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    at = Set(tmp_path)
    assert at.intake.inbox is not None
    append, left = at.intake.inbox.append, [error, error]
    monkeypatch.setattr("orchestrator.worker.intake.RETRY_SECONDS", 0.01)

    def fail(entry: Any) -> int | None:  # noqa: ANN401
        if left:
            raise left.pop()
        return append(entry)

    monkeypatch.setattr(at.intake.inbox, "append", fail)
    at.take()
    assert len(at.stored) == 1
    assert "needle" not in caplog.text + str(at.told)


def test_what_follows_on_a_wait_is_told_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at = Set(tmp_path)
    assert at.intake.inbox is not None
    busy, full = sqlite3.OperationalError("locked"), sqlite3.OperationalError("full")
    busy.sqlite_errorcode, full.sqlite_errorcode = sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL
    append, left = at.intake.inbox.append, [full, full, busy]
    monkeypatch.setattr("orchestrator.worker.intake.RETRY_SECONDS", 0.01)

    def fail(entry: Any) -> int | None:  # noqa: ANN401
        if left:
            raise left.pop()
        return append(entry)

    monkeypatch.setattr(at.intake.inbox, "append", fail)
    at.take()
    assert at.told == [events.DiskFull()]
    assert len(at.stored) == 1


def test_a_message_that_this_program_cannot_make_out_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = Set(tmp_path, allow=(f"+{NUMBER}",))

    def upset(event: Proto) -> Proto:
        raise ValueError(event)

    monkeypatch.setattr("orchestrator.messages.rendering.grammar.facts", upset)
    at.take()
    at.take(where=source("111111111111111@lid"), message_id="2")
    assert [(one.chat, one.id) for one in at.stored] == [(ADA, "3EB0A1")]
    assert at.intake.refused == 1


def test_people_may_be_asked_for_by_many_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.worker.intake.REMEMBERED", 2)
    at = Set(tmp_path)
    at.people = type("All", (People,), {"number_of": lambda _, user: user})()
    at.intake.ask(at.people)
    wrong: list[object] = []

    def ask(begin: int) -> None:
        for number in range(begin, begin + 3000):
            try:
                found = at.intake.other_address(f"{number % 50}@lid")
            except (KeyError, RuntimeError) as error:
                wrong.append(error)
                return
            if not found:
                wrong.append(number)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert wrong == []


def test_an_inbox_of_a_later_version_is_told_with_what_to_do(tmp_path: Path) -> None:
    Inbox.open(tmp_path).close()
    with contextlib.closing(sqlite3.connect(tmp_path / DATABASE)) as connection, connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(session_check.SessionUnusable) as caught:
        open_inbox(tmp_path, Messages(allow=("*",)))
    assert caught.value.outcome.kind is Kind.CONFIG
    assert "use the later version" in caught.value.outcome.text


def test_old_messages_are_deleted(tmp_path: Path) -> None:
    at = Set(tmp_path, keep=60.0, keep_at_most=60.0)
    assert at.intake.inbox is not None
    at.inbox._wall = lambda: 1_000.0
    at.take()
    at.inbox._wall = lambda: 2_000.0
    at.intake.clear()
    assert (at.stored, at.intake.stored) == ([], 0)


@pytest.mark.parametrize(("taken", "left"), [(None, []), (0, [1, 2, 3]), (2, [3]), (3, [])])
def test_what_a_consumer_has_not_had_is_kept(tmp_path: Path, taken: int | None, left: list[int]) -> None:
    at = Set(tmp_path, keep=60.0, keep_at_most=5_000.0)
    assert at.intake.inbox is not None
    at.inbox._wall = lambda: 1_000.0
    for number in range(3):
        at.take(message_id=f"3EB0{number}")
    at.inbox._wall = lambda: 2_000.0
    at.intake.taken = taken
    at.intake.clear()
    assert [one.seq for one in at.stored] == left
    at.inbox._wall = lambda: 7_000.0
    at.intake.clear()
    assert at.stored == [], "nothing is kept for longer than that, whoever has not had it"


def test_a_program_that_keeps_deleted_messages_on_the_disk_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    at = Set(tmp_path, keep=60.0, keep_at_most=60.0)
    assert at.intake.inbox is not None
    at.inbox._wall = lambda: 1_000.0
    at.take()
    other = sqlite3.connect(tmp_path / DATABASE, isolation_level=None)
    other.execute("BEGIN")
    other.execute("SELECT * FROM entries").fetchall()
    at.inbox._wall = lambda: 2_000.0
    at.intake.clear()
    assert "another program reads the inbox all the time" in caplog.text
    other.close()
    caplog.clear()
    at.intake.clear()
    assert caplog.text == ""


def test_an_inbox_is_opened_where_there_is_one_even_if_nobody_is_allowed(tmp_path: Path) -> None:
    assert open_inbox(None, Messages(allow=("*",))) is None
    assert open_inbox(tmp_path, Messages()) is None
    Inbox.open(tmp_path).close()
    inbox = open_inbox(tmp_path, Messages())
    assert inbox is not None
    inbox.close()


def test_a_folder_that_is_gone_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(session_check.SessionUnusable) as caught:
        open_inbox(tmp_path / "gone", Messages(allow=("*",)))
    assert "cannot be used" in caught.value.outcome.text
