"""Bots: handlers in Python for what happens in chats. docs/bots.md tells how to write one."""

from orchestrator.bots.actions import Answer, Done, File, Sent, Typing
from orchestrator.bots.bot import Bot
from orchestrator.bots.contents import (
    Audio,
    Contact,
    Content,
    Document,
    Image,
    Location,
    Poll,
    Sticker,
    Video,
    Voice,
)
from orchestrator.bots.errors import ActionError, Reject, Retry, Skip
from orchestrator.bots.events import (
    Chat,
    ChatEvent,
    Delivery,
    Edit,
    Event,
    Kind,
    Media,
    Message,
    Person,
    Quoted,
    Reaction,
    Revocation,
    Status,
)
from orchestrator.bots.groups import Changed, Found, Group, Groups, Member

__all__ = [
    "ActionError", "Answer", "Audio", "Bot", "Changed", "Chat", "ChatEvent", "Contact", "Content",
    "Delivery", "Document", "Done", "Edit", "Event", "File", "Found", "Group", "Groups", "Image", "Kind",
    "Location", "Media", "Member", "Message", "Person", "Poll", "Quoted", "Reaction", "Reject", "Retry",
    "Revocation", "Sent", "Skip", "Status", "Sticker", "Typing", "Video", "Voice",
]  # fmt: skip
