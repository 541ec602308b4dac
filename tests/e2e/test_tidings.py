"""What comes besides messages, end to end: what cannot be decrypted, receipts, calls, signs of the phone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.conversation import Contact
from support.linked import wait_until
from support.service import PATIENCE, Service

from orchestrator.messages.entry import Stored
from orchestrator.sandbox.process import SandboxProcess

pytestmark = pytest.mark.both_stores

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
    accounts: dict[str, dict[str, Any]] = {
        "rejects": {"messages": {"allow": [ada.number], "calls": "reject"}},
        "rings": {"messages": {"allow": "*", "groups": True}},
        "closed": {},
    }
    with Service(make_folder(), shared_sandbox, accounts) as service:
        for name in accounts:
            NUMBERS[name] = make_number()
            service.pair(name, NUMBERS[name])
        yield service


def stored(service: Service, name: str, source: str) -> list[Stored]:
    with service.kept.inbox(name) as reader:
        return [one for one in reader.after(0, 10_000) if one.source == source]


def wait_for(service: Service, name: str, source: str, *ids: str) -> list[Stored]:
    wait_until(
        lambda: {one.id for one in stored(service, name, source)} >= set(ids), f"no {source} of {name}"
    )
    return [one for one in stored(service, name, source) if one.id in ids]


def statuses(service: Service, name: str, message_id: str) -> list[str]:
    return [one.notes["status"] for one in stored(service, name, "receipt") if one.id == message_id]


def wait_for_event(service: Service, name: str, event: str) -> dict[str, Any]:
    def entries() -> list[dict[str, Any]]:
        return [one for one in service.timeline(name) if one.get("event") == event]

    wait_until(lambda: bool(entries()), f"no {event} of {name}")
    return entries()[-1]


def send(service: Service, name: str, to: Contact, text: str) -> str:
    since = to.sandbox.last_event()
    service.command("send", name, "--to", to.number, text)
    return str(to.sandbox.wait_for("received", PATIENCE, since, phone=to.number)["id"])


def test_what_became_of_a_text_that_was_sent(service: Service, ada: Contact) -> None:
    message = send(service, "rings", ada, "hello")
    wait_until(lambda: statuses(service, "rings", message) == ["sent", "delivered"], "it is not delivered")
    ada.sandbox.read(ada.number, message)
    wait_until(lambda: statuses(service, "rings", message)[2:] == ["read"], "it is not read")
    told = wait_for(service, "rings", "receipt", message)
    assert len({one.chat for one in told} | {one.sender for one in told}) == 1
    _, delivered, _ = told
    assert delivered.notes["phones"][delivered.sender] == ada.number


def test_a_text_that_whatsapp_refuses_has_failed(service: Service, ada: Contact) -> None:
    # She has written, so the refusal is about her, and not about all whom the account does not know.
    wait_for(service, "rings", "message", ada.write(NUMBERS["rings"], "hello"))
    ada.sandbox.fault("send-error", "all", code=463)
    assert service.command("send", "rings", "--to", ada.number, "no", check=False).returncode == 1
    (failed,) = [one for one in stored(service, "rings", "receipt") if one.notes["status"] == "failed"]
    assert failed.notes["phones"][failed.chat] == ada.number


def test_nothing_of_a_text_to_somebody_who_is_not_allowed(
    service: Service, ada: Contact, bob: Contact
) -> None:
    hidden = send(service, "rejects", bob, "hello")
    bob.sandbox.read(bob.number, hidden)
    message = send(service, "rejects", ada, "hello")
    wait_until(lambda: statuses(service, "rejects", message) == ["sent", "delivered"], "it is not delivered")
    assert statuses(service, "rejects", hidden) == []
    assert not service.kept.has_inbox("closed")


def test_what_cannot_be_decrypted_is_told_and_comes_later(service: Service, ada: Contact) -> None:
    wait_for(service, "rings", "message", ada.write(NUMBERS["rings"], "first"))
    ada.sandbox.fault("undecryptable", ada.number)
    message = ada.write(NUMBERS["rings"], "can you read this?")
    (one,) = wait_for(service, "rings", "undecryptable", message)
    (repaired,) = wait_for(service, "rings", "message", message)
    assert (one.chat, one.sender) == (repaired.chat, repaired.sender)
    assert len(stored(service, "rings", "lost")) == 0


def test_what_never_comes_is_told(service: Service, ada: Contact) -> None:
    message = ada.sandbox.send_unavailable(ada.number, NUMBERS["rings"])
    (one,) = wait_for(service, "rings", "undecryptable", message)
    assert one.notes["phones"][one.sender] == ada.number


def test_calls_are_rejected_whoever_calls_and_told_of_those_who_are_allowed(
    service: Service, ada: Contact, bob: Contact
) -> None:
    for caller in (bob, ada):
        since = caller.sandbox.last_event()
        call = caller.sandbox.call(caller.number, NUMBERS["rejects"])
        caller.sandbox.wait_for("call-rejected", PATIENCE, since, call=call)
    (told,) = wait_for(service, "rejects", "call", call)
    assert len(stored(service, "rejects", "call")) == 1
    assert told.notes["phones"][told.sender] == ada.number


def test_calls_ring_on_unless_they_are_to_be_rejected(service: Service, ada: Contact) -> None:
    since = ada.sandbox.last_event()
    calls = [ada.sandbox.call(ada.number, NUMBERS[name]) for name in ("rings", "closed")]
    wait_for(service, "rings", "call", calls[0])
    wait_for(service, "rings", "message", ada.write(NUMBERS["rings"], "no answer?"))
    assert not any(event["event"] == "call-rejected" for event in ada.sandbox.events(since))
    for call in calls:
        ada.sandbox.hang_up(call)


def test_calls_of_a_group_are_told_and_ring_on(service: Service, ada: Contact, bob: Contact) -> None:
    members = [NUMBERS["rings"], NUMBERS["rejects"], bob.number]
    group = ada.sandbox.make_group(ada.number, "Team", members)["group"]
    since = ada.sandbox.last_event()
    call = ada.sandbox.call(ada.number, NUMBERS["rings"], group=group)
    (told,) = wait_for(service, "rings", "call", call)
    assert told.chat == group
    notice = ada.sandbox.call(ada.number, NUMBERS["rejects"], group=group, notice=True)
    wait_for(service, "rejects", "call_notice", notice)
    rings = ada.sandbox.call(ada.number, NUMBERS["rejects"], group=group)
    wait_for(service, "rejects", "call", rings)
    assert not any(event["event"] == "call-rejected" for event in ada.sandbox.events(since))


def test_the_phone_is_seen_whatever_is_allowed(service: Service) -> None:
    for name in ("rings", "closed"):
        assert service.about(name)["phone_seen_at"] is not None, "it was linked"
        assert service.about(name)["phone_unlinks_at"] is None


def test_a_phone_that_gave_no_sign_is_told_until_it_gives_one(service: Service, ada: Contact) -> None:
    service.stop()
    long_ago = time.time() - 11 * 86_400
    watch = {"seen_at": long_ago, "since": long_ago, "told": 0}
    service.kept.change_status(lambda about: about.update(phone_watch=watch))
    service.start()
    for name in ("rings", "closed"):
        entry = wait_for_event(service, name, "phone_offline")
        assert "open WhatsApp on the phone" in entry["reason"]
        assert service.about(name)["phone_unlinks_at"] is not None
        assert "open WhatsApp on the phone" in service.explain(name)["outlook"]["advice"][0]
    for name in ("rings", "closed"):
        service.sandbox.client.send_text(NUMBERS[name], ada.number, "it is on again")
        wait_for_event(service, name, "phone_seen")
        account = service.about(name)
        assert (account["phone_unlinks_at"], account["reason"]) == (None, None)
        assert account["phone_seen_at"] > "2026-11"
