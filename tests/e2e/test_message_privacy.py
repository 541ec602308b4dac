"""What people write, and who they are, is in the inbox, and nowhere else whatever goes wrong."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.conversation import Contact, lid
from support.full_disk import fill, small_disk
from support.linked import wait_until
from support.service import PATIENCE, Json, Service

from orchestrator.sandbox.process import SandboxProcess
from orchestrator.store.tracebacks import SIGNAL

pytestmark = pytest.mark.both_stores

WORDS = """
text caption edited quoted filename contactname question firstoption secondoption subject description place
street livecaption button row title footer choice pushname businessname futuretext status channel emojitext
sent invitename history
"""
NEEDLES = {word: f"xq{word}zk" for word in WORDS.split()}
"""What is sought: a word for each place in which people write."""
NOT_SHOWN = {"status", "channel", "history", "futuretext", "invitename"}
"""What no account keeps, and what is in messages that no event shows."""
N = NEEDLES
FILE = b"no real file"
KINDS: list[tuple[str, dict[str, Any]]] = [
    ("text", {"text": N["text"]}),
    ("text", {"text": f"{N['text']}\n{N['text']}", "business": N["businessname"]}),
    ("image", {"data": FILE, "caption": N["caption"]}),
    ("document", {"data": FILE, "file_name": f"{N['filename']}.pdf"}),
    ("voice", {"data": FILE, "view_once": True}),
    ("location", {"latitude": 52.5, "longitude": 13.5, "name": N["place"], "address": N["street"]}),
    ("live_location", {"latitude": 52.5, "longitude": 13.5, "caption": N["livecaption"]}),
    ("contact", {"name": N["contactname"], "phone": "+15550917364"}),
    ("buttons", {"text": N["text"], "buttons": [N["button"]], "title": N["title"], "footer": N["footer"]}),
    ("list", {"text": N["text"], "rows": [N["row"]], "title": N["title"]}),
    ("list_response", {"choice": N["choice"], "text": N["text"]}),
    ("group_invite", {"invite_to": "120363000000000001@g.us", "name": N["invitename"]}),
    ("unknown", {"text": N["futuretext"]}),
]


def write_all(writer: Contact, to: str) -> list[str]:
    """Write everything that people write; return the messages' identifiers."""
    send = writer.sandbox.send
    ids = [send(writer.number, to, kind, **content) for kind, content in KINDS]
    text = send(writer.number, to, text=N["text"])
    poll = send(
        writer.number, to, "poll", question=N["question"], options=[N["firstoption"], N["secondoption"]]
    )
    return [
        *ids,
        text,
        poll,
        send(writer.number, to, text=N["quoted"], quote=text),
        send(writer.number, to, "reaction", of=text, emoji=N["emojitext"]),
        send(writer.number, to, "vote", of=poll, options=[N["secondoption"]]),
        send(writer.number, to, "edit", of=text, text=N["edited"]),
        send(writer.number, to, "revoke", of=text),
    ]


class Looker:
    """Gathers what the service says in all places, and finds in it what must not be there.

    Args:
        service: The service.
        numbers: Whose numbers are sought, by what they are called.
    """

    def __init__(self, service: Service, numbers: dict[str, str]) -> None:
        self.service = service
        self.needles = dict(NEEDLES)
        client = service.sandbox.client
        for name, number in numbers.items():
            self.needles |= {f"number of {name}": number[1:], f"address of {name}": lid(client, number)}
        self.needles["number in a card"] = "15550917364"
        self._said: dict[str, str] = {}

    def ask(self, *arguments: str) -> None:
        """Give a command, and keep what it says."""
        done = self.service.command(*arguments, check=False)
        self._said[f"orchestrator {' '.join(arguments)} ({len(self._said)})"] = done.stdout + done.stderr

    def ask_all(self, *names: str) -> None:
        """Give all commands that are about accounts and not about messages' texts, and look at `ps`."""
        for command in ("list", "doctor"):
            self.ask(command)
            self.ask(command, "--json")
        self.ask("list", "--wide")
        self.ask("list", "--check")
        for name in names:
            self.ask("explain", name, "--entries", "1000")
            self.ask("explain", name, "--json")
        lines = []
        for process in self.service.processes():
            try:
                lines.append(f"{process.name()} {' '.join(process.cmdline())} {process.environ()}")
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        self._said[f"ps ({len(self._said)})"] = "\n".join(lines)

    def remember_media(self, name: str) -> None:
        """Seek the names of an account's attachments, too."""
        with self.service.kept.inbox(name) as reader:
            for seq, media in reader.with_media(0, 1000):
                self.needles[f"attachment {seq} of {name}"] = media

    def found(self) -> list[str]:
        """Return what is where it must not be."""
        said = {**self._said, "the log": "\n".join(self.service.log)}
        said |= dict(self.service.kept.texts())
        return [
            f"{what} in {where}: {next(line for line in text.splitlines() if needle in line)[:300]}"
            for where, text in said.items()
            for what, needle in self.needles.items()
            if needle in text
        ]


@pytest.fixture
def numbers(make_number: Callable[[], str]) -> dict[str, str]:
    return {name: make_number() for name in ("open", "closed", "few", "ada", "bob")}


@pytest.fixture
def people(sandbox: SandboxProcess, numbers: dict[str, str]) -> tuple[Contact, Contact]:
    for name in ("ada", "bob"):
        sandbox.client.add_phone(numbers[name], f"{N['pushname']} {name}")
    return Contact(numbers["ada"], sandbox.client), Contact(numbers["bob"], sandbox.client)


def wait_until_stored(service: Service, name: str, *ids: str) -> None:
    def are_stored() -> bool:
        if not service.kept.has_inbox(name):
            return False
        with service.kept.inbox(name) as reader:
            return all(map(reader.find, ids))

    wait_until(are_stored, f"{name} lacks something")


def test_nothing_of_it_is_anywhere_else(
    sandbox: SandboxProcess, numbers: dict[str, str], people: tuple[Contact, Contact], folder: Path
) -> None:
    ada, bob = people
    accounts: dict[str, Json] = {
        "open": {"messages": {"allow": "*", "groups": True, "from_me": True, "media": "always"}},
        "few": {"messages": {"allow": [ada.number]}},
        "closed": {},
    }
    with Service(folder, sandbox, accounts, log_level="debug") as service:
        for name in accounts:
            service.pair(name, numbers[name])
        looker = Looker(service, {name: one for name, one in numbers.items() if name != "ada"})
        looker.needles["number of ada"] = ada.number[1:]
        client = sandbox.client
        since = client.last_event()

        # Those who are allowed, those who are not, groups, and what the phone itself sends.
        group = client.make_group(ada.number, N["subject"], [numbers[name] for name in (*accounts, "bob")])[
            "group"
        ]
        client.change_group(ada.number, group, "description", value=N["description"])
        last: dict[str, str] = {}
        for name in accounts:
            for writer in (bob, ada):
                last[name] = write_all(writer, numbers[name])[-1]
            client.send_text(numbers[name], ada.number, N["sent"])
            client.post_in_channel(numbers[name], N["channel"])
            client.send(numbers[name], numbers[name], "history", texts=[N["history"]])
        write_all(bob, group)
        client.send(ada.number, "status", text=N["status"], viewers=[numbers[name] for name in accounts])
        in_group = write_all(ada, group)[-1]
        for message in last.values():
            client.wait_for("receipt", PATIENCE, since, id=message)
        wait_until_stored(service, "open", last["open"], in_group)
        wait_until_stored(service, "few", last["few"])
        service.command("send", "open", "--to", ada.number, N["sent"])
        client.hang_up(client.call(ada.number, numbers["open"]))
        shown = service.command("messages", "open", "--json").stdout
        assert {word for word, needle in NEEDLES.items() if needle not in shown} == NOT_SHOWN
        looker.ask("trace", last["open"])
        looker.ask_all(*accounts)

        # What cannot be decrypted, and files that are gone.
        for name in accounts:
            client.fault("undecryptable", ada.number, repair=False)
            ada.write(numbers[name], N["text"])
            client.send_unavailable(ada.number, numbers[name])
        with (
            closing(sqlite3.connect(sandbox.state_dir / "sandbox.sqlite3", timeout=PATIENCE)) as store,
            store,
        ):
            store.execute("DELETE FROM media")
        image = client.send_media(ada.number, numbers["open"], "image", FILE, caption=N["caption"])
        with (
            closing(sqlite3.connect(sandbox.state_dir / "sandbox.sqlite3", timeout=PATIENCE)) as store,
            store,
        ):
            store.execute("DELETE FROM media")
        wait_until_stored(service, "open", image)
        looker.remember_media("open")

        # Processes that end while the library waits with messages, some of which are lost.
        for number in (signal.SIGKILL, SIGNAL, signal.SIGABRT):
            pid = service.wait_for_state("open", "connected")["pid"]
            with service.kept.nothing_is_stored("open"):
                since = client.last_event()
                sent = [write_all(ada, numbers["open"]) for _ in range(7 if number == signal.SIGKILL else 1)]
                client.wait_for("receipt", PATIENCE, since, id=sent[0][0])
                os.kill(pid, number)
                if number == SIGNAL:
                    with suppress(ProcessLookupError):  # the process may have ended by now
                        os.kill(pid, signal.SIGKILL)
                service.wait_until_away(numbers["open"])
            service.wait_for_state("open", "connected", after=pid)
        wait_until_stored(service, "open", ada.write(numbers["open"], N["text"]))
        looker.ask_all("open")
        looker.ask("restart", "few")

        service.stop()
        looker.ask("list")
        looker.ask("doctor")
        service.start()
        service.wait_for_state("few", "connected")
        wait_until_stored(service, "few", ada.write(numbers["few"], N["text"]))
        looker.ask_all(*accounts)
        looker.ask("rename", "few", "other")
        service.stop()
        looker.remember_media("open")
        # The library's whole log was there, and what was to go wrong did.
        log = "\n".join(service.log)
        for sign in ("<message ", "traceback of process", "Ignoring message"):
            assert sign in log, sign
        assert not looker.found()


@pytest.mark.files_only("a file that is damaged")
def test_nothing_of_it_is_anywhere_else_when_an_inbox_is_damaged(
    sandbox: SandboxProcess, numbers: dict[str, str], people: tuple[Contact, Contact], folder: Path
) -> None:
    ada, _ = people
    accounts: dict[str, Json] = {"few": {"messages": {"allow": [ada.number]}}}
    with Service(folder, sandbox, accounts, log_level="debug") as service:
        service.pair("few", numbers["few"])
        looker = Looker(service, {name: numbers[name] for name in ("few", "ada")})
        wait_until_stored(service, "few", write_all(ada, numbers["few"])[-1])
        service.stop()
        service.files.damage_inbox("few")
        looker.ask("doctor")
        service.start()
        service.wait_for_state("few", "connected")
        wait_until_stored(service, "few", ada.write(numbers["few"], N["text"]))
        looker.ask_all("few")
        service.stop()
        assert "the inbox is damaged" in "\n".join(service.log)
        assert not looker.found()


@pytest.mark.files_only("the disk that is full is this machine's")
def test_nothing_of_it_is_anywhere_else_when_the_disk_is_full(
    sandbox: SandboxProcess, numbers: dict[str, str], people: tuple[Contact, Contact], folder: Path
) -> None:
    ada, _ = people
    (folder / "state").mkdir(mode=0o700)
    accounts: dict[str, Json] = {"open": {"messages": {"allow": "*"}}}
    with (
        small_disk(folder / "state/messages", 8192) as disk,
        Service(folder, sandbox, accounts, log_level="debug") as service,
    ):
        service.pair("open", numbers["open"])
        looker = Looker(service, {name: numbers[name] for name in ("open", "ada")})
        wait_until_stored(service, "open", ada.write(numbers["open"], N["text"]))
        filler = fill(disk)
        for _ in range(3):
            write_all(ada, numbers["open"])
        service.wait_for_entry("open", kind="machine")
        looker.ask_all("open")
        filler.unlink()
        wait_until_stored(service, "open", ada.write(numbers["open"], N["text"]))
        looker.ask_all("open")
        service.stop()
        assert not looker.found()
