"""What phones do, as events: from a phone through WhatsApp, the library and the inbox to `messages --json`.

Each scene has a golden file with all events that come of it. To write the files anew, and then look at
the difference: ``WRITE_GOLDEN=1 python -m pytest -n0 tests/e2e/test_events.py``.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import jsonschema
import pytest
from support.conversation import Contact, lid
from support.golden import compare, normalized
from support.kept import Entries
from support.linked import wait_until
from support.service import PATIENCE, Service

from orchestrator.messages.rendering import form
from orchestrator.sandbox.process import SandboxProcess

GOLDEN = Path(__file__).parent / "golden"
FILE = b"a file"
THUMB = "\N{THUMBS UP SIGN}"
NAME = "open"

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "text": ("text", {"text": "Hello"}),
    "text_extended": ("text", {"text": "Hello", "extended": True}),
    "text_forwarded": ("text", {"text": "x", "extended": True, "forwarded": 5}),
    "text_that_expires": ("text", {"text": "x", "expires": 86_400}),
    "text_in_a_wrapper": ("text", {"text": "x", "wrap": ["ephemeral"]}),
    "text_of_a_business": ("text", {"text": "x", "business": "Chess Club"}),
    "image": ("image", {"data": FILE, "caption": "Look", "mime": "image/png"}),
    "image_that_expires": ("image", {"data": FILE, "expires": 86_400}),
    "image_to_see_once": ("image", {"data": FILE, "view_once": True}),
    "video": ("video", {"data": FILE, "caption": "See", "seconds": 7}),
    "video_to_see_once": ("video", {"data": FILE, "view_once": True}),
    "gif": ("video", {"data": FILE, "gif": True}),
    "video_note": ("video_note", {"data": FILE}),
    "audio": ("audio", {"data": FILE, "seconds": 9}),
    "voice": ("voice", {"data": FILE, "seconds": 3}),
    "voice_to_hear_once": ("voice", {"data": FILE, "view_once": True}),
    "document": ("document", {"data": FILE, "file_name": "../Bill.pdf", "mime": "application/pdf"}),
    "document_with_caption": (
        "document",
        {"data": FILE, "file_name": "Bill.pdf", "caption": "Bill", "wrap": "document_with_caption"},
    ),
    "sticker": ("sticker", {"data": FILE}),
    "sticker_animated": ("sticker", {"data": FILE, "animated": True}),
    "location": ("location", {"latitude": 52.5, "longitude": -13.25, "name": "Gate", "address": "Street 1"}),
    "live_location": ("live_location", {"latitude": 52.5, "longitude": 13.25, "caption": "on my way"}),
    "contact": ("contact", {"name": "Grace", "phone": "+15550100003"}),
    "contacts": ("contacts", {"contacts": [{"name": "Grace", "phone": "+15550100003"}] * 2}),
    "poll": ("poll", {"question": "When?", "options": ["Monday", "Tuesday"]}),
    "poll_of_many_choices": ("poll", {"question": "When?", "options": ["Monday", "Tuesday"], "select": 0}),
    "poll_of_the_first_form": ("poll", {"question": "When?", "options": ["A", "B"], "version": 1}),
    "poll_of_the_second_form": ("poll", {"question": "When?", "options": ["A", "B"], "version": 2}),
    "buttons": ("buttons", {"text": "Which?", "buttons": ["This"], "title": "Hi", "footer": "Bye"}),
    "buttons_of_a_template": ("template", {"text": "Which?", "buttons": ["This"], "title": "Hi"}),
    "buttons_interactive": ("interactive", {"text": "Which?", "buttons": ["This"], "footer": "Bye"}),
    "list": ("list", {"text": "Which?", "rows": [{"id": "a", "text": "This"}], "button": "Open"}),
    "chosen_button": ("buttons_response", {"choice": "a", "text": "This"}),
    "chosen_button_of_a_template": ("template_response", {"choice": "a", "text": "This"}),
    "chosen_interactive": ("interactive_response", {"choice": "a", "text": "This"}),
    "chosen_row": ("list_response", {"choice": "a", "text": "This"}),
    "unsupported": ("unknown", {"text": "x"}),
    "unsupported_invitation": ("group_invite", {"invite_to": "120363000000000001@g.us", "name": "Chess"}),
}  # fmt: skip
"""Messages that come alone: name of the file, and what the phone sends."""


class Play:
    """People with phones who do something with an account.

    Attributes:
        ada: Somebody.
        bob: Somebody else.
        number: The account's number.
        sandbox: Their phones.
    """

    def __init__(self, service: Service, number: str, ada: Contact, bob: Contact, reader: Entries) -> None:
        self.ada = ada
        self.bob = bob
        self.number = number
        self.service = service
        self.sandbox = ada.sandbox
        self._reader = reader
        self._begin = reader.newest()
        self._known = {"0123456789@g.us": "GROUP@g.us"}
        for name, phone in (("ADA", ada.number), ("BOB", bob.number), ("ACCOUNT", number)):
            self._known |= {phone[1:]: name, lid(self.sandbox, phone).partition("@")[0]: f"{name}-LID"}

    def to(self, to: str, kind: str = "text", **content: Any) -> str:  # noqa: ANN401 - what a kind takes
        """Let Ada send something; return its identifier."""
        return self.sandbox.send(self.ada.number, to, kind, **content)

    def group(self, *members: str, by: str = "") -> str:
        """Make a group with the account in it; return its address."""
        group = str(self.sandbox.make_group(by or self.ada.number, "Chess", [*members, self.number])["group"])
        self._known[group.partition("@")[0]] = "GROUP"
        return group

    def change(self, group: str, change: Any, **more: Any) -> Any:  # noqa: ANN401 - as of the sandbox
        """Let Ada change a group, and wait until the account knows."""
        count = self.count
        answer = self.sandbox.change_group(self.ada.number, group, change, **more)
        self.until(count + 1)
        return answer

    @property
    def count(self) -> int:
        """How much is stored since the beginning."""
        return len(self._reader.after(self._begin))

    def until(self, count: int) -> None:
        """Wait until so much is stored since the beginning."""
        wait_until(lambda: self.count >= count, f"not {count} entries are stored")

    def events(self) -> list[dict[str, Any]]:
        """Return all events since the beginning, as the command shows them."""
        last = self.bob.write(self.number, "that was all")
        wait_until(lambda: bool(self._reader.find(last)), "the last message is not stored")
        done = self.service.command("messages", NAME, "--json", "--after", str(self._begin))
        assert done.stdout.isascii()
        *events, end = map(json.loads, done.stdout.splitlines())
        assert end["data"]["text"] == "that was all"
        for event in events:
            jsonschema.Draft202012Validator(form.schema(event["type"])).validate(event)
        return normalized(events, self._known)


Scene: TypeAlias = Callable[[Play], None]
"""Something that people do; it returns when all of it is stored."""

SCENES: dict[str, Scene] = {}


def scene(of: Scene) -> Scene:
    """Give a scene a golden file of its name."""
    SCENES[of.__name__] = of
    return of


@scene
def answer_with_mentions(play: Play) -> None:
    text = play.to(play.number, text="first")
    play.to(play.number, text=f"to @{play.number[1:]}", quote=text, mentions=[play.number, play.bob.number])
    play.until(2)


@scene
def edit(play: Play) -> None:
    text = play.to(play.number, text="wrong")
    play.to(play.number, "edit", of=text, text="right")
    play.until(2)


@scene
def edit_of_a_caption(play: Play) -> None:
    image = play.to(play.number, "image", data=FILE, caption="wrong")
    play.to(play.number, "edit", of=image, text="right")
    play.until(2)


@scene
def revocation(play: Play) -> None:
    text = play.to(play.number, text="wrong")
    play.to(play.number, "revoke", of=text)
    play.until(2)


@scene
def reaction(play: Play) -> None:
    text = play.to(play.number, text="x")
    play.to(play.number, "reaction", of=text, emoji=THUMB)
    play.to(play.number, "reaction", of=text)
    play.until(3)


@scene
def poll_with_votes(play: Play) -> None:
    poll = play.to(play.number, "poll", question="When?", options=["Monday", "Tuesday"], select=0)
    for options in (["Tuesday"], ["Monday", "Tuesday"], []):
        play.to(play.number, "vote", of=poll, options=options)
    play.until(4)


@scene
def disappearing(play: Play) -> None:
    """Only the messages tell that they disappear, not the setting that makes them."""
    play.to(play.number, "disappearing", seconds=86_400)
    play.to(play.number, text="x", expires=86_400)
    play.until(1)


@scene
def own_messages(play: Play) -> None:
    """What the account's own phone does."""
    text = play.sandbox.send(play.number, play.ada.number, text="Hello")
    play.sandbox.send(play.number, play.ada.number, "image", data=FILE, caption="Look")
    play.until(2)
    play.ada.gets(text)
    play.to(play.number, text="Hi", quote=text)
    play.until(3)
    play.sandbox.send(play.number, play.ada.number, "edit", of=text, text="Hello!")
    play.sandbox.send(play.number, play.ada.number, "reaction", of=text, emoji=THUMB)
    play.sandbox.send(play.number, play.ada.number, "revoke", of=text)
    play.until(6)


@scene
def group_messages(play: Play) -> None:
    group = play.group(play.bob.number)
    play.until(1)
    text = play.to(group, text="Hello all")
    play.until(2)
    play.to(group, "image", data=FILE, caption="Look")
    play.until(3)
    play.bob.gets(text)
    play.sandbox.send(play.bob.number, group, text="Hi", quote=text, mentions=[play.ada.number])
    play.until(4)
    play.sandbox.send(play.bob.number, group, "reaction", of=text, emoji=THUMB)
    play.until(5)
    play.to(group, "edit", of=text, text="Hello everybody")
    play.until(6)
    play.sandbox.send(play.number, group, text="from my phone")
    play.until(7)


@scene
def group_poll(play: Play) -> None:
    group = play.group(play.bob.number)
    poll = play.to(group, "poll", question="When?", options=["Monday", "Tuesday"])
    play.until(2)
    play.bob.gets(poll)
    play.sandbox.send(play.bob.number, group, "vote", of=poll, options=["Tuesday"])
    play.until(3)
    play.sandbox.send(play.number, group, "vote", of=poll, options=["Monday"])
    play.until(4)


@scene
def group_revocations(play: Play) -> None:
    """A message that its author deletes, and one that an admin does."""
    group = play.group(play.bob.number)
    play.until(1)
    own, other = play.to(group, text="mine"), play.bob.write(group, "his")
    play.until(3)
    play.ada.gets(other)
    play.to(group, "revoke", of=own)
    play.until(4)
    play.to(group, "revoke", of=other)
    play.until(5)


@scene
def group_changes(play: Play) -> None:
    group = play.group(play.bob.number)
    play.until(1)
    play.change(group, "subject", subject="Chess Club")
    play.change(group, "description", value="Moves at noon")
    play.change(group, "description", value="")
    play.change(group, "announcement", value=True)
    play.change(group, "announcement", value=False)
    play.change(group, "locked", value=True)
    play.change(group, "locked", value=False)
    play.change(group, "ephemeral", value=86_400)
    play.change(group, "ephemeral", value=0)
    play.change(group, "promote", members=[play.bob.number])
    play.change(group, "demote", members=[play.bob.number])
    play.change(group, "remove", members=[play.bob.number])
    play.change(group, "add", members=[play.bob.number])
    play.change(group, "promote", members=[play.number])
    play.change(group, "invite")


@scene
def group_left_and_joined(play: Play) -> None:
    group = play.group(play.bob.number)
    play.until(1)
    code = play.change(group, "invite")["settings"]["invite"]
    play.sandbox.change_group(play.bob.number, group, "remove", members=[play.bob.number])
    play.until(3)
    play.sandbox.change_group(play.bob.number, group, "join", value=code)
    play.until(4)
    play.change(group, "remove", members=[play.number])
    play.change(group, "add", members=[play.number])


@scene
def group_deleted(play: Play) -> None:
    play.change(play.group(), "delete")


@scene
def sent_and_read(play: Play) -> None:
    since = play.sandbox.last_event()
    play.service.command("send", NAME, "--to", play.ada.number, "Hello")
    message = str(play.sandbox.wait_for("received", PATIENCE, since, phone=play.ada.number)["id"])
    play.until(2)
    play.sandbox.read(play.ada.number, message)
    play.until(3)


@scene
def undecryptable_for_good(play: Play) -> None:
    play.to(play.number, text="first")
    play.until(1)
    play.sandbox.fault("undecryptable", play.ada.number, repair=False)
    play.to(play.number, text="nobody reads this")
    play.until(2)


@scene
def undecryptable_at_first(play: Play) -> None:
    play.to(play.number, text="first")
    play.until(1)
    play.sandbox.fault("undecryptable", play.ada.number)
    play.to(play.number, text="can you read this?")
    play.until(3)


@scene
def unavailable(play: Play) -> None:
    play.sandbox.send_unavailable(play.ada.number, play.number)
    play.until(1)


@scene
def lost(play: Play) -> None:
    """A message that the library holds when its process is killed."""
    play.to(play.number, text="first")
    play.until(1)
    before = play.service.wait_for_state(NAME, "connected")["pid"]
    with play.service.kept.nothing_is_stored(NAME):
        since = play.sandbox.last_event()
        message = play.to(play.number, text="this is lost")
        play.sandbox.wait_for("receipt", PATIENCE, since, id=message)
        os.kill(before, signal.SIGKILL)
        play.service.wait_until_away(play.number)
    play.service.wait_for_state(NAME, "connected", after=before)
    play.until(2)


@scene
def calls(play: Play) -> None:
    for video in (False, True):
        play.sandbox.hang_up(play.sandbox.call(play.ada.number, play.number, video=video))
    play.until(2)


@scene
def group_calls(play: Play) -> None:
    group = play.group(play.bob.number)
    play.until(1)
    play.sandbox.hang_up(play.sandbox.call(play.ada.number, play.number, group=group))
    play.until(2)
    play.sandbox.call(play.ada.number, play.number, group=group, notice=True)
    play.until(3)


@scene
def nothing(play: Play) -> None:
    """Status posts, channels, who types and who is there."""
    play.to("status", text="my day", viewers=[play.number])
    play.to("status", "image", data=FILE, viewers=[play.number])
    play.sandbox.send(play.number, "status", text="mine", viewers=[play.ada.number])
    play.sandbox.post_in_channel(play.number, "news")
    play.sandbox.show_typing(play.ada.number, play.number)
    play.sandbox.show_presence(play.ada.number, available=True)
    play.sandbox.send(play.number, play.number, "history", texts=["long ago"])
    play.sandbox.send(play.number, play.number, "app_state_keys")


def alone(kind: str, content: dict[str, Any]) -> Scene:
    """Return a scene in which one message comes."""

    def act(play: Play) -> None:
        play.to(play.number, kind, **content)
        play.until(1)

    return act


SCENES |= {name: alone(*message) for name, message in KINDS.items()}


@pytest.fixture(scope="module")
def number(make_number: Callable[[], str]) -> str:
    return make_number()


@pytest.fixture(scope="module")
def service(
    shared_sandbox: SandboxProcess, number: str, make_folder: Callable[[], Path]
) -> Iterator[Service]:
    accounts = {NAME: {"messages": {"allow": "*", "groups": True, "from_me": True}}}
    with Service(make_folder(), shared_sandbox, accounts) as service:
        shared_sandbox.client.add_phone(number, "Me")
        service.pair(NAME, number)
        yield service


@pytest.fixture
def play(service: Service, ada: Contact, number: str, make_number: Callable[[], str]) -> Iterator[Play]:
    bob = Contact(make_number(), ada.sandbox)
    ada.sandbox.add_phone(bob.number, "Bob")
    with service.kept.inbox(NAME) as reader:
        yield Play(service, number, ada, bob, reader)


@pytest.mark.parametrize("name", SCENES)
def test_what_comes_of_it(name: str, play: Play) -> None:
    SCENES[name](play)
    compare(play.events(), GOLDEN / f"{name}.json", __file__)


def test_every_file_is_of_a_scene_and_every_type_and_kind_of_event_has_one() -> None:
    assert {file.stem for file in GOLDEN.iterdir()} == set(SCENES)
    events = [event for file in GOLDEN.iterdir() for event in json.loads(file.read_text())]
    assert {event["type"] for event in events} == set(form.DATA)
    kinds = form.DATA["message.received"]["properties"]["kind"]["enum"]
    assert {event["data"].get("kind") for event in events} - {None} == set(kinds)
    statuses = {event["data"].get("status") for event in events} - {None}
    assert statuses == {"sent", "delivered", "read"}
