"""What the owner of a phone sees: nothing of what can be no message of a chat."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.sandbox.server.hub import Hub
from orchestrator.sandbox.server.phone import Phone
from orchestrator.sandbox.server.store import Store
from orchestrator.sandbox.wire.content import Message
from orchestrator.sandbox.wire.jid import JID
from orchestrator.sandbox.wire.node import Node
from orchestrator.sandbox.wire.proto import ProtoError
from orchestrator.sandbox.wire.tokens import Tokens

ADA, BOB = "4915100001", "4915100002"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    store = Store(tmp_path / "sandbox.sqlite3")
    yield Hub(store, Tokens.none())
    store.close()


def with_phone(hub: Hub, act: Callable[[Phone], None]) -> list[dict[str, Any]]:
    """Do something with Ada's phone; return the events."""

    async def run() -> list[dict[str, Any]]:
        hub.phone_made_if_needed(BOB)
        act(hub.phone_made_if_needed(ADA))
        return hub.events.since(0)

    return asyncio.run(run())


def copied(phone: Phone, destination: str, message_id: str = "M") -> None:
    """Have a linked device tell the phone that it has sent a text there."""
    plain = Message.encode(device_sent={"destination": destination, "message": {"conversation": "copied"}})
    stanza = Node("message", {"id": message_id, "type": "text"})
    phone._keep(phone.person.lid_jid.with_device(1), stanza, "", Message.decode(plain), plain)


@pytest.mark.parametrize("destination", ["", "@", "ada:x@lid", "ada:999@lid", "\0", "123@lid"])
def test_a_copy_of_a_message_to_nowhere_is_not_shown(hub: Hub, destination: str) -> None:
    events = with_phone(hub, lambda phone: copied(phone, destination))
    (told,) = [one for one in events if one.get("id") == "M"]
    assert (told["event"], told["why"]) == ("phone-ignored", "there is no such chat")
    assert hub.store.inbox(ADA) == []


def test_a_copy_is_shown_in_its_chat_and_only_once(hub: Hub) -> None:
    def twice(phone: Phone) -> None:
        for _ in range(2):
            copied(phone, str(JID(BOB)))

    events = with_phone(hub, twice)
    assert [one["event"] for one in events if one.get("id") == "M"] == ["received", "phone-ignored"]
    (shown,) = hub.phone(ADA).screen.messages(f"+{BOB}")
    assert (shown["text"], shown["from"], shown["read"]) == ("copied", f"+{ADA}", [])
    assert hub.phone(ADA).screen.messages(f"+{ADA}") == []


KEY = {"id": "T", "from_me": True, "remote_jid": "1@lid", "participant": "2@lid"}
MESSAGES = [
    Message.encode(conversation="text"),
    Message.encode(
        edited={"message": {"protocol": {"key": KEY, "type": 14, "edited_message": {"conversation": "n"}}}}
    ),
    Message.encode(protocol={"key": KEY, "type": 0}),
    Message.encode(reaction={"key": KEY, "text": "\N{THUMBS UP SIGN}"}),
    Message.encode(poll_creation_v3={"name": "?", "options": [{"option_name": one} for one in "ab"]}),
    Message.encode(
        poll_update={
            "poll_creation_message_key": KEY,
            "vote": {"enc_payload": b"p" * 40, "enc_iv": b"i" * 12},
        }
    ),
    Message.encode(pin_in_chat={"key": KEY, "type": 1}),
    Message.encode(image={"caption": "c", "key": b"k" * 32, "sha256": b"s" * 32, "blob_sha256": b"b" * 32}),
    Message.encode(location={"degrees_latitude": 1.0, "degrees_longitude": 2.0, "address": "A street"}),
    Message.encode(
        extended_text={
            "text": "t",
            "title": "x",
            "context_info": {"stanza_id": "T", "participant": "a@b", "quoted_message": {"conversation": "q"}},
        }
    ),
]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(MESSAGES),
            st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=3),
            st.sampled_from(["T", "M", "N"]),
            st.sampled_from([("text", ""), ("media", "image"), ("poll", ""), ("reaction", "")]),
            st.sampled_from(["", "1", "7", "8"]),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_whatever_comes_the_chats_can_be_shown(hub: Hub, arriving: list[Any]) -> None:
    def receive(phone: Phone) -> None:
        sender = hub.person(BOB).lid_jid
        for encoded, changes, message_id, (kind, media_type), edit in arriving:
            data = bytearray(encoded)
            for place, value in changes:
                data[place % len(data)] = value
            try:
                plain = Message.decode(bytes(data))
            except ProtoError:
                continue
            attrs = {"id": message_id, "type": kind, "edit": edit}
            stanza = Node("message", attrs, [Node("enc", {"mediatype": media_type})])
            phone._keep(sender, stanza, "", plain, bytes(data))
        shown = phone.screen.messages("")
        assert len({one["id"] for one in shown}) == len(shown) <= 3
        json.dumps(shown, allow_nan=False)

    hub.store._db.execute("DELETE FROM inbox")
    with_phone(hub, receive)
