"""What people write reaches webhooks: the real service, sandbox phones, receivers that fail in every way."""

from __future__ import annotations

import functools
import json
import os
import random
import re
import signal
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.certificates import certificate
from support.conversation import Contact
from support.linked import wait_until
from support.receivers import (
    HANG,
    HANG_UP,
    SECRET,
    Behavior,
    Raw,
    Receiver,
    Reply,
    always,
    first,
    first_of_each,
    status,
)
from support.service import PATIENCE, Service

from orchestrator.errors import OrchestratorError
from orchestrator.sandbox.process import SandboxProcess

Json = dict[str, Any]
ACCOUNTS = ("one", "two")
NEEDLES = ("xylophone", "needle-in-the-url", "needle-in-a-header")


class Webhooks:
    """A service with accounts, whose webhooks a test chooses.

    Attributes:
        service: The service.
        numbers: The accounts' numbers.
    """

    def __init__(self, service: Service, numbers: Mapping[str, str]) -> None:
        self.service = service
        self.numbers = numbers

    def secret(self, *secrets: bytes, name: str = "hook.secret") -> Path:
        path = self.service.folder / name
        path.touch(mode=0o600)
        path.write_text("".join(f"whsec_{b64encode(one).decode()}\n" for one in secrets))
        return path

    def use(self, receivers: Mapping[str, Receiver], **more: object) -> None:
        """Have these webhooks and no others."""
        path = self.secret(SECRET)
        hooks = {
            name: {
                "url": f"{receiver.url}&key={NEEDLES[1]}",
                "secret_file": str(path),
                "headers": {"X-Key": NEEDLES[2]},
                "timeout": "3s",
                "events": ["message.*", "webhook.*"],
                **more,
            }
            for name, receiver in receivers.items()
        }
        self.service.configure(_ACCOUNTS, webhooks=hooks)
        self.service.client.call("reload")
        self.wait(lambda: {one["name"] for one in self.about()} >= set(receivers))

    def about(self) -> list[Json]:
        return list(self.service.client.call("consumers", kind="webhook")["consumers"])

    def one(self, name: str) -> Json:
        (found,) = self.service.client.call("consumers", name=name)["consumers"]
        return dict(found)

    def wait(self, condition: Callable[[], object]) -> None:
        """Wait until something is so; a gateway that is just starting answers nothing."""

        def holds() -> bool:
            with suppress(OrchestratorError):
                return bool(condition())
            return False

        wait_until(holds, "it does not come to be so")

    def gateway(self) -> psutil.Process:
        found: list[psutil.Process] = []

        def look() -> bool:
            with suppress(psutil.Error):  # one that was killed just now
                children = psutil.Process(self.service.pid).children()
                found[:] = [one for one in children if "orchestrator.gateway" in " ".join(one.cmdline())]
            return bool(found)

        self.wait(look)
        (gateway,) = found
        return gateway

    def stored(self, name: str) -> dict[str, str]:
        """Return the messages in an account's inbox: WhatsApp's id by the event's."""
        found: dict[str, str] = {}
        last = 0
        with self.service.kept.inbox(name) as reader:
            while some := reader.after(last, 1000):
                last = some[-1].seq
                found |= {f"evt_{name}_{one.seq}": one.id for one in some if one.source == "message"}
        return found


_ACCOUNTS = {name: {"messages": {"allow": "*", "groups": True}} for name in ACCOUNTS}


@pytest.fixture(scope="module")
def webhooks(
    shared_sandbox: SandboxProcess, make_number: Callable[[], str], make_folder: Callable[[], Path]
) -> Iterator[Webhooks]:
    numbers = {name: make_number() for name in ACCOUNTS}
    with Service(make_folder(), shared_sandbox, _ACCOUNTS) as service:
        for name, number in numbers.items():
            service.pair(name, number)
        yield Webhooks(service, numbers)


@pytest.fixture
def people(shared_sandbox: SandboxProcess, make_number: Callable[[], str]) -> list[Contact]:
    found = []
    for name in ("Ada", "Bob", "Eve"):
        contact = Contact(make_number(), shared_sandbox.client)
        shared_sandbox.client.add_phone(contact.number, name)
        found.append(contact)
    return found


def check(webhooks: Webhooks, receiver: Receiver, sent: list[str]) -> None:
    """See that a receiver has all messages, signed, in order, with the same bytes on each try."""
    assert receiver.wrong == []
    assert receiver.disorder() == []
    assert {one.event["data"].get("id") for one in receiver.taken} >= set(sent)
    assert not [needle for needle in NEEDLES if needle in "\n".join(webhooks.service.log)]


def test_what_people_write_reaches_a_webhook(webhooks: Webhooks, people: list[Contact]) -> None:
    ada, bob, _ = people
    with Receiver() as receiver:
        webhooks.use({"crm": receiver})
        sent = [
            ada.write(webhooks.numbers["one"], NEEDLES[0]),
            bob.write(webhooks.numbers["one"], "two"),
            ada.write(webhooks.numbers["two"], "three"),
        ]
        receiver.wait_for_taken(3, PATIENCE)
        check(webhooks, receiver, sent)
        shown = [
            json.loads(line)
            for name in ACCOUNTS
            for line in webhooks.service.command("messages", name, "--json").stdout.splitlines()
        ]
        for request in receiver.taken:
            assert request.event in shown
            assert request.headers["x-key"] == NEEDLES[2]
        traced = webhooks.service.command("trace", sent[0]).stdout
        assert "webhook crm: delivered" in traced


TROUBLES: dict[str, Behavior] = {
    "500": status(500),
    "429": status(429, retry_after="1"),
    "503 at a date": status(503, retry_after="Sun, 29 Nov 2020 07:00:00 GMT"),
    "401": status(401),
    "redirect": status(307, location="http://127.0.0.1:9/"),
    "hang": always(HANG),
    "hang up": always(HANG_UP),
    "cut": always(Reply(500, body=b"12345678", cut=3)),
    "drip": always(Reply(500, body=bytes(1000), pause=0.05)),
    "garbage": always(Raw(b"\x00\xff\x00")),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_receiver_that_fails_misses_nothing(
    webhooks: Webhooks, people: list[Contact], trouble: str
) -> None:
    ada, bob, eve = people
    with Receiver(first_of_each(1, TROUBLES[trouble])) as receiver:
        webhooks.use({"crm": receiver}, timeout="1s")
        sent = [
            one.write(webhooks.numbers[name], f"text {number}")
            for number in range(3)
            for one in (ada, bob, eve)
            for name in ACCOUNTS
        ]
        receiver.wait_for_requests(5, PATIENCE)
        # An operator need not wait for the schedule.
        webhooks.wait(lambda: _hurried(webhooks, "crm")["waiting"] == 0)
        check(webhooks, receiver, sent)


def _hurried(webhooks: Webhooks, name: str) -> Json:
    webhooks.service.client.call("webhook_resume", name=name)
    time.sleep(0.1)
    return webhooks.one(name)


def _is_through(webhooks: Webhooks, name: str) -> bool:
    return bool(_hurried(webhooks, name)["waiting"] == 0)


def test_without_an_operator_a_retry_comes_by_the_schedule(webhooks: Webhooks, people: list[Contact]) -> None:
    with Receiver(first(1, status(500))) as receiver:
        webhooks.use({"crm": receiver})
        sent = [people[0].write(webhooks.numbers["one"], "text")]
        failed, taken = receiver.wait_for_requests(2, PATIENCE)
        assert (failed.status, taken.status) == (500, 200)
        assert taken.at - failed.at > 3.5  # 5 s, give or take a fifth
        check(webhooks, receiver, sent)


def test_410_disables_a_webhook_until_it_is_resumed(webhooks: Webhooks, people: list[Contact]) -> None:
    ada, *_ = people
    with Receiver(first(1, status(410))) as gone, Receiver() as other:
        webhooks.use({"gone": gone, "other": other})
        sent = [ada.write(webhooks.numbers["one"], "text")]
        webhooks.wait(lambda: webhooks.one("gone")["state"] == "disabled")
        sent.append(ada.write(webhooks.numbers["one"], "more"))
        other.wait_for_taken(3, PATIENCE)
        assert "webhook.disabled" in {one.event["type"] for one in other.taken}
        assert len(gone.requests) == 1
        listed = webhooks.service.command("webhook", "list").stdout
        assert re.search(r"^gone +disabled .*answered 410", listed, re.MULTILINE)
        told = webhooks.service.command("doctor", check=False)
        assert told.returncode == 1
        assert "gone: disabled, because it answered 410" in told.stdout
        done = webhooks.service.command("webhook", "resume", "gone").stdout
        assert done.startswith("gone: ")
        gone.wait_for_taken(2, PATIENCE)
        check(webhooks, gone, sent)
        check(webhooks, other, sent)


def test_a_receiver_dies_and_comes_back(webhooks: Webhooks, people: list[Contact]) -> None:
    ada, bob, _ = people
    with Receiver() as receiver:
        webhooks.use({"crm": receiver})
        sent = [ada.write(webhooks.numbers["one"], "before")]
        receiver.wait_for_taken(1, PATIENCE)
        receiver.die()
        sent += [one.write(webhooks.numbers["one"], "meanwhile") for one in (ada, bob) for _ in range(5)]
        webhooks.wait(lambda: webhooks.one("crm")["why"] == "cannot connect: the connection was refused")
        receiver.come_back()
        webhooks.wait(lambda: _hurried(webhooks, "crm")["waiting"] == 0)
        check(webhooks, receiver, sent)


def test_an_operator_pauses_looks_and_begins_anew(webhooks: Webhooks, people: list[Contact]) -> None:
    ada, *_ = people
    command = webhooks.service.command
    with Receiver() as receiver:
        webhooks.use({"crm": receiver})
        assert re.fullmatch(r"crm: answered 200 in \S+ s\n", command("webhook", "test", "crm").stdout)
        assert receiver.taken[0].event["type"] == "test"
        assert "paused" in command("webhook", "pause", "crm").stdout
        sent = [ada.write(webhooks.numbers["one"], f"text {number}") for number in range(3)]
        webhooks.wait(lambda: webhooks.one("crm")["waiting"] == 3)
        assert len(receiver.taken) == 1
        assert re.search(
            r"^one +messages +\d+ +\d+ +3$", command("consumer", "list", "crm").stdout, re.MULTILINE
        )
        command("webhook", "resume", "crm")
        receiver.wait_for_taken(4, PATIENCE)
        assert receiver.wrong == []
        before = len(webhooks.stored("one"))
        command("consumer", "reset", "crm", "--from", "beginning", "--account", "one")
        receiver.wait(lambda one: len(one.taken) >= 4 + before, PATIENCE)
        assert {one.event["data"].get("id") for one in receiver.taken} >= set(sent)
        receiver.behave = status(404)
        done = command("webhook", "test", "crm", check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert "answered 404" in done.stderr
        assert "correct `url:`" in done.stderr
        assert NEEDLES[1] not in command("webhook", "list").stdout
        assert command("webhook", "dead", "crm").stdout == "crm has no dead letters\n"
        assert command("webhook", "test", "nobody", check=False).returncode == 1


def test_a_reload_and_a_new_secret_lose_nothing(webhooks: Webhooks, people: list[Contact]) -> None:
    ada, *_ = people
    other = bytes(range(32))
    with Receiver(secrets=[SECRET]) as receiver, Receiver(secrets=[other]) as late:
        webhooks.use({"crm": receiver})
        sent: list[str] = []
        over = threading.Event()

        def write() -> None:
            while not over.wait(0.05):
                sent.append(ada.write(webhooks.numbers["one"], f"text {len(sent)}"))

        thread = threading.Thread(target=write)
        thread.start()
        try:
            for secrets in ((other, SECRET), (other, SECRET), (SECRET,), (other, SECRET)):
                webhooks.secret(*secrets)
                webhooks.service.client.call("reload")
                time.sleep(0.3)
        finally:
            over.set()
            thread.join()
        receiver.wait(lambda one: {r.event["data"]["id"] for r in one.taken} >= set(sent), PATIENCE)
        check(webhooks, receiver, sent)
        assert len(receiver.requests) == len(sent)
        late.close()


def test_a_slow_receiver_holds_nobody_else_up(webhooks: Webhooks, people: list[Contact]) -> None:
    with Receiver() as fast, Receiver(always(HANG)) as slow:
        webhooks.use({"fast": fast, "slow": slow}, timeout="2s")
        sent = [one.write(webhooks.numbers["two"], "text") for one in people for _ in range(10)]
        fast.wait_for_taken(len(sent), PATIENCE)
        check(webhooks, fast, sent)
        assert not slow.taken


def test_a_confined_gateway_trusts_whom_the_environment_names(
    sandbox: SandboxProcess, make_number: Callable[[], str], folder: Path, tmp_path: Path
) -> None:
    """The process has given up most files by the time at which it reads certificates and looks names up."""
    shown, _ = certificate(tmp_path)
    service = Service(folder, sandbox, {"one": {"messages": {"allow": "*"}}}, start=False)
    bundle = tmp_path / "bundle.pem"
    bundle.write_text(
        Path(service.environment["SSL_CERT_FILE"]).read_text() + (tmp_path / "ca.pem").read_text()
    )
    service.environment["SSL_CERT_FILE"] = str(bundle)
    webhooks = Webhooks(service, {"one": make_number()})
    with Receiver(tls=shown, host="localhost") as receiver:
        hook = {"url": receiver.url, "secret_file": str(webhooks.secret(SECRET))}
        nowhere = {**hook, "url": "https://receiver.invalid/"}
        accounts = {"one": {"messages": {"allow": "*"}}}
        service.configure(accounts, webhooks={"crm": hook, "nowhere": nowhere})
        with service:
            service.start()
            webhooks.wait(webhooks.about)
            assert "answered 200" in service.command("webhook", "test", "crm").stdout
            told = service.command("webhook", "test", "nowhere", check=False).stderr
            assert "the name of its host cannot be resolved" in told
            assert receiver.wrong == []


KILLED = ("gateway", "account", "gateway", "parent", "account", "gateway", "parent", "gateway")


@pytest.mark.timeout(900)
def test_kills_at_random_lose_nothing(webhooks: Webhooks, people: list[Contact]) -> None:
    service, client = webhooks.service, webhooks.service.sandbox.client
    chance = random.Random(5)
    with Receiver() as steady, Receiver(first_of_each(1, status(500))) as shaky:
        webhooks.use({"steady": steady, "shaky": shaky})
        before = {name: set(webhooks.stored(name)) for name in ACCOUNTS}
        sent: dict[str, list[str]] = {name: [] for name in ACCOUNTS}
        over = threading.Event()

        def write() -> None:
            while not over.wait(0.02):
                name = chance.choice(ACCOUNTS)
                person = chance.choice(people)
                sent[name].append(client.send_text(person.number, webhooks.numbers[name], "text"))

        thread = threading.Thread(target=write)
        thread.start()
        try:
            for whom in KILLED:
                time.sleep(chance.uniform(0.2, 2.0))
                match whom:
                    case "gateway":
                        webhooks.gateway().kill()
                    case "account":
                        os.kill(service.child(chance.choice(ACCOUNTS)), signal.SIGKILL)
                    case "parent":
                        service.kill()
                        service.start()
                for name in ACCOUNTS:
                    service.wait_for_state(name, "connected")
                webhooks.gateway()
            time.sleep(1)
        finally:
            over.set()
            thread.join()

        def new(name: str) -> dict[str, str]:
            return {event: one for event, one in webhooks.stored(name).items() if event not in before[name]}

        # What WhatsApp took for delivered when a process was killed can be lost: one a kill, and reported.
        webhooks.wait(lambda: sum(len(set(sent[name]) - set(new(name).values())) for name in ACCOUNTS) <= 8)
        wanted = {event for name in ACCOUNTS for event in new(name)}
        for name, receiver in (("steady", steady), ("shaky", shaky)):
            webhooks.wait(functools.partial(_is_through, webhooks, name))
            receiver.wait(lambda one: {taken.id for taken in one.taken} >= wanted, PATIENCE)
            assert receiver.wrong == []
            assert receiver.disorder() == []
    assert len(wanted) > 50


def test_texts_go_with_the_messages_of_an_account(
    shared_sandbox: SandboxProcess,
    people: list[Contact],
    make_number: Callable[[], str],
    make_folder: Callable[[], Path],
) -> None:
    numbers = {name: make_number() for name in ACCOUNTS}
    with (
        Service(make_folder(), shared_sandbox, _ACCOUNTS) as service,
        Receiver(always(Reply(500))) as receiver,
    ):
        webhooks = Webhooks(service, numbers)

        def has(text: str) -> bool:
            folder = service.state / "gateway"
            return any(text.encode() in one.read_bytes() for one in folder.glob("consumers.sqlite3*"))

        for name, number in numbers.items():
            service.pair(name, number)
        webhooks.use({"crm": receiver})
        people[0].write(numbers["one"], "marimba")
        stays = people[0].write(numbers["two"], "celesta")
        wait_until(lambda: has("marimba") and has("celesta"), "what failed is not kept to be tried again")

        service.command("rename", "two", "three")
        service.command("remove", "one", "--yes")
        wait_until(lambda: not has("marimba"), "the text of a removed account stays")
        assert has("celesta"), "its account has another name now, and its messages"
        receiver.behave = always(Reply(200))
        webhooks.wait(lambda: _is_through(webhooks, "crm"))
        (taken,) = receiver.taken
        assert taken.event["data"]["id"] == stays
