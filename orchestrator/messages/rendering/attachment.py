"""What a message of WhatsApp's says about its attachment, read from the protobuf. Pure."""

from __future__ import annotations

from typing import Final

from orchestrator.messages.media import Kind, Reference
from orchestrator.messages.rendering import grammar
from orchestrator.messages.rendering.grammar import Proto

_KINDS: Final[dict[str, Kind]] = {
    "ImageMessage": "image",
    "VideoMessage": "video",
    "AudioMessage": "audio",
    "DocumentMessage": "document",
    "StickerMessage": "sticker",
}


def of_event(event: Proto) -> Reference | None:
    """Return where the attachment of a message lies, None if there is none that is fetched.

    Args:
        event: Neonize_pb2.Message, as the library gives it.
    """
    file = grammar.media(grammar.read(event))
    kind = None if file is None else _KINDS.get(file.DESCRIPTOR.name)
    if file is None or kind is None:
        return None
    return Reference(
        kind=kind,
        direct_path=str(file.directPath),
        key=bytes(file.mediaKey),
        sha256=bytes(file.fileSHA256),
        sealed_sha256=bytes(file.fileEncSHA256),
        size=grammar.size_of(file) or 0,
    )
