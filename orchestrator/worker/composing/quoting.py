"""Quotes: what is shown of a message that another one answers."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from google.protobuf.message import DecodeError

from orchestrator.messages.entry import Stored
from orchestrator.messages.rendering import classes

Proto: TypeAlias = Any
"""A protobuf of the library's, which ship without types."""

MAX_QUOTE: Final = 64 << 10
"""Bytes of a quoted message. A larger one is quoted without its pictures, or without what it said."""
_PICTURES: Final = ("JPEGThumbnail", "pngThumbnail", "scansSidecar", "midQualityFileSHA256")
_NOT_QUOTED: Final = (
    "messageContextInfo",
    "senderKeyDistributionMessage",
    "fastRatchetKeySenderKeyDistributionMessage",
)


def empty() -> Proto:
    """Return a message that says nothing yet."""
    return type(classes.get().Message().Message)()


def quotation(message: Proto) -> Proto:
    """Return what is shown of a message that is quoted: what it says, and nothing about other messages."""
    shown = empty()
    shown.CopyFrom(message)
    for name in _NOT_QUOTED:
        shown.ClearField(name)
    _take_out(shown, ("contextInfo",))
    if shown.ByteSize() > MAX_QUOTE:
        _take_out(shown, _PICTURES)
    if shown.ByteSize() > MAX_QUOTE or not shown.ListFields():
        shown = empty()
        shown.conversation = ""
    return shown


def said(stored: Stored) -> Proto:
    """Return the message that an entry of the inbox has, an empty one if nobody can read it."""
    event = _event(stored)
    # What lacks a field that it must have can be read, but neither copied nor sent.
    return event.Message if event is not None and event.Message.IsInitialized() else empty()


def is_own(stored: Stored) -> bool:
    """Tell whether the account itself has written a stored message."""
    event = _event(stored)
    return event is not None and bool(event.Info.MessageSource.IsFromMe)


def context_of(message: Proto) -> Proto | None:
    """Return what a message says of others, such as how long it is shown; None if it says nothing."""
    for field, part in message.ListFields():
        if field.message_type is None or field.is_repeated:
            continue
        if "contextInfo" in field.message_type.fields_by_name and part.HasField("contextInfo"):
            return part.contextInfo
    return None


def _take_out(message: Proto, names: tuple[str, ...]) -> None:
    for field, part in message.ListFields():
        if field.message_type is not None and not field.is_repeated:
            for name in names:
                if name in field.message_type.fields_by_name:
                    part.ClearField(name)


def _event(stored: Stored) -> Proto | None:
    try:
        return classes.get().Message.FromString(stored.raw)
    except DecodeError:
        return None
