from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.protobufs import ADA, GROUP, Message, e2e, event, info, source

from orchestrator.messages.rendering.grammar import MAX_DEPTH, Kind, Place, facts, media, read, size_of

KEY = {"ID": "3EB0", "remoteJID": ADA}
SENDER_KEY = e2e.SenderKeyDistributionMessage(groupID=GROUP, axolotlSenderKeyDistributionMessage=b"key")
WRAPPERS = [
    field.name
    for field in Message.DESCRIPTOR.fields
    if field.message_type is not None and field.message_type.name == "FutureProofMessage"
]


def wrapped(name: str, message: object) -> object:
    outer = Message()
    getattr(outer, name).message.CopyFrom(message)
    return outer


@pytest.mark.parametrize(
    ("message", "kind", "name"),
    [
        (Message(conversation="Hello"), Kind.TEXT, "conversation"),
        (Message(extendedTextMessage={"text": "Hello"}), Kind.TEXT, "extendedTextMessage"),
        (Message(imageMessage={"caption": "Hello"}), Kind.IMAGE, "imageMessage"),
        (Message(audioMessage={}), Kind.AUDIO, "audioMessage"),
        (Message(audioMessage={"PTT": True}), Kind.VOICE, "audioMessage"),
        (Message(ptvMessage={}), Kind.VIDEO, "ptvMessage"),
        (Message(pollCreationMessageV3={"name": "When?"}), Kind.POLL, "pollCreationMessageV3"),
        (Message(pollUpdateMessage={"pollCreationMessageKey": KEY}), Kind.POLL_VOTE, "pollUpdateMessage"),
        (Message(reactionMessage={"key": KEY, "text": "x"}), Kind.REACTION, "reactionMessage"),
        (Message(reactionMessage={"key": KEY}), Kind.REACTION, "reactionMessage"),
        (Message(reactionMessage={}), Kind.UNSUPPORTED, "reactionMessage"),
        (Message(protocolMessage={"type": "REVOKE", "key": KEY}), Kind.REVOCATION, "protocolMessage"),
        (Message(protocolMessage={"key": KEY}), Kind.REVOCATION, "protocolMessage"),
        (
            Message(
                protocolMessage={"type": "MESSAGE_EDIT", "key": KEY, "editedMessage": {"conversation": "x"}}
            ),
            Kind.EDIT,
            "protocolMessage",
        ),
        (
            Message(protocolMessage={"type": "HISTORY_SYNC_NOTIFICATION"}),
            Kind.HOUSEKEEPING,
            "protocolMessage",
        ),
        (Message(protocolMessage={"type": "EPHEMERAL_SETTING"}), Kind.HOUSEKEEPING, "protocolMessage"),
        (Message(stickerPackMessage={}), Kind.UNSUPPORTED, "stickerPackMessage"),
        (Message(), Kind.NOTHING, ""),
        (Message(conversation=""), Kind.TEXT, "conversation"),
    ],
)
def test_a_message_is_known_by_its_field(message: object, kind: Kind, name: str) -> None:
    found = facts(event(message))

    assert (found.kind, found.name, found.place) == (kind, name, Place.CHAT)


@pytest.mark.parametrize(
    "beside",
    [
        {"senderKeyDistributionMessage": SENDER_KEY},
        {"fastRatchetKeySenderKeyDistributionMessage": SENDER_KEY},
        {"messageContextInfo": {"messageSecret": b"s" * 32}},
        {"senderKeyDistributionMessage": SENDER_KEY, "messageContextInfo": {"deviceListMetadataVersion": 2}},
    ],
)
def test_a_key_of_a_group_is_no_message_and_hides_none(beside: dict[str, object]) -> None:
    alone = facts(event(Message(**beside)))
    with_text = facts(event(Message(conversation="Hello", **beside)))

    assert (alone.kind, alone.is_message) == (Kind.NOTHING, False)
    assert (with_text.kind, with_text.is_message) == (Kind.TEXT, True)


def test_a_wrapped_key_is_no_message_either() -> None:
    key = Message(senderKeyDistributionMessage=SENDER_KEY)
    assert facts(event(wrapped("ephemeralMessage", key))).kind is Kind.NOTHING


@pytest.mark.parametrize("padding", [b"", b"p" * 70_000])
def test_what_a_later_version_sends_is_named_by_its_number_and_stored(padding: bytes) -> None:
    beside = Message(senderKeyDistributionMessage=SENDER_KEY)
    beside.messageContextInfo.paddingBytes = padding
    unknown = b"\xca\x3e\x02hi"  # field 1001
    found = facts(event(Message.FromString(beside.SerializeToString() + unknown)))

    assert (found.kind, found.is_message) == (Kind.UNSUPPORTED, True)
    assert found.name == ("unknown" if padding else "field1001")


@pytest.mark.parametrize("padding", [b"", b"p" * 70_000])
def test_an_unknown_field_beside_a_secret_is_no_message(padding: bytes) -> None:
    inner = e2e.MessageContextInfo(paddingBytes=padding).SerializeToString() + b"\xca\x3e\x02hi"
    context = e2e.MessageContextInfo.FromString(inner)

    assert facts(event(Message(messageContextInfo=context))).kind is Kind.NOTHING


def test_a_type_that_is_not_known_is_no_revocation() -> None:
    protocol = e2e.ProtocolMessage(key=KEY).SerializeToString() + b"\x10\xe7\x07"  # 999 as the type
    found = facts(event(Message(protocolMessage=e2e.ProtocolMessage.FromString(protocol))))

    assert (found.kind, found.is_message) == (Kind.UNSUPPORTED, True)


@pytest.mark.parametrize(
    ("chat", "category", "place", "is_message"),
    [
        (ADA, "", Place.CHAT, True),
        (GROUP, "", Place.CHAT, True),
        ("status@broadcast", "", Place.STATUS, False),
        ("1764000000@broadcast", "", Place.BROADCAST, True),
        ("120363000000000002@newsletter", "", Place.NEWSLETTER, False),
        (ADA, "peer", Place.PEER, False),
    ],
)
def test_the_place_decides_whether_it_is_a_message(
    chat: str, category: str, place: Place, is_message: bool
) -> None:
    found = facts(event(Message(conversation="Hello"), info(where=source(chat), category=category)))

    assert (found.place, found.is_message) == (place, is_message)


@pytest.mark.parametrize("wrapper", ["groupStatusMessage", "groupStatusMessageV2"])
def test_a_status_post_of_a_group_is_no_message(wrapper: str) -> None:
    found = facts(event(wrapped(wrapper, Message(conversation="Hello")), info(where=source(GROUP))))

    assert (found.place, found.is_message) == (Place.STATUS, False)


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_wrapper_is_taken_off_or_named(wrapper: str) -> None:
    found = facts(event(wrapped(wrapper, Message(conversation="Hello"))))

    assert found.name in ("conversation", wrapper)
    assert (found.kind is Kind.TEXT) == (found.name == "conversation")


def test_wrappers_are_taken_off_in_any_order_up_to_a_limit() -> None:
    message = Message(imageMessage={"caption": "Hello"})
    for _ in range(MAX_DEPTH // 2 - 1):
        message = wrapped("viewOnceMessage", wrapped("ephemeralMessage", message))
    assert facts(event(message)).kind is Kind.IMAGE

    for _ in range(2):
        message = wrapped("ephemeralMessage", message)
    assert (facts(event(message)).kind, facts(event(message)).name) == (Kind.UNSUPPORTED, "tooManyWrappers")


def test_what_the_library_left_wrapped_is_read_from_the_raw_message() -> None:
    came = event()
    came.Raw.deviceSentMessage.message.conversation = "Hello"

    assert facts(came).kind is Kind.TEXT


@pytest.mark.parametrize(
    ("message", "size"),
    [
        (Message(imageMessage={"fileLength": 7}), 7),
        (Message(videoMessage={"fileLength": 2**64 - 1}), 2**63 - 1),
        (Message(stickerMessage={}), None),
        (Message(documentMessage={"fileLength": 0}), 0),
        (Message(buttonsMessage={"imageMessage": {"fileLength": 7}}), 7),
        (Message(templateMessage={"hydratedTemplate": {"documentMessage": {"fileLength": 7}}}), 7),
        (Message(templateMessage={"hydratedFourRowTemplate": {"videoMessage": {"fileLength": 7}}}), 7),
        (
            Message(
                templateMessage={
                    "interactiveMessageTemplate": {"header": {"imageMessage": {"fileLength": 7}}}
                }
            ),
            7,
        ),
        (Message(interactiveMessage={"header": {"videoMessage": {"fileLength": 7}}}), 7),
    ],
)
def test_a_file_is_found_with_its_size(message: object, size: int | None) -> None:
    file = media(read(event(message)))

    assert facts(event(message)).media
    assert size_of(file) == size


@pytest.mark.parametrize(
    "came",
    [
        event(Message(conversation="Hello")),
        event(Message(buttonsMessage={"text": "Hello"})),
        event(Message(templateMessage={})),
        event(Message(interactiveMessage={"body": {"text": "Hello"}})),
        event(Message(imageMessage={"viewOnce": True})),
        event(Message(imageMessage={}), IsViewOnce=True),
        event(Message(videoMessage={}), IsViewOnceV2=True),
        event(Message(audioMessage={}), IsViewOnceV2Extension=True),
        event(wrapped("viewOnceMessageV2Extension", Message(audioMessage={}))),
        event(wrapped("viewOnceMessage", Message(buttonsMessage={"imageMessage": {}}))),
    ],
)
def test_a_text_has_no_file_and_what_may_be_opened_once_is_not_fetched(came: object) -> None:
    assert not facts(came).media


@given(st.binary(max_size=200), st.booleans())
def test_no_bytes_of_a_peer_upset_the_grammar(data: bytes, view_once: bool) -> None:
    came = event(IsViewOnce=view_once)
    try:
        came.Message.MergeFromString(data)
    except Exception:  # noqa: BLE001 - the library hands on what is a message only
        return
    found = facts(came)

    assert found.is_message == (found.kind not in (Kind.NOTHING, Kind.HOUSEKEEPING))
