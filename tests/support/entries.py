"""Entries of an inbox as an account's process stores them, one for everything that can be in one."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any, cast

from support.protobufs import (
    ADA,
    GROUP,
    ME,
    Message,
    Proto,
    event,
    info,
    jid,
    neonize,
    source,
    wrapped,
)

from orchestrator.messages.entry import Source, Stored

AT = 1_764_323_999.0
STORED_AT = 1_764_324_000.123
GRACE = "4915100003@s.whatsapp.net"
SHA256 = hashlib.sha256(b"file").digest()
KEY = {"ID": "3EB0ORIGINAL", "remoteJID": ADA}
MEDIA_ID = "4611686018427387905"
VCARD = "BEGIN:VCARD\nVERSION:3.0\nFN:Grace\nTEL;type=CELL;waid=4915100003:+49 151 00003\nEND:VCARD"
CONTEXT = {
    "stanzaID": "3EB0QUOTED",
    "participant": "4915100003:12@s.whatsapp.net",
    "mentionedJID": [ADA, "4915100003@s.whatsapp.net", ADA],
    "isForwarded": True,
    "forwardingScore": 5,
    "expiration": 604_800,
}


def an_entry(
    raw: bytes = b"",
    source: str = "message",
    chat: str = ADA,
    sender: str = ADA,
    id: str = "3EB0A1",  # noqa: A002 - as the entry has it
    notes: Mapping[str, Any] | None = None,
) -> Stored:
    """Return an entry of the inbox."""
    return Stored(cast("Source", source), chat, sender, id, AT, raw, notes or {}, seq=17, stored_at=STORED_AT)


def of(
    message: Proto = None, about: Proto = None, *, notes: dict[str, Any] | None = None, **flags: bool
) -> Stored:
    """Return the entry of a message in a chat with one person."""
    return an_entry(
        event(message, about, **flags).SerializePartialToString(), notes={} if notes is None else notes
    )


def a_file(**more: object) -> dict[str, object]:
    return {
        "mimetype": "image/jpeg",
        "fileSHA256": SHA256,
        "fileLength": 4,
        "mediaKey": b"k" * 32,
        "directPath": "/v/t62",
        **more,
    }


def poll(name: str = "pollCreationMessageV3") -> Proto:
    made = {"name": "When?", "options": [{"optionName": "Monday"}, {"optionName": "Tuesday"}]}
    return Message(**{name: {**made, "selectableOptionsCount": 1}})


def hashed(*options: str) -> list[str]:
    return [base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in options]


def node(tag: str, *inside: Proto) -> Proto:
    return neonize.Node(Tag=tag, Nodes=inside)


def call_meta() -> Proto:
    made = neonize.BasicCallMeta(
        callID="CALL1", timestamp=int(AT), callCreator=jid(ADA), callCreatorAlt=jid("@")
    )
    getattr(made, "from").CopyFrom(jid(ADA))
    return made


def _group_change() -> Proto:
    made = neonize.GroupInfoEvent(
        JID=jid(GROUP),
        Notify="Ada",
        Sender=jid(ADA),
        Timestamp=int(AT),
        PrevParticipantsVersionID="1",
        ParticipantVersionID="2",
        JoinReason="invite",
        NewInviteLink="https://chat.whatsapp.com/secret",
        Join=[jid(ME)],
        Promote=[jid(ADA), jid(ADA)],
        UnknownChanges=[node("color")],
    )
    made.Name.Name = "Chess"
    made.Topic.Topic = "Openings\nand ends"
    made.Ephemeral.IsEphemeral = True
    made.Ephemeral.DisappearingTimer = 86_400
    made.Announce.IsAnnounce = True
    made.Locked.isLocked = False
    return made


def _joined_group() -> Proto:
    made = neonize.JoinedGroup(Reason="invite", Type="new", CreateKey="", Sender=jid(ADA))
    group = made.GroupInfo
    group.JID.CopyFrom(jid(GROUP))
    group.GroupName.Name = "Chess"
    group.GroupTopic.Topic = "Openings"
    group.GroupAnnounce.IsAnnounce = False
    group.GroupLocked.isLocked = True
    group.GroupEphemeral.DisappearingTimer = 0
    group.Participants.extend([neonize.GroupParticipant(JID=jid(ADA)), neonize.GroupParticipant(JID=jid(ME))])
    return made


def _business() -> Proto:
    made = info(name="Chess Club")
    made.VerifiedName.Details.verifiedName = "Chess Club Ltd."
    return made


def a_receipt(kind: str) -> Stored:
    made = neonize.Receipt(
        MessageSource=source(), MessageIDs=["3EB0OURS", "3EB0OTHER"], Timestamp=int(AT), Type=kind
    )
    return an_entry(made.SerializePartialToString(), "receipt", id="3EB0OURS", notes={"status": kind.lower()})


ENTRIES: dict[str, Stored] = {
    "text": of(Message(conversation="Hello"), info(where=source(sender_alt="4915100002@s.whatsapp.net"))),
    "text_extended": of(
        Message(extendedTextMessage={"text": "Hello @4915100003", "contextInfo": CONTEXT}),
        notes={"phones": {ADA: "+4915100002"}, "names": {ADA: "Ada Lovelace"}},
    ),
    "text_in_group": an_entry(
        event(Message(conversation="Hello"), info(where=source(GROUP, ADA))).SerializePartialToString(),
        chat=GROUP,
        notes={"phones": {ADA: "+4915100002"}, "names": {GROUP: "Chess"}},
    ),
    "text_of_ours": an_entry(
        event(
            Message(conversation="Hello"), info(where=source(ADA, ME, from_me=True))
        ).SerializePartialToString(),
        sender=ME,
        notes={"phones": {ADA: "+4915100002", ME: "+4915100001"}},
    ),
    "text_by_number": an_entry(
        event(
            Message(conversation="Hello"), info(where=source(GRACE, GRACE), name="")
        ).SerializePartialToString(),
        chat=GRACE,
        sender=GRACE,
    ),
    "text_of_business": of(Message(conversation="Hello"), _business()),
    "text_disappearing": of(
        wrapped(
            "ephemeralMessage",
            Message(extendedTextMessage={"text": "Hello", "contextInfo": {"expiration": 86_400}}),
        )
    ),
    "image": of(
        Message(imageMessage=a_file(caption="Look\nhere", JPEGThumbnail=b"\xff\xd8thumbnail")),
        notes={"media": MEDIA_ID},
    ),
    "video": of(
        Message(videoMessage=a_file(mimetype="video/mp4", caption="Look")), notes={"media": MEDIA_ID}
    ),
    "video_gif": of(Message(videoMessage=a_file(mimetype="video/mp4", gifPlayback=True))),
    "video_round": of(Message(ptvMessage=a_file(mimetype="video/mp4"))),
    "audio": of(Message(audioMessage=a_file(mimetype="audio/mp4"))),
    "voice": of(
        Message(audioMessage=a_file(mimetype="audio/ogg; codecs=opus", PTT=True)), notes={"media": MEDIA_ID}
    ),
    "document": of(
        Message(documentMessage=a_file(mimetype="application/pdf", fileName="../../etc/passwd")),
        notes={"media": MEDIA_ID},
    ),
    "document_with_caption": of(
        wrapped(
            "documentWithCaptionMessage",
            Message(documentMessage=a_file(mimetype="application/pdf", fileName="Bill.pdf", caption="Bill")),
        )
    ),
    "sticker": of(Message(stickerMessage=a_file(mimetype="image/webp"))),
    "sticker_animated": of(
        wrapped(
            "lottieStickerMessage", Message(stickerMessage=a_file(mimetype="image/webp", isAnimated=True))
        )
    ),
    "location": of(
        Message(
            locationMessage={
                "degreesLatitude": 52.5163,
                "degreesLongitude": 13.3777,
                "name": "Gate",
                "address": "Pariser Platz, Berlin",
                "comment": "Here",
            }
        )
    ),
    "location_live": of(
        Message(
            liveLocationMessage={
                "degreesLatitude": -33.8,
                "degreesLongitude": 151.2,
                "accuracyInMeters": 12,
                "caption": "On my way",
            }
        )
    ),
    "contact": of(Message(contactMessage={"displayName": "Grace", "vcard": VCARD})),
    "contacts": of(
        Message(
            contactsArrayMessage={
                "displayName": "2 contacts",
                "contacts": [{"displayName": "Grace", "vcard": VCARD}, {"displayName": "Nobody"}],
            }
        )
    ),
    "poll": of(poll()),
    "poll_v4": of(wrapped("pollCreationMessageV4", poll())),
    "poll_vote": of(
        Message(pollUpdateMessage={"pollCreationMessageKey": KEY}), notes={"vote": hashed("Tuesday", "Never")}
    ),
    "poll_vote_encrypted": of(Message(pollUpdateMessage={"pollCreationMessageKey": KEY})),
    "reaction": of(Message(reactionMessage={"key": KEY, "text": "\N{THUMBS UP SIGN}"})),
    "reaction_removed": of(Message(reactionMessage={"key": KEY, "text": ""})),
    "edit": of(
        Message(
            protocolMessage={
                "type": "MESSAGE_EDIT",
                "key": KEY,
                "editedMessage": {"extendedTextMessage": {"text": "Better", "contextInfo": CONTEXT}},
            }
        ),
        IsEdit=True,
    ),
    "edit_of_caption": of(
        wrapped(
            "editedMessage",
            Message(
                protocolMessage={
                    "type": "MESSAGE_EDIT",
                    "key": KEY,
                    "editedMessage": {"imageMessage": {"caption": "Better"}},
                }
            ),
        )
    ),
    "revocation": of(Message(protocolMessage={"type": "REVOKE", "key": KEY})),
    "view_once": of(
        wrapped("viewOnceMessageV2", Message(imageMessage=a_file(caption="Secret"))),
        notes={"media": MEDIA_ID},
    ),
    "buttons": of(
        Message(
            buttonsMessage={
                "imageMessage": a_file(),
                "contentText": "Which one?",
                "footerText": "Answer soon",
                "buttons": [
                    {"buttonID": "a", "buttonText": {"displayText": "This"}},
                    {"buttonID": "b", "buttonText": {"displayText": "That"}},
                ],
            }
        )
    ),
    "buttons_response": of(
        Message(buttonsResponseMessage={"selectedButtonID": "b", "selectedDisplayText": "That"})
    ),
    "list": of(
        Message(
            listMessage={
                "title": "Menu",
                "description": "Which one?",
                "sections": [{"title": "Soups", "rows": [{"title": "Tomato", "rowID": "1"}]}],
            }
        )
    ),
    "list_response": of(
        Message(listResponseMessage={"title": "Tomato", "singleSelectReply": {"selectedRowID": "1"}})
    ),
    "template": of(
        Message(
            templateMessage={
                "hydratedTemplate": {
                    "hydratedTitleText": "Order",
                    "hydratedContentText": "On its way",
                    "hydratedButtons": [
                        {"quickReplyButton": {"displayText": "Thanks", "ID": "t"}},
                        {"urlButton": {"displayText": "Track", "URL": "https://example.org"}},
                    ],
                }
            }
        )
    ),
    "template_reply": of(
        Message(templateButtonReplyMessage={"selectedID": "t", "selectedDisplayText": "Thanks"})
    ),
    "template_of_rows": of(
        Message(
            templateMessage={
                "fourRowTemplate": {
                    "highlyStructuredMessage": {"params": ["Order"]},
                    "content": {"params": ["On its way", "today"]},
                }
            }
        )
    ),
    "interactive": of(
        Message(
            interactiveMessage={
                "header": {"title": "Order"},
                "body": {"text": "Which one?"},
                "nativeFlowMessage": {
                    "buttons": [
                        {"name": "quick_reply", "buttonParamsJSON": '{"display_text": "This", "id": "a"}'},
                        {"name": "cta_url", "buttonParamsJSON": "[[["},
                    ]
                },
            }
        )
    ),
    "interactive_response": of(
        Message(
            interactiveResponseMessage={
                "body": {"text": "This"},
                "nativeFlowResponseMessage": {"name": "quick_reply", "paramsJSON": '{"id": "a"}'},
            }
        )
    ),
    "structured": of(Message(highlyStructuredMessage={"elementName": "order", "params": ["Ada", "42"]})),
    "unsupported": of(
        Message(stickerPackMessage={"name": "Cats", "contextInfo": {"stanzaID": "3EB0QUOTED"}})
    ),
    "unsupported_field": an_entry(event(Message.FromString(b"\xca\x3e\x02hi")).SerializePartialToString()),
    "unreadable": an_entry(b"\xff\xff\xff"),
    "status": a_receipt("DELIVERED"),
    "status_read": a_receipt("READ"),
    "status_sent": an_entry(
        source="receipt",
        sender=ME,
        id="3EB0OURS",
        notes={"status": "sent", "phones": {ADA: "+4915100002", ME: "+4915100001"}},
    ),
    "status_failed": an_entry(
        source="receipt",
        id="x0123456789abcdef0123456789abcdef",
        notes={"status": "failed", "row": 17, "tag": "order 7", "code": 463, "why": "WhatsApp refuses it"},
    ),
    "status_with_strange_notes": an_entry(
        source="receipt",
        id="3EB0OURS",
        notes={"status": "failed", "row": 0, "tag": 5, "code": True, "why": ["x"]},
    ),
    "status_sent_to_a_group": an_entry(
        source="receipt", chat=GROUP, sender=ME, id="3EB0OURS", notes={"status": "sent"}
    ),
    "lost": an_entry(source="lost", notes={"phones": {ADA: "+4915100002"}}),
    "undecryptable": an_entry(
        neonize.UndecryptableMessage(
            Info=info(), IsUnavailable=True, DecryptFailMode="DECRYPT_FAIL_SHOW"
        ).SerializePartialToString(),
        "undecryptable",
    ),
    "call": an_entry(
        neonize.CallOffer(
            basicCallMeta=call_meta(),
            callRemoteMeta={"remotePlatform": "android", "remoteVersion": "2"},
            data=node("offer", node("audio"), node("video")),
        ).SerializePartialToString(),
        "call",
        id="CALL1",
    ),
    "call_notice": an_entry(
        neonize.CallOfferNotice(
            basicCallMeta=call_meta(), media="audio", type="group", data=node("offer_notice")
        ).SerializePartialToString(),
        "call_notice",
        id="CALL1",
    ),
    "group_changed": an_entry(_group_change().SerializePartialToString(), "group", chat=GROUP, id="G1"),
    "group_joined": an_entry(_joined_group().SerializePartialToString(), "joined", chat=GROUP, id="G2"),
}
"""By what they are."""
