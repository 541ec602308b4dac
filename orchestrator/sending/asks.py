"""What an account does at once when it is asked, and never queues: its words, and those of the answers. Pure.

A client asks in JSON (see docs/protocol.md). What it says comes from outside, and an answer may be shown to
others than who asked: the errors name the field that is wrong, and never quote it. Whatever WhatsApp answers
comes from outside, too: the answers here have bounds, so that each fits into one message on the pipe.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, TypeAlias

from orchestrator.accounts import outgoing, phones
from orchestrator.accounts.acts import PERSON, Activity, BadAct, check_chat

Json: TypeAlias = dict[str, Any]

MAX_SUBJECT: Final = 100
"""Characters of a group's subject, as WhatsApp's clients allow."""
MAX_DESCRIPTION: Final = 2048
"""Characters of a group's description, likewise."""
MAX_MEMBERS: Final = 100
"""People who are added, removed or given rights at once."""
MAX_NUMBERS: Final = 50
"""Numbers that are looked up at once. WhatsApp counts look-ups."""
MAX_RESULT: Final = outgoing.MAX_RESULT
"""Bytes that an answer takes within a message on the pipe."""
_MAX_ASK: Final = 32 * 1024


class Kind(StrEnum):
    """What is done."""

    TYPING = "typing"
    GROUPS = "groups"
    GROUP = "group"
    GROUP_CREATE = "group_create"
    GROUP_LEAVE = "group_leave"
    GROUP_MEMBERS = "group_members"
    GROUP_SUBJECT = "group_subject"
    GROUP_DESCRIPTION = "group_description"
    GROUP_INVITE = "group_invite"
    NUMBERS = "numbers"


class Change(StrEnum):
    """What becomes of people in a group."""

    ADD = "add"
    REMOVE = "remove"
    PROMOTE = "promote"
    """They govern the group."""
    DEMOTE = "demote"
    """They do not any more."""


@dataclass(frozen=True, slots=True)
class Typing:
    """Show in a chat that the account writes or records, or does no longer."""

    chat: str = field(repr=False)
    state: Activity


@dataclass(frozen=True, slots=True)
class ListGroups:
    """List the groups that the account is in."""


@dataclass(frozen=True, slots=True)
class ShowGroup:
    """Show a group and its members."""

    group: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class CreateGroup:
    """Make a group."""

    subject: str = field(repr=False)
    members: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class LeaveGroup:
    """Leave a group."""

    group: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ChangeMembers:
    """Add people to a group or remove them, or give them rights or take the rights away."""

    group: str = field(repr=False)
    change: Change
    members: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class SetSubject:
    """Give a group another subject."""

    group: str = field(repr=False)
    subject: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SetDescription:
    """Give a group another description; an empty one takes it away."""

    group: str = field(repr=False)
    description: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Invite:
    """Get the link by which people join a group. `reset` makes a new one, and the old one is void."""

    group: str = field(repr=False)
    reset: bool = False


@dataclass(frozen=True, slots=True)
class LookUp:
    """Ask whether numbers, in digits, are on WhatsApp."""

    numbers: tuple[str, ...] = field(repr=False)


Ask: TypeAlias = (
    Typing
    | ListGroups
    | ShowGroup
    | CreateGroup
    | LeaveGroup
    | ChangeMembers
    | SetSubject
    | SetDescription
    | Invite
    | LookUp
)


def kind(ask: Ask) -> Kind:
    """Return what is done."""
    return _KINDS[type(ask)]


def changes_nothing(ask: Ask) -> bool:
    """Tell whether who may only read may ask this. A link that brings people into a group is no reading."""
    return isinstance(ask, ListGroups | ShowGroup | LookUp)


def parse(asked: object) -> Ask:
    """Return what a client asks an account to do at once.

    Args:
        asked: What its JSON holds: an object with `kind`, and what the kind takes.

    Raises:
        BadAct: The request is something else. The keys `bad_number` and `bad_text` say so of a number with +
            and of a text.
    """
    if not isinstance(asked, Mapping):
        raise BadAct("the action must be an object")
    name = asked.get("kind")
    if not isinstance(name, str) or name not in _READERS:
        raise BadAct(f"kind must be one of {', '.join(_READERS)}")
    read, known = _READERS[Kind(name)]
    if asked.keys() - known - {"kind"}:
        takes = ", ".join(sorted(known)) or "nothing else"
        raise BadAct(f"an action of kind {name} takes only {takes}")
    return read(asked)


def from_text(body: str) -> Ask:
    """Return what `as_text` wrote.

    Raises:
        BadAct: It is something else.
    """
    try:
        asked = json.loads(body) if len(body) <= _MAX_ASK else None
    except (ValueError, RecursionError):
        raise BadAct("the action is not JSON") from None
    return parse(asked)


def as_json(ask: Ask) -> Json:
    """Return it in the words of a client."""
    found: Json = {"kind": str(kind(ask))}
    match ask:
        case Typing(chat, state):
            found |= {"chat": chat, "state": str(state)}
        case CreateGroup(subject, members):
            found |= {"subject": subject, "members": [*members]}
        case ShowGroup(group) | LeaveGroup(group):
            found["group"] = group
        case ChangeMembers(group, change, members):
            found |= {"group": group, "change": str(change), "members": [*members]}
        case SetSubject(group, subject):
            found |= {"group": group, "subject": subject}
        case SetDescription(group, description):
            found |= {"group": group, "description": description}
        case Invite(group, reset):
            found |= {"group": group, "reset": reset}
        case LookUp(numbers):
            found["numbers"] = [f"+{one}" for one in numbers]
    return found


def as_text(ask: Ask) -> str:
    """Return it as JSON in one line, for `from_text`.

    Raises:
        BadAct: It is too long, all in all.
    """
    body = json.dumps(as_json(ask), ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    if len(body) > _MAX_ASK:
        raise BadAct("the action is too long, all in all")
    return body


# Answers


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody in a group.

    Attributes:
        id: The address.
        phone: The digits of the number, None if it is not known.
        role: ``member``, ``admin``, or ``owner`` of who made the group.
        refused: WhatsApp's number for why a change of this one was not made, None if it was made or none was
            asked.
    """

    id: str = field(repr=False)
    phone: str | None = field(default=None, repr=False)
    role: str = "member"
    refused: int | None = None

    def as_json(self) -> Json:
        """Return it as clients see it."""
        return {"id": self.id, "phone": None if self.phone is None else f"+{self.phone}", "role": self.role}


@dataclass(frozen=True, slots=True)
class Group:
    """A group.

    Attributes:
        id: The address.
        subject: Its subject.
        description: Its description.
        created_at: When it was made, in Unix seconds, 0 if that is not known.
        owner: The address of who made it.
        only_admins_write: Whether only those who govern it may write.
        only_admins_change: Whether only they may change its subject, picture and description.
        vanishing: Seconds after which its messages vanish, 0: never.
        members: Who is in it.
    """

    id: str = field(repr=False)
    subject: str = field(default="", repr=False)
    description: str = field(default="", repr=False)
    created_at: float = 0.0
    owner: str | None = field(default=None, repr=False)
    only_admins_write: bool = False
    only_admins_change: bool = False
    vanishing: int = 0
    members: tuple[Member, ...] = field(default=(), repr=False)

    def as_json(self, *, members: bool) -> Json:
        """Return it as clients see it, with its members or how many there are."""
        found: Json = {
            "id": self.id,
            "subject": self.subject[:MAX_SUBJECT],
            "description": self.description[:MAX_DESCRIPTION] or None,
            "created_at": int(self.created_at) or None,
            "owner": self.owner,
            "only_admins_write": self.only_admins_write,
            "only_admins_change": self.only_admins_change,
            "disappearing_after": self.vanishing or None,
            "member_count": len(self.members),
        }
        if members:
            found["members"] = [one.as_json() for one in self.members]
        return found


@dataclass(frozen=True, slots=True)
class Found:
    """Whether a number is on WhatsApp.

    Attributes:
        number: Its digits.
        exists: Whether it is.
        id: The address by which WhatsApp knows it, None if it is not there.
    """

    number: str = field(repr=False)
    exists: bool
    id: str | None = field(default=None, repr=False)


def groups_answer(groups: Sequence[Group]) -> Json:
    """Return the answer to `ListGroups`: as many groups as fit, and how many were left out."""
    shown = sorted(groups, key=lambda group: group.id)
    return _fitting("groups", [group.as_json(members=False) for group in shown])


def group_answer(group: Group) -> Json:
    """Return the answer to `ShowGroup` and `CreateGroup`: as many members as fit."""
    found = group.as_json(members=True)
    listed = _fitting("members", found.pop("members"), found)
    return {"group": found | listed}


def members_answer(members: Sequence[Member]) -> Json:
    """Return the answer to `ChangeMembers`: of each whether it was done."""
    return {
        "members": [
            {**one.as_json(), "done": one.refused is None, "code": one.refused}
            for one in members[:MAX_MEMBERS]
        ]
    }


def numbers_answer(found: Sequence[Found]) -> Json:
    """Return the answer to `LookUp`, in the order of the question."""
    return {
        "numbers": [
            {"number": f"+{one.number}", "exists": one.exists, "id": one.id} for one in found[:MAX_NUMBERS]
        ]
    }


def result_text(result: Json) -> str:
    """Return an answer as JSON in one line, for `results.read`."""
    return json.dumps(result, ensure_ascii=False, separators=(",", ":"))


def _fitting(name: str, listed: list[Json], beside: Json | None = None) -> Json:
    room = MAX_RESULT - 1024 - _written(beside or {})
    fitting: list[Json] = []
    for one in listed:
        room -= _written(one)
        if room < 0:
            break
        fitting.append(one)
    return {name: fitting, f"{name}_left_out": len(listed) - len(fitting)}


def _written(part: Json) -> int:
    """Return how many bytes a part of an answer takes within a message on the pipe, which is ASCII."""
    return len(json.dumps(result_text(part)))


# Reading


def _typing(asked: Mapping[str, Any]) -> Typing:
    state = asked.get("state")
    if not isinstance(state, str) or state not in list(Activity):
        raise BadAct(f"state must be one of {', '.join(Activity)}")
    return Typing(check_chat(asked.get("chat")), Activity(state))


def _create(asked: Mapping[str, Any]) -> CreateGroup:
    return CreateGroup(_subject(asked), _members(asked))


def _change(asked: Mapping[str, Any]) -> ChangeMembers:
    change = asked.get("change")
    if not isinstance(change, str) or change not in list(Change):
        raise BadAct(f"change must be one of {', '.join(Change)}")
    members = _members(asked)
    if not members:
        raise BadAct("members must name at least one")
    return ChangeMembers(_group(asked), Change(change), members)


def _description(asked: Mapping[str, Any]) -> SetDescription:
    return SetDescription(_group(asked), _words(asked, "description", MAX_DESCRIPTION))


def _invite(asked: Mapping[str, Any]) -> Invite:
    reset = asked.get("reset", False)
    if not isinstance(reset, bool):
        raise BadAct("reset must be true or false")
    return Invite(_group(asked), reset)


def _look_up(asked: Mapping[str, Any]) -> LookUp:
    numbers = _listed(asked, "numbers", MAX_NUMBERS)
    if not numbers:
        raise BadAct("numbers must name at least one number")
    return LookUp(tuple(dict.fromkeys(_number(one) for one in numbers)))


def _number(value: object) -> str:
    try:
        return phones.parse(value if isinstance(value, str) else "")
    except phones.NotANumber:
        raise BadAct(f"each of numbers must be {phones.EXPECTED}", key="bad_number") from None


def _group(asked: Mapping[str, Any]) -> str:
    value = asked.get("group")
    if not isinstance(value, str) or not value.endswith("@g.us"):
        raise BadAct("group must be the address of a group, as `chat.id` of a message has it")
    return check_chat(value, "group")


def _subject(asked: Mapping[str, Any]) -> str:
    subject = _words(asked, "subject", MAX_SUBJECT)
    if not subject.strip() or not subject.isprintable():
        raise BadAct("subject must be one line of printable characters", key="bad_text")
    return subject


def _words(asked: Mapping[str, Any], name: str, most: int) -> str:
    value = asked.get(name)
    if not isinstance(value, str) or len(value) > most:
        raise BadAct(f"{name} must be a text of at most {most} characters", key="bad_text")
    if "\0" in value:  # where C's texts end
        raise BadAct(f"{name} must not have a null character", key="bad_text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BadAct(f"{name} is not valid UTF-8", key="bad_text") from None
    return value


def _members(asked: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_member(one) for one in _listed(asked, "members", MAX_MEMBERS)))


def _member(value: object) -> str:
    found = check_chat(value, "members")
    if not PERSON.fullmatch(found):
        raise BadAct("members must be addresses or numbers of people")
    return found


def _listed(asked: Mapping[str, Any], name: str, most: int) -> list[object]:
    value = asked.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > most:
        raise BadAct(f"{name} must be a list of at most {most}")
    return value


_READERS: Final[Mapping[Kind, tuple[Callable[[Mapping[str, Any]], Ask], frozenset[str]]]] = {
    Kind.TYPING: (_typing, frozenset({"chat", "state"})),
    Kind.GROUPS: (lambda _: ListGroups(), frozenset()),
    Kind.GROUP: (lambda asked: ShowGroup(_group(asked)), frozenset({"group"})),
    Kind.GROUP_CREATE: (_create, frozenset({"subject", "members"})),
    Kind.GROUP_LEAVE: (lambda asked: LeaveGroup(_group(asked)), frozenset({"group"})),
    Kind.GROUP_MEMBERS: (_change, frozenset({"group", "change", "members"})),
    Kind.GROUP_SUBJECT: (
        lambda asked: SetSubject(_group(asked), _subject(asked)),
        frozenset({"group", "subject"}),
    ),
    Kind.GROUP_DESCRIPTION: (_description, frozenset({"group", "description"})),
    Kind.GROUP_INVITE: (_invite, frozenset({"group", "reset"})),
    Kind.NUMBERS: (_look_up, frozenset({"numbers"})),
}
_KINDS: Final[Mapping[type[Any], Kind]] = {
    Typing: Kind.TYPING, ListGroups: Kind.GROUPS, ShowGroup: Kind.GROUP, CreateGroup: Kind.GROUP_CREATE,
    LeaveGroup: Kind.GROUP_LEAVE, ChangeMembers: Kind.GROUP_MEMBERS, SetSubject: Kind.GROUP_SUBJECT,
    SetDescription: Kind.GROUP_DESCRIPTION, Invite: Kind.GROUP_INVITE, LookUp: Kind.NUMBERS,
}  # fmt: skip
