"""What clients send, and what becomes of it. The description of the API comes from here.

`sending.wire` decides what can be sent: what is here says it to people and their tools.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Discriminator as Choice
from pydantic import Field, Tag

from orchestrator.accounts import acts
from orchestrator.accounts.attachments import ID as MEDIA_ID
from orchestrator.gateway.http.models import Answer, Chat, Message, Model
from orchestrator.sending import asks, forms
from orchestrator.sending.row import State

Name = Annotated[str, Field(max_length=forms.MAX_NAME)]
Mentions = Annotated[
    list[Chat],
    Field(
        max_length=acts.MAX_MENTIONS,
        description="The people whom the text mentions, by address or number. The text has `@` and the digits"
        " of each.",
    ),
]
Emoji = Annotated[
    str, Field(max_length=acts.MAX_EMOJI, description="One emoji; empty to take a reaction back.")
]
Words = Annotated[str, Field(min_length=1, max_length=acts.MAX_TEXT, description="The text.")]


class ToSend(Model):
    """Something to be sent to a chat."""

    to: Chat = Field(repr=False)
    tag: str | None = Field(
        default=None,
        max_length=forms.MAX_TAG,
        repr=False,
        description="A text of your own: `message.status` events and the outbox have it.",
        examples=["order-4711"],
    )


class Replying(ToSend):
    """Something that may answer a message."""

    reply_to: Message | None = Field(
        default=None, repr=False, description="The id of a stored message of the chat that this answers."
    )


class NewText(Replying):
    """A text."""

    kind: Literal["text"] = Field(default="text", description="What is sent.")
    text: Words = Field(repr=False, examples=["Thank you!"])
    mentions: Mentions = Field(default=[], repr=False)
    link_preview: bool = Field(
        default=False,
        description="Whether the first link of the text is shown with title and picture. The gateway fetches"
        " the page by the rules for links; without an answer, the text goes without a preview.",
    )


class WithFile(Replying):
    """A file: an upload, or what a link leads to."""

    media: str | None = Field(
        default=None,
        pattern=f"^{MEDIA_ID.pattern}$",
        description="The id of an upload: see `POST …/media`.",
        examples=["5577006791947779410"],
    )
    link: str | None = Field(
        default=None,
        min_length=1,
        max_length=forms.MAX_LINK,
        repr=False,
        description="The URL of the file, instead of `media`. Only links to the internet are fetched.",
        examples=["https://example.com/receipt.pdf"],
    )


class WithCaption(WithFile):
    """A file with a text below it."""

    caption: str | None = Field(
        default=None, max_length=forms.MAX_CAPTION, repr=False, description="A text that belongs to the file."
    )
    mentions: Mentions = Field(default=[], repr=False)


class NewImage(WithCaption):
    """A picture: JPEG or PNG."""

    kind: Literal["image"] = Field(description="What is sent.")


class NewVideo(WithCaption):
    """A video: MP4 or 3GPP."""

    kind: Literal["video"] = Field(description="What is sent.")


class NewAudio(WithFile):
    """A sound, such as music."""

    kind: Literal["audio"] = Field(description="What is sent.")


class NewVoice(WithFile):
    """A voice note: Ogg with Opus."""

    kind: Literal["voice"] = Field(description="What is sent.")


class NewDocument(WithCaption):
    """Any file."""

    kind: Literal["document"] = Field(description="What is sent.")
    file_name: Name | None = Field(
        default=None,
        repr=False,
        description="The name that the receiver sees; that of the upload or the link if it is left out.",
        examples=["receipt.pdf"],
    )


class NewSticker(WithFile):
    """A sticker: WebP."""

    kind: Literal["sticker"] = Field(description="What is sent.")


class Place(Model):
    """A place on a map."""

    latitude: float = Field(ge=-90, le=90, repr=False, description="Degrees north.", examples=[52.52])
    longitude: float = Field(ge=-180, le=180, repr=False, description="Degrees east.", examples=[13.405])
    name: Name | None = Field(default=None, repr=False, description="What the place is called.")
    address: str | None = Field(
        default=None, max_length=4 * forms.MAX_NAME, repr=False, description="Its address, for people."
    )


class NewLocation(Replying):
    """A place."""

    kind: Literal["location"] = Field(description="What is sent.")
    location: Place


class ContactCard(Model):
    """Somebody: a name, and numbers or a whole card."""

    name: str = Field(min_length=1, max_length=forms.MAX_NAME, repr=False, description="The name.")
    phones: list[Annotated[str, Field(max_length=40)]] = Field(
        default=[], max_length=forms.MAX_PHONES, repr=False, description="Numbers with +.",
        examples=[["+4915100002"]],
    )  # fmt: skip
    vcard: str | None = Field(
        default=None, max_length=forms.MAX_VCARD, repr=False, description="A vCard, instead of `phones`."
    )


class NewContacts(Replying):
    """One contact or more."""

    kind: Literal["contact"] = Field(description="What is sent.")
    contacts: list[ContactCard] = Field(min_length=1, max_length=forms.MAX_CONTACTS, repr=False)


class Question(Model):
    """A poll."""

    name: str = Field(
        min_length=1, max_length=forms.MAX_QUESTION, repr=False, description="What is asked.",
        examples=["When?"],
    )  # fmt: skip
    options: list[Annotated[str, Field(min_length=1, max_length=forms.MAX_NAME)]] = Field(
        min_length=2, max_length=forms.MAX_OPTIONS, repr=False, description="What can be chosen.",
        examples=[["Today", "Tomorrow"]],
    )  # fmt: skip
    selectable: int = Field(
        default=1, ge=0, le=forms.MAX_OPTIONS, description="How many options one may choose; 0: all."
    )


class NewPoll(Replying):
    """A poll."""

    kind: Literal["poll"] = Field(description="What is sent.")
    poll: Question


class NewReactionMessage(ToSend):
    """A reaction to a message."""

    kind: Literal["reaction"] = Field(description="What is sent.")
    message: Message = Field(repr=False)
    emoji: Emoji = Field(repr=False, examples=["👍"])


class NewEdit(ToSend):
    """Another text in place of one that the account has sent."""

    kind: Literal["edit"] = Field(description="What is sent.")
    message: Message = Field(repr=False)
    text: Words = Field(repr=False)
    mentions: Mentions = Field(default=[], repr=False)


class NewRevocation(ToSend):
    """A message is deleted for everyone."""

    kind: Literal["revocation"] = Field(description="What is sent.")
    message: Message = Field(repr=False)


class NewRead(ToSend):
    """Messages are marked as read."""

    kind: Literal["read"] = Field(description="What is sent.")
    messages: list[Message] = Field(min_length=1, max_length=acts.MAX_MARKED, repr=False)


def _kind(value: Any) -> str | None:  # noqa: ANN401 - a body, before it is checked
    if not isinstance(value, dict) and not hasattr(value, "kind"):
        return None  # no object, which is another error than an unknown kind
    found = value.get("kind", "text") if isinstance(value, dict) else value.kind
    return found if isinstance(found, str) else ""


NewMessage: TypeAlias = Annotated[
    Annotated[NewText, Tag("text")]
    | Annotated[NewImage, Tag("image")]
    | Annotated[NewVideo, Tag("video")]
    | Annotated[NewAudio, Tag("audio")]
    | Annotated[NewVoice, Tag("voice")]
    | Annotated[NewDocument, Tag("document")]
    | Annotated[NewSticker, Tag("sticker")]
    | Annotated[NewLocation, Tag("location")]
    | Annotated[NewContacts, Tag("contact")]
    | Annotated[NewPoll, Tag("poll")]
    | Annotated[NewReactionMessage, Tag("reaction")]
    | Annotated[NewEdit, Tag("edit")]
    | Annotated[NewRevocation, Tag("revocation")]
    | Annotated[NewRead, Tag("read")],
    Choice(_kind),
]
"""A message, by its kind; without one, a text."""


class InChat(Model):
    """The chat of a message."""

    chat: Chat = Field(repr=False)


class NewReaction(InChat):
    """A reaction to a message."""

    emoji: str = Field(
        max_length=acts.MAX_EMOJI,
        repr=False,
        description="One emoji; empty to take a reaction back.",
        examples=["👍"],
    )


class Edited(InChat):
    """Another text for a message."""

    text: Words = Field(repr=False, examples=["Thank you very much!"])
    mentions: Mentions = Field(default=[], repr=False)


class Row(Answer):
    """A row of the outbox: something that is or was to be sent. Times are in UTC."""

    row: int = Field(description="Its number, from 1 on.", examples=[17])
    id: str | None = Field(
        description="The message's id at WhatsApp, which `message.status` events name; null while unknown.",
        examples=["3EB0A1B2C3D4E5F60718"],
    )
    to: str = Field(description="The chat.")
    kind: str = Field(description="What is sent.", examples=["text"])
    state: str = Field(
        description=f"{', '.join(f'`{one}`' for one in State)}. Later versions may have more words.",
        examples=["queued"],
    )
    created_at: str = Field(description="When it was taken in.")
    changed_at: str = Field(description="When its state changed last.")
    expires_at: str = Field(description="Until when it may be sent.")
    queued_until: str | None = Field(
        default=None, description="When it is sent at the earliest; null if nobody knows or nothing keeps it."
    )
    pace: str | None = Field(default=None, description="How well the chat is known: `reply`, `known`, `new`.")
    code: int | None = Field(default=None, description="WhatsApp's number for why it failed.", examples=[463])
    why: str | None = Field(default=None, description="Why it failed, waits or is unknown, for people.")
    tag: str | None = Field(default=None, description="The client's own text.")


class Outbox(Answer):
    """Rows of an outbox, in order."""

    rows: list[Row]
    last: int = Field(description="Ask with `after=` this number for the next ones.", examples=[17])
    more: bool = Field(description="Whether there are more already.")


class Uploaded(Answer):
    """A file that can be sent by its id, for 30 days."""

    id: str = Field(description="Its id, for `media`.", examples=["5577006791947779410"])
    mime_type: str = Field(description="Its type, by its first bytes.", examples=["image/png"])
    size: int = Field(description="Its bytes.")
    sha256: str = Field(description="Its hash, in hexadecimal digits.")
    file_name: str | None = Field(default=None, description="What it is called.")


class Member(Answer):
    """Somebody in a group."""

    id: str = Field(description="The address.")
    phone: str | None = Field(default=None, description="The number, if it is known.")
    role: str = Field(default="member", description="`member`, `admin`, or `owner` of who made the group.")


class Group(Answer):
    """A group."""

    id: str = Field(description="The group's address: its chat.", examples=["120363041234567890@g.us"])
    subject: str = Field(description="What it is called.")
    description: str | None = Field(default=None, description="What it says of itself.")
    created_at: int | None = Field(default=None, description="When it was made, in Unix seconds.")
    owner: str | None = Field(default=None, description="Who made it.")
    only_admins_write: bool = Field(default=False, description="Whether only admins may write.")
    only_admins_change: bool = Field(default=False, description="Whether only admins may change it.")
    disappearing_after: int | None = Field(
        default=None, description="Seconds after which its messages vanish; null: never."
    )
    member_count: int = Field(description="How many are in it.")
    members: list[Member] | None = Field(default=None, description="Who is in it: only for one group.")


class Groups(Answer):
    """The groups that the account is in."""

    groups: list[Group]
    groups_left_out: int = Field(default=0, description="Groups that did not fit into the answer.")


class OneGroup(Answer):
    """A group and its members."""

    group: Group


class ChangedMember(Member):
    """What became of one whom a change was about."""

    done: bool = Field(description="Whether it was done.")
    code: int | None = Field(default=None, description="WhatsApp's number for why not.", examples=[403])


class ChangedMembers(Answer):
    """What became of those whom a change was about."""

    members: list[ChangedMember]


class InviteLink(Answer):
    """The link by which people join a group."""

    link: str = Field(description="The link.", examples=["https://chat.whatsapp.com/AbCdEfGhIjK"])


class Number(Answer):
    """Whether a number is on WhatsApp."""

    number: str = Field(description="The number.", examples=["+4915100002"])
    exists: bool = Field(description="Whether it is.")
    id: str | None = Field(default=None, description="The address by which WhatsApp knows it.")


class Numbers(Answer):
    """Which numbers are on WhatsApp, in the order of the question."""

    numbers: list[Number]


People = Annotated[
    list[Chat],
    Field(max_length=asks.MAX_MEMBERS, description="People, by address or number."),
]


class NewGroup(Model):
    """A group to be made."""

    subject: str = Field(
        min_length=1, max_length=asks.MAX_SUBJECT, repr=False, description="What it is called."
    )
    members: People = Field(default=[], repr=False)


class MembersChange(Model):
    """A change of who is in a group, and with which rights."""

    change: Literal["add", "remove", "promote", "demote"] = Field(
        description="`promote` makes them admins, `demote` makes them members."
    )
    members: People = Field(min_length=1, repr=False)


class NewSubject(Model):
    """Another subject."""

    subject: str = Field(min_length=1, max_length=asks.MAX_SUBJECT, repr=False, description="The subject.")


class NewDescription(Model):
    """Another description."""

    description: str = Field(
        max_length=asks.MAX_DESCRIPTION, repr=False, description="The description; empty to take it away."
    )


class Invite(Model):
    """The link of a group."""

    reset: bool = Field(default=False, description="Whether the link is made anew: the old one is void then.")
