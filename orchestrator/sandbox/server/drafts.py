"""What the kinds of message are built from, and what they are before they are encrypted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from orchestrator.sandbox.crypto.media import MediaKind
from orchestrator.sandbox.server.fields import Field
from orchestrator.sandbox.wire import content
from orchestrator.sandbox.wire.content import Message
from orchestrator.sandbox.wire.jid import JID
from orchestrator.sandbox.wire.proto import ProtoError

Fields: TypeAlias = dict[str, Any]
"""The fields of a message, as `Kind.encode` takes them."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """A message that a phone knows.

    Attributes:
        id: The message's id.
        chat: Where the message is.
        author: Who wrote the message: a person's hidden address.
        own: Whether the phone's owner wrote the message.
        plain: The message, as protobuf.
        at: When the message was sent, in Unix seconds; 0 if the phone has forgotten that.
    """

    id: str
    chat: str
    author: JID
    own: bool
    plain: bytes
    at: float = 0.0

    @property
    def message(self) -> Any:  # noqa: ANN401 - protobuf
        """The message without wrappers; an empty one if its bytes are no message, as raw ones can be."""
        return unwrapped(self._decoded)

    @property
    def secret(self) -> bytes:
        """The message's secret, empty if it has none."""
        return bytes(self._decoded.message_context_info.message_secret)

    @property
    def _decoded(self) -> Any:  # noqa: ANN401 - protobuf
        try:
            return Message.decode(self.plain)
        except ProtoError:
            return Message.decode(b"")


class Desk(Protocol):
    """What building a message needs of the phone that writes.

    Attributes:
        chat: Where the message goes.
        own: The hidden address of the phone's owner.
    """

    chat: JID
    own: JID

    def upload(self, kind: MediaKind, data: bytes) -> Fields:
        """Keep an attachment, encrypted; return the fields that describe it."""

    def earlier(self, message_id: str) -> Earlier | None:
        """Return a message that the phone has sent or received."""

    def address(self, number: str) -> JID:
        """Return the hidden address of a number."""

    def is_admin(self) -> bool:
        """Tell whether the phone's owner is an admin of the chat, a group."""

    def expiry(self) -> int:
        """Return the seconds after which messages of the chat disappear; 0 if they stay."""

    def now(self) -> float:
        """Return the present time, in seconds."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What a kind's function returns."""

    fields: Fields
    kind: str = "text"
    edit: str = ""
    media_type: str = ""
    meta: Mapping[str, str] = field(default_factory=dict)
    peer: bool = False
    has_secret: bool = True


Build: TypeAlias = Callable[[Field, Desk], Draft]


def unwrapped(message: Any) -> Any:  # noqa: ANN401 - protobuf
    """Return the message that is in a message, however deep."""
    while (wrapper := next((name for name in content.WRAPPERS if message.HasField(name)), None)) is not None:
        message = getattr(message, wrapper).message
    return message


def given_texts(given: Field, *names: str) -> dict[str, str]:
    """Return those texts that are there."""
    return {name: text for name in names if (text := given.words(name))}
