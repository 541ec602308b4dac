"""What an account sends and a phone ignores, as WhatsApp's phones do: the owner sees nothing of it."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import StartNeonize
from support.conversation import Account, Contact, bare, lid, new_account
from support.linked import PATIENCE

from orchestrator.sandbox.client import SandboxError
from orchestrator.sandbox.process import SandboxProcess


def send(account: Account, to: str, content: dict[str, Any]) -> str:
    return str(account.bot.command("send_proto", to=bare(to), content=content)["id"])


def ignored(sandbox: SandboxProcess, phone: Contact, message_id: str) -> str:
    """Return why a phone shows nothing of a message."""
    event = sandbox.client.wait_for("phone-ignored", PATIENCE, phone=phone.number, id=message_id)
    assert message_id not in [one["id"] for one in sandbox.client.inbox(phone.number)]
    return str(event["why"])


def key(sandbox: SandboxProcess, chat: str, message_id: str, **more: object) -> dict[str, object]:
    address = chat if "@" in chat else lid(sandbox.client, chat)
    return {"remoteJID": address, "fromMe": True, "ID": message_id, **more}


def edit_of(key: dict[str, object], text: str = "new") -> dict[str, Any]:
    edit = {"key": key, "type": "MESSAGE_EDIT", "editedMessage": {"conversation": text}}
    return {"editedMessage": {"message": {"protocolMessage": edit}}}


def test_an_edit_comes_too_late_after_twenty_minutes(
    fresh_sandbox: SandboxProcess, neonize: StartNeonize, number: str
) -> None:
    control = fresh_sandbox.client
    ada = Contact("+4915100099", control)
    control.add_phone(ada.number)
    alice = new_account(neonize("alice", sandbox=fresh_sandbox), control, number)
    own = alice.write(ada.number, "old")
    ada.gets(own)
    theirs = ada.write(alice.number, "of the phone")
    ada.gets(send(alice, ada.number, edit_of(key(fresh_sandbox, ada.number, own), "in time")))
    control.set_clock(20 * 60 + 60)
    late = send(alice, ada.number, edit_of(key(fresh_sandbox, ada.number, own), "late"))
    assert ignored(fresh_sandbox, ada, late) == "a message can be edited for 20 minutes"
    (shown,) = [one for one in control.messages(ada.number) if one["id"] == own]
    assert (shown["text"], shown["edits"]) == ("in time", 1)
    with pytest.raises(SandboxError, match="can be edited for 20 minutes"):
        control.send(ada.number, alice.number, "edit", of=theirs, text="late")


def test_nobody_edits_or_deletes_what_others_wrote(
    alice: Account, ada: Contact, sandbox: SandboxProcess
) -> None:
    theirs = ada.write(alice.number, "mine")
    alice.gets(theirs)
    chat = ada.number
    edit = send(alice, chat, edit_of(key(sandbox, chat, theirs)))
    assert ignored(sandbox, ada, edit) == "only its author edits a message"
    revocation = {"protocolMessage": {"key": key(sandbox, chat, theirs), "type": "REVOKE"}}
    assert "names another author" in ignored(sandbox, ada, send(alice, chat, revocation))
    unknown = send(alice, chat, edit_of(key(sandbox, chat, "3EB0NOTHING")))
    assert ignored(sandbox, ada, unknown) == "the phone does not know the message"
    assert [one["text"] for one in sandbox.client.messages(ada.number)] == ["mine"]


def test_only_a_groups_admins_delete_what_others_wrote(
    alice: Account, bob: Account, ada: Contact, sandbox: SandboxProcess
) -> None:
    team = sandbox.client.make_group(alice.number, "Team", [bob.number, ada.number])["group"]
    theirs = ada.write(team, "rude")
    alice.gets(theirs)
    bob.gets(theirs)
    named = key(sandbox, team, theirs, fromMe=False, participant=lid(sandbox.client, ada.number))
    revocation = {"protocolMessage": {"key": named, "type": "REVOKE"}}
    with pytest.raises(Exception, match="server returned error 403"):
        send(bob, team, revocation)
    ada.gets(send(alice, team, revocation))
    (shown,) = sandbox.client.messages(ada.number, team)
    assert (shown["deleted_by"], "text" in shown) == (alice.number, False)


def test_a_vote_is_for_one_option_where_the_poll_says_so(
    alice: Account, ada: Contact, sandbox: SandboxProcess
) -> None:
    poll = sandbox.client.send(ada.number, alice.number, "poll", question="Lunch?", options=["yes", "no"])
    alice.bot.wait_for("Message", PATIENCE, lambda event: event["id"] == poll)
    both = alice.bot.command("vote", to=bare(ada.number), poll=poll, options=["yes", "no"])["id"]
    assert ignored(sandbox, ada, both) == "too many options"
    strange = alice.bot.command("vote", to=bare(ada.number), poll=poll, options=["perhaps"])["id"]
    assert ignored(sandbox, ada, strange) == "the poll has no such option"
    ada.gets(alice.bot.command("vote", to=bare(ada.number), poll=poll, options=["no"])["id"])
    assert sandbox.client.messages(ada.number)[-1]["votes"] == {alice.number: ["no"]}


def test_a_poll_without_two_options_is_none(alice: Account, ada: Contact, sandbox: SandboxProcess) -> None:
    poll = {"name": "Lunch?", "options": [{"optionName": "yes"}], "selectableOptionsCount": 1}
    lonely = send(alice, ada.number, {"pollCreationMessage": poll})
    assert ignored(sandbox, ada, lonely) == "a poll has a question and from 2 to 12 options"


def test_an_id_counts_once_for_each_sender(alice: Account, bob: Account, ada: Contact) -> None:
    first = ada.sandbox.send(bob.number, ada.number, text="first", id="3EB0ABCDEF")
    ada.sandbox.send(bob.number, ada.number, text="again", id=first)
    ada.sandbox.send(alice.number, ada.number, text="of another", id=first)
    assert [one["text"] for one in ada.sandbox.inbox(ada.number)] == ["first", "of another"]
