"""Files and Postgres keep messages alike: whatever is done to both, both say the same.

Postgres is asked as an account's process asks: over a socket, of the thread that commits for all accounts.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.outboxes import CHAT, new, of
from support.postgres import FreshDatabase
from support.storing import storing_in

from orchestrator.errors import OrchestratorError, StateError
from orchestrator.messages import loss
from orchestrator.messages.entry import MAX_RAW, Entry, UnfitError
from orchestrator.messages.inbox import Inbox, Reader
from orchestrator.messages.outbox import Outbox, OutboxReader
from orchestrator.messages.protocols import InboxStore, InboxView, OutboxStore, OutboxView
from orchestrator.messages.remote import RemoteInbox, RemoteInboxView, RemoteOutbox, RemoteOutboxView
from orchestrator.messages.retention import SEEN_SECONDS, Retention
from orchestrator.postgres import ids
from orchestrator.postgres.messages import transfer
from orchestrator.sending.contacts import Contact
from orchestrator.sending.forms import File, Kind, Media, Outgoing, Reaction
from orchestrator.sending.row import Pace, State

DAY = 86_400.0
BEGIN = 1_800_000_000.0
ADA, GROUP = "269139479534551@lid", "1203630@g.us"
KEEP = Retention(7 * DAY, 30 * DAY)


class Clock:
    now = BEGIN

    def __call__(self) -> float:
        return self.now


@dataclass
class Messages:
    """The messages of one account, in one store."""

    inbox: InboxStore
    outbox: OutboxStore
    view: Callable[[], InboxView]
    rows: Callable[[], OutboxView]


_accounts = itertools.count()


@contextmanager
def in_files(folder: Path, clock: Clock) -> Iterator[Messages]:
    folder = folder / f"account{next(_accounts)}"
    folder.mkdir(mode=0o700)
    with in_folder(folder, clock) as messages:
        yield messages


@contextmanager
def in_folder(folder: Path, clock: Clock) -> Iterator[Messages]:
    with ExitStack() as stack:
        inbox, outbox = Inbox.open(folder, clock), Outbox.open(folder, clock)
        stack.callback(inbox.close)
        stack.callback(outbox.close)
        yield Messages(inbox, outbox, lambda: Reader.open(folder), lambda: OutboxReader.open(folder))


def entry(number: int, **changes: Any) -> Entry:  # noqa: ANN401
    values = {"source": "message", "chat": ADA, "sender": ADA, "id": f"3EB0{number:06}", "at": 1.5}
    return Entry(**{**values, "raw": b"\0needle %d" % number, **changes})


def outcome(call: Callable[[], Any]) -> Any:  # noqa: ANN401
    """Return what a call returns, or what it raises."""
    try:
        return call()
    except (OrchestratorError, UnfitError) as error:
        return type(error).__name__, str(error)


number = st.integers(1, 6)
key = st.sampled_from("abcd")
message = st.sampled_from(["3EB01", "3EB02", "3EB03"])
SENDS = st.one_of(
    st.tuples(st.just("add"), key, st.sampled_from(["one", "two"]), st.sampled_from([2, 1000])),
    st.tuples(st.just("picture"), key),
    st.tuples(st.just("reaction"), key),
    st.tuples(st.sampled_from(["take_back", "expire", "unprovable", "row", "outgoing"]), number),
    st.tuples(st.just("hand_over"), number, st.sampled_from([None, *Pace])),
    st.tuples(st.just("sent"), number, st.one_of(st.none(), message), st.sampled_from([None, 5.0])),
    st.tuples(st.just("failed"), number, st.just("no\nwhy\0" + "x" * 400), st.sampled_from([None, 463])),
    st.tuples(st.just("unknown"), number, st.just("cut"), st.one_of(st.none(), message)),
    st.tuples(st.just("put_back"), number, st.just("again"), st.sampled_from([None, 9.5]), st.just(429)),
    st.tuples(st.just("schedule"), number, st.sampled_from(list(Pace)), st.just(7.0), st.just("slowly")),
    st.tuples(st.just("by_message"), message),
    st.tuples(st.just("note_receipt"), st.lists(message, max_size=3)),
    st.tuples(st.just("note_contacts"), st.sampled_from([CHAT, ADA]), st.floats(0, 1e9), st.floats(0, 1e9)),
    st.tuples(
        st.just("remember"), st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
    ),
    st.tuples(st.just("later"), st.sampled_from([1.0, 2 * DAY, 8 * DAY, 450 * DAY])),
    st.tuples(st.just("clear")),
)


def send(at: Messages, clock: Clock, step: tuple[Any, ...]) -> Any:  # noqa: ANN401
    """Do a step to an outbox; return what can be compared of what came of it."""
    word, *values = step
    outbox = at.outbox
    match word, values:
        case "add", (key, text, most):
            return outbox.add(new(text, key, now=clock.now, most=most))
        case "picture", (key,):
            file = File(f"1{ord(key)}", "a" * 64, 1000, "image/jpeg")
            return outbox.add(
                of(Outgoing(CHAT, Media(Kind.IMAGE, file=file), tag="mine"), key, now=clock.now)
            )
        case "reaction", (key,):
            return outbox.add(of(Outgoing(CHAT, Reaction("3EB0", "\N{THUMBS UP SIGN}")), key, now=clock.now))
        case "hand_over", (number, pace):
            return len(outbox.hand_over(number, pace))
        case "note_contacts", (chat, heard, sent):
            outbox.note_contacts({chat: Contact(heard_at=heard, sent_at=sent)})
            return outbox.contact(chat)
        case "clear", ():
            return outbox.clear(KEEP)
        case "later", _:
            return None
    return getattr(outbox, word)(*values)


def state_of(at: Messages) -> list[Any]:
    """Return all that an outbox says of itself."""
    outbox, rows = at.outbox, at.rows()
    try:
        return [
            outbox.count, outbox.waiting(), sorted(outbox.unsettled().values()), outbox.files(),
            outbox.receipts(), outbox.memory(), outbox.contact(CHAT), outbox.last_sent_at, rows.rows(),
            rows.last(2), rows.rows(2, 3, [State.QUEUED, State.SENT]), rows.count([State.SENT]), rows.tally(),
            [outcome(lambda number=number: rows.outgoing(number)) for number in range(1, 7)],  # type: ignore[misc]
        ]  # fmt: skip
    finally:
        rows.close()


def test_outboxes_say_the_same_whatever_is_done(tmp_path: Path, fresh: FreshDatabase) -> None:
    clock = Clock()
    database = fresh.prepared()

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(SENDS, max_size=40))
    def check(steps: list[tuple[Any, ...]]) -> None:
        clock.now = BEGIN
        with in_files(tmp_path, clock) as files, storing_in(database, clock) as open_one:
            channel = open_one(f"account{next(_accounts)}")
            other = Messages(
                files.inbox, RemoteOutbox(channel), files.view, lambda: RemoteOutboxView(channel)
            )
            for step in steps:
                clock.now += step[1] if step[0] == "later" else 0.5
                found = [outcome(lambda at=at: send(at, clock, step)) for at in (files, other)]  # type: ignore[misc]  # noqa: B023
                assert found[0] == found[1], step
            again = replace(other, outbox=RemoteOutbox(channel))  # how many wait, it has from its last change
            assert state_of(files) == state_of(again)

    check()


INBOXES = st.one_of(
    st.tuples(st.just("append"), st.integers(0, 8), st.sampled_from(["message", "receipt", "lost"])),
    st.tuples(st.just("append in group"), st.integers(0, 8)),
    st.tuples(st.just("append media"), st.integers(0, 8)),
    st.tuples(st.just("unfit")),
    st.tuples(st.just("meta"), st.sampled_from("ab"), st.one_of(st.none(), st.just("über"))),
    st.tuples(st.just("pass"), st.integers(0, 8)),
    st.tuples(st.just("sending"), st.integers(0, 3)),
    st.tuples(st.just("sent"), st.integers(0, 3)),
    st.tuples(st.just("later"), st.sampled_from([1.0, 2 * DAY, 8 * DAY, SEEN_SECONDS])),
    st.tuples(st.just("clear"), st.sampled_from([None, 0, 3])),
)


def take(at: Messages, clock: Clock, step: tuple[Any, ...]) -> Any:  # noqa: ANN401
    """Do a step to an inbox; return what came of it."""
    word, *values = step
    inbox, ledger = at.inbox, at.inbox.ledger
    match word, values:
        case "append", (number, source):
            return inbox.append(entry(number, source=source, at=float(number), extra="\u2028"))
        case "append in group", (number,):
            return inbox.append(entry(number, chat=GROUP, notes={"names": {ADA: "Ada\0\ud800"}}))
        case "append media", (number,):
            return inbox.append(entry(number, sender="1@lid", notes={"media": f"{number}" * 18}))
        case "unfit", ():
            return inbox.append(entry(1, raw=bytes(MAX_RAW + 1)))
        case "meta", (key, value):
            before = inbox.meta(key)
            inbox.set_meta(**{key: value})
            return before, inbox.meta(key)
        case "pass", (number,):
            return ledger.pass_over([entry(number).key], clock.now)
        case "sending", (number,):
            return ledger.sending(loss.digest(bytes([number])), ADA, clock.now)
        case "sent", (number,):
            return ledger.sent(loss.digest(bytes([number])), f"3EB0{number}")
        case "clear", (taken,):
            return inbox.clear(KEEP, taken=taken)
    return None


def inbox_of(at: Messages) -> list[Any]:
    """Return all that an inbox says of itself."""
    inbox, ledger, view = at.inbox, at.inbox.ledger, at.view()
    try:
        return [
            inbox.count, inbox.lost, inbox.last_message_at,
            ledger.known([entry(number).key for number in range(9)]), ledger.stored_since(BEGIN + DAY),
            ledger.last_heard(), ledger.first_stored(), ledger.sent_chats(["3EB00", "3EB01", "3EB02"]),
            ledger.sent_digests(), ledger.sent_digests(settled=False),
            view.after(0), view.after(2, 3), view.after(0, chat=GROUP), view.before_last(3), view.newest(),
            view.chats_of(entry(1).id), view.message(GROUP, entry(2).id), view.latest(ADA),
            view.find(entry(1).id), view.find_media("1" * 18), view.with_media(1, BEGIN),
            view.after(0, size=1),
        ]  # fmt: skip
    finally:
        view.close()


def test_inboxes_say_the_same_whatever_comes(tmp_path: Path, fresh: FreshDatabase) -> None:
    clock = Clock()
    database = fresh.prepared()

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(INBOXES, max_size=40))
    def check(steps: list[tuple[Any, ...]]) -> None:
        clock.now = BEGIN
        with in_files(tmp_path, clock) as files, storing_in(database, clock) as open_one:
            channel = open_one(f"account{next(_accounts)}")
            other = Messages(RemoteInbox(channel), files.outbox, lambda: RemoteInboxView(channel), files.rows)
            for step in steps:
                clock.now += step[1] if step[0] == "later" else 0.5
                found = [outcome(lambda at=at: take(at, clock, step)) for at in (files, other)]  # type: ignore[misc]  # noqa: B023
                assert found[0] == found[1], step
            assert inbox_of(files) == inbox_of(other)

    check()


@pytest.mark.parametrize("store", ["files", "postgres"])
def test_a_store_is_found_again_as_it_was_left(tmp_path: Path, fresh: FreshDatabase, store: str) -> None:
    clock = Clock()
    before: list[Any] = []
    database = fresh.prepared()
    folder = tmp_path / "account"
    folder.mkdir(mode=0o700)
    for _ in range(2):
        with ExitStack() as stack:
            if store == "files":
                inbox: InboxStore = Inbox.open(folder, clock)
                outbox: OutboxStore = Outbox.open(folder, clock)
                stack.callback(inbox.close)
                stack.callback(outbox.close)
            else:
                channel = stack.enter_context(storing_in(database, clock))("support")
                inbox, outbox = RemoteInbox(channel), RemoteOutbox(channel)
            if not before:
                inbox.append(entry(1))
                inbox.append(entry(2, source="lost"))
                outbox.add(new("one", now=clock.now))
                outbox.hand_over(1, Pace.NEW)
                outbox.sent(1, "3EB0")
                outbox.note_contacts({CHAT: Contact(heard_at=5.0)})
            before.append(
                [inbox.count, inbox.lost, inbox.last_message_at, outbox.last_sent_at, outbox.contact(CHAT)]
            )
            assert inbox.append(entry(1)) is None
    assert before[0] == before[1]


def test_messages_that_move_are_the_same_there_and_back(tmp_path: Path, fresh: FreshDatabase) -> None:
    clock = Clock()
    database = fresh.prepared()

    @settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(SENDS, max_size=30), st.lists(INBOXES, max_size=30))
    def check(sends: list[tuple[Any, ...]], comes: list[tuple[Any, ...]]) -> None:
        clock.now = BEGIN
        name = f"account{next(_accounts)}"
        before, after = tmp_path / name, tmp_path / f"{name} again"
        for folder in (before, after):
            folder.mkdir(mode=0o700)
        with in_folder(before, clock) as files:
            for step in sends:
                outcome(lambda step=step: send(files, clock, step))  # type: ignore[misc]
            for step in comes:
                outcome(lambda step=step: take(files, clock, step))  # type: ignore[misc]
            wanted = state_of(files), inbox_of(files)
        database.run(lambda connection: transfer.bring_in(connection, ids.of(connection, name), before))
        with storing_in(database, clock) as open_one:
            channel = open_one(name)
            there = Messages(
                RemoteInbox(channel),
                RemoteOutbox(channel),
                lambda: RemoteInboxView(channel),
                lambda: RemoteOutboxView(channel),
            )
            assert (state_of(there), inbox_of(there)) == wanted
        database.run(lambda connection: transfer.take_out(connection, ids.of(connection, name), after))
        with in_folder(after, clock) as back:
            assert (state_of(back), inbox_of(back)) == wanted
            number = back.inbox.append(entry(99))
        assert number == wanted[1][14] + 1, "numbers go on"

    check()


def test_messages_move_nowhere_where_others_are(tmp_path: Path, fresh: FreshDatabase) -> None:
    clock = Clock()
    database = fresh.prepared()
    folder = tmp_path / "support"
    folder.mkdir(mode=0o700)
    with in_folder(folder, clock) as files:
        files.inbox.append(entry(1))
    with storing_in(database, clock) as open_one:
        RemoteInbox(open_one("support")).append(entry(2))
    with pytest.raises(StateError, match="already"):
        database.run(lambda connection: transfer.bring_in(connection, ids.of(connection, "support"), folder))
    with pytest.raises(StateError, match="already"):
        database.run(lambda connection: transfer.take_out(connection, ids.of(connection, "support"), folder))
