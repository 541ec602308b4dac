"""What changes in a group besides its members and its name, as neonize tells of it."""

from collections.abc import Callable
from typing import Any

import pytest
from support.conversation import Account, Contact, in_inbox
from support.linked import PATIENCE
from support.neonize_process import Event

from orchestrator.sandbox.client import Change, SandboxError
from orchestrator.sandbox.process import SandboxProcess

DAY = 86_400


@pytest.fixture
def team(ada: Contact, alice: Account, sandbox: SandboxProcess) -> str:
    """A group of Ada, who is its admin, and Alice, who is not."""
    group: str = sandbox.client.make_group(ada.number, "Team", [alice.number])["group"]
    alice.bot.wait_for("JoinedGroup", PATIENCE, lambda e: e["group"]["jid"] == group)
    return group


def told(account: Account, group: str, part: str) -> Any:  # noqa: ANN401 - neonize's fields
    """Return what neonize says of one part of a group that has changed."""

    def wanted(event: Event) -> bool:
        return event["jid"] == group and part in event["event_fields"]

    return account.bot.wait_for("GroupInfo", PATIENCE, wanted)["event_fields"][part]


@pytest.mark.parametrize(
    ("change", "value", "part", "fits"),
    [
        ("announcement", True, "Announce", lambda p: p["IsAnnounce"]),
        ("locked", True, "Locked", lambda p: p["isLocked"]),
        ("ephemeral", DAY, "Ephemeral", lambda p: p["IsEphemeral"] and p["DisappearingTimer"] == DAY),
        ("description", "Lunch at noon", "Topic", lambda p: p["Topic"] == "Lunch at noon"),
        ("invite", None, "NewInviteLink", lambda p: p.startswith("https://chat.whatsapp.com/")),
        ("delete", None, "Delete", lambda p: p["Deleted"]),
    ],
)
def test_a_setting_is_told(
    change: Change,
    value: str | bool | int | None,
    part: str,
    fits: Callable[[Any], bool],
    team: str,
    alice: Account,
    ada: Contact,
    sandbox: SandboxProcess,
) -> None:
    changed = sandbox.client.change_group(ada.number, team, change, value=value)

    found = told(alice, team, part)
    assert fits(found), found
    assert (change in changed["settings"]) is (change != "delete")
    assert (team in [one["group"] for one in sandbox.client.groups()]) is (change != "delete")


def test_a_setting_is_turned_off_again(
    team: str, alice: Account, ada: Contact, sandbox: SandboxProcess
) -> None:
    change = sandbox.client.change_group
    settings: list[tuple[Change, bool | int | str]] = [("announcement", True), ("ephemeral", DAY)]
    for name, value in settings:
        change(ada.number, team, name, value=value)
        change(ada.number, team, name, value=type(value)())
    alice.bot.wait_for(
        "GroupInfo",
        PATIENCE,
        lambda e: e["jid"] == team and e["event_fields"].get("Ephemeral", {}).get("IsEphemeral") is False,
    )

    assert [one["settings"] for one in sandbox.client.groups() if one["group"] == team] == [{}]


def test_only_admins_write_and_change_where_the_group_says_so(
    team: str, alice: Account, ada: Contact, sandbox: SandboxProcess
) -> None:
    sandbox.client.change_group(ada.number, team, "announcement", value=True)
    sandbox.client.change_group(ada.number, team, "locked", value=True)

    with pytest.raises(Exception, match="403"):
        alice.write(team, "may I?")
    with pytest.raises(SandboxError, match="only admins may write there"):
        sandbox.client.send_text(alice.number, team, "from the phone")
    with pytest.raises(SandboxError, match="only admins"):
        sandbox.client.change_group(alice.number, team, "subject", subject="Mine")
    assert alice.gets(ada.write(team, "from the admin"))["text"] == "from the admin"


def test_messages_of_a_group_disappear_as_it_is_set(
    team: str, alice: Account, ada: Contact, sandbox: SandboxProcess
) -> None:
    sandbox.client.change_group(ada.number, team, "ephemeral", value=DAY)

    message_id = ada.write(team, "gone tomorrow")

    context = alice.gets(message_id)["event_fields"]["Message"]["extendedTextMessage"]["contextInfo"]
    assert context["expiration"] == DAY
    assert in_inbox(sandbox.client, alice.number, message_id)["expires"] == DAY


def test_somebody_joins_by_the_link(
    team: str, alice: Account, bob: Account, ada: Contact, sandbox: SandboxProcess
) -> None:
    change = sandbox.client.change_group
    with pytest.raises(SandboxError, match="not valid"):
        change(bob.number, team, "join", value="guessed")
    code = change(ada.number, team, "invite")["settings"]["invite"]

    change(bob.number, team, "join", value=code)

    event = alice.bot.wait_for("GroupInfo", PATIENCE, lambda e: e["jid"] == team and e["join"])
    assert event["event_fields"]["JoinReason"] == "invite"
    bob.gets(ada.write(team, "welcome"))
