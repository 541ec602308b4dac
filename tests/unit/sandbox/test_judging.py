"""What a phone shows of what is said of messages: what fits a message that it knows."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.sandbox.server import judging
from orchestrator.sandbox.server.drafts import Earlier
from orchestrator.sandbox.server.judging import Scene, flaw_of_reaction, is_emoji
from orchestrator.sandbox.server.store import Person
from orchestrator.sandbox.wire.content import Message
from orchestrator.sandbox.wire.jid import JID

THUMB = "\N{THUMBS UP SIGN}"
ADA, BOB = JID.parse("200000000000001@lid"), JID.parse("200000000000002@lid")
EVE, GROUP = JID.parse("200000000000003@lid"), JID.parse("120363000000000001@g.us")
PEOPLE = {str(one): Person(f"49151000{n}", one.user, "", n) for n, one in enumerate((ADA, BOB, EVE))}


def flaw(
    *,
    chat: JID = BOB,
    sender: JID = BOB,
    author: JID = ADA,
    earlier_chat: JID | None = None,
    emoji: str = THUMB,
    **key: str | bool,
) -> str:
    """Return the flaw of a reaction that Bob sends to Ada's message, on Ada's phone, with changes."""
    key = {"remote_jid": str(ADA if chat == BOB else chat), "from_me": author == sender, "id": "M", **key}
    message = Message.decode(Message.encode(reaction={"key": key, "text": emoji}))
    earlier = Earlier("M", str(earlier_chat or chat), author, author == ADA, b"")
    return flaw_of_reaction(message.reaction, earlier, sender, chat, PEOPLE.get)


@pytest.mark.parametrize(
    "emoji", [THUMB, "", "1\ufe0f\u20e3", f"{THUMB}\N{EMOJI MODIFIER FITZPATRICK TYPE-5}"]
)
def test_a_reaction_to_a_message_of_the_chat_is_shown(emoji: str) -> None:
    assert flaw(emoji=emoji) == ""
    assert flaw(author=BOB, emoji=emoji) == ""
    assert flaw(sender=BOB.with_device(3), emoji=emoji) == ""
    assert flaw(chat=GROUP, participant=str(ADA), emoji=emoji) == ""
    assert flaw(chat=GROUP, author=BOB, emoji=emoji) == ""


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"earlier_chat": EVE}, "another chat"),
        ({"from_me": True}, "another author"),
        ({"author": BOB, "from_me": False}, "another author"),
        ({"remote_jid": ""}, "no chat"),
        ({"remote_jid": "12345@lid"}, "no chat"),
        ({"chat": GROUP}, "does not name the participant"),
        ({"chat": GROUP, "participant": str(EVE)}, "does not name the participant"),
        ({"chat": GROUP, "participant": str(ADA), "remote_jid": str(ADA)}, "another chat"),
        ({"emoji": "ok"}, "no emoji"),
        ({"emoji": "1"}, "no emoji"),
        ({"emoji": f"{THUMB} {THUMB}"}, "no emoji"),
        ({"emoji": THUMB * 41}, "no emoji"),
    ],
)
def test_what_fits_nothing_is_not_shown(changes: dict[str, object], why: str) -> None:
    assert why in flaw(**changes)  # type: ignore[arg-type]


def test_a_reaction_to_a_message_that_the_phone_does_not_know_is_not_shown() -> None:
    message = Message.decode(Message.encode(reaction={"key": {"id": "M"}, "text": THUMB}))
    assert "does not know" in flaw_of_reaction(message.reaction, None, BOB, BOB, PEOPLE.get)


def test_emoji() -> None:
    assert is_emoji("#\ufe0f\u20e3")
    assert not is_emoji("x")


# Edits, deletions, votes, polls, and what stanzas announce


def seen(
    message: Any,  # noqa: ANN401 - protobuf
    *,
    earlier: Earlier | None = None,
    sender: JID = BOB,
    chat: JID = BOB,
    type: str = "text",  # noqa: A002 - as the stanza calls it
    edit: str = "",
    media_type: str = "",
    now: float = 1000.0,
    is_admin: bool = False,
    **shown: object,
) -> str:
    """Return the flaw of a message that Bob sends, on Ada's phone."""
    scene = Scene(sender, chat, type, edit, media_type, now, PEOPLE.get, is_admin)
    return judging.flaw(message, shown, earlier, scene)


def made(**fields: object) -> Any:  # noqa: ANN401 - protobuf
    return Message.decode(Message.encode(**fields))


def known(author: JID = BOB, chat: JID = BOB, at: float = 900.0, **fields: object) -> Earlier:
    return Earlier("M", str(chat), author, author == ADA, Message.encode(**fields), at)


TEXT: dict[str, Any] = {"conversation": "old"}
IMAGE: dict[str, Any] = {"image": {"caption": "old"}}


def edit(
    new: dict[str, object],
    earlier: Earlier | None,
    *,
    from_me: bool = True,
    text: str = "new",
    **more: Any,  # noqa: ANN401
) -> str:
    protocol = {"key": {"id": "M", "from_me": from_me}, "type": 14, "edited_message": new}
    return seen(made(edited={"message": {"protocol": protocol}}), earlier=earlier, kind="edit", text=text,
                **{"edit": "1", **more})  # fmt: skip


def test_a_text_and_a_caption_are_edited_by_their_author_in_time() -> None:
    assert edit({"conversation": "new"}, known(**TEXT)) == ""
    assert edit({"extended_text": {"text": "new"}}, known(**TEXT)) == ""
    assert edit({"image": {"caption": "new"}}, known(**IMAGE)) == ""
    assert edit({"conversation": "new"}, known(**TEXT, at=1000 - 20 * 60)) == ""
    assert edit({"conversation": "new"}, known(**TEXT, at=0)) == ""  # the phone has forgotten when that was


@pytest.mark.parametrize(
    ("new", "earlier", "changes", "why"),
    [
        (TEXT, None, {}, "does not know"),
        (TEXT, known(**TEXT, chat=GROUP), {}, "another chat"),
        (TEXT, known(ADA, **TEXT), {}, "only its author"),
        (TEXT, known(**TEXT), {"from_me": False}, "another author"),
        (TEXT, known(**TEXT), {"edit": ""}, "does not say what is done"),
        (TEXT, known(**TEXT), {"edit": "7"}, "does not say what is done"),
        (TEXT, known(**TEXT), {"type": "media"}, "the stanza announces media"),
        (TEXT, known(**TEXT, at=1000 - 20 * 60 - 1), {}, "for 20 minutes"),
        (TEXT, known(**IMAGE), {}, "another kind"),
        ({"image": {"caption": "new"}}, known(**TEXT), {}, "another kind"),
        (TEXT, known(**TEXT), {"text": ""}, "another kind"),
        (TEXT, known(poll_creation={"name": "?"}), {}, "only texts and captions"),
        (TEXT, known(audio={"seconds": 1}), {}, "only texts and captions"),
    ],
)
def test_an_edit_that_whatsapp_does_not_allow_is_not_shown(
    new: dict[str, object], earlier: Earlier | None, changes: dict[str, Any], why: str
) -> None:
    assert why in edit(new, earlier, **changes)


def revoke(
    earlier: Earlier | None,
    *,
    from_me: bool = True,
    participant: str = "",
    edit: str = "7",
    **more: Any,  # noqa: ANN401
) -> str:
    key = {"id": "M", "from_me": from_me, "participant": participant}
    return seen(made(protocol={"key": key, "type": 0}), earlier=earlier, edit=edit, kind="revoke", **more)


def test_a_message_is_deleted_by_its_author_and_in_groups_by_an_admin() -> None:
    assert revoke(known(**TEXT)) == ""
    theirs = known(ADA, GROUP, **TEXT)
    admin: dict[str, Any] = {
        "chat": GROUP,
        "from_me": False,
        "participant": str(ADA),
        "edit": "8",
        "is_admin": True,
    }
    assert revoke(theirs, **admin) == ""
    assert "a group's admins" in revoke(theirs, **{**admin, "is_admin": False})
    assert "another author" in revoke(theirs, **{**admin, "participant": str(EVE)})
    assert "another author" in revoke(theirs, **{**admin, "edit": "7"})
    assert "another author" in revoke(theirs, **{**admin, "from_me": True})
    assert "a group's admins" in revoke(known(ADA, **TEXT), from_me=False, edit="8", is_admin=True)
    assert "does not know" in revoke(None)
    assert "another chat" in revoke(known(**TEXT, chat=GROUP))


POLL: dict[str, Any] = {"poll_creation_v3": {"name": "?", "options": [{"option_name": one} for one in "abc"],
                             "selectable_options_count": 2}}  # fmt: skip


def vote(earlier: Earlier | None, *, from_me: bool = False, **more: Any) -> str:  # noqa: ANN401
    update = {"poll_creation_message_key": {"id": "M", "from_me": from_me}}
    return seen(made(poll_update=update), earlier=earlier, kind="vote", **{"type": "poll", **more})


def test_votes_are_for_as_many_options_of_a_known_poll_as_it_allows() -> None:
    poll = known(ADA, **POLL)
    assert vote(poll, options=["a", "b"]) == ""
    assert vote(poll, options=[]) == ""
    assert vote(known(BOB, **POLL), from_me=True, options=["a"]) == ""
    assert "too many" in vote(poll, options=["a", "b", "c"])
    assert "no such option" in vote(poll, options=["a", "d"])
    assert "another author" in vote(poll, from_me=True, options=["a"])
    assert "unreadable" in vote(poll, error="unreadable")
    assert "does not know" in vote(None, options=["a"])
    assert "announces text" in vote(poll, options=["a"], type="text")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, ""),
        ({"type": "poll"}, ""),
        ({"question": ""}, "a question"),
        ({"options": ["a"]}, "from 2 to 12"),
        ({"options": [str(n) for n in range(13)]}, "from 2 to 12"),
        ({"options": ["a", "a"]}, "different"),
        ({"options": ["a", ""]}, "different"),
        ({"select": 3}, "more options than there are"),
        ({"edit": "1"}, "what is done to the earlier"),
    ],
)
def test_a_poll_asks_for_something(changes: dict[str, Any], why: str) -> None:
    found = seen(
        made(**POLL), **{"kind": "poll", "question": "?", "options": ["a", "b"], "select": 1, **changes}
    )
    assert why in found
    assert bool(why) is bool(found)


@pytest.mark.parametrize(
    ("kind", "stanza"),
    [
        ("image", ("media", "video")),
        ("image", ("text", "")),
        ("voice", ("media", "audio")),
        ("text", ("media", "image")),
        ("text", ("poll", "")),
        ("contact", ("media", "contact_array")),
    ],
)
def test_a_message_is_what_its_stanza_announces(kind: str, stanza: tuple[str, str]) -> None:
    type_, media_type = stanza
    found = seen(made(**TEXT), kind=kind, type=type_, media_type=media_type)
    assert found == f"the stanza announces {' '.join(stanza).rstrip()}, and not {kind}"


@pytest.mark.parametrize(
    ("latitude", "longitude", "why"),
    [(90, -180, ""), (91, 0, "no such place"), (0, 181, "no such place"), (float("nan"), 0, "no such place")],
)
def test_a_place_is_on_earth(latitude: float, longitude: float, why: str) -> None:
    found = seen(made(**TEXT), kind="location", latitude=latitude, longitude=longitude)
    assert why in found
    assert bool(why) is bool(found)
