"""Groups: made, changed and left by bots and by phones, and what is written in them."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import StartNeonize
from PIL import Image
from support.conversation import (
    Account,
    Contact,
    bare,
    come_back,
    go_away,
    in_inbox,
    lid,
    new_account,
    own_account,
    settle,
    shows,
)
from support.linked import PATIENCE
from support.neonize_process import CommandError, Event

from orchestrator.sandbox.client import SandboxError
from orchestrator.sandbox.process import SandboxProcess

NO_GROUP = "120363000000000000@g.us"


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
    return make_group(alice, "Team", bob, ada)


def make_group(creator: Account, name: str, *members: Account | Contact) -> str:
    """Make a group, and wait until the bots in it have heard of it."""
    numbers = [bare(member.number) for member in members]
    group = str(creator.bot.command("create_group", name=name, participants=numbers)["jid"])
    for member in (creator, *members):
        if isinstance(member, Account):
            joined(member, group)
    return group


def joined(account: Account, group: str) -> Event:
    """Return the event by which an account hears of a new group."""
    return account.bot.wait_for("JoinedGroup", PATIENCE, lambda e: e["group"]["jid"] == group)


def told(account: Account, group: str, what: str, value: object) -> Event:
    """Return the event by which an account hears that a group was changed in this way."""
    return account.bot.wait_for("GroupInfo", PATIENCE, lambda e: e["jid"] == group and e[what] == value)


def change(actor: Account, group: str, what: str, *people: Account | Contact) -> list[int]:
    """Have a bot add, remove, promote or demote members; return their codes, 0 for no error."""
    numbers = [bare(person.number) for person in people]
    done = actor.bot.command("update_group_participants", group=group, participants=numbers, change=what)
    return [one["error"] for one in done["outcomes"]]


def members(sandbox: SandboxProcess, group: str) -> dict[str, str]:
    """Return who is in a group, number to role, as the sandbox has it."""
    (found,) = [one for one in sandbox.client.groups() if one["group"] == group]
    return dict(found["members"])


def everybody_gets(sender: Account | Contact, group: str, text: str, *others: Account | Contact) -> str:
    """Write to a group and see that the others get it as it is; return its id."""
    message_id = sender.write(group, text)
    for other in others:
        assert other.gets(message_id)["text"] == text
    return message_id


# Making one


def test_everybody_hears_of_a_new_group(
    alice: Account, bob: Account, ada: Contact, sandbox: SandboxProcess
) -> None:
    people = {bare(person.number) for person in (alice, bob, ada)}
    made = alice.bot.command("create_group", name="Choir", participants=[bare(bob.number), bare(ada.number)])

    assert made["name"] == "Choir"
    assert made["owner"] == lid(sandbox.client, alice.number)
    assert {one["phone"].partition("@")[0] for one in made["participants"]} == people
    assert [one["phone"].partition("@")[0] for one in made["participants"] if one["is_admin"]] == [
        bare(alice.number)
    ]
    description = {key: value for key, value in made.items() if key in joined(alice, made["jid"])["group"]}
    assert joined(alice, made["jid"])["group"] == joined(bob, made["jid"])["group"] == description
    assert joined(bob, made["jid"])["sender"] == lid(sandbox.client, alice.number)
    assert members(sandbox, made["jid"]) == {
        alice.number: "superadmin",
        bob.number: "member",
        ada.number: "member",
    }


def test_an_account_can_list_its_groups_and_look_at_one(
    team: str, alice: Account, bob: Account, dora: Account
) -> None:
    for member in (alice, bob):
        assert team in [group["jid"] for group in member.bot.command("get_joined_groups")["groups"]]
    assert team not in [group["jid"] for group in dora.bot.command("get_joined_groups")["groups"]]

    seen = [account.bot.command("get_group_info", group=team) for account in (alice, bob)]
    assert seen[0]["participants"] == seen[1]["participants"]
    assert (seen[1]["jid"], seen[1]["name"], len(seen[1]["participants"])) == (team, "Team", 3)


def test_a_phone_can_make_a_group(
    alice: Account, bob: Account, ada: Contact, sandbox: SandboxProcess
) -> None:
    group = sandbox.client.make_group(ada.number, "Ada's", [alice.number, bob.number])["group"]

    for member in (alice, bob):
        event = joined(member, group)
        assert (event["group"]["name"], event["sender"]) == ("Ada's", lid(sandbox.client, ada.number))
    assert members(sandbox, group)[ada.number] == "superadmin"
    everybody_gets(ada, group, "welcome", alice, bob)
    everybody_gets(alice, group, "thanks", ada, bob)


def test_a_group_cannot_be_made_with_an_unknown_number(
    alice: Account, make_number: Callable[[], str], sandbox: SandboxProcess
) -> None:
    unknown = make_number()
    with pytest.raises(CommandError, match="404"):
        alice.bot.command("create_group", name="Nobody", participants=[bare(unknown)])
    assert "Nobody" not in [group["subject"] for group in sandbox.client.groups()]


# Writing in it


def test_what_one_member_writes_all_others_get(team: str, alice: Account, bob: Account, ada: Contact) -> None:
    everyone: list[Account | Contact] = [alice, bob, ada]
    for turn in range(2):
        for sender in everyone:
            others = [person for person in everyone if person is not sender]
            everybody_gets(sender, team, f"round {turn} from {sender.number}", *others)


def test_a_group_message_tells_group_and_sender(
    team: str, alice: Account, bob: Account, ada: Contact, sandbox: SandboxProcess
) -> None:
    shown = bob.gets(ada.write(team, "from the phone"))
    assert (shown["chat"], shown["is_group"], shown["is_from_me"]) == (team, True, False)
    assert shown["sender"] == lid(sandbox.client, ada.number)
    assert shown["sender_alt"] == f"{bare(ada.number)}@s.whatsapp.net"

    message_id = alice.write(team, "from the bot")
    message = ada.gets(message_id)
    assert (message["from"], message["chat"], message["group"]) == (alice.number, team, team)
    copy = in_inbox(sandbox.client, alice.number, message_id)
    assert (copy["direction"], copy["chat"], copy["text"]) == ("copy", team, "from the bot")


def test_the_key_of_a_sender_comes_as_a_message_of_its_own(
    team: str, alice: Account, bob: Account, ada: Contact
) -> None:
    # A phone hands its key out once, neonize hands it out with every message; and neonize shows what brought
    # the key as a message without text, under the same id.
    def showings(message_id: str) -> list[str]:
        bob.gets(message_id)
        shown = [e for e in bob.bot.events if e["event"] == "Message" and e["id"] == message_id]
        return [event["text"] for event in shown]

    assert showings(ada.write(team, "first")) == ["", "first"]
    assert showings(ada.write(team, "second")) == ["second"]
    assert showings(alice.write(team, "first")) == ["", "first"]
    assert showings(alice.write(team, "second")) == ["", "second"]


def test_a_picture_goes_to_the_whole_group(
    team: str, alice: Account, bob: Account, ada: Contact, tmp_path: Path
) -> None:
    buffer = io.BytesIO()
    Image.effect_noise((120, 80), 60).convert("RGB").save(buffer, "JPEG")
    data = buffer.getvalue()
    digest = hashlib.sha256(data).hexdigest()
    file = tmp_path / "picture.jpg"
    file.write_bytes(data)

    sent = alice.bot.command("send_image", to=team, path=str(file), caption="all of us")["id"]
    assert (ada.gets(sent)["caption"], ada.gets(sent)["sha256"]) == ("all of us", digest)
    assert (bob.gets(sent)["caption"], bob.gets(sent)["sha256"]) == ("all of us", digest)

    shown = bob.gets(ada.sandbox.send_media(ada.number, team, "image", data, mime="image/jpeg"))
    assert (shown["media"], shown["sha256"]) == ("image", digest)


def test_the_sender_hears_who_got_and_who_read_it(
    team: str, alice: Account, bob: Account, ada: Contact, sandbox: SandboxProcess
) -> None:
    message_id = everybody_gets(alice, team, "please confirm", bob, ada)
    delivered = alice.hears("INACTIVE", message_id)
    assert (delivered["chat"], delivered["is_group"]) == (team, True)
    assert delivered["sender"] == lid(sandbox.client, bob.number).replace("@", f":{bob.device}@")

    sandbox.client.read(ada.number, message_id)
    read = alice.hears("READ", message_id)
    assert (read["chat"], read["sender"]) == (team, lid(sandbox.client, ada.number))

    shown = alice.gets(ada.write(team, "and you?"))
    alice.bot.command("mark_read", ids=[shown["id"]], chat=team, sender=shown["sender"])
    receipt = sandbox.client.wait_for("receipt", PATIENCE, phone=ada.number, id=shown["id"], type="read")
    assert receipt["by"] == alice.number


def test_all_devices_of_a_member_get_what_is_written(
    neonize: StartNeonize, alice: Account, ada: Contact, sandbox: SandboxProcess, number: str
) -> None:
    first = new_account(neonize("first"), sandbox.client, number)
    group = make_group(alice, "Devices", first, ada)
    everybody_gets(alice, group, "to one device", first, ada)

    second = new_account(neonize("second"), sandbox.client, number)
    everybody_gets(alice, group, "to two devices", first, second, ada)
    everybody_gets(ada, group, "from a phone", first, second, alice)
    own = first.write(group, "from one device")
    assert second.gets(own)["is_from_me"]
    assert (alice.gets(own)["text"], ada.gets(own)["text"]) == ("from one device", "from one device")


def test_what_is_written_while_a_bot_is_away_waits_for_it(
    neonize: StartNeonize, alice: Account, ada: Contact, sandbox: SandboxProcess, number: str
) -> None:
    account = new_account(neonize(), sandbox.client, number)
    group = make_group(alice, "Away", account, ada)
    everybody_gets(alice, group, "all here?", account, ada)
    go_away(account, sandbox.client)

    alice.write(group, "with a key that is known")
    ada.write(group, "with a key that is new")
    alice.bot.command("set_group_name", group=group, name="Back again")
    account = come_back(account, neonize())

    settle(account, ada)
    assert account.texts()[:-1] == ["with a key that is known", "with a key that is new"]
    assert told(account, group, "name", "Back again")


def test_a_phone_that_lost_its_keys_asks_again(
    team: str, alice: Account, bob: Account, ada: Contact, sandbox: SandboxProcess
) -> None:
    everybody_gets(alice, team, "before", bob, ada)
    everybody_gets(ada, team, "an answer, so that nobody sends an opening any more", alice, bob)
    sandbox.client.forget_sessions(ada.number)

    message_id = everybody_gets(alice, team, "after it was set up anew", bob, ada)

    assert sandbox.client.wait_for("phone-undecryptable", PATIENCE, phone=ada.number, id=message_id)
    everybody_gets(ada, team, "from the new phone", alice, bob)


# Changing it


def test_everybody_hears_of_a_new_name(
    team: str, alice: Account, bob: Account, ada: Contact, sandbox: SandboxProcess
) -> None:
    alice.bot.command("set_group_name", group=team, name="Named by a bot 🎉")
    assert told(bob, team, "name", "Named by a bot 🎉")["sender"] == lid(sandbox.client, alice.number)

    sandbox.client.change_group(ada.number, team, "subject", subject="Named by a phone")
    for account in (alice, bob):
        assert told(account, team, "name", "Named by a phone")["sender"] == lid(sandbox.client, ada.number)
    assert bob.bot.command("get_group_info", group=team)["name"] == "Named by a phone"


def test_a_new_member_gets_what_is_written_from_then_on(
    team: str, alice: Account, bob: Account, ada: Contact, dora: Account, sandbox: SandboxProcess
) -> None:
    everybody_gets(alice, team, "before Dora came", bob, ada)
    change(alice, team, "add", dora)

    hers = [lid(sandbox.client, dora.number)]
    for account in (alice, bob, dora):
        assert told(account, team, "join", hers)["sender"] == lid(sandbox.client, alice.number)
    everyone: list[Account | Contact] = [alice, bob, ada, dora]
    for sender in everyone:
        others = [person for person in everyone if person is not sender]
        everybody_gets(sender, team, f"with Dora, from {sender.number}", *others)
    assert "before Dora came" not in dora.texts()


def test_a_removed_member_is_told_and_gets_no_more(
    team: str, alice: Account, bob: Account, ada: Contact, sandbox: SandboxProcess
) -> None:
    everybody_gets(bob, team, "still here", alice, ada)
    change(alice, team, "remove", bob)

    for account in (alice, bob):
        assert told(account, team, "leave", [lid(sandbox.client, bob.number)])
    everybody_gets(alice, team, "Bob is gone", ada)
    everybody_gets(ada, team, "he is", alice)
    settle(bob, alice)
    assert not {"Bob is gone", "he is"} & set(bob.texts())


def test_a_removed_member_cannot_write_or_look(
    team: str, alice: Account, bob: Account, ada: Contact, sandbox: SandboxProcess
) -> None:
    for person in (bob, ada):
        change(alice, team, "remove", person)
    told(bob, team, "leave", [lid(sandbox.client, bob.number)])

    with pytest.raises(CommandError, match="server returned error 403"):
        bob.write(team, "let me in")
    with pytest.raises(CommandError, match="you're not participating in that group"):
        bob.bot.command("get_group_info", group=team)
    with pytest.raises(SandboxError, match="not a member of the group"):
        ada.write(team, "me too")
    assert members(sandbox, team) == {alice.number: "superadmin"}


def test_a_member_can_leave(
    team: str, alice: Account, bob: Account, ada: Contact, sandbox: SandboxProcess
) -> None:
    bob.bot.command("leave_group", group=team)
    left = told(alice, team, "leave", [lid(sandbox.client, bob.number)])
    assert left["sender"] == lid(sandbox.client, bob.number)

    sandbox.client.change_group(ada.number, team, "remove", members=[ada.number])
    assert told(alice, team, "leave", [lid(sandbox.client, ada.number)])
    assert list(members(sandbox, team)) == [alice.number]
    with pytest.raises(CommandError, match="server returned error 403"):
        bob.write(team, "one more thing")


def test_a_member_who_was_removed_can_come_back(
    team: str, alice: Account, bob: Account, ada: Contact, sandbox: SandboxProcess
) -> None:
    everybody_gets(bob, team, "before", alice, ada)
    change(alice, team, "remove", bob)
    told(bob, team, "leave", [lid(sandbox.client, bob.number)])
    change(alice, team, "add", bob)
    told(bob, team, "join", [lid(sandbox.client, bob.number)])

    everybody_gets(alice, team, "welcome back", bob, ada)
    everybody_gets(bob, team, "hello again", alice, ada)
    everybody_gets(ada, team, "there you are", alice, bob)


# Who may do what


@pytest.mark.parametrize("what", ["add", "remove", "promote", "demote"])
def test_only_administrators_may_change_members(
    what: str, team: str, bob: Account, ada: Contact, dora: Account, sandbox: SandboxProcess
) -> None:
    before = members(sandbox, team)
    whom = dora if what == "add" else ada

    with pytest.raises(CommandError, match="403"):
        change(bob, team, what, whom)
    with pytest.raises(CommandError, match="403"):
        change(dora, team, what, whom)
    with pytest.raises(SandboxError, match="forbidden"):
        sandbox.client.change_group(ada.number, team, "remove", members=[bob.number])
    assert members(sandbox, team) == before


def test_a_promoted_member_may_change_members_until_demoted(
    team: str, alice: Account, bob: Account, ada: Contact, dora: Account, sandbox: SandboxProcess
) -> None:
    his = [lid(sandbox.client, bob.number)]
    change(alice, team, "promote", bob)
    assert told(bob, team, "promote", his)
    assert members(sandbox, team)[bob.number] == "admin"

    change(bob, team, "add", dora)
    assert told(dora, team, "join", [lid(sandbox.client, dora.number)])
    change(bob, team, "remove", ada)
    assert ada.number not in members(sandbox, team)

    change(alice, team, "demote", bob)
    assert told(bob, team, "demote", his)
    with pytest.raises(CommandError, match="403"):
        change(bob, team, "remove", dora)


def test_what_does_not_exist_cannot_be_changed(
    team: str, alice: Account, dora: Account, make_number: Callable[[], str], sandbox: SandboxProcess
) -> None:
    nobody = Contact(make_number(), sandbox.client)
    assert change(alice, team, "add", nobody) == [404]
    for what in ("remove", "promote", "demote"):
        assert change(alice, team, what, dora) == [404]  # she exists, but not in this group
    with pytest.raises(CommandError, match="404"):
        alice.bot.command("set_group_name", group=NO_GROUP, name="Nothing")
    with pytest.raises(CommandError, match="404"):
        change(alice, NO_GROUP, "add", dora)
    with pytest.raises(CommandError, match="that group does not exist"):
        alice.bot.command("get_group_info", group=NO_GROUP)
    with pytest.raises(CommandError, match="that group does not exist"):
        alice.write(NO_GROUP, "hello?")
    with pytest.raises(SandboxError, match="no such group"):
        sandbox.client.change_group(alice.number, NO_GROUP, "subject", subject="Nothing")


def test_an_outsider_cannot_write_rename_or_look(team: str, dora: Account) -> None:
    # neonize asks for the members before it writes, and is refused then already
    with pytest.raises(CommandError, match=re.escape("you're not participating in that group")):
        dora.write(team, "hello?")
    with pytest.raises(CommandError, match="403"):
        dora.bot.command("set_group_name", group=team, name="Mine")
    with pytest.raises(CommandError, match="you're not participating in that group"):
        dora.bot.command("get_group_info", group=team)


# Lasting


def test_a_group_outlives_a_restart_of_everything(
    neonize: StartNeonize, fresh_sandbox: SandboxProcess, make_number: Callable[[], str]
) -> None:
    control = fresh_sandbox.client
    ada = Contact(make_number(), control)
    control.add_phone(ada.number)
    bots = {name: neonize(name, sandbox=fresh_sandbox) for name in ("first", "second")}
    first, second = (new_account(bot, control, make_number()) for bot in bots.values())
    group = make_group(first, "Lasting", second, ada)
    everyone: list[Account | Contact] = [first, second, ada]
    for sender in everyone:
        others = [person for person in everyone if person is not sender]
        everybody_gets(sender, group, f"before, from {sender.number}", *others)
    before = members(fresh_sandbox, group)
    for account in (first, second):
        go_away(account, control)
    ada.write(group, "kept through the restart")

    fresh_sandbox.restart()

    assert members(fresh_sandbox, group) == before
    first = come_back(first, neonize("first", sandbox=fresh_sandbox))
    second = come_back(second, neonize("second", sandbox=fresh_sandbox))
    everyone = [first, second, ada]
    for sender in everyone:
        others = [person for person in everyone if person is not sender]
        everybody_gets(sender, group, f"after, from {sender.number}", *others)
    for account in (first, second):
        assert account.texts()[0] == "kept through the restart"
        shown = [e for e in account.bot.events if e["event"] == "Message" and shows(e)]
        assert len({event["id"] for event in shown}) == len(shown)
