"""What phones can write: every kind, whatever is given for it; and what phones make of what comes."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.sandbox.crypto import poll_votes
from orchestrator.sandbox.crypto.keys import CryptoError
from orchestrator.sandbox.crypto.media import MediaKind
from orchestrator.sandbox.server import contents, reading
from orchestrator.sandbox.server.contents import KINDS, compose
from orchestrator.sandbox.server.drafts import Earlier
from orchestrator.sandbox.server.fields import Bad, Field, NotPossible, parse_number
from orchestrator.sandbox.wire import content
from orchestrator.sandbox.wire.content import Message
from orchestrator.sandbox.wire.jid import JID, LID
from orchestrator.sandbox.wire.proto import ProtoError

OWN, OTHER = JID("100", LID), JID("200", LID)
TEAM = JID("120363", "g.us")
POLL = Message.encode(
    poll_creation_v3={
        "name": "Lunch?",
        "options": [{"option_name": "yes"}, {"option_name": "no"}],
        "selectable_options_count": 1,
    },
    message_context_info={"message_secret": b"s" * 32},
)
PICTURE = Message.encode(image={"url": "u", "caption": "old"})
PLACE = Message.encode(location={"degrees_latitude": 1.0})


class Desk:
    """A phone that knows some messages."""

    own = OWN

    def __init__(self, chat: JID = OTHER, *, admin: bool = False, expiry: int = 0) -> None:
        self.chat = chat
        self._admin = admin
        self._expiry = expiry

    def upload(self, kind: MediaKind, data: bytes) -> dict[str, Any]:
        return {"url": f"https://example.com/{kind}", "length": len(data)}

    def earlier(self, message_id: str) -> Earlier | None:
        plain = {"poll": POLL, "picture": PICTURE, "place": PLACE, "text": Message.encode(conversation="old")}
        own = message_id.startswith("own-")
        kind = message_id.removeprefix("own-")
        if kind == "elsewhere":
            return Earlier(message_id, "300@lid", OTHER, False, PICTURE)
        if kind == "garbage":
            return Earlier(message_id, str(self.chat), OTHER, False, b"\xff")
        if kind not in plain:
            return None
        return Earlier(message_id, str(self.chat), OWN if own else OTHER, own, plain[kind])

    def address(self, number: str) -> JID:
        return JID(parse_number(number), LID)

    def is_admin(self) -> bool:
        return self._admin

    def expiry(self) -> int:
        return self._expiry

    def now(self) -> float:
        return 1_700_000_000.0


class Shelf:
    """A phone that has received nothing."""

    def blob(self, blob_id: str) -> bytes | None:
        return None if blob_id else b""

    def earlier(self, message_id: str) -> Earlier | None:
        return Desk().earlier(message_id)

    def name_of(self, address: str) -> str:
        return address


def written(desk: Desk | None = None, **body: object) -> Any:  # noqa: ANN401 - protobuf
    return Message.decode(compose(Field(body), desk or Desk()).plain)


GOOD: list[dict[str, Any]] = [
    {"kind": "text", "text": "Hello"},
    *({"kind": kind, "data": "AAAA"} for kind in
      ("image", "video", "video_note", "audio", "voice", "document", "sticker")),
    {"kind": "location", "latitude": 1, "longitude": 2.5},
    {"kind": "location", "latitude": 1, "longitude": 2, "name": "Here", "address": "A street", "url": "https://a.b"},
    {"kind": "live_location", "latitude": 1, "longitude": 2.5},
    {"kind": "contact", "name": "Bob", "phone": "+4915100001"},
    {"kind": "contacts", "contacts": [{"name": "Bob", "vcard": "v"}]},
    {"kind": "group_invite", "invite_to": "1@g.us", "name": "Team"},
    {"kind": "poll", "question": "?", "options": ["a", "b"]},
    {"kind": "vote", "of": "poll", "options": ["yes"]},
    {"kind": "reaction", "of": "text", "emoji": "👍"},
    {"kind": "edit", "of": "own-text", "text": "new"},
    {"kind": "revoke", "of": "own-text"},
    {"kind": "buttons", "text": "t", "buttons": ["a"]},
    {"kind": "buttons_response", "choice": "a", "text": "t"},
    {"kind": "list", "text": "t", "rows": ["a"]},
    {"kind": "list_response", "choice": "a", "text": "t"},
    {"kind": "template", "text": "t", "buttons": [{"id": "i", "text": "t"}]},
    {"kind": "template_response", "choice": "a", "text": "t"},
    {"kind": "interactive", "text": "t", "buttons": ["a"]},
    {"kind": "interactive_response", "choice": "a", "text": "t"},
    {"kind": "disappearing", "seconds": 60},
    {"kind": "unknown"},
    {"kind": "raw", "message": "CgJoaQ=="},
]  # fmt: skip
NOT_ANSWERABLE = {"vote", "reaction", "edit", "revoke", "disappearing", "unknown"}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
    | st.sampled_from(["poll", "own-poll", "text", "own-text", "picture", "garbage", "AAAA", "+4915100001"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


def test_the_examples_are_of_every_kind() -> None:
    assert {body["kind"] for body in GOOD} == set(KINDS) - {"history", "app_state_keys"}


@pytest.mark.parametrize("body", GOOD, ids=lambda body: body["kind"])
def test_every_kind_has_a_secret_of_its_own_or_none(body: dict[str, Any]) -> None:
    first, second = (written(**body).message_context_info.message_secret for _ in range(2))

    without = {"vote", "reaction", "edit", "revoke", "disappearing", "raw"}
    assert len(first) == len(second) == (0 if body["kind"] in without else 32)
    assert first != second or not first


@pytest.mark.parametrize("body", GOOD, ids=lambda body: body["kind"])
def test_a_phone_shows_the_kind_that_another_has_written(body: dict[str, Any]) -> None:
    shown = reading.read(written(**body), OTHER, Shelf())

    assert shown is not None
    record = {"seq", "id", "at", "direction", "from", "sender", "chat", "group", "plain"}
    assert not record & set(shown), "what a message says must not stand in for what the inbox says of it"
    assert shown["kind"] == {"unknown": "unsupported", "raw": "text"}.get(body["kind"], body["kind"])


@pytest.mark.parametrize("body", GOOD, ids=lambda body: body["kind"])
def test_options_that_nobody_reads_are_refused(body: dict[str, Any]) -> None:
    with pytest.raises(Bad, match="does not take colour"):
        written(**body, colour="red")


@pytest.mark.parametrize(
    "body", [body for body in GOOD if body["kind"] not in (*NOT_ANSWERABLE, "raw")], ids=lambda b: b["kind"]
)
def test_every_kind_of_message_can_be_an_answer(body: dict[str, Any]) -> None:
    more: dict[str, Any] = {"quote": "text", "mentions": ["+4915100007"], "forwarded": 3, "expires": 60}
    shown = reading.read(written(**body, **more), OTHER, Shelf())

    assert shown is not None
    assert shown["quote"] == {"id": "text", "author": str(OTHER)}
    assert (shown["mentions"], shown["forwarded"], shown["expires"]) == (["4915100007@lid"], 3, 60)


@pytest.mark.parametrize("kind", sorted(NOT_ANSWERABLE))
def test_other_kinds_are_no_answers(kind: str) -> None:
    (body,) = [body for body in GOOD if body["kind"] == kind]
    with pytest.raises(Bad, match="takes no quote"):
        written(**body, expires=60)


@settings(max_examples=600)
@given(st.sampled_from(GOOD), st.data())
def test_whatever_is_given_is_written_or_refused(body: dict[str, Any], data: st.DataObject) -> None:
    _, options = KINDS[body["kind"]]
    names = st.sampled_from([*options, *contents.COMMON])
    wrong = data.draw(st.dictionaries(names, VALUES, max_size=4))
    chat = data.draw(st.sampled_from([OTHER, TEAM, OWN]))
    try:
        plain = compose(Field({**body, **wrong, "kind": body["kind"]}), Desk(chat)).plain
        message = Message.decode(plain)
    except (Bad, NotPossible, ProtoError):
        return
    reading.read(message, OTHER, Shelf())


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_a_phone_shows_any_message(data: bytes) -> None:
    try:
        message = Message.decode(data)
    except ProtoError:
        return
    reading.read(message, OTHER, Shelf())


@pytest.mark.parametrize(
    ("desk", "body", "why"),
    [
        (Desk(), {"kind": "edit", "of": "text", "text": "x"}, "only one's own messages"),
        (Desk(), {"kind": "edit", "of": "own-place", "text": "x"}, "only texts and captions"),
        (Desk(), {"kind": "revoke", "of": "text"}, "only its author"),
        (Desk(TEAM), {"kind": "revoke", "of": "text"}, "only its author"),
        (Desk(), {"kind": "vote", "of": "text", "options": ["yes"]}, "is no poll"),
        (Desk(), {"kind": "vote", "of": "poll", "options": ["maybe"]}, "has no option maybe"),
        (Desk(), {"kind": "vote", "of": "poll", "options": ["yes", "no"]}, "allows 1 options"),
        (Desk(), {"kind": "poll", "question": "?", "options": ["a"]}, "from 2 to 12 options"),
        (Desk(), {"kind": "poll", "question": "?", "options": ["a", "a"]}, "all of them different"),
        (Desk(), {"kind": "reaction", "of": "nothing", "emoji": "x"}, "knows no message nothing"),
        (Desk(), {"kind": "reaction", "of": "elsewhere", "emoji": "x"}, "is in another chat"),
        (Desk(), {"kind": "text", "text": "x", "quote": "nothing"}, "give its author"),
        (Desk(TEAM), {"kind": "disappearing", "seconds": 60}, "change the group"),
        (Desk(), {"kind": "history", "texts": ["x"]}, "its own linked devices only"),
        (Desk(), {"kind": "text", "text": "x" * 65_537}, "at most 65536 characters"),
    ],
)
def test_what_whatsapp_refuses_is_refused(desk: Desk, body: Mapping[str, object], why: str) -> None:
    with pytest.raises(NotPossible, match=why):
        written(desk, **body)


def test_an_admin_deletes_what_others_have_written() -> None:
    done = compose(Field({"kind": "revoke", "of": "text"}), Desk(TEAM, admin=True))

    key = Message.decode(done.plain).protocol.key
    assert (done.edit, key.id, key.from_me, key.participant) == ("8", "text", False, str(OTHER))


def test_an_edit_of_a_caption_keeps_the_picture() -> None:
    edited = written(kind="edit", of="own-picture", text="new").edited.message.protocol.edited_message

    assert (edited.image.url, edited.image.caption) == ("u", "new")


@pytest.mark.parametrize("body", [GOOD[0], GOOD[1]], ids=["text", "image"])
def test_messages_disappear_where_the_group_says_so(body: dict[str, Any]) -> None:
    shown = reading.read(written(Desk(TEAM, expiry=60), **body), OTHER, Shelf())

    assert shown is not None
    assert shown["expires"] == 60
    assert written(Desk(TEAM, expiry=60), kind="reaction", of="text").HasField("reaction")


def test_wrappers_are_inside_each_other_in_the_order_given() -> None:
    message = written(kind="image", data="AAAA", view_once=True, wrap=["ephemeral"])

    assert message.ephemeral.message.view_once_v2.message.image.view_once
    shown = reading.read(message, OTHER, Shelf())
    assert shown is not None
    assert (shown["wraps"], shown["view_once"]) == (["ephemeral", "view_once_v2"], True)


# Votes


@given(st.binary(max_size=64), st.binary(min_size=32, max_size=32), st.text(max_size=20))
def test_a_vote_is_for_one_poll_by_one_voter(vote: bytes, secret: bytes, poll: str) -> None:
    iv, sealed = poll_votes.seal(vote, secret, poll, "a@lid", "v@lid")

    assert poll_votes.open_vote(sealed, iv, secret, poll, "a@lid", "v@lid") == vote
    for other in (
        (bytes(32) if any(secret) else b"\x01" * 32, poll, "a@lid", "v@lid"),
        (secret, poll + "x", "a@lid", "v@lid"),
        (secret, poll, "b@lid", "v@lid"),
        (secret, poll, "a@lid", "w@lid"),
    ):
        with pytest.raises(CryptoError):
            poll_votes.open_vote(sealed, iv, *other)


def test_a_vote_of_no_known_poll_is_shown_as_such() -> None:
    update = {"poll_creation_message_key": {"id": "nothing"}, "vote": {"enc_payload": b"x", "enc_iv": b"y"}}
    shown = reading.read(Message.decode(Message.encode(poll_update=update)), OTHER, Shelf())

    assert shown == {"kind": "vote", "of": "nothing", "error": "the phone does not know the poll"}


def test_the_names_of_wrappers_are_fields() -> None:
    assert set(content.WRAPPERS) <= {field.name for field in Message.decode(b"").DESCRIPTOR.fields}
