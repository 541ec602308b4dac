"""What phones write, shown by the commands, and what becomes of it when the account moves or goes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest
from support.conversation import Contact
from support.inotify import Watcher
from support.linked import wait_until
from support.service import PATIENCE, Service

from orchestrator.sandbox.process import SandboxProcess

pytestmark = pytest.mark.both_stores

NEEDLE = "xylophone"


@pytest.fixture
def numbers(make_number: Callable[[], str]) -> dict[str, str]:
    return {"open": make_number(), "closed": make_number()}


@pytest.fixture
def number(numbers: dict[str, str]) -> str:
    return numbers["open"]


@pytest.fixture
def service(sandbox: SandboxProcess, numbers: dict[str, str], tmp_path: Path) -> Iterator[Service]:
    with Service(tmp_path, sandbox, {"open": {"messages": {"allow": "*"}}, "closed": {}}) as service:
        for name, one in numbers.items():
            service.pair(name, one)
        yield service


def events(service: Service, name: str, *options: str) -> list[dict[str, Any]]:
    text = service.command("messages", name, "--json", *options).stdout
    assert text.isascii()
    return [json.loads(line) for line in text.splitlines()]


def texts(service: Service, name: str) -> list[str]:
    return [one["data"]["text"] for one in events(service, name) if one["type"] == "message.received"]


def stored(service: Service, name: str, wanted: list[str]) -> None:
    wait_until(lambda: texts(service, name) == wanted, f"{wanted} are not stored")


@contextmanager
def following(service: Service, name: str) -> Iterator[IO[str]]:
    process = subprocess.Popen(
        service.command_line("messages", name, "--follow", "--json", "--after", "0"),
        stdout=subprocess.PIPE,
        env=service.environment,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_what_a_phone_writes_is_shown_and_traced(service: Service, ada: Contact, number: str) -> None:
    with following(service, "open") as shown:
        first = ada.write(number, f"{NEEDLE} one")
        event = json.loads(shown.readline())
        assert (event["data"]["id"], event["data"]["text"]) == (first, f"{NEEDLE} one")
        assert event["data"]["sender"]["phone"] == ada.number
        second = ada.write(number, "two")
        assert json.loads(shown.readline())["data"]["id"] == second
    (line, _) = service.command("messages", "open").stdout.splitlines()
    assert ada.number in line
    assert line.endswith(f"{NEEDLE} one")
    said = service.command("trace", first).stdout
    assert f"{first} in the inbox of open" in said
    assert NEEDLE not in said
    assert ada.number not in said


def test_when_messages_came_and_went_last_is_shown_and_outlasts_a_restart(
    service: Service, ada: Contact, number: str
) -> None:
    def times() -> tuple[str | None, str | None]:
        (about,) = json.loads(service.command("list", "open", "--json").stdout)
        return about["last_in_at"], about["last_out_at"]

    assert times() == (None, None)
    ada.write(number, NEEDLE)
    service.command("send", "open", "--to", ada.number, "back")
    wait_until(lambda: None not in times(), "the process has not told when messages came and went")
    before = times()
    said = service.command("explain", "open").stdout
    assert "the last came in" in said
    assert "the last was sent" in said
    assert [service.about("closed")[key] for key in ("last_in_at", "last_out_at")] == [None, None]
    service.stop()
    assert times() == before, "what the service has left says the same"
    service.kept.forget_status()
    service.start()
    wait_until(lambda: times() == before, "the new process does not know from its databases")


@pytest.mark.files_only("a folder that somebody watches")
def test_who_watches_the_folder_of_all_messages_hears_of_each(
    service: Service, ada: Contact, number: str
) -> None:
    with Watcher(service.state / "messages", "attributes") as watcher:
        for count in range(1, 4):
            ada.write(number, str(count))
            # The account's process is confined, and may change no attributes by path.
            while len(texts(service, "open")) < count:
                watcher.wait_for(lambda seen: seen.name == "open")


def test_what_nobody_keeps_is_counted_and_told(
    service: Service, ada: Contact, numbers: dict[str, str]
) -> None:
    since = ada.sandbox.last_event()
    message = ada.write(numbers["closed"], NEEDLE)
    ada.sandbox.wait_for("receipt", PATIENCE, since, id=message)
    assert events(service, "closed") == []
    # The process says so with its next heartbeat.
    wait_until(lambda: service.about("closed")["refused"] == 1, "it is not counted")
    said = service.command("explain", "closed").stdout
    assert "received, not allowed: 1" in said
    assert "set `allow:` under `messages:` of `closed:`" in said
    doctor = service.command("doctor", check=False).stdout
    assert "1 message came in that is not kept" in doctor
    assert NEEDLE not in " ".join(service.log)


def test_messages_go_away_with_their_account_and_come_back(
    service: Service, ada: Contact, number: str
) -> None:
    ada.write(number, "one")
    stored(service, "open", ["one"])
    service.command("rename", "open", "other")
    service.wait_for_state("other", "connected")
    ada.write(number, "two")
    stored(service, "other", ["one", "two"])
    service.command("remove", "other", "--yes", "--no-unlink")
    (place,) = service.quarantined("other", "removed")
    assert place.has_messages()
    assert not service.kept.has_inbox("other")
    done = service.command("restore", "other")
    assert "the messages that were put away with this session are back" in done.stderr
    service.configure({"other": {"messages": {"allow": "*"}}})
    service.command("reload")
    service.wait_for_state("other", "connected")
    ada.write(number, "three")
    stored(service, "other", ["one", "two", "three"])
    seqs = [one["seq"] for one in events(service, "other")]
    assert seqs == sorted(set(seqs))


def test_a_repair_keeps_the_messages(service: Service, ada: Contact, number: str) -> None:
    ada.write(number, "one")
    stored(service, "open", ["one"])
    service.command("repair", "open", "--yes", "--no-wait")
    service.pair("open", number)
    ada.write(number, "two")
    stored(service, "open", ["one", "two"])


@pytest.mark.files_only("a file that is damaged")
def test_a_damaged_inbox_is_put_aside_and_the_account_goes_on(
    service: Service, ada: Contact, number: str
) -> None:
    ada.write(number, "one")
    stored(service, "open", ["one"])
    service.command("stop", "open")
    service.files.damage_inbox("open")
    service.command("start", "open")
    service.wait_for_state("open", "connected")
    ada.write(number, "two")
    stored(service, "open", ["two"])
    (event,) = events(service, "open")
    assert event["seq"] > 1
    (aside,) = service.files.message_folder("open").glob("damaged-*.sqlite3")
    assert aside.read_bytes().startswith(b"damaged")
