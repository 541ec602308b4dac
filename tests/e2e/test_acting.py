"""What an account does in chats besides plain texts, with the real neonize, as phones see it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.conversation import Contact, in_inbox, lid
from support.linked import wait_until
from support.service import PATIENCE, Service

from orchestrator.messages.entry import Stored
from orchestrator.sandbox.client import SandboxClient
from orchestrator.sandbox.process import SandboxProcess

UNKNOWN = "the account knows no such message in this chat"
THUMB, PARTY = "\N{THUMBS UP SIGN}\N{EMOJI MODIFIER FITZPATRICK TYPE-5}", "\N{PARTY POPPER}"


@dataclass(frozen=True)
class Play:
    """An account of a service, two phones, and a group of them."""

    service: Service
    sandbox: SandboxClient
    number: str
    ada: Contact
    bob: Contact
    group: str

    def act(self, kind: str, chat: str, **message: Any) -> str | None:  # noqa: ANN401
        """Have the account send something; return the message's id, None if it is none."""
        row = self.row(kind, chat, **message)
        assert row["state"] == "sent", row
        return None if row["id"] is None else str(row["id"])

    def row(self, kind: str, chat: str, **message: Any) -> dict[str, Any]:  # noqa: ANN401
        """Have the account send something; return its row."""
        answer = self.service.client.call(
            "send", name="support", message={"kind": kind, "to": chat, **message}, wait=60
        )
        return dict(answer["row"])

    def type(self, chat: str, state: str) -> None:
        """Have the account show that it writes."""
        action = {"kind": "typing", "chat": chat, "state": state}
        assert self.service.client.call("act", name="support", action=action)["result"] == {}

    def text(self, chat: str, text: str, **action: Any) -> str:  # noqa: ANN401
        return str(self.act("text", chat, text=text, **action))

    def hears(self, contact: Contact, text: str, group: str = "", **content: Any) -> Stored:  # noqa: ANN401
        """Have somebody write; return what the account stores of it."""
        message = contact.sandbox.send(contact.number, group or self.number, text=text, **content)
        return self.stored(message)

    def stored(self, message_id: str, source: str = "message") -> Stored:
        def look() -> list[Stored]:
            with self.service.kept.inbox("support") as reader:
                return [one for one in reader.find(message_id) if one.source == source]

        wait_until(lambda: bool(look()), f"{message_id} is not stored")
        return look()[0]

    def statuses(self, message_id: str) -> set[tuple[str, str]]:
        with self.service.kept.inbox("support") as reader:
            found = [one for one in reader.find(message_id) if one.source == "receipt"]
        return {(one.sender, one.notes["status"]) for one in found}


@pytest.fixture(scope="module")
def play(
    shared_sandbox: SandboxProcess, make_number: Callable[[], str], make_folder: Callable[[], Path]
) -> Iterator[Play]:
    sandbox = shared_sandbox.client
    ada, bob = Contact(make_number(), sandbox), Contact(make_number(), sandbox)
    sandbox.add_phone(ada.number, "Ada")
    sandbox.add_phone(bob.number, "Bob")
    accounts: dict[str, dict[str, Any]] = {
        "support": {"messages": {"allow": "*", "groups": True}, "sending": {"pacing": "off"}}
    }
    number = make_number()
    with Service(make_folder(), shared_sandbox, accounts) as service:
        service.pair("support", number)
        group = sandbox.make_group(ada.number, "Team", [number, bob.number])["group"]
        yield Play(service, sandbox, number, ada, bob, group)


# Texts


def test_a_text_goes_to_a_hidden_address_a_number_and_a_group(play: Play) -> None:
    for chat, contact in [
        (lid(play.sandbox, play.ada.number), play.ada),
        (play.ada.number, play.ada),
        (f"{play.bob.number[1:]}@s.whatsapp.net", play.bob),
        (play.group, play.bob),
    ]:
        message = play.text(chat, f"to {chat[-12:]} {PARTY}")
        shown = contact.gets(message)
        assert (shown["kind"], shown["text"]) == ("text", f"to {chat[-12:]} {PARTY}")
        assert shown["group"] == (play.group if chat == play.group else "")


def test_what_became_of_texts_to_chats_is_told(play: Play) -> None:
    chat = lid(play.sandbox, play.ada.number)
    message = play.text(chat, "hello")
    wait_until(lambda: (chat, "delivered") in play.statuses(message), "it is not delivered")
    play.sandbox.read(play.ada.number, message)
    wait_until(
        lambda: play.statuses(message) == {(chat, "sent"), (chat, "delivered"), (chat, "read")}, "not read"
    )
    message = play.text(play.group, "hello all")
    members = [lid(play.sandbox, one.number) for one in (play.ada, play.bob)]
    told = {(play.group, "sent"), *((one, "delivered") for one in members)}
    wait_until(lambda: play.statuses(message) >= told, "it is not delivered to all")


@pytest.mark.parametrize("by", ["lid", "number"])
def test_a_text_quotes_a_message_of_its_chat(play: Play, by: str) -> None:
    asked = play.hears(play.ada, "Where is the key?")
    chat = asked.chat if by == "lid" else play.ada.number
    shown = play.ada.gets(play.text(chat, "Under the mat", reply_to=asked.id))
    assert (shown["text"], shown["quote"]) == ("Under the mat", {"id": asked.id, "author": play.ada.number})


def test_a_text_quotes_and_mentions_in_a_group(play: Play) -> None:
    asked = play.hears(play.bob, "Who comes?", group=play.group)
    ada = lid(play.sandbox, play.ada.number)
    text = f"@{ada.partition('@')[0]} does"
    message = play.text(play.group, text, reply_to=asked.id, mentions=[ada])
    for contact in (play.ada, play.bob):
        shown = contact.gets(message)
        assert (shown["text"], shown["mentions"]) == (text, [play.ada.number])
        assert shown["quote"] == {"id": asked.id, "author": play.bob.number}


def test_a_quote_shows_what_it_quotes_and_nothing_of_other_messages(play: Play) -> None:
    first = play.hears(play.ada, "first")
    second = play.hears(play.ada, "second", quote=first.id)
    message = play.text(second.chat, "third", reply_to=second.id)
    (account,) = [one for one in play.sandbox.inbox(play.number) if one["id"] == message]
    assert account["direction"] == "copy"
    seen = play.hears(play.ada, "fourth", quote=message)
    assert b"third" in seen.raw
    assert b"first" not in seen.raw


# Nothing that stands in a text is opened, or looked up


@pytest.mark.parametrize(
    "text",
    ["/etc/passwd", "file:///etc/passwd", "http://169.254.169.254/latest", "@12036304@g.us @4915199999999"],
)
def test_a_text_is_a_text(play: Play, text: str) -> None:
    since = play.sandbox.last_event()
    asked = play.hears(play.ada, text)
    shown = play.ada.gets(play.text(asked.chat, text, reply_to=asked.id))
    assert (shown["kind"], shown["text"]) == ("text", text)
    assert "mentions" not in shown
    assert not any(one["event"] in ("refused", "foreign") for one in play.sandbox.events(since))


# Reactions


def test_a_reaction_is_seen_and_taken_back(play: Play) -> None:
    asked = play.hears(play.ada, "Good?")
    for emoji in (THUMB, ""):
        reaction = play.act("reaction", asked.chat, message=asked.id, emoji=emoji)
        shown = play.ada.gets(str(reaction))
        assert (shown["kind"], shown["of"], shown["emoji"]) == ("reaction", asked.id, emoji)


def test_a_reaction_in_a_group_names_whose_message_it_is(play: Play) -> None:
    asked = play.hears(play.bob, "Good?", group=play.group)
    reaction = str(play.act("reaction", play.group, message=asked.id, emoji=PARTY))
    for contact in (play.ada, play.bob):
        shown = contact.gets(reaction)
        assert (shown["group"], shown["of"], shown["emoji"]) == (play.group, asked.id, PARTY)


@pytest.mark.parametrize("where", ["direct", "group"])
def test_an_account_reacts_to_what_it_has_sent_itself(play: Play, where: str) -> None:
    chat = play.group if where == "group" else lid(play.sandbox, play.ada.number)
    own = play.text(chat, "well done")
    play.ada.gets(own)
    shown = play.ada.gets(str(play.act("reaction", chat, message=own, emoji=PARTY)))
    assert (shown["of"], shown["emoji"]) == (own, PARTY)


# Read marks


def test_messages_are_read_only_when_somebody_says_so(play: Play) -> None:
    first, second = (play.hears(play.ada, text) for text in ("one", "two"))
    third = play.hears(play.ada, "three")
    assert play.act("read", first.chat, messages=[first.id, second.id]) is None

    def sent() -> dict[str, dict[str, Any]]:
        return {one["id"]: one for one in play.sandbox.sent(play.ada.number)}

    wait_until(lambda: all(sent()[one.id]["read"] == [play.number] for one in (first, second)), "not read")
    assert sent()[third.id]["read"] == []
    assert sent()[third.id]["delivered"] == [play.number]


def test_messages_of_several_people_in_a_group_are_read(play: Play) -> None:
    asked = [play.hears(one, "read me", group=play.group) for one in (play.ada, play.bob, play.ada)]
    play.act("read", play.group, messages=[one.id for one in asked])
    for message, contact in zip(asked, (play.ada, play.bob, play.ada), strict=True):
        play.sandbox.wait_for(
            "receipt", PATIENCE, phone=contact.number, id=message.id, type="read", by=play.number
        )


# Typing


def test_phones_see_that_an_account_types(play: Play) -> None:
    chat = lid(play.sandbox, play.ada.number)
    for state, shown in (("typing", "composing"), ("recording", "recording"), ("paused", "")):
        since = play.sandbox.last_event()
        play.type(chat, state)
        play.sandbox.wait_for("typing", PATIENCE, since, phone=play.number, to=play.ada.number)
        seen = [one["state"] for one in play.sandbox.typing(play.ada.number) if not one["group"]]
        assert seen == ([shown] if shown else [])
    play.type(play.group, "typing")
    wait_until(lambda: bool(play.sandbox.typing(play.bob.number)), "it is not shown")
    assert play.sandbox.typing(play.bob.number) == [
        {"from": play.number, "group": play.group, "state": "composing"}
    ]
    play.bob.gets(play.text(play.group, "done"))
    assert play.sandbox.typing(play.bob.number) == []


# What cannot be done


@pytest.mark.parametrize(
    "action",
    [
        {"kind": "text", "text": "hello", "reply_to": "3EB0NOTHING"},
        {"kind": "reaction", "message": "3EB0NOTHING", "emoji": PARTY},
        {"kind": "read", "messages": ["3EB0NOTHING"]},
    ],
)
def test_only_messages_of_the_inbox_are_known(play: Play, action: dict[str, Any]) -> None:
    asked = play.hears(play.ada, "hello")
    row = play.row(chat=asked.chat, **action)
    assert (row["state"], row["why"]) == ("failed", UNKNOWN)


def test_a_message_of_another_chat_is_none_of_this_one(play: Play) -> None:
    asked = play.hears(play.ada, "only for you")
    bob = lid(play.sandbox, play.bob.number)
    for action in (
        {"kind": "text", "text": "look", "reply_to": asked.id},
        {"kind": "reaction", "message": asked.id, "emoji": PARTY},
        {"kind": "read", "messages": [asked.id]},
    ):
        row = play.row(chat=bob, **action)
        assert (row["state"], row["why"]) == ("failed", UNKNOWN)


def test_what_whatsapp_refuses_was_not_sent(play: Play) -> None:
    asked = play.hears(play.ada, "hello")
    play.sandbox.fault("send-error", play.number, code=463)
    row = play.row("reaction", asked.chat, message=asked.id, emoji=PARTY)
    assert (row["state"], row["code"]) == ("failed", 463)
    other = play.sandbox.make_group(play.ada.number, "Others", [play.bob.number])["group"]
    assert play.row("text", other, text="let me in")["state"] == "failed"
    assert play.service.about("support")["state"] == "connected"


def test_nothing_of_it_is_logged(play: Play) -> None:
    asked = play.hears(play.ada, "a needle")
    play.text(asked.chat, "another needle", reply_to=asked.id)
    in_inbox(
        play.sandbox, play.ada.number, str(play.act("reaction", asked.chat, message=asked.id, emoji=PARTY))
    )
    told = "\n".join([*play.service.log, *map(str, play.service.timeline("support"))])
    assert not any(one in told for one in ("needle", asked.id, play.ada.number[1:], asked.chat))
