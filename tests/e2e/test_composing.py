"""Every kind that an account sends, composed and sent by the real library, as another library receives it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.composing import Composing, composing
from support.conversation import Account, lid, own_account
from support.linked import PATIENCE, wait_until
from support.neonize_process import Event

from orchestrator.messages.inbox import Reader
from orchestrator.sandbox.client import SandboxClient
from orchestrator.sandbox.process import SandboxProcess

THUMB = "\N{THUMBS UP SIGN}"


@dataclass(frozen=True)
class Play:
    """An account that composes, somebody with a bot, and a group of them that a phone has made."""

    account: Composing
    bob: Account
    ada: str
    group: str
    sandbox: SandboxClient

    def chat(self, where: str) -> str:
        return self.group if where == "group" else self.bob.number

    def message(self, to: str, **outgoing: Any) -> tuple[Event, dict[str, Any]]:  # noqa: ANN401
        """Send something; return the event at the receiver, and the message in it."""
        id_ = self.account.send(to, **outgoing)
        # The first event of a group's message may have nothing but a key.
        event = self.bob.bot.wait_for("Message", PATIENCE, lambda e: e["id"] == id_ and content(e) != {})
        return event, content(event)

    def hears(self, where: str, text: str) -> str:
        """Have the other side write; return the message's identifier, once the account has it."""
        id_ = self.bob.write(self.account.number if where == "person" else self.group, text)

        def has() -> bool:
            with closing(Reader.open(self.account.folder)) as reader:
                return bool(reader.find(id_))

        wait_until(has, "it is not stored")
        return id_


def content(event: Event) -> dict[str, Any]:
    """Return what a message says, without what belongs to all messages."""
    about = ("messageContextInfo", "senderKeyDistributionMessage")
    found = event["event_fields"].get("Message", {})
    return {name: part for name, part in found.items() if name not in about}


@pytest.fixture(scope="module")
def play(
    shared_sandbox: SandboxProcess, make_number: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Play]:
    folder: Path = tmp_path_factory.mktemp("composing")
    sandbox, (ada, bob, own) = shared_sandbox.client, (make_number(), make_number(), make_number())
    sandbox.add_phone(ada, "Ada")
    with (
        own_account(shared_sandbox, bob, folder, download=True) as receiver,
        composing(shared_sandbox, own, folder) as account,
    ):
        group = sandbox.make_group(ada, "Team", [own, bob])["group"]
        yield Play(account, receiver, ada, group, sandbox)


WHERE = pytest.mark.parametrize("where", ["person", "group"])


@WHERE
def test_texts(play: Play, where: str) -> None:
    to = play.chat(where)
    _, message = play.message(to, text="/etc/passwd https://example.org @1")
    assert message == {"conversation": "/etc/passwd https://example.org @1"}
    preview = {"url": "https://example.org", "title": "Example", "thumbnail": "/9g="}
    _, message = play.message(to, text="see https://example.org", preview=preview)
    assert message["extendedTextMessage"] == {
        "text": "see https://example.org",
        "matchedText": "https://example.org",
        "title": "Example",
        "JPEGThumbnail": "/9g=",
    }
    _, message = play.message(to, text="@1 hi", mentions=[play.bob.number])
    mentioned = message["extendedTextMessage"]["contextInfo"]["mentionedJID"]
    assert mentioned == [f"{play.bob.number[1:]}@s.whatsapp.net"]


@WHERE
def test_answers_to_others_and_to_itself(play: Play, where: str) -> None:
    to = play.chat(where)
    asked = play.hears(where, "Where is the key?")
    _, message = play.message(to, text="Under the mat", reply_to=asked)
    context = message["extendedTextMessage"]["contextInfo"]
    assert (context["stanzaID"], context["participant"]) == (asked, lid(play.sandbox, play.bob.number))
    own = str(play.account.send(to, text="The blue one"))
    _, message = play.message(to, kind="location", location={"latitude": 1, "longitude": 2}, reply_to=own)
    context = message["locationMessage"]["contextInfo"]
    assert (context["stanzaID"], context["participant"]) == (own, lid(play.sandbox, play.account.number))
    assert context["quotedMessage"] == {"conversation": "The blue one"}


FILES: dict[str, tuple[str, dict[str, Any], str]] = {
    "image": ("image/jpeg", {"caption": "Look"}, "imageMessage"),
    "video": ("video/mp4", {"caption": "Look"}, "videoMessage"),
    "audio": ("audio/mpeg", {}, "audioMessage"),
    "voice": ("audio/ogg", {}, "audioMessage"),
    "document": ("application/pdf", {"file_name": "a b.pdf", "caption": "Read"}, "documentMessage"),
    "sticker": ("image/webp", {}, "stickerMessage"),
}


@WHERE
@pytest.mark.parametrize("kind", FILES)
def test_files_arrive_as_they_were(play: Play, kind: str, where: str) -> None:
    mime, about, name = FILES[kind]
    file = play.account.file(os.urandom(70_000), mime)
    event, message = play.message(play.chat(where), kind=kind, file=file, **about)
    assert event.get("sha256") == file["sha256"], event
    assert message[name]["mimetype"].startswith(mime)
    assert message[name].get("PTT", False) is (kind == "voice")
    assert message[name].get("caption") == about.get("caption")
    assert message[name].get("fileName") == about.get("file_name")


@WHERE
def test_places_people_and_polls(play: Play, where: str) -> None:
    to = play.chat(where)
    _, message = play.message(
        to, kind="location", location={"latitude": 52.5, "longitude": -13.25, "name": "X"}
    )
    assert message["locationMessage"] == {"degreesLatitude": 52.5, "degreesLongitude": -13.25, "name": "X"}
    people = [{"name": "Ada; B", "phones": [play.ada]}, {"name": "Bob", "phones": [play.bob.number]}]
    _, message = play.message(to, kind="contact", contacts=people[:1])
    assert message["contactMessage"]["displayName"] == "Ada; B"
    _, message = play.message(to, kind="contact", contacts=people)
    assert len(message["contactsArrayMessage"]["contacts"]) == 2
    poll = {"name": "Tea?", "options": ["yes", "no"], "selectable": 1}
    event, message = play.message(to, kind="poll", poll=poll)
    assert [one["optionName"] for one in message["pollCreationMessage"]["options"]] == ["yes", "no"]
    assert event["event_fields"]["Info"]["Type"] == "poll"


@WHERE
def test_what_is_about_other_messages(play: Play, where: str) -> None:
    to = play.chat(where)
    asked, own = play.hears(where, "well?"), str(play.account.send(to, text="fine"))
    for about in (asked, own):
        _, message = play.message(to, kind="reaction", message=about, emoji=THUMB)
        key = message["reactionMessage"]["key"]
        assert (key["ID"], key["fromMe"]) == (about, about == own)
        _, message = play.message(to, kind="reaction", message=about, emoji="")
        assert message["reactionMessage"]["text"] == ""
    event, message = play.message(to, kind="edit", message=own, text="very fine")
    assert message["protocolMessage"]["key"]["ID"] == own
    assert message["protocolMessage"]["editedMessage"] == {"conversation": "very fine"}
    assert event["event_fields"]["Info"]["Edit"] == "1"
    _, message = play.message(to, kind="revocation", message=own)
    assert (message["protocolMessage"]["key"]["ID"], message["protocolMessage"]["type"]) == (own, "REVOKE")
    assert play.account.send(to, kind="read", messages=[asked]) is None
    assert play.bob.hears("READ", asked)["ids"] == [asked]


def test_everything_leaves_its_secret_in_the_session_first(play: Play) -> None:
    chat = lid(play.sandbox, play.bob.number)
    own = play.account.try_to_send(play.bob.number, text="x")
    assert own["secrets"] == [(chat, own["id"])]
    for kind, more in {
        "reaction": {"emoji": THUMB},
        "edit": {"text": "y"},
        "revocation": {},
    }.items():
        done = play.account.try_to_send(play.bob.number, kind=kind, message=own["id"], **more)
        assert done["secrets"] == [(chat, done["id"])]


@pytest.mark.parametrize("code", [463, 475, 429])
def test_what_whatsapp_refuses_has_left_its_secret_and_says_so(play: Play, code: int) -> None:
    play.sandbox.fault("send-error", play.account.number, code=code)
    done = play.account.try_to_send(play.bob.number, text="x")
    assert f"server returned error {code}" in done["error"]
    assert len(done["secrets"]) == 1


def test_a_number_that_is_not_on_whatsapp_gets_nothing(play: Play, make_number: Callable[[], str]) -> None:
    done = play.account.try_to_send(make_number(), text="x")
    assert "no LID found" in done["error"]
    assert done["secrets"] == []


# Groups and numbers


def test_a_group_from_beginning_to_end(play: Play, make_number: Callable[[], str]) -> None:
    cleo = make_number()
    play.sandbox.add_phone(cleo, "Cleo")
    made = play.account.does("group_create", subject="New", members=[play.ada, play.bob.number])["group"]
    group = made["id"]
    roles = {one["phone"]: one["role"] for one in made["members"]}
    assert roles == {play.account.number: "owner", play.ada: "member", play.bob.number: "member"}
    play.account.does("group_subject", group=group, subject="Newer")
    play.account.does("group_description", group=group, description="Two\nlines")
    added = play.account.does("group_members", group=group, change="add", members=[cleo])
    assert [(one["phone"], one["done"]) for one in added["members"]] == [(cleo, True)]
    play.account.does("group_members", group=group, change="promote", members=[play.ada])
    shown = play.account.does("group", group=group)["group"]
    assert (shown["subject"], shown["description"]) == ("Newer", "Two\nlines")
    roles = {one["phone"]: one["role"] for one in shown["members"]}
    assert (roles[play.ada], roles[cleo], len(roles)) == ("admin", "member", 4)
    play.account.does("group_members", group=group, change="demote", members=[play.ada])
    play.account.does("group_members", group=group, change="remove", members=[cleo])
    shown = play.account.does("group", group=group)["group"]
    assert {one["role"] for one in shown["members"]} == {"owner", "member"}
    link = play.account.does("group_invite", group=group)["link"]
    assert link.startswith("https://chat.whatsapp.com/")
    assert play.account.does("group_invite", group=group)["link"] == link
    assert play.account.does("group_invite", group=group, reset=True)["link"] != link
    listed = {one["id"]: one["member_count"] for one in play.account.does("groups")["groups"]}
    assert listed[group] == 3
    play.account.does("group_leave", group=group)
    assert group not in {one["id"] for one in play.account.does("groups")["groups"]}


def test_what_an_account_may_not_do_in_groups_is_told(play: Play) -> None:
    done = play.account.ask("group_invite", group=play.group)
    assert (done["fate"], done["code"]) == ("failed", 401), done
    done = play.account.ask("group_members", group=play.group, change="promote", members=[play.bob.number])
    assert (done["fate"], done["code"]) == ("failed", 403), done
    done = play.account.ask("group", group="120363999999999999@g.us")
    assert (done["fate"], done["about"]) == ("failed", "there is no such group")


def test_numbers_are_looked_up(play: Play, make_number: Callable[[], str]) -> None:
    nobody = make_number()
    assert play.account.does("numbers", numbers=[play.ada, nobody])["numbers"] == [
        {"number": play.ada, "exists": True, "id": lid(play.sandbox, play.ada)},
        {"number": nobody, "exists": False, "id": None},
    ]


def test_typing_is_shown(play: Play) -> None:
    play.account.does("typing", chat=play.ada, state="recording")
    wait_until(lambda: bool(play.sandbox.typing(play.ada)), "it is not shown")
    assert play.sandbox.typing(play.ada)[0]["from"] == play.account.number
