"""Groups, and whether numbers are on WhatsApp: what an account finds out or does at once, by its bot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, TypeVar, cast

from orchestrator.bots.actions import Answer, Turn

Json: TypeAlias = Mapping[str, Any]
_T = TypeVar("_T")

Role: TypeAlias = Literal["member", "admin", "owner"]


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody in a group.

    Attributes:
        id: The address.
        phone: The number with +, None if it is not known.
        role: What the person may do there.
    """

    id: str = field(repr=False)
    phone: str | None = field(default=None, repr=False)
    role: Role = "member"


@dataclass(frozen=True, slots=True)
class Changed:
    """What became of somebody whom a change was about.

    Attributes:
        id: The address.
        done: Whether it was done.
        code: WhatsApp's number for why it was not, None if it was.
    """

    id: str = field(repr=False)
    done: bool
    code: int | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """A group.

    Attributes:
        id: Its address.
        subject: Its subject.
        member_count: How many are in it.
        members: Who is in it; of a list of groups, nobody.
        data: All that is known of it, as docs/api.md has it.
    """

    id: str = field(repr=False)
    subject: str = field(repr=False)
    member_count: int
    members: tuple[Member, ...] = field(default=(), repr=False)
    data: Json = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Found:
    """Whether a number is on WhatsApp.

    Attributes:
        number: The number, with +.
        exists: Whether it is.
        id: The address by which WhatsApp knows it, None if it is not there.
    """

    number: str = field(repr=False)
    exists: bool
    id: str | None = field(default=None, repr=False)


class Groups:
    """The groups of an account. What cannot be done raises `ActionError`.

    Args:
        turn: In which attempt of which event this is.
        account: The account.
    """

    def __init__(self, turn: Turn, account: str) -> None:
        self._turn = turn
        self._account = account

    def list(self) -> Answer[tuple[Group, ...]]:
        """Find out in which groups the account is, without their members."""
        return self._ask("groups", lambda found: tuple(map(_group, found["groups"])))

    def get(self, group: str) -> Answer[Group]:
        """Find out about a group and its members."""
        return self._ask("group", lambda found: _group(found["group"]), group=group)

    def create(self, subject: str, *members: str) -> Answer[Group]:
        """Make a group. An event that is brought again makes another one."""
        return self._ask(
            "group_create", lambda found: _group(found["group"]), subject=subject, members=[*members]
        )

    def leave(self, group: str) -> Answer[None]:
        """Leave a group."""
        return self._ask("group_leave", _nothing, group=group)

    def add(self, group: str, *people: str) -> Answer[tuple[Changed, ...]]:
        """Add people; of each, it tells whether that was done."""
        return self._change(group, "add", people)

    def remove(self, group: str, *people: str) -> Answer[tuple[Changed, ...]]:
        """Remove people; of each, it tells whether that was done."""
        return self._change(group, "remove", people)

    def promote(self, group: str, *people: str) -> Answer[tuple[Changed, ...]]:
        """Have people govern the group; of each, it tells whether that was done."""
        return self._change(group, "promote", people)

    def demote(self, group: str, *people: str) -> Answer[tuple[Changed, ...]]:
        """Have people govern the group no longer; of each, it tells whether that was done."""
        return self._change(group, "demote", people)

    def set_subject(self, group: str, subject: str) -> Answer[None]:
        """Give a group another subject."""
        return self._ask("group_subject", _nothing, group=group, subject=subject)

    def set_description(self, group: str, description: str) -> Answer[None]:
        """Give a group another description; an empty one takes it away."""
        return self._ask("group_description", _nothing, group=group, description=description)

    def invite_link(self, group: str, *, reset: bool = False) -> Answer[str]:
        """Get the link by which people join a group; `reset` makes a new one, and the old one is void."""
        return self._ask("group_invite", lambda found: str(found["link"]), group=group, reset=reset)

    def _change(self, group: str, change: str, people: tuple[str, ...]) -> Answer[tuple[Changed, ...]]:
        def read(found: Json) -> tuple[Changed, ...]:
            people = found["members"]
            return tuple(Changed(str(one["id"]), bool(one["done"]), one.get("code")) for one in people)

        return self._ask("group_members", read, group=group, change=change, members=[*people])

    def _ask(self, kind: str, read: Callable[[Json], _T], **arguments: object) -> Answer[_T]:
        return self._turn.find_out(self._account, {"kind": kind, **arguments}, read)


def find_numbers(turn: Turn, account: str, numbers: tuple[str, ...]) -> Answer[tuple[Found, ...]]:
    """Find out whether numbers are on WhatsApp."""

    def read(found: Json) -> tuple[Found, ...]:
        looked = found["numbers"]
        return tuple(Found(str(one["number"]), bool(one["exists"]), one.get("id")) for one in looked)

    return turn.find_out(account, {"kind": "numbers", "numbers": [*numbers]}, read)


def _group(found: Json) -> Group:
    members = tuple(
        Member(str(one["id"]), one.get("phone"), cast("Role", one.get("role", "member")))
        for one in found.get("members", ())
    )
    count = found.get("member_count")
    count = count if isinstance(count, int) else 0
    return Group(str(found["id"]), str(found.get("subject") or ""), count, members, found)


def _nothing(_: Json) -> None:
    return None
