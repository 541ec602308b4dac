"""Messages between people: what one writes the other reads, whoever is away, restarted or has lost keys."""

from __future__ import annotations

import hashlib
import http.client
import io
import os
import sqlite3
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from conftest import StartNeonize
from PIL import Image
from support import stand_in
from support.conversation import (
    Account,
    Contact,
    bare,
    come_back,
    device_facts,
    go_away,
    in_inbox,
    lid,
    new_account,
    own_account,
    settle,
    wait_until_confirmed,
)
from support.linked import PATIENCE, devices, proxy_of
from support.neonize_process import CommandError
from support.stand_in import Keys, StandIn

from orchestrator.sandbox.client import MediaKind
from orchestrator.sandbox.crypto.signal import SignalPhone
from orchestrator.sandbox.process import SandboxProcess
from orchestrator.sandbox.server.media import HOST, media_id
from orchestrator.sandbox.wire import content
from orchestrator.sandbox.wire.jid import JID
from orchestrator.sandbox.wire.node import Node

EMOJI = "Grüße 👩🏽\u200d🚀 日本 🏳️\u200d🌈"
LARGE = "ä" * 30_000
"""60 kB on the wire."""
FIRST_PREKEYS, MORE_PREKEYS = 812, 50
PREKEYS_LOW = 5


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A real picture, since neonize makes a thumbnail of it."""
    file = tmp_path / "picture.jpg"
    buffer = io.BytesIO()
    Image.effect_noise((120, 80), 60).convert("RGB").save(buffer, "JPEG")
    file.write_bytes(buffer.getvalue())
    return file


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# Texts


def test_accounts_write_to_each_other_both_ways_and_in_order(alice: Account, bob: Account) -> None:
    there = [f"there {number}" for number in range(5)]
    back = [f"back {number}" for number in range(5)]

    for text in there:
        last_there = alice.write(bob.number, text)
    bob.gets(last_there)
    for text in back:
        last_back = bob.write(alice.number, text)
    alice.gets(last_back)

    assert [text for text in bob.texts() if text in there] == there
    assert [text for text in alice.texts() if text in back] == back


def test_an_account_sees_who_wrote(alice: Account, bob: Account, sandbox: SandboxProcess) -> None:
    shown = bob.gets(alice.write(bob.number, "who is it?"))

    hidden = lid(sandbox.client, alice.number).replace("@", f":{alice.device}@")
    assert shown["sender"] == hidden
    assert shown["chat"] == lid(sandbox.client, alice.number)
    assert shown["sender_alt"] == f"{bare(alice.number)}:{alice.device}@s.whatsapp.net"
    assert not shown["is_from_me"]
    assert not shown["is_group"]


@pytest.mark.parametrize("text", ["Hello", EMOJI, LARGE], ids=["short", "emoji", "large"])
def test_a_text_comes_as_it_was_written(text: str, alice: Account, bob: Account, ada: Contact) -> None:
    assert bob.gets(alice.write(bob.number, text))["text"] == text
    assert alice.gets(ada.write(alice.number, text))["text"] == text
    assert ada.gets(alice.write(ada.number, text))["text"] == text


def test_a_contact_is_shown_with_its_number(alice: Account, ada: Contact) -> None:
    shown = alice.gets(ada.write(alice.number, "hello, bot"))

    assert shown["sender"] == shown["chat"] == lid(ada.sandbox, ada.number)
    assert shown["sender_alt"] == f"{bare(ada.number)}@s.whatsapp.net"


def test_a_contact_reads_in_clear_text_what_a_bot_writes(alice: Account, ada: Contact) -> None:
    message = ada.gets(alice.write(ada.number, "hello, Ada"))

    assert message["direction"] == "in"
    assert message["from"] == message["chat"] == alice.number
    assert (message["kind"], message["text"]) == ("text", "hello, Ada")


def test_the_phone_of_an_account_has_all_its_messages(
    alice: Account, ada: Contact, sandbox: SandboxProcess
) -> None:
    outgoing = alice.write(ada.number, "from the bot")
    incoming = ada.write(alice.number, "to the bot")

    copy = in_inbox(sandbox.client, alice.number, outgoing)
    assert (copy["direction"], copy["chat"], copy["text"]) == ("copy", ada.number, "from the bot")
    received = in_inbox(sandbox.client, alice.number, incoming)
    assert (received["direction"], received["chat"], received["text"]) == ("in", ada.number, "to the bot")


# Two devices of one number


@pytest.fixture(scope="module")
def twins(
    shared_sandbox: SandboxProcess, make_number: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Account, Account]]:
    """Two bots that are linked to the same phone."""
    number = make_number()
    with (
        own_account(shared_sandbox, number, tmp_path_factory.mktemp("twin")) as first,
        own_account(shared_sandbox, number, tmp_path_factory.mktemp("twin")) as second,
    ):
        yield first, second


def test_what_one_device_sends_the_other_shows_in_the_same_chat(
    twins: tuple[Account, Account], bob: Account, sandbox: SandboxProcess
) -> None:
    first, second = twins

    for sender, other in ((first, second), (second, first)):
        message_id = sender.write(bob.number, f"from device {sender.device}")
        copy = other.gets(message_id)

        assert copy["is_from_me"]
        assert copy["text"] == f"from device {sender.device}"
        assert copy["chat"] == lid(sandbox.client, bob.number)
        assert bob.gets(message_id)["sender_alt"].startswith(f"{bare(sender.number)}:{sender.device}@")
        assert in_inbox(sandbox.client, sender.number, message_id)["chat"] == bob.number


def test_all_devices_of_a_number_get_what_others_write(
    twins: tuple[Account, Account], bob: Account, ada: Contact
) -> None:
    first, second = twins

    senders: list[Account | Contact] = [bob, ada]
    for sender in senders:
        message_id = sender.write(first.number, "to both")
        assert first.gets(message_id)["text"] == second.gets(message_id)["text"] == "to both"


def test_a_message_to_oneself_reaches_the_own_devices(
    twins: tuple[Account, Account], sandbox: SandboxProcess
) -> None:
    first, second = twins

    message_id = first.write(first.number, "note to myself")

    note = second.gets(message_id)
    assert note["is_from_me"]
    assert note["chat"] == lid(sandbox.client, first.number)
    assert in_inbox(sandbox.client, first.number, message_id)["chat"] == first.number


def test_a_device_linked_later_gets_what_is_written_from_then_on(
    neonize: StartNeonize, alice: Account, ada: Contact, sandbox: SandboxProcess, number: str
) -> None:
    first = new_account(neonize("first"), sandbox.client, number)
    senders: list[Account | Contact] = [alice, ada]
    for sender in senders:
        first.gets(sender.write(number, "to one device"))

    second = new_account(neonize("second"), sandbox.client, number)

    for sender in senders:
        message_id = sender.write(number, "to two devices")
        assert first.gets(message_id)["text"] == second.gets(message_id)["text"] == "to two devices"
    assert "to one device" not in second.texts()


def test_an_unlinked_device_gets_nothing_more_and_holds_nobody_up(
    neonize: StartNeonize, alice: Account, ada: Contact, sandbox: SandboxProcess, number: str
) -> None:
    first = new_account(neonize("first"), sandbox.client, number)
    second = new_account(neonize("second"), sandbox.client, number)
    senders: list[Account | Contact] = [alice, ada]
    for sender in senders:
        second.gets(sender.write(number, "to two devices"))

    sandbox.client.unlink(number, second.device)
    second.bot.wait_for("LoggedOut", PATIENCE)

    for sender in senders:
        first.gets(sender.write(number, "to one device"))
    alice.gets(first.write(alice.number, "from one device"))
    assert "to one device" not in second.texts()


# Being away


def test_what_is_written_while_a_bot_is_away_waits_for_it(
    neonize: StartNeonize, bob: Account, ada: Contact, sandbox: SandboxProcess, number: str
) -> None:
    account = new_account(neonize(), sandbox.client, number)
    hello = account.write(ada.number, "hello")
    ada.gets(hello)
    account.gets(ada.write(number, "hello to you"))
    go_away(account, sandbox.client)

    texts = [f"while you were away {count}" for count in range(6)]
    senders: list[Account | Contact] = [bob, ada] * 3
    for sender, text in zip(senders, texts, strict=True):
        sender.write(number, text)
    sandbox.client.read(ada.number, hello)
    waiting = device_facts(sandbox.client, account)["queued"]
    account = come_back(account, neonize())

    settle(account, bob)
    assert account.texts()[:-1] == texts
    assert account.hears("READ", hello)
    preview = account.bot.wait_for("OfflineSyncPreview", PATIENCE)
    counts = [preview[part] for part in ("total", "messages", "notifications", "receipts")]
    assert counts == [waiting, 6, 0, waiting - 6]
    assert account.bot.wait_for("OfflineSyncCompleted")["count"] == waiting


def test_nothing_waits_for_a_bot_that_has_confirmed_all(
    neonize: StartNeonize, bob: Account, sandbox: SandboxProcess, number: str
) -> None:
    account = new_account(neonize(), sandbox.client, number)
    settle(account, bob)
    go_away(account, sandbox.client)

    account = come_back(account, neonize())

    assert account.bot.wait_for("OfflineSyncCompleted")["count"] == 0
    assert account.texts() == []


def test_what_a_killed_bot_has_not_confirmed_comes_again(
    neonize: StartNeonize, bob: Account, ada: Contact, sandbox: SandboxProcess, number: str
) -> None:
    account = new_account(neonize(), sandbox.client, number)
    settle(account, bob)
    settle(account, ada)
    wait_until_confirmed(account, sandbox.client)
    process = psutil.Process(account.bot.pid)

    process.suspend()  # what is sent from now on reaches its socket, and no further
    texts = [f"unconfirmed {count}" for count in range(6)]
    senders: list[Account | Contact] = [bob, ada] * 3
    for sender, text in zip(senders, texts, strict=True):
        sender.write(number, text)
    go_away(account, sandbox.client, kill=True)
    account = come_back(account, neonize())

    settle(account, bob)
    assert account.texts()[:-1] == texts


def test_messages_and_identities_outlive_a_restart_of_everything(
    neonize: StartNeonize, fresh_sandbox: SandboxProcess, make_number: Callable[[], str]
) -> None:
    control = fresh_sandbox.client
    ada = Contact(make_number(), control)
    control.add_phone(ada.number)
    account = new_account(neonize(sandbox=fresh_sandbox), control, make_number())
    ada.gets(account.write(ada.number, "before the restart"))
    account.gets(ada.write(account.number, "also before it"))
    go_away(account, control)
    ada.write(account.number, "kept through the restart")

    fresh_sandbox.restart()
    account = come_back(account, neonize(sandbox=fresh_sandbox))

    settle(account, ada)
    assert account.texts()[:-1] == ["kept through the restart"]
    assert ada.gets(account.write(ada.number, "after it"))["text"] == "after it"
    # Nobody has asked for anything again: identities and sessions are what they were.
    assert not {"IdentityChange", "UndecryptableMessage"} & {event["event"] for event in account.bot.events}
    assert "phone-undecryptable" not in {event["event"] for event in control.events()}


# Receipts


def test_the_sender_hears_what_was_delivered(alice: Account, bob: Account, ada: Contact) -> None:
    to_account = alice.write(bob.number, "arrived?")
    by_phone = alice.hears("DELIVERED", to_account)
    by_bot = alice.hears("INACTIVE", to_account)  # neonize confirms as an app in the background does
    assert by_bot["sender"] == by_phone["sender"].replace("@", f":{bob.device}@")

    to_contact = alice.write(ada.number, "arrived?")
    assert alice.hears("DELIVERED", to_contact)["sender"] == lid(ada.sandbox, ada.number)


def test_a_contact_hears_that_a_bot_got_its_message(alice: Account, ada: Contact) -> None:
    message_id = ada.write(alice.number, "did the bot get it?")

    receipt = ada.sandbox.wait_for("receipt", PATIENCE, phone=ada.number, id=message_id, type="inactive")
    assert receipt["by"] == alice.number


def test_the_sender_hears_that_a_contact_has_read(alice: Account, ada: Contact) -> None:
    message_id = alice.write(ada.number, "read this")
    ada.gets(message_id)
    ada.sandbox.read(ada.number, message_id)

    assert alice.hears("READ", message_id)["sender"] == lid(ada.sandbox, ada.number)


def test_the_sender_hears_that_an_account_has_read(
    alice: Account, bob: Account, sandbox: SandboxProcess
) -> None:
    shown = bob.gets(alice.write(bob.number, "read this too"))
    bob.bot.command("mark_read", ids=[shown["id"]], chat=shown["chat"], sender=shown["sender"])

    assert alice.hears("READ", shown["id"])["chat"] == lid(sandbox.client, bob.number)


def test_all_devices_of_the_sender_hear_that_it_was_read(
    twins: tuple[Account, Account], bob: Account
) -> None:
    first, second = twins
    shown = bob.gets(first.write(bob.number, "read me for both"))
    bob.bot.command("mark_read", ids=[shown["id"]], chat=shown["chat"], sender=shown["sender"])

    assert first.hears("READ", shown["id"])
    assert second.hears("READ", shown["id"])


def test_a_contact_hears_of_several_messages_read_at_once(alice: Account, ada: Contact) -> None:
    shown = [alice.gets(ada.write(alice.number, f"page {number}")) for number in range(3)]
    ids = [message["id"] for message in shown]
    alice.bot.command("mark_read", ids=ids, chat=shown[0]["chat"], sender=shown[0]["sender"])

    for message_id in ids:
        receipt = ada.sandbox.wait_for("receipt", PATIENCE, phone=ada.number, id=message_id, type="read")
        assert receipt["by"] == alice.number


# Whom one can write to


def test_is_on_whatsapp_tells_known_from_unknown_numbers(
    alice: Account, ada: Contact, make_number: Callable[[], str]
) -> None:
    unknown = make_number()

    answer = alice.bot.command("is_on_whatsapp", numbers=[ada.number, bare(alice.number), unknown])

    found = {number["query"]: (number["is_in"], number["jid"]) for number in answer["numbers"]}
    assert found == {
        ada.number: (True, lid(ada.sandbox, ada.number)),
        bare(alice.number): (True, lid(ada.sandbox, alice.number)),
        unknown: (False, f"{bare(unknown)}@s.whatsapp.net"),
    }


def test_a_message_to_an_unknown_number_fails_clearly(alice: Account, make_number: Callable[[], str]) -> None:
    unknown = make_number()
    with pytest.raises(CommandError, match=f"no LID found for {bare(unknown)}@s.whatsapp.net from server"):
        alice.write(unknown, "is anybody there?")


# Lost keys


def test_a_phone_that_lost_its_sessions_asks_again(alice: Account, ada: Contact) -> None:
    ada.gets(alice.write(ada.number, "before"))
    alice.gets(ada.write(alice.number, "an answer, so that both use the session"))
    ada.sandbox.forget_sessions(ada.number)

    message_id = alice.write(ada.number, "after it was set up anew")

    assert ada.gets(message_id)["text"] == "after it was set up anew"
    assert ada.sandbox.wait_for("phone-undecryptable", PATIENCE, phone=ada.number, id=message_id)
    # From now on all is well again.
    last = ada.sandbox.last_event()
    ada.gets(alice.write(ada.number, "and once more"))
    since = [event["event"] for event in ada.sandbox.events(last)]
    assert "phone-undecryptable" not in since


def test_a_phone_that_lost_its_sessions_can_write_first(alice: Account, ada: Contact) -> None:
    alice.gets(ada.write(alice.number, "before"))
    ada.sandbox.forget_sessions(ada.number)

    assert alice.gets(ada.write(alice.number, "from the new phone"))["text"] == "from the new phone"
    assert ada.gets(alice.write(ada.number, "welcome back"))["text"] == "welcome back"


def test_a_bot_that_lost_a_session_asks_the_phone_again(
    neonize: StartNeonize, ada: Contact, sandbox: SandboxProcess, number: str
) -> None:
    account = new_account(neonize(), sandbox.client, number)
    account.gets(ada.write(number, "before"))
    ada.gets(account.write(ada.number, "an answer, so that the phone sends no opening any more"))
    go_away(account, sandbox.client)
    user = lid(sandbox.client, ada.number).partition("@")[0]
    assert lose_sessions(account.bot.database, user) == 1

    account = come_back(account, neonize())
    message_id = ada.write(number, "can you read this?")

    account.bot.wait_for("UndecryptableMessage", PATIENCE, lambda e: e["id"] == message_id)
    assert account.gets(message_id)["text"] == "can you read this?"
    settle(account, ada)


def test_a_bot_that_lost_a_session_asks_the_other_bot_again(
    neonize: StartNeonize, bob: Account, sandbox: SandboxProcess, number: str
) -> None:
    account = new_account(neonize(), sandbox.client, number)
    account.gets(bob.write(number, "before"))
    bob.gets(account.write(bob.number, "an answer"))
    go_away(account, sandbox.client)
    user = lid(sandbox.client, bob.number).partition("@")[0]
    assert lose_sessions(account.bot.database, user) == 2  # with bob's phone and with his bot

    account = come_back(account, neonize())
    message_id = bob.write(number, "can you read this?")

    account.bot.wait_for("UndecryptableMessage", PATIENCE, lambda e: e["id"] == message_id)
    assert account.gets(message_id)["text"] == "can you read this?"
    settle(account, bob)


def lose_sessions(database: Path, user: str) -> int:
    """Delete the sessions with somebody's devices from a bot's database; return how many there were."""
    with closing(sqlite3.connect(database)) as connection, connection:
        return connection.execute(
            "DELETE FROM whatsmeow_sessions WHERE their_id LIKE ?", (f"{user}%",)
        ).rowcount


# What the real client cannot be made to do at will


@dataclass(frozen=True)
class Stranger:
    """A linked client made of the sandbox's own parts."""

    connection: StandIn
    keys: Keys

    def bundles(self, address: JID, count: int = 1) -> list[Node]:
        """Ask for somebody's keys, as before a first message; each answer uses up a prekey."""
        wanted = [Node("user", {"jid": address})] * count
        return list(self.connection.ask("encrypt", Node("key", {}, wanted)).need("list").children)


@pytest.fixture
def stranger(sandbox: SandboxProcess, make_number: Callable[[], str]) -> Iterator[Stranger]:
    keys, number = Keys(), make_number()
    ca_file = Path(sandbox.about["environment"]["SSL_CERT_FILE"])
    address = stand_in.link(sandbox.port, ca_file, keys, lambda text: sandbox.client.scan(number, text=text))
    with stand_in.online(sandbox.port, ca_file, keys, address) as connection:
        yield Stranger(connection, keys)


def test_a_message_that_a_client_sends_again_is_shown_once(stranger: Stranger, ada: Contact) -> None:
    # As a client does after a connection that was cut between message and ack.
    to = JID.parse(lid(ada.sandbox, ada.number))
    plain = content.Message.encode(conversation="only once")
    bundle = stand_in.bundle(stranger.bundles(to)[0])
    kind, data = SignalPhone.generate(stranger.keys.identity).encrypt(str(to), plain, bundle)
    part = Node("to", {"jid": to}, [Node("enc", {"v": "2", "type": kind}, data)])
    head: dict[str, str | JID] = {"id": f"3EB0{os.urandom(9).hex().upper()}", "type": "text", "to": to}
    identity = Node("device-identity", {}, stranger.keys.signed[0])
    message = Node("message", head, [Node("participants", {}, [part]), identity])

    for _ in range(2):
        stranger.connection.send(message)
        ack = stranger.connection.wait_for(lambda node: node.tag == "ack")
        assert "error" not in ack.attrs

    assert ada.gets(message.text("id"))["text"] == "only once"
    events = [event["event"] for event in ada.sandbox.events() if event.get("phone") == ada.number]
    assert events.count("received") == 1
    assert "phone-undecryptable" not in events


# Prekeys


def test_a_bot_whose_prekeys_run_out_uploads_more(
    neonize: StartNeonize, stranger: Stranger, ada: Contact, sandbox: SandboxProcess, number: str
) -> None:
    account = new_account(neonize(), sandbox.client, number)
    address = JID.parse(lid(sandbox.client, number)).with_device(account.device)
    assert device_facts(sandbox.client, account)["prekeys"] == FIRST_PREKEYS
    connection = devices(sandbox.client, number)[account.device]

    taken = ids_of(stranger.bundles(address, FIRST_PREKEYS - PREKEYS_LOW))
    last = sandbox.client.last_event()
    assert device_facts(sandbox.client, account)["prekeys"] == PREKEYS_LOW
    account.gets(ada.write(number, "this takes one more"))

    more = sandbox.client.wait_for("prekeys", PATIENCE, since=last, connection=connection)
    assert more["count"] == MORE_PREKEYS
    left = PREKEYS_LOW - 1 + MORE_PREKEYS
    assert device_facts(sandbox.client, account)["prekeys"] == left
    fresh = ids_of(stranger.bundles(address, left))
    assert (len(taken), len(fresh)) == (FIRST_PREKEYS - PREKEYS_LOW, left)
    assert taken.isdisjoint(fresh)


def ids_of(bundles: list[Node]) -> set[int]:
    """Return the numbers of the one-time keys that were given out."""
    return {int.from_bytes(bundle.need_data("key", "id")) for bundle in bundles}


def test_without_prekeys_a_bot_can_still_be_written_to(
    neonize: StartNeonize, stranger: Stranger, ada: Contact, sandbox: SandboxProcess, number: str
) -> None:
    account = new_account(neonize(), sandbox.client, number)
    address = JID.parse(lid(sandbox.client, number)).with_device(account.device)
    go_away(account, sandbox.client)
    last = sandbox.client.last_event()

    *_, late = stranger.bundles(address, FIRST_PREKEYS + 1)
    message_id = ada.write(number, "without a one-time key")
    account = come_back(account, neonize())

    assert late.find("key") is None
    assert account.gets(message_id)["text"] == "without a one-time key"
    connection = devices(sandbox.client, number)[account.device]
    assert sandbox.client.wait_for("prekeys", PATIENCE, since=last, connection=connection)["count"] > 0


# Attachments


def send_picture(sender: Account, to: str, picture: Path, caption: str) -> str:
    answer = sender.bot.command("send_image", to=bare(to), path=str(picture), caption=caption)
    return str(answer["id"])


def test_a_picture_goes_from_account_to_account(alice: Account, bob: Account, picture: Path) -> None:
    shown = bob.gets(send_picture(alice, bob.number, picture, "look, Bob"))

    assert (shown["media"], shown["mime"], shown["caption"]) == ("image", "image/jpeg", "look, Bob")
    assert shown["sha256"] == sha256(picture.read_bytes())


def test_a_picture_goes_from_contact_to_account(alice: Account, ada: Contact, picture: Path) -> None:
    data = picture.read_bytes()
    shown = alice.gets(
        ada.sandbox.send_media(
            ada.number, alice.number, "image", data, mime="image/jpeg", caption="look, bot"
        )
    )

    assert (shown["media"], shown["mime"], shown["caption"]) == ("image", "image/jpeg", "look, bot")
    assert shown["sha256"] == sha256(data)


def test_a_picture_goes_from_account_to_contact(alice: Account, ada: Contact, picture: Path) -> None:
    message = ada.gets(send_picture(alice, ada.number, picture, "look, Ada"))

    assert (message["kind"], message["mime"], message["caption"]) == ("image", "image/jpeg", "look, Ada")
    assert message["sha256"] == sha256(picture.read_bytes())
    assert message["size"] == picture.stat().st_size
    assert ada.sandbox.attachment(ada.number, message["seq"]) == picture.read_bytes()


@pytest.mark.parametrize("kind", ["document", "audio", "video", "sticker"])
def test_an_attachment_of_each_kind_goes_both_ways(
    kind: MediaKind, alice: Account, ada: Contact, tmp_path: Path
) -> None:
    incoming, outgoing = os.urandom(70_001), os.urandom(70_016)
    file = tmp_path / f"outgoing.{kind}"
    file.write_bytes(outgoing)

    shown = alice.gets(
        ada.sandbox.send_media(
            ada.number, alice.number, kind, incoming, mime=f"test/{kind}", file_name="incoming.bin"
        )
    )
    assert (shown["media"], shown["mime"]) == (kind, f"test/{kind}")
    assert shown["sha256"] == sha256(incoming)

    sent = alice.bot.command(f"send_{kind}", to=bare(ada.number), path=str(file), mime=f"test/{kind}")
    message = ada.gets(sent["id"])
    assert (message["kind"], message["mime"]) == (kind, f"test/{kind}")
    assert (message["sha256"], message["size"]) == (sha256(outgoing), len(outgoing))
    if kind == "document":
        assert (shown["file_name"], message["file_name"]) == ("incoming.bin", file.name)


def test_media_go_through_the_proxy_of_the_account(
    neonize: StartNeonize, ada: Contact, sandbox: SandboxProcess, picture: Path, number: str
) -> None:
    user = f"proxy-of-{bare(number)}"
    bot = neonize(proxy=proxy_of(sandbox, user), download=True)
    account = new_account(bot, sandbox.client, number)
    data = picture.read_bytes()

    ada.gets(send_picture(account, ada.number, picture, "up"))
    shown = account.gets(ada.sandbox.send_media(ada.number, number, "image", data, mime="image/jpeg"))

    assert shown["sha256"] == sha256(data)
    opened = sandbox.client.wait_for("opened", PATIENCE, user=user, host=HOST)
    assert (opened["proxy"], opened["port"]) == ("http", 443)


def test_an_attachment_that_does_not_decrypt_is_said_to_be_damaged(
    alice: Account, ada: Contact, tmp_path: Path
) -> None:
    file = tmp_path / "voice.ogg"
    file.write_bytes(os.urandom(5000))

    sent = alice.bot.command("send_audio", to=bare(ada.number), path=str(file), wrong_key=True)

    message = ada.gets(sent["id"])
    assert message["kind"] == "audio"
    assert "sha256" not in message
    assert message["error"]


def test_a_bot_notices_that_an_attachment_was_damaged_on_the_server(
    neonize: StartNeonize, ada: Contact, sandbox: SandboxProcess, number: str
) -> None:
    account = new_account(neonize(), sandbox.client, number)
    last = sandbox.client.last_event()
    data = os.urandom(5000)
    shown = account.gets(ada.sandbox.send_media(ada.number, number, "document", data))
    assert account.bot.command("download", message=shown["id"])["sha256"] == sha256(data)
    blob_id = sandbox.client.wait_for("media-fetched", PATIENCE, since=last)["id"]

    change_blob(sandbox, blob_id, lambda blob: blob[:1000] + bytes([blob[1000] ^ 1]) + blob[1001:])
    with pytest.raises(CommandError, match="hash of media ciphertext doesn't match"):
        account.bot.command("download", message=shown["id"])

    change_blob(sandbox, blob_id, lambda _: None)
    with pytest.raises(CommandError, match="download failed with status code 404"):
        account.bot.command("download", message=shown["id"])


def change_blob(sandbox: SandboxProcess, blob_id: str, change: Callable[[bytes], bytes | None]) -> None:
    """Change, behind the server's back, what was uploaded, or remove it."""
    with closing(sqlite3.connect(sandbox.state_dir / "sandbox.sqlite3", timeout=PATIENCE)) as store, store:
        (blob,) = store.execute("SELECT blob FROM media WHERE id = ?", (blob_id,)).fetchone()
        changed = change(blob)
        if changed is None:
            store.execute("DELETE FROM media WHERE id = ?", (blob_id,))
        else:
            store.execute("UPDATE media SET blob = ? WHERE id = ?", (changed, blob_id))


def test_an_upload_whose_name_is_not_its_hash_is_refused(sandbox: SandboxProcess, stranger: Stranger) -> None:
    blob = os.urandom(1000)
    promised, uploaded = media_id(hashlib.sha256(blob).digest()), blob[:-1]
    environment = sandbox.about["environment"]
    context = ssl.create_default_context(cafile=environment["SSL_CERT_FILE"])
    with closing(
        http.client.HTTPSConnection("127.0.0.1", sandbox.port, context=context, timeout=PATIENCE)
    ) as connection:
        connection.set_tunnel(HOST, 443)

        given = stranger.connection.ask("w:m", Node("media_conn"), kind="set").need("media_conn").text("auth")
        connection.request("POST", f"/mms/image/{promised}?auth={given}", uploaded)
        refused = connection.getresponse()
        assert (refused.status, b"hash" in refused.read()) == (400, True)

        connection.request("GET", f"/v/{promised}?ccb=11-4")
        missing = connection.getresponse()
        assert (missing.status, missing.read()) == (404, b"")
