"""An unmodified bot of neonize's own kind with more than forty commands: each effect is seen at a phone."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.linked import PATIENCE, wait_until

from orchestrator.sandbox.client import SandboxClient
from orchestrator.sandbox.process import SandboxProcess

BOT = Path(__file__).parent.parent / "support" / "command_bot.py"
NO_MEDIUM = hashlib.sha256(b"no real medium, but bytes of it" * 9).hexdigest()
PARTY = "\N{PARTY POPPER}"


@dataclass(frozen=True)
class Play:
    """A bot, and Ada, who writes to it."""

    sandbox: SandboxClient
    bot: str
    ada: str
    begun: int

    def ask(self, text: str, to: str | None = None) -> str:
        """Write a command to the bot, or in a group; return the message's id."""
        return self.sandbox.send_text(self.ada, to or self.bot, text)

    def answers(self, text: str, count: int = 1, to: str | None = None) -> list[dict[str, Any]]:
        """Write a command; return what Ada's phone gets next, as its inbox has it."""
        after = max((one["seq"] for one in self.sandbox.inbox(self.ada)), default=0)
        self.ask(text, to)
        wait_until(lambda: len(self.sandbox.inbox(self.ada, after)) >= count, f"{text}: too little comes")
        found = self.sandbox.inbox(self.ada, after)
        assert [one["from"] for one in found] == [self.bot] * count, found
        return found

    def answer(self, text: str, to: str | None = None) -> dict[str, Any]:
        """Write a command; return the one message that Ada's phone gets."""
        return self.answers(text, 1, to)[0]

    def shown(self, message_id: str, chat: str | None = None) -> dict[str, Any]:
        """Return a message as Ada sees it now."""
        (found,) = [
            one for one in self.sandbox.messages(self.ada, chat or self.bot) if one["id"] == message_id
        ]
        return found

    def becomes(self, message_id: str, what: str, value: object, chat: str | None = None) -> None:
        """Wait until something is shown with a message."""
        wait_until(
            lambda: self.shown(message_id, chat).get(what) == value, f"{what} does not become {value!r}"
        )


@pytest.fixture(scope="module")
def play(
    shared_sandbox: SandboxProcess, make_number: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Play]:
    sandbox, bot, ada = shared_sandbox.client, make_number(), make_number()
    begun = sandbox.last_event()
    sandbox.add_phone(ada, "Ada")
    database = tmp_path_factory.mktemp("bot") / "bot.sqlite3"
    with (
        database.with_suffix(".log").open("w") as log,
        subprocess.Popen(
            [sys.executable, BOT, database],
            env=shared_sandbox.environment(),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            scanned = False
            for line in process.stdout:
                word, _, text = line.strip().partition(" ")
                if word == "qr" and not scanned:
                    sandbox.scan(bot, text=text)
                    scanned = True
                if word == "connected" and scanned:
                    break
            threading.Thread(target=process.stdout.read, daemon=True).start()
            sandbox.wait_for("online", PATIENCE, phone=bot)
            yield Play(sandbox, bot, ada, begun)
        finally:
            process.kill()


def bare(number: str) -> str:
    return number.removeprefix("+")


# What comes as one message: the command, and what the phone shows of the answer

SHOWN: list[tuple[str, dict[str, Any]]] = [
    ("say hello there", {"kind": "text", "text": "hello there"}),
    ("forward old news", {"kind": "text", "text": "old news", "forwarded": 2}),
    ("vanish", {"kind": "text", "text": "soon gone", "expires": 86_400, "wraps": ["ephemeral"]}),
    ("image", {"kind": "image", "caption": "look", "mime": "image/png"}),
    ("once", {"kind": "image", "view_once": True, "wraps": ["view_once_v2"]}),
    ("document", {"kind": "document", "caption": "numbers", "file_name": "a.csv", "mime": "text/csv",
                  "size": 8}),
    ("video", {"kind": "video", "seconds": 7, "width": 64, "height": 32, "caption": "moving",
               "sha256": NO_MEDIUM}),
    ("gif", {"kind": "video", "gif": True, "sha256": NO_MEDIUM}),
    ("audio", {"kind": "audio", "seconds": 3, "mime": "audio/mp4", "sha256": NO_MEDIUM}),
    ("voice", {"kind": "voice", "seconds": 2, "waveform": list(range(64)), "sha256": NO_MEDIUM}),
    ("sticker", {"kind": "sticker", "animated": True, "mime": "image/webp"}),
    ("location", {"kind": "location", "latitude": 52.5, "longitude": 13.4, "name": "Here",
                  "address": "A street"}),
    ("live", {"kind": "live_location", "latitude": 52.5, "longitude": 13.4}),
    ("contact", {"kind": "contact", "name": "Bob"}),
    ("poll", {"kind": "poll", "question": "Lunch?", "options": ["yes", "no"], "select": 1}),
    ("buttons", {"kind": "buttons", "text": "which?", "footer": "below",
                 "buttons": [{"id": "a", "text": "A"}, {"id": "b", "text": "B"}]}),
    ("choices", {"kind": "list", "title": "menu", "text": "choose", "button": "Open",
                 "rows": [{"id": "r1", "text": "Row 1"}]}),
    ("flow", {"kind": "interactive", "title": "Title", "text": "Body", "footer": "Footer"}),
    ("template", {"kind": "template", "text": "ready?", "buttons": [{"id": "y", "text": "Yes"}]}),
    ("privacy", {"kind": "text", "text": "read receipts: 2"}),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "expected"), SHOWN, ids=[asked.split()[0] for asked, _ in SHOWN])
def test_a_command_is_answered_by_a_message(play: Play, asked: str, expected: dict[str, Any]) -> None:
    answer = play.answer(asked)
    assert {name: answer.get(name) for name in expected} == expected
    assert "error" not in answer


def test_a_reply_quotes_and_an_answer_mentions(play: Play) -> None:
    pong = play.answer("ping")
    (asked,) = [one["id"] for one in play.sandbox.sent(play.ada)[-1:]]
    assert (pong["text"], pong["quote"]) == ("pong", {"id": asked, "author": play.ada})
    assert play.answer("image")["quote"]["author"] == play.ada
    assert play.answer(f"mention {bare(play.ada)}")["mentions"] == [play.ada]


def test_a_link_is_shown_with_a_preview(play: Play) -> None:
    preview = play.answer("preview")["preview"]
    assert (preview["link"], preview["title"], preview["description"]) == (
        "https://example.org/a",
        "A",
        "Of A",
    )
    assert preview["thumbnail"]["size"] > 0


def test_pictures_have_thumbnails_and_an_album_holds_its_pictures(play: Play) -> None:
    image = play.answer("image")
    assert image["thumbnail"]["size"] > 0
    assert play.sandbox.attachment(play.ada, image["seq"]).startswith(b"\x89PNG")
    album, first, second = play.answers("album", 3)
    assert (album["kind"], album["images"]) == ("album", 2)
    assert [one["album"] for one in (first, second)] == [album["id"]] * 2
    assert {first["caption"], second["caption"]} == {"both", ""}  # the library builds both at once


def test_two_contacts_come_as_one_message(play: Play) -> None:
    assert [one["name"] for one in play.answer("contacts")["contacts"]] == ["Bob", "Eve"]


def test_a_reaction_is_shown_and_taken_back(play: Play) -> None:
    asked = play.ask("react")
    play.becomes(asked, "reactions", {play.bot: PARTY})
    play.ask(f"unreact {asked}")
    play.becomes(asked, "reactions", None)


def test_edits_are_shown(play: Play) -> None:
    first = play.answers("edit", 3)[0]
    shown = play.shown(first["id"])
    assert (shown["text"], shown["edits"]) == ("first", 2)


def test_a_deleted_message_is_gone(play: Play) -> None:
    slip = play.answers("revoke", 2)[0]
    shown = play.shown(slip["id"])
    assert shown["deleted_by"] == play.bot
    assert "text" not in shown


def test_a_message_is_pinned(play: Play) -> None:
    play.becomes(play.ask("pin"), "pinned_by", play.bot)


def test_votes_are_seen_on_both_sides(play: Play) -> None:
    theirs = play.answer("poll")
    play.sandbox.send(play.ada, play.bot, "vote", of=theirs["id"], options=["no"])
    play.becomes(theirs["id"], "votes", {play.ada: ["no"]})
    mine = play.sandbox.send(play.ada, play.bot, "poll", question="Tea?", options=["green", "black"])
    play.ask("vote black")
    play.becomes(mine, "votes", {play.bot: ["black"]})


def test_typing_recording_and_reading_are_seen(play: Play) -> None:
    def state() -> list[str]:
        return [one["state"] for one in play.sandbox.typing(play.ada) if one["from"] == play.bot]

    play.ask("typing")
    wait_until(lambda: state() == ["composing"], "nobody types")
    play.ask("recording")
    wait_until(lambda: state() == ["recording"], "nobody records")
    play.ask("pause")
    wait_until(lambda: state() == [], "the bot does not stop")
    play.becomes(play.ask("read"), "read", [play.bot])
    note = play.sandbox.send(play.ada, play.bot, "voice", data=b"no real voice", seconds=1)
    play.becomes(note, "delivered", [play.bot])
    play.ask(f"listen {note}")
    play.becomes(note, "played", [play.bot])
    play.becomes(note, "read", [play.bot])
    play.ask("watch")
    wait_until(lambda: play.sandbox.show_presence(play.ada, available=True) == 1, "nobody watches")


def test_numbers_are_looked_up(play: Play, number: str) -> None:
    text = play.answer(f"lookup {play.ada} {number}")["text"]
    assert text.replace("+", "") == f"{bare(play.ada)}=True {bare(number)}=False"
    assert play.answer("whoami")["text"] == bare(play.bot)


def test_a_group_is_made_changed_and_left(play: Play, number: str) -> None:
    eve = number
    play.sandbox.add_phone(eve, "Eve")
    team = play.answer(f"group Team {bare(play.ada)} {bare(eve)}")["text"]

    def about(name: str) -> Any:  # noqa: ANN401 - JSON
        return next(one[name] for one in play.sandbox.groups() if one["group"] == team)

    assert about("members") == {play.bot: "superadmin", play.ada: "member", eve: "member"}
    play.ask("subject New name", team)
    wait_until(lambda: about("subject") == "New name", "the group is not renamed")
    play.ask("topic About us", team)
    wait_until(lambda: about("settings").get("description") == "About us", "the group is not described")
    play.ask(f"promote {bare(play.ada)}", team)
    wait_until(lambda: about("members")[play.ada] == "admin", "nobody is promoted")
    play.ask("announce", team)
    wait_until(lambda: about("settings").get("announcement") == "1", "everybody may write")
    code = play.answer("link", team)["text"].rpartition("/")[2]
    assert about("settings")["invite"] == code
    assert play.answer("members", team)["text"] == "3 members of New name"
    asked = play.ask("remove", team)
    play.becomes(asked, "deleted_by", play.bot, team)
    play.ask("leave", team)
    wait_until(lambda: play.bot not in about("members"), "the bot stays")


def test_nothing_of_all_this_was_unknown_to_the_sandbox(play: Play) -> None:
    unknown = (
        "unknown-request",
        "unknown-stanza",
        "bad-stanza",
        "send-refused",
        "phone-ignored",
        "refused-host",
    )
    # Other tests have used this sandbox before, and some of what they did names no phone.
    told = [one for one in play.sandbox.events(play.begun) if one["event"] in unknown]
    mine = [one for one in told if one.get("phone") in (None, play.bot, play.ada)]
    assert mine == []
