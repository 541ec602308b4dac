"""Messages as the library gives them, built with neonize's own classes, without neonize around them."""

from __future__ import annotations

import sys
from typing import Any, TypeAlias

from orchestrator.worker.library import protobufs

Proto: TypeAlias = Any

neonize: Any = protobufs.load()
e2e: Any = sys.modules["waE2E.WAWebProtobufsE2E_pb2"]
Message: Any = e2e.Message

ADA = "269139479534551@lid"
GROUP = "120363000000000001@g.us"
ME = "200000000000001@lid"


def jid(address: str) -> Proto:
    user, _, server = address.partition("@")
    return neonize.JID(User=user, Server=server, RawAgent=0, Device=0, Integrator=0)


def source(chat: str = ADA, sender: str = ADA, *, from_me: bool = False, sender_alt: str = "@") -> Proto:
    return neonize.MessageSource(
        Chat=jid(chat),
        Sender=jid(sender),
        IsFromMe=from_me,
        IsGroup=chat.endswith("@g.us"),
        AddressingMode=neonize.LID,
        SenderAlt=jid(sender_alt),
        RecipientAlt=jid("@"),
        BroadcastListOwner=jid("@"),
    )


def info(message_id: str = "3EB0A1", where: Proto = None, *, name: str = "Ada", category: str = "") -> Proto:
    return neonize.MessageInfo(
        MessageSource=source() if where is None else where,
        ID=message_id,
        ServerID=0,
        Type="text",
        Pushname=name,
        Timestamp=1_764_323_999,
        Category=category,
        Multicast=False,
        MediaType="",
        Edit="",
    )


def event(message: Proto = None, about: Proto = None, **flags: bool) -> Proto:
    """Return what the library gives for a message, without the wrappers that the library takes off."""
    values = dict.fromkeys(
        (
            "IsEphemeral",
            "IsViewOnce",
            "IsViewOnceV2",
            "IsViewOnceV2Extension",
            "IsDocumentWithCaption",
            "IsLottieSticker",
            "IsEdit",
        ),
        False,
    )
    made = neonize.Message(
        Info=info() if about is None else about, UnavailableRequestID="", RetryCount=0, **{**values, **flags}
    )
    if message is not None:
        made.Message.CopyFrom(message)
        made.Raw.CopyFrom(message)
    return made


def wrapped(name: str, message: Proto) -> Proto:
    outer = Message()
    getattr(outer, name).message.CopyFrom(message)
    return outer
