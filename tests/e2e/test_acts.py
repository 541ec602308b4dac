"""What phones do besides writing single messages, as neonize shows it: read, type, call, fall silent."""

import time
from collections.abc import Callable

import pytest
from conftest import StartNeonize
from support.conversation import (
    Account,
    Contact,
    come_back,
    device_facts,
    in_inbox,
    lid,
    new_account,
    settle,
    wait_until_confirmed,
)
from support.linked import PATIENCE
from support.neonize_process import Event

from orchestrator.sandbox.client import SandboxError
from orchestrator.sandbox.process import SandboxProcess

ELEVEN_DAYS = 11 * 86_400


def by_id(message_id: str) -> Callable[[Event], bool]:
    return lambda event: event["id"] == message_id


# Bursts, and what comes again


def test_a_burst_comes_whole_and_in_order(alice: Account, ada: Contact) -> None:
    since = ada.sandbox.last_event()

    ids = ada.sandbox.send_burst(ada.number, alice.number, 200, text="burst")

    alice.gets(ids[-1])
    shown = [e["id"] for e in alice.bot.events if e["event"] == "Message" and e["id"] in set(ids)]
    assert shown == ids
    assert alice.gets(ids[6])["text"] == "burst 7 of 200"
    done = ada.sandbox.wait_for("burst", PATIENCE, since, phone=ada.number)
    assert (done["count"], done["last"]) == (200, ids[-1])


def test_what_was_not_confirmed_comes_again_after_a_cut_in_a_burst(
    neonize: StartNeonize, ada: Contact, sandbox: SandboxProcess, number: str
) -> None:
    account = new_account(neonize(), sandbox.client, number)
    settle(account, ada)

    ids = sandbox.client.send_burst(ada.number, number, 150, 100)
    account.gets(ids[40])
    sandbox.client.fault("reset", target=account.target)
    account.gets(ids[-1])
    wait_until_confirmed(account, sandbox.client)

    shown = [e["id"] for e in account.bot.events if e["event"] == "Message"]
    assert set(ids) <= set(shown)


def test_nothing_is_confirmed_for_a_client_that_has_confirmed_nothing(
    neonize: StartNeonize, ada: Contact, sandbox: SandboxProcess, number: str
) -> None:
    account = new_account(neonize(), sandbox.client, number)
    settle(account, ada)
    wait_until_confirmed(account, sandbox.client)
    account.bot.kill()
    ids = sandbox.client.send_burst(ada.number, number, 50)
    sandbox.client.wait_for("burst", PATIENCE, phone=ada.number, last=ids[-1])
    assert device_facts(sandbox.client, account)["queued"] == 50

    account = come_back(account, neonize())

    account.gets(ids[-1])
    assert [e["id"] for e in account.bot.events if e["event"] == "Message"] == ids


# What cannot be decrypted


@pytest.mark.parametrize("group", [False, True], ids=["direct", "group"])
def test_a_message_that_cannot_be_decrypted_is_sent_again(
    group: bool, alice: Account, ada: Contact, sandbox: SandboxProcess
) -> None:
    to = alice.number
    if group:
        to = sandbox.client.make_group(ada.number, "Spoilt", [alice.number])["group"]
    sandbox.client.fault("undecryptable", target=ada.number)

    message_id = sandbox.client.send_text(ada.number, to, "at the second try")

    assert not alice.bot.wait_for("UndecryptableMessage", PATIENCE, by_id(message_id))["is_unavailable"]
    assert alice.gets(message_id)["text"] == "at the second try"


def test_a_message_can_stay_undecryptable(alice: Account, ada: Contact, sandbox: SandboxProcess) -> None:
    sandbox.client.fault("undecryptable", target=ada.number, repair=False)

    lost = sandbox.client.send_text(ada.number, alice.number, "never read")

    alice.bot.wait_for("UndecryptableMessage", PATIENCE, by_id(lost))
    sandbox.client.wait_for("receipt", PATIENCE, phone=ada.number, id=lost, type="retry")
    settle(alice, ada)
    assert "never read" not in alice.texts()


@pytest.mark.parametrize("why", ["view_once", "fanout"])
def test_a_message_that_a_linked_device_does_not_get(why: str, alice: Account, ada: Contact) -> None:
    message_id = ada.sandbox.send_unavailable(ada.number, alice.number, why)  # type: ignore[arg-type]

    assert alice.bot.wait_for("UndecryptableMessage", PATIENCE, by_id(message_id))["is_unavailable"]


# What is no message


def test_a_post_in_a_channel(alice: Account, sandbox: SandboxProcess) -> None:
    message_id = sandbox.client.post_in_channel(alice.number, "news for all")

    event = alice.bot.wait_for("Message", PATIENCE, by_id(message_id))
    assert event["chat"].endswith("@newsletter")
    assert event["text"] == "news for all"


def test_history_and_keys_of_the_app_are_for_the_library(
    alice: Account, ada: Contact, sandbox: SandboxProcess
) -> None:
    send = sandbox.client.send
    send(alice.number, alice.number, "app_state_keys")
    send(alice.number, alice.number, "history", texts=["long ago"])

    history = alice.bot.wait_for("HistorySync", PATIENCE)["event_fields"]["Data"]
    (message,) = history["conversations"][0]["messages"]
    assert message["message"]["message"]["conversation"] == "long ago"
    assert "long ago" not in alice.texts()
    with pytest.raises(SandboxError, match="linked devices only"):
        send(alice.number, ada.number, "history", texts=["x"])


# Reading, and the time


@pytest.mark.parametrize(("kind", "receipt"), [("read", "READ"), ("played", "PLAYED")])
def test_a_phone_reads_what_an_account_has_sent(
    kind: str, receipt: str, alice: Account, ada: Contact
) -> None:
    message_id = alice.write(ada.number, "read or heard")
    ada.gets(message_id)

    ada.sandbox.read(ada.number, message_id, kind)  # type: ignore[arg-type]

    assert alice.hears(receipt, message_id)["sender"] == lid(ada.sandbox, ada.number)


@pytest.mark.parametrize("secretly", [False, True], ids=["openly", "secretly"])
def test_what_the_owner_reads_on_the_phone_the_linked_device_hears(
    secretly: bool, alice: Account, ada: Contact, sandbox: SandboxProcess
) -> None:
    message_id = ada.write(alice.number, "read on the phone")
    in_inbox(sandbox.client, alice.number, message_id)
    since = sandbox.client.last_event()

    sandbox.client.read(alice.number, message_id, secretly=secretly)

    receipt = alice.hears("READ_SELF", message_id)
    assert receipt["is_from_me"]
    assert receipt["chat"] == lid(sandbox.client, ada.number)
    told = [e for e in sandbox.client.events(since) if e["event"] == "receipt" and e["phone"] == ada.number]
    assert ("read" in [e["type"] for e in told]) is not secretly


def test_the_clock_moves_the_times_of_messages_and_receipts(
    alice: Account, ada: Contact, sandbox: SandboxProcess
) -> None:
    now = sandbox.client.set_clock(-ELEVEN_DAYS)
    try:
        event = alice.gets(ada.write(alice.number, "eleven days ago"))
        message_id = alice.write(ada.number, "an answer")
        receipt = alice.hears("DELIVERED", message_id)
    finally:
        sandbox.client.set_clock(0)

    assert abs(time.time() - ELEVEN_DAYS - now) < PATIENCE
    milliseconds = int(event["event_fields"]["Info"]["Timestamp"])
    assert 0 <= milliseconds / 1000 - int(now) < PATIENCE
    assert 0 <= receipt["timestamp"] - int(now) < PATIENCE


# Calls


def test_a_call_that_a_client_declines_is_over(alice: Account, ada: Contact, sandbox: SandboxProcess) -> None:
    call = sandbox.client.call(ada.number, alice.number, video=True)

    offer = alice.bot.wait_for(
        "CallOffer", PATIENCE, lambda e: e["event_fields"]["basicCallMeta"]["callID"] == call
    )["event_fields"]
    assert offer["basicCallMeta"]["from"]["User"] in lid(sandbox.client, ada.number)
    alice.bot.command("reject_call", caller=lid(sandbox.client, ada.number), call=call)

    rejected = sandbox.client.wait_for("call-rejected", PATIENCE, call=call)
    assert (rejected["phone"], rejected["by"], rejected["known"]) == (ada.number, alice.number, True)
    sandbox.client.wait_for("call-ended", PATIENCE, call=call)
    with pytest.raises(SandboxError, match="rings"):
        sandbox.client.hang_up(call)


def test_a_call_that_nobody_answers_ends(alice: Account, ada: Contact, sandbox: SandboxProcess) -> None:
    call = sandbox.client.call(ada.number, alice.number, seconds=0.5)

    ended = alice.bot.wait_for(
        "CallTerminate", PATIENCE, lambda e: e["event_fields"]["basicCallMeta"]["callID"] == call
    )["event_fields"]
    assert ended["reason"] == "timeout"


def test_a_notice_of_a_call(alice: Account, ada: Contact, sandbox: SandboxProcess) -> None:
    call = sandbox.client.call(ada.number, alice.number, notice=True)

    notice = alice.bot.wait_for(
        "CallOfferNotice", PATIENCE, lambda e: e["event_fields"]["basicCallMeta"]["callID"] == call
    )["event_fields"]
    assert notice["media"] == "audio"
    sandbox.client.hang_up(call)
