"""Lost messages: a process that is killed loses some, each of them is told once, and nothing else is."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import pytest
from support.conversation import Contact
from support.linked import wait_until
from support.service import PATIENCE, Json, Service

from orchestrator.messages.entry import Stored
from orchestrator.sandbox.process import SandboxProcess

pytestmark = pytest.mark.both_stores

ACCOUNTS = ("open", "few")
NUMBERS: dict[str, str] = {}


@pytest.fixture(scope="module")
def ada(shared_sandbox: SandboxProcess, make_number: Callable[[], str]) -> Contact:
    contact = Contact(make_number(), shared_sandbox.client)
    contact.sandbox.add_phone(contact.number, "Ada")
    return contact


@pytest.fixture(scope="module")
def bob(shared_sandbox: SandboxProcess, make_number: Callable[[], str]) -> Contact:
    contact = Contact(make_number(), shared_sandbox.client)
    contact.sandbox.add_phone(contact.number, "Bob")
    return contact


@pytest.fixture(scope="module")
def service(
    shared_sandbox: SandboxProcess,
    make_number: Callable[[], str],
    make_folder: Callable[[], Path],
    ada: Contact,
) -> Iterator[Service]:
    everybody = {"allow": "*", "groups": True, "from_me": True}
    accounts: dict[str, Json] = {
        "open": {"messages": everybody},
        "few": {"messages": {"allow": [ada.number]}},
    }
    with Service(make_folder(), shared_sandbox, accounts) as service:
        for name in ACCOUNTS:
            NUMBERS[name] = make_number()
            service.pair(name, NUMBERS[name])
        yield service


def stored(service: Service, name: str, source: str | None = None) -> list[Stored]:
    with service.kept.inbox(name) as reader:
        return [one for one in reader.after(0, 10_000) if source in (None, one.source)]


def lost_of(service: Service, name: str) -> set[str]:
    """Return the identifiers of what is said to be lost by now."""
    return {one.id for one in stored(service, name, "lost")}


def told(
    service: Service, name: str, ids: list[str], before: set[str], uncertain: Collection[str] = ()
) -> set[str]:
    """Return what is newly said to be lost, once there is a word of each message; one may be stored.

    With files, none is: the process could not store anything before the kill. In a database the service does
    so, and it had been asked to store the first one. Uncertain is what was not confirmed before the kill:
    what WhatsApp delivers to the next process is stored.
    """
    wanted = {*ids, *uncertain}

    def entries() -> list[Stored]:
        return [
            one
            for one in stored(service, name)
            if one.id in wanted or (one.source == "lost" and one.id not in before)
        ]

    wait_until(lambda: {one.id for one in entries()} >= wanted, "not all is told")
    found = entries()
    assert len(found) == len({one.id for one in found}), "lost as well as stored, or told twice"
    assert sum(one.source != "lost" for one in found if one.id in ids) <= 1
    return {one.id for one in found if one.source == "lost"}


def wait_until_stored(service: Service, name: str, *ids: str) -> None:
    wait_until(lambda: {one.id for one in stored(service, name)} >= set(ids), f"{name} lacks something")


def lose(service: Service, name: str, write: Callable[[], list[str]]) -> list[str]:
    """Have somebody write to an account whose process is killed before it can store a message."""
    sandbox = service.sandbox.client
    before = service.wait_for_state(name, "connected")["pid"]
    with service.kept.nothing_is_stored(name):
        since = sandbox.last_event()
        ids = write()
        for message in ids:
            sandbox.wait_for("receipt", PATIENCE, since, id=message)
        os.kill(before, signal.SIGKILL)
        service.wait_until_away(NUMBERS[name])
    service.wait_for_state(name, "connected", after=before)
    return ids


def test_what_a_kill_has_lost_is_told_once(service: Service, ada: Contact, bob: Contact) -> None:
    group = ada.sandbox.make_group(ada.number, "Team", [NUMBERS["open"], bob.number])["group"]
    first = [ada.write(group, "hello"), bob.write(group, "hi"), ada.write(NUMBERS["open"], "hello")]
    wait_until_stored(service, "open", *first)

    def write() -> list[str]:
        direct = [ada.write(NUMBERS["open"], f"direct {count}") for count in range(10)]
        return [*direct, *(bob.write(group, f"group {count}") for count in range(10))]

    before = lost_of(service, "open")
    lost = lose(service, "open", write)
    found = told(service, "open", lost, before)
    assert found <= set(lost)
    assert len(found) >= len(lost) - 1


def test_only_those_who_are_allowed_can_be_lost(service: Service, ada: Contact, bob: Contact) -> None:
    first = ada.write(NUMBERS["few"], "hello")
    wait_until_stored(service, "few", first)
    group = ada.sandbox.make_group(ada.number, "Others", [NUMBERS["few"]])["group"]

    def write() -> list[str]:
        mine = [ada.write(NUMBERS["few"], f"direct {count}") for count in range(3)]
        bob.write(NUMBERS["few"], "nobody has allowed this")
        ada.write(group, "nor this")
        last.append(ada.write(NUMBERS["few"], "this is stored in time, or is lost, too"))
        ada.sandbox.send_text(NUMBERS["few"], ada.number, "what the phone itself sends")
        return mine

    last: list[str] = []
    before = lost_of(service, "few")
    lost = lose(service, "few", write)
    found = told(service, "few", lost, before, last)
    assert found <= {*lost, *last}
    assert len(found & set(lost)) >= len(lost) - 1


KINDS: tuple[tuple[str, dict[str, object]], ...] = (
    ("text", {"text": "Hello"}),
    ("text", {"text": "Hi", "extended": True}),
    ("image", {"data": b"no picture", "mime": "image/png"}),
    ("image", {"data": b"no picture", "view_once": True}),
    ("location", {"latitude": 52.5, "longitude": -13.25}),
    ("contact", {"name": "Bob", "phone": "+4915100009"}),
    ("poll", {"question": "Lunch?", "options": ["yes", "no"]}),
    ("buttons", {"text": "Choose", "buttons": ["A"]}),
    ("list", {"text": "Choose", "rows": [{"id": "r1", "text": "Row"}]}),
    ("disappearing", {"seconds": 86400}),
    ("unknown", {"text": "of the future"}),
)


def write_all_kinds(writer: Contact, to: str) -> None:
    """Write one message of every kind, and do to a text what people do to texts."""
    send = writer.sandbox.send
    for kind, content in KINDS:
        if kind == "disappearing" and to.endswith("g.us"):
            continue  # an admin changes the group for that
        send(writer.number, to, kind, **content)  # type: ignore[arg-type]
    text, poll = (
        send(writer.number, to, text="wrong"),
        send(writer.number, to, "poll", question="?", options=["a", "b"]),
    )
    send(writer.number, to, "reaction", of=text, emoji="👍")
    send(writer.number, to, "edit", of=text, text="right")
    send(writer.number, to, "vote", of=poll, options=["a"])
    send(writer.number, to, "revoke", of=text)


def test_nothing_is_said_to_be_lost_that_is_not(service: Service, ada: Contact, bob: Contact) -> None:
    sandbox, mine = service.sandbox.client, {name: NUMBERS[name] for name in ACCOUNTS}
    group = ada.sandbox.make_group(ada.number, "Club", [*mine.values(), bob.number])["group"]
    before = {name: len(stored(service, name, "lost")) for name in ACCOUNTS}
    for round_ in range(6):
        for name, number in mine.items():
            pid = service.child(name)
            for writer in (ada, bob):
                write_all_kinds(writer, number)
                write_all_kinds(writer, group)
            sandbox.send_text(number, ada.number, "from the phone")
            sandbox.send_text(number, group, "from the phone, to the group")
            sandbox.send(number, number, "app_state_keys")
            if round_ > 3:
                sandbox.send(number, number, "history", texts=["long ago"])
            service.command("send", name, "--to", ada.number, "from the service")
            last = ada.write(number, f"that was all of round {round_}")
            wait_until_stored(service, name, last)
            if round_ % 2:
                os.kill(pid, signal.SIGKILL)
                service.wait_for_state(name, "connected", after=pid)
            else:
                service.command("restart", name)
                service.wait_for_state(name, "connected", after=pid)
    for name in mine:
        settled(service, name)
        assert len(stored(service, name, "lost")) == before[name]


def settled(service: Service, name: str) -> None:
    """Wait until nothing is open about losses of an account."""
    wait_until(lambda: service.kept.inbox_note(name, "suspects") is None, "something is open")


@pytest.mark.files_only("a database that stores nothing for seconds is away, and the account hangs up")
@pytest.mark.parametrize("kind", ["text", "reaction"])
def test_of_more_than_the_library_holds_each_is_there_or_said_to_be_lost(
    service: Service, ada: Contact, kind: str
) -> None:
    """The library takes no more once it holds about a hundred: WhatsApp delivers the others again.

    One of them it had decrypted already, and then it cannot: only its log tells. Reactions have no secret, so
    nothing is left of those that WhatsApp takes for delivered.
    """
    target = ada.write(NUMBERS["open"], "like this")
    wait_until_stored(service, "open", target)
    before = lost_of(service, "open")
    sandbox, pid = service.sandbox.client, service.child("open")
    content: Json = {"text": "again"} if kind == "text" else {"of": target, "emoji": "👍"}
    with service.kept.nothing_is_stored("open"):
        since = sandbox.last_event()
        ids = [sandbox.send(ada.number, NUMBERS["open"], kind, **content) for _ in range(130)]
        for message in ids[:100]:
            sandbox.wait_for("receipt", PATIENCE, since, id=message)
        os.kill(pid, signal.SIGKILL)
        service.wait_until_away(NUMBERS["open"])
    service.wait_for_state("open", "connected", after=pid)
    last = ada.write(NUMBERS["open"], "that was all")
    wait_until_stored(service, "open", last)

    def lost() -> set[str]:
        return lost_of(service, "open") - before

    def came() -> set[str]:
        return {one.id for one in stored(service, "open", "message")} & set(ids)

    if kind == "text":
        wait_until(lambda: came() | lost() == set(ids), "some are neither there nor lost")
        assert len(lost()) >= 100
    else:
        wait_until(lambda: len(lost()) >= 1, "what came again is not told")
        assert len(came() | lost()) >= 25
    settled(service, "open")
    assert not came() & lost()
    assert lost() <= set(ids)
