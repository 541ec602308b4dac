"""Where the file of a message lies, as the message says: for every kind, in every wrapper, and never once."""

from __future__ import annotations

import pytest
from support import protobufs
from support.protobufs import Message, Proto, e2e, event

from orchestrator.messages.media import Kind, Reference
from orchestrator.messages.rendering import attachment

PART = {
    "URL": "https://evil.example/v?x",
    "directPath": "/v/file?x=1",
    "mediaKey": b"k" * 32,
    "fileSHA256": b"h" * 32,
    "fileEncSHA256": b"e" * 32,
    "fileLength": 17,
}
PARTS: dict[str, tuple[Kind, Proto]] = {
    "imageMessage": ("image", e2e.ImageMessage(**PART)),
    "videoMessage": ("video", e2e.VideoMessage(**PART)),
    "ptvMessage": ("video", e2e.VideoMessage(**PART)),
    "audioMessage": ("audio", e2e.AudioMessage(**PART, PTT=True)),
    "documentMessage": ("document", e2e.DocumentMessage(**PART, fileName="../../etc/passwd")),
    "stickerMessage": ("sticker", e2e.StickerMessage(**PART)),
}
WRAPPERS = ("ephemeralMessage", "documentWithCaptionMessage", "editedMessage", "groupMentionedMessage")
ONCE = ("viewOnceMessage", "viewOnceMessageV2", "viewOnceMessageV2Extension")


def message(name: str) -> Proto:
    return Message(**{name: PARTS[name][1]})


@pytest.mark.parametrize("wrapper", [None, *WRAPPERS])
@pytest.mark.parametrize("name", PARTS)
def test_every_kind_is_found_in_every_wrapper(name: str, wrapper: str | None) -> None:
    inner = message(name)
    whole = inner if wrapper is None else Message(**{wrapper: e2e.FutureProofMessage(message=inner)})
    wanted = Reference(PARTS[name][0], "/v/file?x=1", b"k" * 32, b"h" * 32, b"e" * 32, 17)
    assert attachment.of_event(event(whole)) == wanted


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("wrapper", ONCE)
def test_what_may_be_opened_once_is_not_fetched(name: str, wrapper: str) -> None:
    whole = Message(**{wrapper: e2e.FutureProofMessage(message=message(name))})
    assert attachment.of_event(event(whole)) is None


@pytest.mark.parametrize("flag", ["IsViewOnce", "IsViewOnceV2", "IsViewOnceV2Extension"])
@pytest.mark.parametrize("name", PARTS)
def test_nor_if_the_library_has_taken_the_wrapper_off(name: str, flag: str) -> None:
    assert attachment.of_event(event(message(name), **{flag: True})) is None


@pytest.mark.parametrize("name", ["imageMessage", "videoMessage", "audioMessage"])
def test_nor_if_the_message_itself_says_so(name: str) -> None:
    whole = message(name)
    getattr(whole, name).viewOnce = True
    assert attachment.of_event(event(whole)) is None


@pytest.mark.parametrize(
    "whole",
    [
        Message(conversation="text"),
        Message(extendedTextMessage=e2e.ExtendedTextMessage(text="x", JPEGThumbnail=b"x")),
        Message(reactionMessage=e2e.ReactionMessage(text="x")),
        Message(),
    ],
)
def test_a_message_without_a_file(whole: Proto) -> None:
    assert attachment.of_event(event(whole)) is None


def test_what_a_sender_left_out_is_empty() -> None:
    found = attachment.of_event(event(Message(imageMessage=e2e.ImageMessage())))
    assert found == Reference("image", "", b"", b"", b"", 0)


def test_a_size_beyond_all_measure_is_a_number_all_the_same() -> None:
    whole = Message(imageMessage=e2e.ImageMessage(**{**PART, "fileLength": 2**64 - 1}))
    found = attachment.of_event(event(whole))
    assert found is not None
    assert found.size >= 2**62


def test_it_reads_what_was_stored() -> None:
    raw = event(message("audioMessage")).SerializeToString()
    assert attachment.of_event(protobufs.neonize.Message.FromString(raw)) is not None
