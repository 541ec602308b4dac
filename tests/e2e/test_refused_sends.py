"""Messages that WhatsApp refuses, and acknowledgments that are lost, as neonize's own client meets them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.conversation import Account, Contact, bare
from support.linked import PATIENCE
from support.neonize_process import CommandError

from orchestrator.sandbox.process import SandboxProcess


@pytest.mark.parametrize("code", [463, 475, 429])
def test_a_refusal_is_for_one_account_and_one_receiver(
    sandbox: SandboxProcess, alice: Account, bob: Account, ada: Contact, code: int
) -> None:
    since = sandbox.client.last_event()
    fault = sandbox.client.refuse_sends(alice.number, ada.number, code=code, times=2)
    alice.write(bob.number, "another receiver")
    bob.write(ada.number, "another sender")
    for _ in range(2):
        with pytest.raises(CommandError, match=f"server returned error {code}"):
            alice.write(ada.number, "refused")
    ada.gets(alice.write(ada.number, "taken again"))
    told = [event for event in sandbox.client.events(since) if event["event"] == "send-refused"]
    assert [(event["phone"], event["to"], event["code"]) for event in told] == [
        (alice.number, ada.number, code)
    ] * 2
    assert [message["text"] for message in sandbox.client.inbox(ada.number)] == [
        "another sender",
        "taken again",
    ]
    assert fault["id"] not in [one["id"] for one in sandbox.client.faults()]


def test_a_restriction_to_known_people_ends_where_they_write_first(
    sandbox: SandboxProcess, alice: Account, ada: Contact
) -> None:
    fault = sandbox.client.refuse_sends(alice.number, "new", ends=3600, times=None)
    for _ in range(3):
        with pytest.raises(CommandError, match="server returned error 463"):
            alice.write(ada.number, "refused")
    alice.gets(ada.write(alice.number, "I write first"))
    ada.gets(alice.write(ada.number, "so I may answer"))
    (cleared,) = sandbox.client.clear_faults(fault["id"])
    assert cleared["struck"] == 3


@pytest.mark.parametrize("delivered", [True, False])
def test_a_lost_acknowledgment_and_a_cut_make_the_library_send_the_message_once_more(
    sandbox: SandboxProcess, alice: Account, ada: Contact, delivered: bool
) -> None:
    since = sandbox.client.last_event()
    sandbox.client.lose_acks(alice.number, ada.number, delivered=delivered, cut=True)
    message_id = alice.write(ada.number, "once")
    lost = sandbox.client.wait_for("ack-lost", PATIENCE, since, id=message_id)
    assert lost["delivered"] is delivered
    assert ada.gets(message_id)["text"] == "once"
    arrivals = [event for event in sandbox.client.events(since) if event.get("id") == message_id]
    assert [event["event"] for event in arrivals].count("message") == 1 + delivered


@pytest.mark.parametrize("delivered", [True, False])
def test_without_an_acknowledgment_the_library_waits(
    sandbox: SandboxProcess, alice: Account, ada: Contact, delivered: bool
) -> None:
    since = sandbox.client.last_event()
    sandbox.client.lose_acks(alice.number, ada.number, delivered=delivered)
    with ThreadPoolExecutor(1) as helper:
        sending = helper.submit(alice.write, ada.number, "lost")
        lost = sandbox.client.wait_for("ack-lost", PATIENCE, since, phone=alice.number)
        if delivered:
            assert ada.gets(lost["id"])["text"] == "lost"
        assert not sending.done()
        sandbox.client.fault("reset", alice.number)  # the library sends it again, and gets its word
        assert sending.result() == lost["id"]
    assert [message["text"] for message in sandbox.client.inbox(ada.number)] == ["lost"]


def test_a_refusal_can_be_for_a_group(sandbox: SandboxProcess, alice: Account, ada: Contact) -> None:
    team, other = (
        sandbox.client.make_group(alice.number, name, [ada.number])["group"] for name in ("Team", "Other")
    )
    sandbox.client.refuse_sends(alice.number, team, code=429)
    ada.gets(alice.write(ada.number, "to her alone"))
    ada.gets(alice.write(other, "to the others"))
    with pytest.raises(CommandError, match="server returned error 429"):
        alice.write(team, "refused")
    ada.gets(alice.write(team, "taken again"))


def test_a_refused_request_is_for_one_account_and_one_namespace(
    sandbox: SandboxProcess, alice: Account, bob: Account, ada: Contact
) -> None:
    sandbox.client.fault("request-error", alice.number, xmlns="usync", code=429, times=2)
    for _ in range(2):
        with pytest.raises(CommandError, match="429"):
            alice.bot.command("is_on_whatsapp", numbers=[ada.number])
    sandbox.client.fault("request-error", alice.number, xmlns="w:g2", code=403)
    assert bob.bot.command("is_on_whatsapp", numbers=[ada.number])["numbers"][0]["is_in"]
    assert alice.bot.command("is_on_whatsapp", numbers=[ada.number])["numbers"][0]["is_in"]
    with pytest.raises(CommandError, match="403"):
        alice.bot.command("create_group", name="Team", participants=[])


def test_an_upload_is_refused(sandbox: SandboxProcess, alice: Account, ada: Contact, tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("attached")
    sandbox.client.fault("upload-error", status=507, endless=True)
    with pytest.raises(CommandError, match="507"):
        alice.bot.command("send_document", to=bare(ada.number), path=str(file), mime="text/plain")
    sandbox.client.clear_faults()
    sent = alice.bot.command("send_document", to=bare(ada.number), path=str(file), mime="text/plain")
    assert ada.gets(sent["id"])["size"] == 8
