"""What an account does at once: which call of the library's it is, and what becomes of its errors."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.accounts.acts import Fate
from orchestrator.sending import asks
from orchestrator.sending.asks import Change, Found, Group, Member
from orchestrator.worker import asking

GROUP, ADA, NUMBER = "120363000000000001@g.us", "269139479534551@lid", "4915100002"


class Groups:
    """Does nothing, and remembers what it was to do."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def listed(self) -> list[Group]:
        self._library.do("listed")
        return [Group(GROUP, "Team")]

    def show(self, group: str) -> Group:
        self._library.do("show", group)
        return Group(group, "Team", members=(Member(ADA, NUMBER, "admin"),))

    def create(self, subject: str, members: tuple[str, ...]) -> Group:
        self._library.do("create", subject, members)
        return Group(GROUP, subject)

    def leave(self, group: str) -> None:
        self._library.do("leave", group)

    def change(self, group: str, change: Change, members: tuple[str, ...]) -> list[Member]:
        self._library.do("change", group, change, members)
        return [Member(ADA, refused=403)]

    def set_subject(self, group: str, subject: str) -> None:
        self._library.do("subject", group, subject)

    def set_description(self, group: str, description: str) -> None:
        self._library.do("description", group, description)

    def invite(self, group: str, *, reset: bool) -> str:
        self._library.do("invite", group, reset)
        return "https://chat.whatsapp.com/x"


class Library:
    """The same of what is no group."""

    def __init__(self, error: str | None = None) -> None:
        self.done: list[tuple[Any, ...]] = []
        self._error = error
        self.groups: asking.Groups = Groups(self)

    def do(self, *what: Any) -> None:  # noqa: ANN401
        if self._error is not None:
            raise RuntimeError(self._error)
        self.done.append(what)

    def show_typing(self, chat: str, *, writes: bool, records: bool) -> None:
        self.do("typing", chat, writes, records)

    def is_on_whatsapp(self, numbers: tuple[str, ...]) -> list[Found]:
        self.do("numbers", numbers)
        return [Found(one, exists=True, id=ADA) for one in numbers]

    def hidden_address_of(self, digits: str) -> str | None:
        return ADA if digits == NUMBER else None

    def number_of(self, user: str) -> str | None:
        return NUMBER if user == ADA.partition("@")[0] else None


@pytest.mark.parametrize(
    ("ask", "done", "result"),
    [
        ({"kind": "groups"}, ("listed",), ["groups", "groups_left_out"]),
        ({"kind": "group", "group": GROUP}, ("show", GROUP), ["group"]),
        (
            {"kind": "group_create", "subject": "New", "members": [ADA, "+4915100009"]},
            ("create", "New", (f"{NUMBER}@s.whatsapp.net", "4915100009@s.whatsapp.net")),
            ["group"],
        ),
        ({"kind": "group_leave", "group": GROUP}, ("leave", GROUP), []),
        (
            {"kind": "group_members", "group": GROUP, "change": "add", "members": [ADA]},
            ("change", GROUP, Change.ADD, (ADA,)),
            ["members"],
        ),
        ({"kind": "group_subject", "group": GROUP, "subject": "B"}, ("subject", GROUP, "B"), []),
        ({"kind": "group_description", "group": GROUP, "description": ""}, ("description", GROUP, ""), []),
        ({"kind": "group_invite", "group": GROUP}, ("invite", GROUP, False), ["link"]),
        ({"kind": "group_invite", "group": GROUP, "reset": True}, ("invite", GROUP, True), ["link"]),
        ({"kind": "numbers", "numbers": [f"+{NUMBER}"]}, ("numbers", (NUMBER,)), ["numbers"]),
        ({"kind": "typing", "chat": f"+{NUMBER}", "state": "typing"}, ("typing", ADA, True, False), []),
        ({"kind": "typing", "chat": ADA, "state": "recording"}, ("typing", ADA, True, True), []),
        ({"kind": "typing", "chat": ADA, "state": "paused"}, ("typing", ADA, False, False), []),
    ],
)
def test_each_ask_is_one_call(ask: dict[str, Any], done: tuple[Any, ...], result: list[str]) -> None:
    library = Library()
    answer = asking.answer(library, asks.parse(ask))
    assert (answer.fate, answer.code, answer.about) == (Fate.DONE, None, "")
    assert answer.result is not None
    assert list(answer.result) == result
    assert library.done == [done]


def test_a_change_names_the_numbers_that_are_known() -> None:
    answer = asking.answer(Library(), asks.ChangeMembers(GROUP, Change.ADD, (ADA,)))
    assert answer.result is not None
    (member,) = answer.result["members"]
    assert (member["id"], member["phone"], member["done"], member["code"]) == (ADA, f"+{NUMBER}", False, 403)


@pytest.mark.parametrize(
    ("error", "fate", "code", "about"),
    [
        ("info query returned status 403: forbidden", Fate.FAILED, 403, "may not do that there"),
        ("info query returned status 404: item-not-found", Fate.FAILED, 404, "no such group"),
        ("info query returned status 429: rate-overlimit", Fate.FAILED, 429, "short time"),
        ("info query returned status 599: needle", Fate.FAILED, 599, "(error 599)"),
        ("that group does not exist", Fate.FAILED, None, "no such group"),
        ("you're not participating in that group", Fate.FAILED, None, "not in this group"),
        ("failed to send IQ: websocket not connected", Fate.FAILED, None, "not connected"),
        ("info query timed out", Fate.UNKNOWN, None, "did not answer in time"),
        ("websocket disconnected before info query returned response", Fate.UNKNOWN, None, "in time"),
        ("needle +4915100002", Fate.UNKNOWN, None, "in time"),
    ],
)
def test_errors_are_words_that_quote_nothing(error: str, fate: Fate, code: int | None, about: str) -> None:
    answer = asking.answer(Library(error), asks.ShowGroup(GROUP))
    assert (answer.fate, answer.code, answer.result) == (fate, code, None)
    assert about in answer.about
    assert "needle" not in answer.about


def test_numbers_are_no_group() -> None:
    answer = asking.answer(Library("info query returned status 404: x"), asks.LookUp((NUMBER,)))
    assert (answer.fate, answer.about) == (Fate.FAILED, "WhatsApp refuses it (error 404)")
