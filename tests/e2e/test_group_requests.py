"""What accounts do with groups by neonize: members, descriptions, links; and look-ups of numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.conversation import Account, Contact, bare, lid, own_account
from support.linked import PATIENCE
from support.neonize_process import CommandError, Event

from orchestrator.sandbox.process import SandboxProcess


@pytest.fixture(scope="module")
def dora(
    shared_sandbox: SandboxProcess, make_number: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Account]:
    """An account that is in no group at first."""
    with own_account(shared_sandbox, make_number(), tmp_path_factory.mktemp("dora")) as account:
        yield account


@pytest.fixture
def team(alice: Account, bob: Account, ada: Contact) -> str:
    """A group of the three; its address."""
    numbers = [bare(bob.number), bare(ada.number)]
    return str(alice.bot.command("create_group", name="Team", participants=numbers)["jid"])


def about(sandbox: SandboxProcess, group: str) -> dict[str, Any]:
    (found,) = [one for one in sandbox.client.groups() if one["group"] == group]
    return found


def test_each_member_has_an_outcome_and_one_failure_stops_nobody(
    team: str, alice: Account, bob: Account, ada: Contact, number: str, sandbox: SandboxProcess
) -> None:
    eve = Contact(number, sandbox.client)
    sandbox.client.add_phone(eve.number)
    nobody = bare(number) + "9"
    numbers = [bare(bob.number), bare(eve.number), nobody]

    def change(what: str, *people: str) -> list[Event]:
        done = alice.bot.command(
            "update_group_participants", group=team, participants=list(people), change=what
        )
        return list(done["outcomes"])

    done = change("add", *numbers)
    assert [one["error"] for one in done] == [409, 0, 404]
    assert done[1]["jid"] == lid(sandbox.client, eve.number)
    assert about(sandbox, team)["members"][eve.number] == "member"
    done = change("remove", *numbers)
    assert [one["error"] for one in done] == [0, 0, 404]
    assert list(about(sandbox, team)["members"]) == sorted([alice.number, ada.number])
    for what in ("remove", "demote"):
        assert [one["error"] for one in change(what, bare(alice.number))] == [406]
    assert alice.number in about(sandbox, team)["members"]


def test_a_description_is_set_replaced_and_removed(
    team: str, alice: Account, bob: Account, sandbox: SandboxProcess
) -> None:
    alice.bot.command("set_group_topic", group=team, topic="Lunch at noon", new="FIRST")
    told = bob.bot.command("get_group_info", group=team)
    assert (told["topic"], told["topic_id"]) == ("Lunch at noon", "FIRST")
    bob.bot.command("set_group_topic", group=team, topic="Lunch at one")  # the library looks the old one up
    assert about(sandbox, team)["settings"]["description"] == "Lunch at one"
    with pytest.raises(CommandError, match="409"):
        alice.bot.command("set_group_topic", group=team, topic="Lunch at two", previous="FIRST")
    with pytest.raises(CommandError, match="406"):
        alice.bot.command("set_group_topic", group=team, topic="x" * 2049)
    alice.bot.command("set_group_topic", group=team, topic="")
    assert "description" not in about(sandbox, team)["settings"]
    assert bob.bot.command("get_group_info", group=team)["topic"] == ""


def test_only_members_describe_a_group_and_only_admins_a_locked_one(
    team: str, alice: Account, bob: Account, dora: Account
) -> None:
    with pytest.raises(CommandError, match="not participating in that group"):
        dora.bot.command("set_group_topic", group=team, topic="Mine")
    alice.bot.command("set_group_setting", group=team, setting="locked", on=True)
    with pytest.raises(CommandError, match="403"):
        bob.bot.command("set_group_topic", group=team, topic="Mine")
    with pytest.raises(CommandError, match="403"):
        bob.bot.command("set_group_name", group=team, name="Mine")
    alice.bot.command("set_group_name", group=team, name="Ours")


def test_a_link_lets_in_until_it_is_reset(
    team: str, alice: Account, bob: Account, dora: Account, sandbox: SandboxProcess
) -> None:
    with pytest.raises(CommandError, match="status 401"):
        bob.bot.command("get_group_invite_link", group=team)
    with pytest.raises(CommandError, match="not participating in that group"):
        dora.bot.command("get_group_invite_link", group=team)
    link = alice.bot.command("get_group_invite_link", group=team)["link"]
    assert alice.bot.command("get_group_invite_link", group=team)["link"] == link
    assert dora.bot.command("get_group_info_from_link", link=link)["name"] == "Team"
    assert dora.number not in about(sandbox, team)["members"]
    assert dora.bot.command("join_group_with_link", link=link)["jid"] == team
    assert about(sandbox, team)["members"][dora.number] == "member"
    dora.bot.command("leave_group", group=team)

    newer = alice.bot.command("get_group_invite_link", group=team, reset=True)["link"]
    assert newer != link
    with pytest.raises(CommandError, match="status 410"):
        dora.bot.command("join_group_with_link", link=link)
    with pytest.raises(CommandError, match="status 406"):
        dora.bot.command("get_group_info_from_link", link=f"{link}x")
    assert dora.bot.command("join_group_with_link", link=newer)["jid"] == team
    shown = about(sandbox, team)
    assert shown["settings"] == {"invite": newer.rpartition("/")[2]}


def test_numbers_are_looked_up(alice: Account, ada: Contact, number: str, sandbox: SandboxProcess) -> None:
    since = sandbox.client.last_event()
    asked = [ada.number, number]
    found = alice.bot.command("is_on_whatsapp", numbers=asked)["numbers"]
    assert [(one["query"].lstrip("+"), one["is_in"]) for one in found] == [
        (bare(ada.number), True),
        (bare(number), False),
    ]
    assert found[0]["jid"] == lid(sandbox.client, ada.number)
    sandbox.client.wait_for("looked-up", PATIENCE, since, number=number, exists=False)
    told = [event for event in sandbox.client.events(since) if event["event"] == "looked-up"]
    assert [(one["phone"], one["number"], one["exists"]) for one in told] == [
        (alice.number, ada.number, True),
        (alice.number, number, False),
    ]
