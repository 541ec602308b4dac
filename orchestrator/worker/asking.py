"""Does what an account is asked to do at once: shows that it writes, and deals with groups and numbers.

It is done in a thread of its own, because the library waits for WhatsApp's answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol, TypeAlias

from orchestrator.accounts.acts import Activity, Fate
from orchestrator.messages.allow import PERSON
from orchestrator.sending import asks
from orchestrator.worker import addresses, send_errors

Json: TypeAlias = dict[str, Any]

_STATUS: Final = re.compile(r"(?:status|error|code) (\d{3})\b")
_TOO_MANY: Final = "WhatsApp refuses it: too much was asked in a short time"
_GROUPS: Final = {
    401: "the account may not do that in this group",
    403: "the account is not in this group, or may not do that there",
    404: "there is no such group",
    406: "WhatsApp does not accept that for a group",
    409: "the group is in that state already",
    410: "the group is gone, or its link was reset",
    419: "the group is full",
    429: _TOO_MANY,
}
_OTHERS: Final = {429: _TOO_MANY}
_BEFORE: Final = (
    ("websocket not connected", send_errors.NOT_CONNECTED),
    ("store doesn't contain a device JID", send_errors.NOT_CONNECTED),
    ("can't send presence without PushName", "the account has no profile name yet, which WhatsApp asks for"),
    ("not participating in that group", "the account is not in this group"),
    ("you're not participating", "the account is not in this group"),
    ("group does not exist", "there is no such group"),
    ("no LID found", "this number is not on WhatsApp"),
)
"""A part of what is raised before anything is done, and our words."""


class Groups(Protocol):
    """The library's calls about groups; see `library.groups`. They block, and raise what they like."""

    def listed(self) -> list[asks.Group]:
        """Return the groups that the account is in."""

    def show(self, group: str) -> asks.Group:
        """Return a group with its members."""

    def create(self, subject: str, members: tuple[str, ...]) -> asks.Group:
        """Make a group."""

    def leave(self, group: str) -> None:
        """Leave a group."""

    def change(self, group: str, change: asks.Change, members: tuple[str, ...]) -> list[asks.Member]:
        """Add people to a group or remove them, or give them rights or take the rights away."""

    def set_subject(self, group: str, subject: str) -> None:
        """Give a group another subject."""

    def set_description(self, group: str, description: str) -> None:
        """Give a group another description."""

    def invite(self, group: str, *, reset: bool) -> str:
        """Return the link by which people join a group, a new one if wanted."""


class Library(addresses.Library, Protocol):
    """What is needed of the library; see `library.client`. Its calls block, and raise what they like."""

    @property
    def groups(self) -> Groups:
        """The calls about groups."""

    def show_typing(self, chat: str, *, writes: bool, records: bool) -> None:
        """Show in a chat that the account writes or records, or does not."""

    def is_on_whatsapp(self, numbers: tuple[str, ...]) -> list[asks.Found]:
        """Ask whether numbers, in digits, are on WhatsApp."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of it.

    Attributes:
        fate: What became of it.
        code: WhatsApp's number for why it was not done, None without one.
        about: Why it was not done, in plain words; empty if it was.
        result: The answer in the words of a client, None if it was not done.
    """

    fate: Fate
    code: int | None = None
    about: str = ""
    result: Json | None = field(default=None, repr=False)


def answer(library: Library, ask: asks.Ask) -> Answer:
    """Do it, and say what became of it, whatever the library raises."""
    try:
        return Answer(Fate.DONE, result=do(library, ask))
    except Exception as error:  # noqa: BLE001 - whatever it is, it may quote what was asked
        return refusal(
            str(error) or type(error).__name__, is_group=not isinstance(ask, asks.Typing | asks.LookUp)
        )


def refusal(error: str, *, is_group: bool) -> Answer:
    """Say what became of what the library has raised an error about.

    Args:
        error: What its call raised; it may hold numbers and texts.
        is_group: Whether a group was asked for.
    """
    if (found := _STATUS.search(error)) is not None:
        code = int(found[1])
        words = _GROUPS if is_group else _OTHERS
        return Answer(Fate.FAILED, code, words.get(code, f"WhatsApp refuses it (error {code})"))
    for part, why in _BEFORE:
        if part in error:
            return Answer(Fate.FAILED, None, why)
    return Answer(Fate.UNKNOWN, None, "WhatsApp did not answer in time; it may have been done all the same")


def do(library: Library, ask: asks.Ask) -> Json:
    """Do it; return the answer in the words of a client.

    Raises:
        Exception: Whatever the library raises.
    """
    match ask:
        case asks.Typing(chat, state):
            writes, records = state is not Activity.PAUSED, state is Activity.RECORDING
            library.show_typing(addresses.usual(library, chat), writes=writes, records=records)
        case asks.ListGroups():
            return asks.groups_answer(library.groups.listed())
        case asks.ShowGroup(group):
            return asks.group_answer(library.groups.show(group))
        case asks.CreateGroup(subject, members):
            return asks.group_answer(library.groups.create(subject, _numbers(library, members)))
        case asks.LeaveGroup(group):
            library.groups.leave(group)
        case asks.ChangeMembers(group, change, members):
            changed = library.groups.change(group, change, members)
            return asks.members_answer([_with_number(library, one) for one in changed])
        case asks.SetSubject(group, subject):
            library.groups.set_subject(group, subject)
        case asks.SetDescription(group, description):
            library.groups.set_description(group, description)
        case asks.Invite(group, reset):
            return {"link": library.groups.invite(group, reset=reset)}
        case asks.LookUp(numbers):
            return asks.numbers_answer(library.is_on_whatsapp(numbers))
    return {}


def _with_number(library: Library, member: asks.Member) -> asks.Member:
    """Return somebody with the number, if it is known: WhatsApp's word about a change has addresses only."""
    names = addresses.names_of(library, member.id) if member.phone is None else ()
    number = next((name for name in names if name.endswith(f"@{PERSON}")), None)
    return member if number is None else replace(member, phone=number.partition("@")[0])


def _numbers(library: Library, members: tuple[str, ...]) -> tuple[str, ...]:
    """Return people's numbers where they are known: a group is made of numbers."""
    return tuple(
        next((name for name in addresses.names_of(library, one) if name.endswith(f"@{PERSON}")), one)
        for one in members
    )
