"""What phones ignore: what fits no message that they know, or is not what its stanza announces. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from orchestrator.sandbox.server.contents import (
    ADMIN_REVOKE,
    CAPTIONED,
    EDIT,
    EDIT_WINDOW,
    MAX_OPTIONS,
    POLLS,
    SENDER_REVOKE,
)
from orchestrator.sandbox.server.drafts import Earlier, unwrapped
from orchestrator.sandbox.server.store import Person
from orchestrator.sandbox.wire.jid import GROUP, JID

Part: TypeAlias = Any
"""A protobuf message."""

MAX_EMOJI = 40
"""Characters of an emoji."""
PIN: Final = "2"
"""What a stanza that pins says in ``edit``."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Where and how a message has come, and what the phone knows.

    Attributes:
        sender: Who has sent the message: a person's hidden address.
        chat: Where: a group, or the hidden address of the person to whom the phone would answer.
        type: The stanza's ``type``.
        edit: The stanza's ``edit``.
        media_type: What ``mediatype`` says of an attachment.
        now: The present time, in Unix seconds.
        people: Finds somebody by an address.
        is_admin: Whether the sender is an admin of the group.
    """

    sender: JID
    chat: JID
    type: str
    edit: str
    media_type: str
    now: float
    people: Callable[[str], Person | None]
    is_admin: bool = False


def flaw(message: Part, shown: Mapping[str, Any], earlier: Earlier | None, scene: Scene) -> str:
    """Return why a phone shows nothing of a message, empty if the phone shows it.

    Args:
        message: The message, as protobuf.
        shown: What `orchestrator.sandbox.server.reading` says of it.
        earlier: The message that it is about, None if there is none, or the phone does not know it.
        scene: Where and how it has come.
    """
    kind = shown["kind"]
    stanzas = _STANZAS.get(kind)
    if stanzas is not None and (scene.type, scene.media_type) not in stanzas:
        return f"the stanza announces {scene.type} {scene.media_type}".rstrip() + f", and not {kind}"
    if scene.edit not in _EDITS.get(kind, ("",)):
        return "the stanza does not say what is done to the earlier message"
    inner = unwrapped(message)
    match kind:
        case "reaction":
            return flaw_of_reaction(inner.reaction, earlier, scene.sender, scene.chat, scene.people)
        case "edit":
            return _flaw_of_edit(inner.protocol, shown, earlier, scene)
        case "revoke":
            return _flaw_of_revocation(inner.protocol.key, earlier, scene)
        case "vote":
            return _flaw_of_vote(inner.poll_update, shown, earlier, scene)
        case "pin" | "unpin":
            return _unknown(earlier, scene)
        case "poll":
            return _flaw_of_poll(shown)
        case "location" | "live_location":
            on_earth = abs(shown["latitude"]) <= 90 and abs(shown["longitude"]) <= 180
            return "" if on_earth else "there is no such place"
    return ""


def _unknown(earlier: Earlier | None, scene: Scene) -> str:
    if earlier is None:
        return "the phone does not know the message"
    return "" if earlier.chat == str(scene.chat) else "the message is in another chat"


def flaw_of_reaction(
    reaction: Part,
    earlier: Earlier | None,
    sender: JID,
    chat: JID,
    people: Callable[[str], Person | None],
) -> str:
    """Return why a phone shows nothing of a reaction, empty if the phone shows it.

    Args:
        reaction: The reaction.
        earlier: The message that it names, None if the phone does not know it.
        sender: Who has sent the reaction.
        chat: Where: a group, or the hidden address of the person to whom the phone would answer.
        people: Finds somebody by an address.
    """
    key = reaction.key
    if earlier is None:
        return "the phone does not know the message"
    if earlier.chat != str(chat):
        return "the message is in another chat"
    is_own = earlier.author == sender.bare
    if key.from_me != is_own:
        return "the key names another author"
    if chat.server == GROUP:
        if key.remote_jid != str(chat):
            return "the key names another chat"
        if not is_own and not _names(key.participant, earlier.author, people):
            return "the key does not name the participant who has written the message"
    elif people(key.remote_jid) is None:
        return "the key names no chat"
    return "" if is_emoji(reaction.text) else "no emoji"


def _names(address: str, author: JID, people: Callable[[str], Person | None]) -> bool:
    named = people(address)
    return named is not None and named == people(str(author))


def _flaw_of_edit(protocol: Part, shown: Mapping[str, Any], earlier: Earlier | None, scene: Scene) -> str:
    if (why := _unknown(earlier, scene)) or earlier is None:
        return why
    if earlier.author != scene.sender.bare:
        return "only its author edits a message"
    if not protocol.key.from_me:
        return "the key names another author"
    if earlier.at and scene.now - earlier.at > EDIT_WINDOW:
        return f"a message can be edited for {EDIT_WINDOW / 60:.0f} minutes"
    old, new = _editable(earlier.message), _editable(unwrapped(protocol.edited_message))
    if not old:
        return "only texts and captions can be edited"
    return "" if old == new and shown["text"] else "the new message is of another kind"


def _editable(message: Part) -> str:
    """Return what can be edited of a message: its text, or the caption of that field; else nothing."""
    if message.HasField("conversation") or message.HasField("extended_text"):
        return "text"
    return next((name for name in CAPTIONED if message.HasField(name)), "")


def _flaw_of_revocation(key: Part, earlier: Earlier | None, scene: Scene) -> str:
    if (why := _unknown(earlier, scene)) or earlier is None:
        return why
    own = earlier.author == scene.sender.bare
    if own != key.from_me or (scene.edit == SENDER_REVOKE) != own:
        return "the key or the stanza names another author"
    if own:
        return ""
    if scene.chat.server != GROUP or not scene.is_admin:
        return "only its author and a group's admins delete a message"
    return "" if _names(key.participant, earlier.author, scene.people) else "the key names another author"


def _flaw_of_vote(update: Part, shown: Mapping[str, Any], earlier: Earlier | None, scene: Scene) -> str:
    if (why := _unknown(earlier, scene)) or earlier is None:
        return why
    if "error" in shown:
        return str(shown["error"])
    if update.poll_creation_message_key.from_me != (earlier.author == scene.sender.bare):
        return "the key names another author"
    message = earlier.message
    poll = next(getattr(message, name) for name in POLLS if message.HasField(name))
    chosen = set(shown["options"])
    if chosen - {option.option_name for option in poll.options}:
        return "the poll has no such option"
    return "" if len(chosen) <= (poll.selectable_options_count or len(chosen)) else "too many options"


def _flaw_of_poll(shown: Mapping[str, Any]) -> str:
    options = shown["options"]
    if not shown["question"] or not 1 < len(options) <= MAX_OPTIONS:
        return f"a poll has a question and from 2 to {MAX_OPTIONS} options"
    if len(set(options)) < len(options) or "" in options:
        return "the options of a poll are different texts"
    return "" if shown["select"] <= len(options) else "a vote cannot choose more options than there are"


def is_emoji(text: str) -> bool:
    """Tell whether a text can be an emoji, or takes a reaction back."""
    plain = any(one.isascii() and not (one.isdigit() or one in "#*") for one in text)
    return not text or (len(text) <= MAX_EMOJI and not text.isascii() and not plain)


_TEXT: Final = ("text", "")
_STANZAS: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "text": (_TEXT, ("media", "url")),
    "image": (("media", "image"),),
    "video": (("media", "video"), ("media", "gif")),
    "audio": (("media", "audio"),),
    "voice": (("media", "ptt"),),
    "document": (("media", "document"),),
    "sticker": (("media", "sticker"),),
    "contact": (("media", "vcard"),),
    "contacts": (("media", "contact_array"),),
    "list": (("media", "list"),),
    "list_response": (("media", "list_response"),),
    "location": (_TEXT, ("media", "location")),
    "live_location": (_TEXT, ("media", "livelocation")),
    "reaction": (("reaction", ""),),
    "poll": (_TEXT, ("poll", "")),
    "vote": (("poll", ""),),
    "edit": (_TEXT,),
    "revoke": (_TEXT,),
}
"""The ``type`` and ``mediatype`` with which WhatsApp's clients and whatsmeow send a kind of message."""
_EDITS: Final[Mapping[str, tuple[str, ...]]] = {
    "edit": (EDIT,),
    "revoke": (SENDER_REVOKE, ADMIN_REVOKE),
    "reaction": ("", SENDER_REVOKE),  # one that is taken back
    "pin": (PIN,),
    "unpin": (PIN,),
}
"""What a stanza says in ``edit``, of the kinds that are about another message; of all others, nothing."""
