"""Every kind of message that the sandbox's phones send, as neonize decodes it."""

import base64
import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from support.conversation import Account, Contact, in_inbox, lid
from support.linked import PATIENCE
from support.neonize_process import Event

from orchestrator.sandbox.client import SandboxError
from orchestrator.sandbox.process import SandboxProcess
from orchestrator.sandbox.wire.content import Message

DATA = b"no real medium, but bytes of it" * 9
VCARD = "BEGIN:VCARD\nVERSION:3.0\nFN:Bob\nTEL:+1\nEND:VCARD"
WITHOUT_SECRET = ("reaction", "edit", "revoke", "vote", "disappearing")


def shown(account: Account, message_id: str) -> Event:
    """Return the event of a message, whatever its kind; a group's keys come under the same id."""

    def wanted(event: Event) -> bool:
        message = event["event_fields"].get("Message", {})
        return event["id"] == message_id and bool(
            set(message) - {"messageContextInfo", "senderKeyDistributionMessage"}
        )

    return account.bot.wait_for("Message", PATIENCE, wanted)


def message_of(event: Event) -> dict[str, Any]:
    """Return the message, as neonize has unwrapped it."""
    return dict(event["event_fields"]["Message"])


def media_kind(field: str, **more: object) -> Callable[[dict[str, Any]], bool]:
    def check(message: dict[str, Any]) -> bool:
        part = message[field]
        return part["fileSHA256"] == base64.b64encode(hashlib.sha256(DATA).digest()).decode() and all(
            part.get(name) == value for name, value in more.items()
        )

    return check


PARTS: list[tuple[str, dict[str, Any], Callable[[dict[str, Any]], bool]]] = [
    ("text", {"text": "Hello"}, lambda m: m["conversation"] == "Hello"),
    ("text", {"text": "Hi", "extended": True}, lambda m: m["extendedTextMessage"]["text"] == "Hi"),
    ("text", {"text": "on", "forwarded": True},
     lambda m: m["extendedTextMessage"]["contextInfo"] == {"isForwarded": True, "forwardingScore": 1}),
    ("text", {"text": "often", "forwarded": 7},
     lambda m: m["extendedTextMessage"]["contextInfo"]["forwardingScore"] == 7),
    ("text", {"text": "gone soon", "expires": 86400},
     lambda m: m["extendedTextMessage"]["contextInfo"]["expiration"] == 86400),
    ("image", {"data": DATA, "caption": "Look", "mime": "image/png"},
     media_kind("imageMessage", caption="Look", mimetype="image/png")),
    ("video", {"data": DATA, "seconds": 7}, media_kind("videoMessage", seconds=7, mimetype="video/mp4")),
    ("video", {"data": DATA, "gif": True}, media_kind("videoMessage", gifPlayback=True)),
    ("video_note", {"data": DATA, "seconds": 5}, media_kind("ptvMessage", seconds=5)),
    ("audio", {"data": DATA, "seconds": 9}, media_kind("audioMessage", seconds=9)),
    ("voice", {"data": DATA, "seconds": 3}, media_kind("audioMessage", PTT=True, seconds=3)),
    ("document", {"data": DATA, "file_name": "a.pdf", "mime": "application/pdf"},
     media_kind("documentMessage", fileName="a.pdf", mimetype="application/pdf")),
    ("document", {"data": DATA, "file_name": "b.pdf", "caption": "B", "wrap": "document_with_caption"},
     media_kind("documentMessage", fileName="b.pdf", caption="B")),
    ("sticker", {"data": DATA, "animated": True}, media_kind("stickerMessage", isAnimated=True)),
    ("image", {"data": DATA, "view_once": True}, media_kind("imageMessage", viewOnce=True)),
    ("voice", {"data": DATA, "view_once": True}, media_kind("audioMessage", viewOnce=True, PTT=True)),
    ("image", {"data": DATA, "expires": 604800, "wrap": "ephemeral"}, media_kind("imageMessage")),
    ("location", {"latitude": 52.5, "longitude": -13.25, "name": "Here", "address": "Street 1"},
     lambda m: m["locationMessage"] == {
         "degreesLatitude": 52.5, "degreesLongitude": -13.25, "name": "Here", "address": "Street 1"}),
    ("live_location", {"latitude": 1.5, "longitude": 2.5, "caption": "on my way"},
     lambda m: m["liveLocationMessage"]["caption"] == "on my way"),
    ("contact", {"name": "Bob", "vcard": VCARD},
     lambda m: m["contactMessage"] == {"displayName": "Bob", "vcard": VCARD}),
    ("contacts", {"contacts": [{"name": "A", "phone": "+4915100009"}, {"name": "B", "vcard": VCARD}]},
     lambda m: [c["displayName"] for c in m["contactsArrayMessage"]["contacts"]] == ["A", "B"]
     and "waid=4915100009" in m["contactsArrayMessage"]["contacts"][0]["vcard"]),
    ("group_invite", {"invite_to": "120363000000000001@g.us", "name": "Team", "code": "abc"},
     lambda m: m["groupInviteMessage"]["inviteCode"] == "abc"),
    ("poll", {"question": "Lunch?", "options": ["yes", "no"]},
     lambda m: [o["optionName"] for o in m["pollCreationMessageV3"]["options"]] == ["yes", "no"]
     and m["pollCreationMessageV3"]["selectableOptionsCount"] == 1),
    ("poll", {"question": "Old?", "options": ["yes", "no"], "version": 1, "select": 0},
     lambda m: m["pollCreationMessage"]["name"] == "Old?"),
    ("buttons", {"text": "Choose", "buttons": ["A", "B"], "footer": "f", "title": "t"},
     lambda m: [b["buttonText"]["displayText"] for b in m["buttonsMessage"]["buttons"]] == ["A", "B"]
     and m["buttonsMessage"]["text"] == "t"),
    ("buttons_response", {"choice": "buttons-1", "text": "A"},
     lambda m: m["buttonsResponseMessage"]["selectedButtonID"] == "buttons-1"),
    ("list", {"text": "Choose", "rows": [{"id": "r1", "text": "Row"}], "button": "Open"},
     lambda m: m["listMessage"]["sections"][0]["rows"] == [{"rowID": "r1", "title": "Row"}]),
    ("list_response", {"choice": "r1", "text": "Row"},
     lambda m: m["listResponseMessage"]["singleSelectReply"] == {"selectedRowID": "r1"}),
    ("template", {"text": "Hello", "buttons": ["A"], "title": "T"},
     lambda m: m["templateMessage"]["hydratedTemplate"]["hydratedButtons"][0]["quickReplyButton"] == {
         "displayText": "A", "ID": "buttons-1"}),
    ("template_response", {"choice": "buttons-1", "text": "A"},
     lambda m: m["templateButtonReplyMessage"]["selectedID"] == "buttons-1"),
    ("interactive", {"text": "Body", "buttons": ["A"], "title": "T", "footer": "F"},
     lambda m: m["interactiveMessage"]["nativeFlowMessage"]["buttons"][0]["name"] == "quick_reply"
     and m["interactiveMessage"]["body"]["text"] == "Body"),
    ("interactive_response", {"choice": "buttons-1", "text": "A"},
     lambda m: m["interactiveResponseMessage"]["nativeFlowResponseMessage"]["name"] == "quick_reply"),
    ("disappearing", {"seconds": 86400},
     lambda m: m["protocolMessage"] == {"type": "EPHEMERAL_SETTING", "ephemeralExpiration": 86400}),
    ("raw", {"message": Message.encode(conversation="raw bytes")},
     lambda m: m["conversation"] == "raw bytes"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "given", "fits"), PARTS, ids=[f"{n}-{p[0]}" for n, p in enumerate(PARTS)])
def test_neonize_decodes_what_a_phone_sends(
    kind: str, given: dict[str, Any], fits: Callable[[dict[str, Any]], bool], alice: Account, ada: Contact
) -> None:
    message = message_of(shown(alice, ada.sandbox.send(ada.number, alice.number, kind, **given)))

    secret = message.pop("messageContextInfo", {}).get("messageSecret", "")
    assert fits(message), message
    has_secret = kind not in (*WITHOUT_SECRET, "raw")
    assert len(base64.b64decode(secret)) == (32 if has_secret else 0)
    # The owner's own phone has it, too, and shows it the same way.
    copy = in_inbox(ada.sandbox, alice.number, shown(alice, message_id_of(alice))["id"])
    assert copy["kind"] in (kind, "text")


def message_id_of(account: Account) -> str:
    """Return the id of the newest message of an account."""
    return str([e["id"] for e in account.bot.events if e["event"] == "Message"][-1])


@pytest.mark.parametrize("group", [False, True], ids=["direct", "group"])
def test_what_is_said_of_earlier_messages(
    group: bool, alice: Account, bob: Account, ada: Contact, sandbox: SandboxProcess
) -> None:
    send = sandbox.client.send
    to = alice.number
    if group:
        members = [alice.number, bob.number]
        to = sandbox.client.make_group(ada.number, "Everything", members)["group"]
    first = send(ada.number, to, text="first")
    shown(alice, first)
    own = alice.write(to if group else ada.number, "by alice")
    ada.gets(own)

    reply = message_of(shown(alice, send(ada.number, to, text="reply", quote=own, mentions=[alice.number])))
    context = reply["extendedTextMessage"]["contextInfo"]
    assert context["stanzaID"] == own
    assert context["participant"] == lid(sandbox.client, alice.number)
    assert context["mentionedJID"] == [lid(sandbox.client, alice.number)]
    assert context["quotedMessage"]["extendedTextMessage"]["text"] == "by alice"

    event = shown(alice, send(ada.number, to, "reaction", of=own, emoji="👍"))
    reaction = message_of(event)["reactionMessage"]
    assert (reaction["text"], reaction["key"]["ID"]) == ("👍", own)
    assert not reaction["key"].get("fromMe")
    assert event["event_fields"]["Info"]["Type"] == "reaction"
    removed = message_of(shown(alice, send(ada.number, to, "reaction", of=own, emoji="")))
    assert removed["reactionMessage"].get("text", "") == ""

    event = shown(alice, send(ada.number, to, "edit", of=first, text="second"))
    assert event["event_fields"]["IsEdit"]
    assert event["event_fields"]["Info"]["Edit"] == "1"
    protocol = message_of(event)["protocolMessage"]
    assert protocol["type"] == "MESSAGE_EDIT"
    assert protocol["key"]["ID"] == first
    assert protocol["editedMessage"]["conversation"] == "second"

    event = shown(alice, send(ada.number, to, "revoke", of=first))
    assert event["event_fields"]["Info"]["Edit"] == "7"
    assert message_of(event)["protocolMessage"]["key"]["ID"] == first
    if group:
        event = shown(alice, send(ada.number, to, "revoke", of=own))  # by the group's admin
        assert event["event_fields"]["Info"]["Edit"] == "8"
        assert message_of(event)["protocolMessage"]["key"]["participant"].startswith(
            lid(sandbox.client, alice.number).partition("@")[0]
        )
    else:
        with pytest.raises(SandboxError, match="only its author"):
            send(ada.number, to, "revoke", of=own)
    with pytest.raises(SandboxError, match="only one's own"):
        send(ada.number, to, "edit", of=own, text="not mine")


@pytest.mark.parametrize("group", [False, True], ids=["direct", "group"])
def test_votes_are_for_neonize_to_read(
    group: bool, alice: Account, ada: Contact, sandbox: SandboxProcess
) -> None:
    send = sandbox.client.send
    to, chat = alice.number, ada.number
    if group:
        to = chat = sandbox.client.make_group(ada.number, "Poll", [alice.number])["group"]
    options = ["yes", "no", "perhaps"]
    theirs = send(ada.number, to, "poll", question="Lunch?", options=options, select=2)
    shown(alice, theirs)
    mine = alice.bot.command(
        "send_poll", to=chat.removeprefix("+"), question="Dinner?", options=options, select=1
    )["id"]
    asked = ada.gets(mine)
    assert (asked["kind"], asked["question"], asked["options"]) == ("poll", "Dinner?", options)

    for poll, chosen in ((theirs, ["yes", "perhaps"]), (mine, ["no"]), (mine, [])):
        vote = send(ada.number, to, "vote", of=poll, options=chosen)
        key = message_of(shown(alice, vote))["pollUpdateMessage"]["pollCreationMessageKey"]
        assert key["ID"] == poll
        hashes = alice.bot.command("decrypt_vote", message=vote)["hashes"]
        assert hashes == [hashlib.sha256(option.encode()).hexdigest() for option in chosen]
    with pytest.raises(SandboxError, match="the poll has no option never"):
        send(ada.number, to, "vote", of=mine, options=["never"])
    with pytest.raises(SandboxError, match="the poll allows 2 options"):
        send(ada.number, to, "vote", of=theirs, options=options)


def test_an_unknown_kind_is_still_a_message(alice: Account, ada: Contact) -> None:
    message_id = ada.sandbox.send(ada.number, alice.number, "unknown")

    event = alice.bot.wait_for("Message", PATIENCE, lambda e: e["id"] == message_id)
    assert set(message_of(event)) == {"messageContextInfo"}


def test_a_business_is_shown_with_its_verified_name(alice: Account, ada: Contact) -> None:
    event = shown(alice, ada.sandbox.send(ada.number, alice.number, text="Welcome", business="Ada's Shop"))

    name = event["event_fields"]["Info"]["VerifiedName"]["Details"]["verifiedName"]
    assert name == "Ada's Shop"


def test_what_the_owner_writes_on_the_phone_reaches_the_linked_device(
    alice: Account, ada: Contact, sandbox: SandboxProcess
) -> None:
    send = sandbox.client.send
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("text", {"text": "from my phone"}),
        ("image", {"data": DATA}),
        ("poll", {"question": "?", "options": ["a", "b"]}),
    ]
    team = sandbox.client.make_group(alice.number, "Own", [ada.number])["group"]
    for to in (ada.number, team):
        for kind, given in kinds:
            event = shown(alice, send(alice.number, to, kind, **given))
            assert event["is_from_me"]
            assert event["chat"] == (team if to == team else lid(sandbox.client, ada.number))
            assert "messageSecret" in message_of(event)["messageContextInfo"]


def test_a_status_post_has_an_address_of_its_own(alice: Account, ada: Contact) -> None:
    event = shown(alice, ada.sandbox.send(ada.number, "status", text="my day", viewers=[alice.number]))

    assert event["chat"] == "status@broadcast"
    assert event["sender"] == lid(ada.sandbox, ada.number)


# What accounts send, as phones show it

SENT: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"conversation": "plain"}, {"kind": "text", "text": "plain"}),
    (
        {"extendedTextMessage": {"text": "on", "contextInfo": {"isForwarded": True, "forwardingScore": 2}}},
        {"kind": "text", "text": "on", "forwarded": 2},
    ),
    (
        {"locationMessage": {"degreesLatitude": 1.5, "degreesLongitude": -2.5, "name": "Here"}},
        {"kind": "location", "latitude": 1.5, "longitude": -2.5, "name": "Here"},
    ),
    (
        {"liveLocationMessage": {"degreesLatitude": 1.5, "degreesLongitude": -2.5, "caption": "c"}},
        {"kind": "live_location", "latitude": 1.5, "longitude": -2.5, "caption": "c"},
    ),
    (
        {"contactMessage": {"displayName": "Bob", "vcard": VCARD}},
        {"kind": "contact", "name": "Bob", "vcard": VCARD},
    ),
    (
        {"contactsArrayMessage": {"contacts": [{"displayName": "Bob", "vcard": VCARD}]}},
        {"kind": "contacts", "contacts": [{"name": "Bob", "vcard": VCARD}]},
    ),
    (
        {
            "buttonsMessage": {
                "contentText": "b",
                "buttons": [{"buttonID": "1", "buttonText": {"displayText": "A"}}],
            }
        },
        {"kind": "buttons", "text": "b", "buttons": [{"id": "1", "text": "A"}]},
    ),
    (
        {"listResponseMessage": {"title": "Row", "singleSelectReply": {"selectedRowID": "r"}}},
        {"kind": "list_response", "choice": "r", "text": "Row"},
    ),
    (
        {"interactiveMessage": {"body": {"text": "i"}, "nativeFlowMessage": {"buttons": []}}},
        {"kind": "interactive", "text": "i", "buttons": []},
    ),
    (
        {
            "ephemeralMessage": {
                "message": {"extendedTextMessage": {"text": "e", "contextInfo": {"expiration": 60}}}
            }
        },
        {"kind": "text", "text": "e", "expires": 60, "wraps": ["ephemeral"]},
    ),
    ({"groupInviteMessage": {"groupJID": "1@g.us", "inviteCode": "c", "groupName": "n"}},
     {"kind": "group_invite", "invite_to": "1@g.us", "code": "c", "name": "n"}),
    (
        {
            "extendedTextMessage": {
                "text": "See https://example.org/a",
                "matchedText": "https://example.org/a",
                "title": "T",
                "description": "D",
                "JPEGThumbnail": base64.b64encode(b"small").decode(),
            }
        },
        {
            "kind": "text",
            "text": "See https://example.org/a",
            "preview": {
                "link": "https://example.org/a",
                "title": "T",
                "description": "D",
                "thumbnail": {"sha256": hashlib.sha256(b"small").hexdigest(), "size": 5},
            },
        },
    ),
    (
        {
            "listMessage": {
                "title": "t",
                "description": "l",
                "buttonText": "Choose",
                "sections": [{"rows": [{"rowID": "r", "title": "Row"}]}],
            }
        },
        {
            "kind": "list",
            "text": "l",
            "title": "t",
            "button": "Choose",
            "rows": [{"id": "r", "text": "Row"}],
        },
    ),
    ({"eventMessage": {"name": "Picnic", "startTime": "1900000000", "description": "d"}},
     {"kind": "event", "name": "Picnic", "starts_at": 1900000000, "text": "d"}),
    ({"albumMessage": {"expectedImageCount": 2}}, {"kind": "album", "images": 2, "videos": 0}),
    ({"stickerPackMessage": {"name": "n", "publisher": "p", "stickers": [{"fileName": "a.webp"}]}},
     {"kind": "sticker_pack", "name": "n", "publisher": "p", "stickers": ["a.webp"]}),
    ({"commentMessage": {"message": {"conversation": "no table"}}}, {"kind": "unsupported", "fields": [77]}),
]  # fmt: skip


@pytest.mark.parametrize(("content", "expected"), SENT, ids=[next(iter(sent[0])) for sent in SENT])
def test_a_phone_shows_what_an_account_sends(
    content: dict[str, Any], expected: dict[str, Any], alice: Account, ada: Contact
) -> None:
    message_id = alice.bot.command("send_proto", to=ada.number.removeprefix("+"), content=content)["id"]

    message = ada.gets(message_id)
    usual = {"seq", "id", "at", "direction", "from", "chat", "group"}
    assert {key: value for key, value in message.items() if key not in usual} == expected


def test_a_phone_shows_what_an_account_says_of_messages(
    alice: Account, ada: Contact, sandbox: SandboxProcess
) -> None:
    theirs = ada.write(alice.number, "to be judged")
    alice.gets(theirs)
    own = alice.write(ada.number, "first")
    ada.gets(own)
    to = ada.number.removeprefix("+")
    chat = lid(sandbox.client, ada.number)
    key = {"remoteJID": chat, "fromMe": True, "ID": own}

    def sent(content: dict[str, Any]) -> dict[str, Any]:
        return ada.gets(alice.bot.command("send_proto", to=to, content=content)["id"])

    named: dict[str, Any] = {**key, "fromMe": False, "ID": theirs}
    reaction = {"key": named, "text": "🎉", "senderTimestampMS": 1}
    shown = sent({"reactionMessage": reaction})
    assert (shown["kind"], shown["of"], shown["emoji"]) == ("reaction", theirs, "🎉")
    since = sandbox.client.last_event()
    for wrong in (
        {**reaction, "key": {**named, "ID": "3EB0NOTHING"}},
        {**reaction, "key": {**named, "fromMe": True}},
        {**reaction, "text": "hear, hear"},
    ):
        ignored = alice.bot.command("send_proto", to=to, content={"reactionMessage": wrong})["id"]
        sandbox.client.wait_for("phone-ignored", PATIENCE, since, phone=ada.number, id=ignored)
        assert ignored not in [one["id"] for one in ada.sandbox.inbox(ada.number)]
    edit = {"key": key, "type": "MESSAGE_EDIT", "editedMessage": {"conversation": "second"}}
    shown = sent({"editedMessage": {"message": {"protocolMessage": edit}}})
    assert (shown["kind"], shown["of"], shown["text"]) == ("edit", own, "second")
    shown = sent({"protocolMessage": {"key": key, "type": "REVOKE"}})
    assert (shown["kind"], shown["of"]) == ("revoke", own)


def test_what_the_owner_does_with_polls_is_seen_on_all_devices(
    alice: Account, ada: Contact, sandbox: SandboxProcess
) -> None:
    poll = ada.sandbox.send(ada.number, alice.number, "poll", question="Lunch?", options=["yes", "no"])
    in_inbox(sandbox.client, alice.number, poll)

    vote = sandbox.client.send(alice.number, ada.number, "vote", of=poll, options=["no"])

    assert ada.gets(vote)["options"] == ["no"]
    event = shown(alice, vote)
    assert event["is_from_me"]
    hashes = alice.bot.command("decrypt_vote", message=vote)["hashes"]
    assert hashes == [hashlib.sha256(b"no").hexdigest()]


@pytest.mark.parametrize("group", [False, True], ids=["direct", "group"])
def test_a_phone_reads_what_an_account_votes(
    group: bool, alice: Account, ada: Contact, sandbox: SandboxProcess
) -> None:
    to = sandbox.client.make_group(ada.number, "Vote", [alice.number])["group"] if group else alice.number
    poll = sandbox.client.send(ada.number, to, "poll", question="Lunch?", options=["yes", "no"], select=2)
    shown(alice, poll)

    chat = to if group else ada.number.removeprefix("+")
    vote = alice.bot.command("vote", to=chat, poll=poll, options=["yes", "no"])["id"]

    assert (ada.gets(vote)["kind"], ada.gets(vote)["options"]) == ("vote", ["yes", "no"])


def test_nobody_writes_as_somebody_else_by_a_copy_for_own_devices(alice: Account, ada: Contact) -> None:
    copy = {"destinationJID": ada.number[1:] + "@s.whatsapp.net", "message": {"conversation": "as Ada"}}
    forged = alice.bot.command("send_proto", to=ada.number[1:], content={"deviceSentMessage": copy})["id"]
    ada.gets(alice.write(ada.number, "that was all"))

    assert forged not in [message["id"] for message in ada.sandbox.inbox(ada.number)]
