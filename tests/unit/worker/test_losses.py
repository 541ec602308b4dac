"""When a message is said to be lost: once it is certain, once, and across kills."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.devices import JID
from support.devices import add_secrets as add
from support.devices import write_session as make
from support.linked import wait_until
from support.protobufs import ADA, GROUP, ME, Message, Proto, e2e, event, info, source

from orchestrator.accounts.settings import Messages
from orchestrator.messages import loss
from orchestrator.messages.entry import Entry, Stored
from orchestrator.messages.inbox import Inbox, Reader
from orchestrator.messages.loss import Mark, Suspect
from orchestrator.worker import session_secrets
from orchestrator.worker.actions import Rest
from orchestrator.worker.intake import Intake, open_inbox
from orchestrator.worker.loop import Loop
from orchestrator.worker.losses import BEHIND, OLD_SECONDS, Losses
from orchestrator.worker.machine import Phase

EVERYBODY = Messages(allow=("*",), groups=True)
BOB = "111111111111111@lid"
NUMBER = "4915100001234"


class Library:
    """A library that hands over nothing unless a test lets it."""

    def __init__(self) -> None:
        self.calls = 0
        self.oldest_callback: int | None = None
        self.own = [JID, "200000000000001:1@lid"]

    def own_addresses(self) -> list[str]:
        return self.own

    def number_of(self, user: str) -> str | None:
        return NUMBER if f"{user}@lid" == ADA else None

    def name_of(self, user: str, server: str) -> str | None:
        del user, server
        return None

    def vote_of(self, event: Proto) -> list[bytes]:
        del event
        return []


class Run:
    """One process of an account: its session, its inbox, and what looks for losses."""

    def __init__(
        self, folder: Path, keeps: Messages = EVERYBODY, *, clock: list[float] | None = None
    ) -> None:
        self.folder, self.database = folder, folder / "session.sqlite3"
        self.clock = clock or [1_800_000_000.0]
        (folder / "messages").mkdir(exist_ok=True)
        self.inbox = open_inbox(folder / "messages", keeps)
        self.intake = Intake(self.inbox, keeps, lambda _: None)
        self.library = Library()
        self.intake.ask(self.library)
        self.during: Callable[[], object] = lambda: None
        self.losses = Losses(self.intake, keeps, nap=self.nap, wall=lambda: self.clock[0])
        self.intake.watcher = self.losses
        self.losses.look(partial(session_secrets.read, self.database))
        self.losses.listen(self.library)

    def nap(self, seconds: float) -> None:
        del seconds
        self.during()

    def take(self, message_id: str, message: Proto = None, where: Proto = None) -> None:
        made = event(message or Message(conversation="hello"), info(message_id, where))
        self.library.calls += 1
        self.intake.take("message", made, made.SerializeToString())
        self.library.calls += 1

    def kill(self) -> None:
        """End the process without a word."""
        self.settle()
        if self.inbox is not None:
            self.inbox.close()

    def settle(self) -> None:
        wait_until(lambda: not self.losses._works, "it decides for ever")

    @property
    def stored(self) -> list[Stored]:
        with contextlib.closing(Reader.open(self.folder / "messages")) as reader:
            return reader.after(0, 10_000)

    @property
    def lost(self) -> list[str]:
        return [one.id for one in self.stored if one.source == "lost"]

    def told(self) -> list[str]:
        self.settle()
        return self.lost


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make(tmp_path)
    return tmp_path


@contextlib.contextmanager
def run(folder: Path, keeps: Messages = EVERYBODY, *, clock: list[float] | None = None) -> Iterator[Run]:
    one = Run(folder, keeps, clock=clock)
    try:
        yield one
    finally:
        one.kill()


def test_what_the_session_has_and_the_inbox_has_not_is_lost(folder: Path) -> None:
    with run(folder) as first:
        for count in range(5):
            first.take(f"A{count}")
    add(folder / "session.sqlite3", *(f"A{count}" for count in range(8)))
    with run(folder) as second:
        assert second.told() == []
        second.losses.caught_up()
        assert second.told() == ["A5", "A6", "A7"]
        assert {one.notes["phones"][ADA] for one in second.stored if one.source == "lost"} == {f"+{NUMBER}"}
    for _ in range(3):
        with run(folder) as later:
            later.losses.caught_up()
            assert later.told() == ["A5", "A6", "A7"]


def test_a_first_start_with_an_inbox_looks_at_nothing(folder: Path) -> None:
    add(folder / "session.sqlite3", "A1", "A2")
    with run(folder) as first:
        first.losses.caught_up()
        assert first.told() == []


def test_a_message_that_comes_after_all_is_not_lost(folder: Path) -> None:
    """Such as one of a group, whose key alone was taken before the kill."""
    with run(folder):
        pass
    add(folder / "session.sqlite3", "A1", "A2")
    with run(folder) as second:
        second.take("A1")
        second.losses.caught_up()
        assert second.told() == ["A2"]


def test_a_kill_before_it_is_decided_changes_nothing(folder: Path) -> None:
    with run(folder):
        pass
    add(folder / "session.sqlite3", "A1")
    for _ in range(3):
        with run(folder) as killed:
            assert killed.told() == []
    with run(folder) as last:
        last.losses.caught_up()
        assert last.told() == ["A1"]


def test_an_account_that_is_connected_for_a_minute_has_caught_up(folder: Path) -> None:
    with run(folder):
        pass
    add(folder / "session.sqlite3", "A1")
    with run(folder) as second:
        for online in (True, True, False, *[True] * 5):
            second.losses.beat(online=online)
        assert second.told() == []
        second.losses.beat(online=True)
        assert second.told() == ["A1"]


def test_a_repeated_message_is_lost_unless_it_is_there(folder: Path) -> None:
    with run(folder) as one:
        one.take("A1")
        for message in ("A1", "A2", "A2"):
            one.losses.repeated(ADA, ADA, message)
        assert one.told() == ["A2"]
        one.losses.repeated(ADA, ADA, "A2")
        assert one.told() == ["A2"]
        one.losses.repeated(ADA, "no address", "A3")
        one.losses.repeated("status@broadcast", ADA, "A4")
        assert one.told() == ["A2"]


def test_a_repeated_message_that_waits_in_the_library_is_not_lost(folder: Path) -> None:
    with run(folder) as one:
        handed_over = threading.Event()

        def hand_over() -> None:
            one.library.calls += 1
            if one.library.calls > 60 and not handed_over.is_set():
                handed_over.set()
                one.take("A1")
                one.during = lambda: None

        one.during = hand_over
        one.losses.repeated(ADA, ADA, "A1")
        assert one.told() == []
        assert handed_over.is_set()


def test_what_stands_still_is_not_quiet(folder: Path) -> None:
    with run(folder) as one:
        naps = []

        def count() -> None:
            naps.append(1)
            one.library.oldest_callback = 7 if len(naps) < 100 else None

        one.during = count
        one.losses.repeated(ADA, ADA, "A1")
        assert one.told() == ["A1"]
        assert len(naps) >= 100


def test_without_a_quiet_moment_it_is_decided_all_the_same(folder: Path) -> None:
    with run(folder) as one:

        def busy() -> None:
            one.library.calls += 2

        one.during = busy
        one.losses.repeated(ADA, ADA, "A1")
        wait_until(lambda: one.lost == ["A1"], "it is never decided")
        assert one.library.calls >= 2 * BEHIND
        one.during = lambda: None


def test_a_repeated_message_is_not_forgotten_by_a_kill(folder: Path) -> None:
    with run(folder) as one:
        assert one.inbox is not None
        one.inbox.set_meta(suspects=loss.dump_suspects([Suspect(ADA, ADA, "A1")]))
    with run(folder) as two:
        two.losses.caught_up()
        assert two.told() == ["A1"]


NOTHING = Message(senderKeyDistributionMessage=e2e.SenderKeyDistributionMessage(groupID=GROUP))
SETTING = Message(
    protocolMessage=e2e.ProtocolMessage(type=e2e.ProtocolMessage.EPHEMERAL_SETTING, ephemeralExpiration=5)
)


@pytest.mark.parametrize("message", [NOTHING, SETTING], ids=["key", "setting"])
def test_what_came_and_is_not_stored_is_not_lost(folder: Path, message: Proto) -> None:
    where = source(GROUP, ADA)
    with run(folder) as one:
        one.take("A1", message, where)
        one.losses.beat(online=True)
        one.settle()
        one.losses.repeated(GROUP, ADA, "A1")
        assert one.told() == []
    add(folder / "session.sqlite3", "A1", chat=GROUP)
    with run(folder) as two:
        two.losses.caught_up()
        assert two.told() == []


def test_what_goes_to_a_list_of_receivers_is_there_or_lost(folder: Path) -> None:
    list_ = "1764323999@broadcast"
    with run(folder) as one:
        one.take("A1", None, source(list_, ADA))
        one.losses.repeated(list_, ADA, "A1")
        assert one.told() == []
    add(folder / "session.sqlite3", "A1", "A2", chat=list_)
    with run(folder) as two:
        two.losses.caught_up()
        assert two.told() == ["A2"]
        assert two.stored[-1].chat == ADA


@pytest.mark.parametrize("is_closed", [True, False])
def test_what_came_last_and_is_not_stored_is_not_lost(folder: Path, is_closed: bool) -> None:
    course: Any = SimpleNamespace(phase=Phase.ONLINE, rest=Rest.LINK)
    client: Any = SimpleNamespace(leave=lambda *_, **__: is_closed)
    with run(folder) as one:
        one.take("A1", SETTING, source(GROUP, ADA))
        tools: Any = SimpleNamespace(losses=one.losses)
        nothing: Any = None
        loop = Loop(course, nothing, nothing, None, tools)
        loop._client = client
        loop.leave(1.0)
    add(folder / "session.sqlite3", "A1", chat=GROUP)
    with run(folder) as two:
        two.losses.caught_up()
        assert two.told() == ([] if is_closed else ["A1"]), "what the library still held may have been more"


def test_notes_of_what_was_passed_over_wait_for_an_inbox_that_can_be_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with run(folder) as one:
        one.take("A1", SETTING, source(GROUP, ADA))
        assert one.inbox is not None

        def full(keys: object, now: float) -> None:
            raise sqlite3.OperationalError("database or disk is full", keys, now)

        with monkeypatch.context() as patch:
            patch.setattr(one.inbox.ledger, "pass_over", full)
            one.losses.beat(online=True)
            one.settle()
            one.losses.end()
        one.losses.beat(online=True)
        one.settle()
    add(folder / "session.sqlite3", "A1", chat=GROUP)
    with run(folder) as two:
        two.losses.caught_up()
        assert two.told() == []


def test_a_library_that_is_never_quiet_has_notes_written_in_time(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.worker.losses.MAX_PASSED", 10)
    with run(folder) as one:

        def busy() -> None:
            one.library.calls += BEHIND

        one.during = busy
        for number in range(30):
            one.take(f"A{number}", SETTING, source(GROUP, ADA))
            one.losses.beat(online=True)
            one.settle()
        assert one.inbox is not None
        known = [loss.passed(GROUP, ADA, f"A{number}") for number in range(20)]
        assert one.inbox.ledger.known(known) == set(known)


def test_a_key_that_came_before_its_message_hides_no_loss(folder: Path) -> None:
    with run(folder) as one:
        one.take("A1", NOTHING, source(GROUP, ADA))
    add(folder / "session.sqlite3", "A1", chat=GROUP)
    with run(folder) as two:
        two.losses.caught_up()
        assert two.told() == ["A1"]
    with run(folder) as three:
        three.take("A2", NOTHING, source(GROUP, ADA))
        three.take("A2", None, source(GROUP, ADA))
        assert not three.losses._passed


def test_by_whom_is_allowed_when_it_came(folder: Path) -> None:
    """What came under an old configuration is judged by the old one."""
    database = folder / "session.sqlite3"
    with run(folder, Messages(allow=(NUMBER,))):
        pass
    add(database, "A1")
    add(database, "A2", chat=BOB, sender=BOB)
    add(database, "A3", chat=GROUP)
    with run(folder, EVERYBODY) as two:
        two.losses.caught_up()
        assert two.told() == ["A1"]
    add(database, "B1")
    add(database, "B2", chat=BOB, sender=BOB)
    add(database, "B3", chat=GROUP)
    add(database, "B4", sender=ME)
    with run(folder, Messages()) as three:
        three.losses.caught_up()
        assert three.told() == ["A1", "B1", "B2", "B3"]
    add(database, "C1")
    with run(folder, EVERYBODY) as four:
        four.losses.caught_up()
        assert four.told() == ["A1", "B1", "B2", "B3"]


def test_nobody_is_allowed_and_there_is_no_inbox(folder: Path) -> None:
    one = Run(folder, Messages())
    one.losses.repeated(ADA, ADA, "A1")
    one.losses.copied()
    one.losses.caught_up()
    one.losses.beat(online=True)
    assert one.inbox is None
    assert not (folder / "messages" / "inbox.sqlite3").exists()


def test_secrets_of_a_copied_history_are_not_lost_messages(folder: Path) -> None:
    clock = [1_800_000_000.0]
    with run(folder, clock=clock) as one:
        one.take("A1")
        one.losses.copied()
    add(folder / "session.sqlite3", "A1", *(f"H{count}" for count in range(300)))
    clock[0] += 1
    with run(folder, clock=clock) as two:
        two.losses.caught_up()
        assert two.told() == []
    add(folder / "session.sqlite3", "A2")
    with run(folder, clock=clock) as three:
        three.losses.caught_up()
        assert three.told() == ["A2"]


def test_what_comes_after_a_copied_history_is_looked_at_in_the_same_run(folder: Path) -> None:
    clock = [1_800_000_000.0]
    one = Run(folder, clock=clock)
    one.losses.copied()
    clock[0] += loss.COPY_SECONDS + 1
    assert isinstance(one.inbox, Inbox)
    one.inbox._wall = lambda: clock[0]
    one.take("A1")
    one.kill()
    add(folder / "session.sqlite3", *(f"H{count}" for count in range(300)), "A1", "A2")
    with run(folder, clock=clock) as two:
        two.losses.caught_up()
        assert two.told() == ["A2"]


def test_news_of_a_history_are_noticed(folder: Path) -> None:
    notice = Message(
        protocolMessage=e2e.ProtocolMessage(historySyncNotification=e2e.HistorySyncNotification())
    )
    with run(folder) as one:
        assert one.inbox is not None
        one.take("A1", notice, source(ADA, ADA))
        assert one.inbox.meta("copied_at") is None
        one.take("A2", notice, source(ME, ME, from_me=True))
        assert one.inbox.meta("copied_at") == str(one.clock[0])


def test_of_a_very_long_run_only_what_the_inbox_can_know_counts(folder: Path) -> None:
    clock = [1_800_000_000.0]
    with run(folder, clock=clock) as one:
        one.take("A5")
        clock[0] += OLD_SECONDS + 1
    add(folder / "session.sqlite3", *(f"A{count}" for count in range(8)))
    with run(folder, clock=clock) as two:
        two.losses.caught_up()
        assert two.told() == ["A6", "A7"]


def test_a_device_that_was_linked_in_this_run_is_looked_at_after_the_first_kill(tmp_path: Path) -> None:
    with run(tmp_path) as one:  # there is no session yet
        make(tmp_path)
        one.losses.caught_up()
    add(tmp_path / "session.sqlite3", "A1")
    with run(tmp_path) as two:
        two.losses.caught_up()
        assert two.told() == ["A1"]


def test_the_history_that_a_phone_copies_after_linking_is_not_lost(tmp_path: Path) -> None:
    clock = [1_800_000_000.0]
    one = Run(tmp_path, clock=clock)  # there is no session yet
    database = make(tmp_path)
    clock[0] += 20
    one.losses.copied()
    clock[0] += 20
    one.losses.caught_up()
    one.kill()
    add(database, *(f"H{count}" for count in range(300)), "A1")
    with run(tmp_path, clock=clock) as two:
        two.losses.caught_up()
        assert two.told() == []


def test_another_session_says_nothing_of_this_one(folder: Path) -> None:
    with run(folder) as one:
        one.take("A1")
    database = folder / "session.sqlite3"
    database.unlink()
    make(folder, 50)
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE whatsmeow_device SET jid = '4915100000001:2@s.whatsapp.net'")
        connection.execute("UPDATE whatsmeow_message_secrets SET our_jid = '4915100000001:2@s.whatsapp.net'")
    with run(folder) as two:
        two.losses.caught_up()
        assert two.told() == []


def test_what_this_service_was_sending_is_its_own(folder: Path) -> None:
    keeps = Messages(allow=("*",), from_me=True)
    with run(folder, keeps) as one:
        assert one.inbox is not None
        assert one.intake.tidings.sending(ADA, b"s" * 32)
    add(folder / "session.sqlite3", "S1", sender=ME, key=b"s" * 32)
    add(folder / "session.sqlite3", "P1", sender=ME)
    with run(folder, keeps) as two:
        two.losses.caught_up()
        assert two.told() == ["P1"]
        assert two.inbox is not None
        assert two.inbox.ledger.sent_chats(["S1", "P1"]) == {"S1": ADA}


def test_a_session_that_cannot_be_read_is_no_loss_and_no_error(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with run(folder) as one:
        one.take("A1")
    (folder / "session.sqlite3").write_bytes(b"no database" * 1000)
    with run(folder) as two:
        two.losses.caught_up()
        assert two.told() == []
    assert "nobody can say whether messages were lost" in caplog.text
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("text", ["", "{", "[]", '{"device": 5}', "null"])
def test_marks_that_say_nothing_are_a_first_look(folder: Path, text: str) -> None:
    with run(folder) as one:
        assert one.inbox is not None
        one.inbox.set_meta(mark=text, suspects=text, copied_at=text)
    add(folder / "session.sqlite3", "A1")
    with run(folder) as two:
        two.losses.caught_up()
        assert two.told() == []
        assert two.inbox is not None
        assert Mark.load(two.inbox.meta("mark")) is not None


def test_a_loss_is_logged_without_saying_whose(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with run(folder) as one:
        one.losses.repeated(ADA, ADA, "NEEDLE")
        assert one.told() == ["NEEDLE"]
    assert "a message was lost" in caplog.text
    assert not any(word in caplog.text for word in ("NEEDLE", ADA.partition("@")[0], NUMBER))


def test_an_inbox_that_cannot_be_written_keeps_the_suspicion(folder: Path) -> None:
    with run(folder):
        pass
    add(folder / "session.sqlite3", "A1")
    one = Run(folder)
    assert one.inbox is not None
    append = one.inbox.append

    def full(entry: Entry) -> int | None:
        del entry
        raise sqlite3.OperationalError("database or disk is full")

    one.inbox.append = full  # type: ignore[method-assign]
    one.losses.caught_up()
    assert one.told() == []
    one.inbox.append = append  # type: ignore[method-assign]
    one.kill()
    with run(folder) as two:
        two.losses.caught_up()
        assert two.told() == ["A1"]
