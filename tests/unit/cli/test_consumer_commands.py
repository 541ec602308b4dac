"""What the commands about consumers ask the service, and what they print of its answers."""

from __future__ import annotations

import json
import socketserver
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from orchestrator import cli
from orchestrator.cli.inbox.tracing import Fate, Step, with_consumers
from orchestrator.control.consumers import COMMANDS

CRM = {
    "name": "crm", "kind": "webhook", "state": "failing", "why": "answered 500", "accounts": None,
    "since": "2026-11-22T14:00:00Z", "next_try_at": "2199-11-22T14:00:00Z", "events": ["*"], "in_flight": 0,
    "waiting": 12, "retrying": 3, "dead": 2, "delivered": 4711, "failed": 9, "expired": 0,
    "url": "https://crm.example/hook",
}  # fmt: skip
POSITION = {"account": "support", "stream": "messages", "cursor": 17, "newest": 29, "waiting": 12}


class Service:
    """Answers as a service does, and notes what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.answers: dict[str, Any] = {}
        self.asked: list[dict[str, Any]] = []
        service = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                request = json.loads(self.rfile.readline())
                service.asked.append(request)
                answer = service.answers.get(request["command"])
                found = answer(request) if callable(answer) else answer
                line = {"result": found}
                self.wfile.write(json.dumps(line).encode() + b"\n")

        self.server = socketserver.ThreadingUnixStreamServer(str(folder / "control.sock"), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def __call__(self, *arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(cli.app, ["--state-dir", str(self.folder), *arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result


@pytest.fixture
def service() -> Iterator[Service]:
    with tempfile.TemporaryDirectory(prefix="orchestrator-") as folder:
        one = Service(Path(folder))
        yield one
        one.server.shutdown()
        one.server.server_close()


def test_webhooks_are_listed(service: Service) -> None:
    service.answers["consumers"] = {"consumers": [CRM, {"name": "new", "kind": "webhook", "state": "active"}]}
    lines = service("webhook", "list").stdout.splitlines()
    assert lines[0].split() == [
        "NAME", "STATE", "SINCE", "WAITING", "RETRYING", "DEAD", "DELIVERED", "NEXT", "REASON", "URL",
    ]  # fmt: skip
    assert "failing" in lines[2]
    assert "answered 500" in lines[2]
    assert "https://crm.example/hook" in lines[2]
    assert lines[3].split()[:3] == ["new", "active", "-"]
    assert json.loads(service("webhook", "list", "--json").stdout)[0] == CRM
    assert service.asked[0] == {"command": "consumers", "kind": "webhook"}
    service.answers["consumers"] = {"consumers": []}
    assert "no webhooks" in service("webhook", "list").stdout
    assert "no consumers" in service("consumer", "list").stdout


def test_consumers_are_listed_and_one_with_its_positions(service: Service) -> None:
    service.answers["consumers"] = {"consumers": [CRM], "positions": [POSITION]}
    assert service("consumer", "list").stdout.splitlines()[2].split()[:3] == ["crm", "webhook", "failing"]
    said = service("consumer", "list", "crm").stdout
    assert said.splitlines()[-1].split() == ["support", "messages", "17", "29", "12"]
    found = json.loads(service("consumer", "list", "crm", "--json").stdout)
    assert found["positions"] == [POSITION]
    assert service.asked[-1] == {"command": "consumers", "name": "crm"}


def test_a_test_says_what_came_back(service: Service) -> None:
    service.answers["webhook_test"] = {
        "event": "e",
        "status": 204,
        "seconds": 0.034,
        "why": None,
        "advice": None,
    }
    assert service("webhook", "test", "crm").stdout == "crm: answered 204 in 0.034 s\n"
    service.answers["webhook_test"] |= {"status": 401, "why": "answered 401", "advice": "compare the secret"}
    done = service("webhook", "test", "crm", code=1)
    assert done.stderr == "crm: answered 401 (after 0.034 s)\nwhat to do: compare the secret\n"
    assert done.stdout == ""
    assert json.loads(service("webhook", "test", "crm", "--json", code=1).stdout)["status"] == 401


KINDS = pytest.mark.parametrize("kind", ["webhook", "consumer"])


@KINDS
def test_pause_and_resume_say_what_waits(service: Service, kind: str) -> None:
    service.answers[f"{kind}_pause"] = {"consumers": [{**CRM, "state": "paused"}], "positions": []}
    assert service(kind, "pause", "crm").stdout == "crm: paused, 12 events wait\n"
    service.answers[f"{kind}_resume"] = {"consumers": [{**CRM, "state": "active", "waiting": 1}]}
    assert service(kind, "resume", "crm").stdout == "crm: active, 1 event waits\n"
    service.answers[f"{kind}_resume"] = {"consumers": [{"name": "crm", "state": "active"}]}
    assert service(kind, "resume", "crm").stdout == "crm: active\n"


def letter(number: int) -> dict[str, Any]:
    return {
        "number": number, "event": f"evt_support_{number}", "type": "message.received", "account": "support",
        "stream": "messages", "seq": number, "at": "2026-11-22T14:00:00Z", "died_at": "2026-11-25T14:00:00Z",
        "tries": 12, "why": "answered 500", "replaying": False,
    }  # fmt: skip


@KINDS
def test_dead_letters_come_in_pages(service: Service, kind: str) -> None:
    def dead(request: dict[str, Any]) -> dict[str, Any]:
        first = request["after"] + 1
        return {"dead": [letter(number) for number in range(first, min(first + request["limit"], 451))]}

    service.answers[f"{kind}_dead"] = dead
    found = json.loads(service(kind, "dead", "crm", "--json", "--limit", "1000").stdout)
    assert [one["number"] for one in found] == list(range(1, 451))
    lines = service(kind, "dead", "crm", "--limit", "3").stdout.splitlines()
    assert [line.split()[0] for line in lines[2:5]] == ["evt_support_1", "evt_support_2", "evt_support_3"]
    assert "there are more" in lines[5]
    service.answers[f"{kind}_dead"] = {"dead": []}
    assert service(kind, "dead", "crm").stdout == "crm has no dead letters\n"


@KINDS
def test_dead_letters_are_sent_again(service: Service, kind: str) -> None:
    service.answers[f"{kind}_replay"] = {"replayed": 1}
    one = (kind, "replay", "crm", "evt_support_1")
    assert service(*one).stdout == "crm: 1 dead letter will be sent again\n"
    assert service.asked[-1] == {"command": f"{kind}_replay", "name": "crm", "event": "evt_support_1"}
    service.answers[f"{kind}_replay"] = {"replayed": 7}
    assert "7 dead letters" in service(kind, "replay", "crm").stdout
    assert service.asked[-1] == {"command": f"{kind}_replay", "name": "crm"}
    service.answers[f"{kind}_replay"] = {"replayed": 0}
    assert service(*one).stdout == "crm: the dead letter is being sent again already\n"
    assert service(kind, "replay", "crm").stdout == "crm: there are no dead letters to send again\n"


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (["--from", "now"], {"to": "now"}),
        (["--from", "beginning", "--account", "support"], {"to": "beginning", "account": "support"}),
        (["--from", "4711", "--account", "support"], {"to": 4711, "account": "support"}),
    ],
)
def test_a_consumer_is_reset(service: Service, arguments: list[str], asked: dict[str, Any]) -> None:
    service.answers["consumer_reset"] = {"positions": [POSITION]}
    assert "support" in service("consumer", "reset", "crm", *arguments).stdout
    assert service.asked == [{"command": "consumer_reset", "name": "crm", **asked}]


def test_a_pull_is_removed(service: Service) -> None:
    service.answers["consumer_remove"] = {}
    assert service("consumer", "remove", "archive").stdout == "archive: removed\n"
    assert service.asked == [{"command": "consumer_remove", "name": "archive"}]


@pytest.mark.parametrize(
    "arguments", [["--from", "17"], ["--from", "soon"], ["--from", "-1"], ["--from", "\u0661"], []]
)
def test_a_place_that_is_none_is_not_asked_for(service: Service, arguments: list[str]) -> None:
    service("consumer", "reset", "crm", *arguments, code=2)
    assert not service.asked


def test_what_the_service_says_cannot_harm_the_terminal(service: Service) -> None:
    evil = {key: f"\x1b]0;evil\x07{value}" for key, value in CRM.items()}
    service.answers["consumers"] = {"consumers": [evil], "positions": [{"account": "\x1b[2J"}]}
    service.answers["webhook_dead"] = lambda request: {"dead": [] if request["after"] else [
        {**letter(1), "why": "\x1b[2J", "event": "\x1b[2J"}]}  # fmt: skip
    for arguments in (["webhook", "list"], ["consumer", "list", "crm"], ["webhook", "dead", "crm"]):
        assert "\x1b" not in service(*arguments).output


def test_all_that_is_asked_is_what_the_gateway_takes(service: Service) -> None:
    service.answers = {
        command: {"consumers": [CRM], "positions": [], "dead": [], "replayed": 0} for command in COMMANDS
    }
    service.answers["webhook_test"] = {"status": 200}
    for arguments in (
        ["webhook", "list"], ["webhook", "test", "a"], ["webhook", "pause", "a"], ["webhook", "resume", "a"],
        ["webhook", "dead", "a"], ["webhook", "replay", "a", "e"], ["consumer", "list"],
        ["consumer", "pause", "a"], ["consumer", "resume", "a"], ["consumer", "dead", "a"],
        ["consumer", "replay", "a", "e"],
        ["consumer", "list", "a"], ["consumer", "reset", "a", "--from", "1", "--account", "b"],
    ):  # fmt: skip
        service(*arguments)
    for request in service.asked:
        assert set(request) - {"command"} <= set(COMMANDS[request["command"]])


def step(number: int) -> Step:
    moment = "2026-11-22T14:00:00.000Z"
    return Step(f"evt_support_{number}", number, "message.received", moment, moment, "stored: text")


def test_a_trace_says_what_became_of_each_event_at_each_consumer() -> None:
    fate = Fate("support", "3EB0", tuple(map(step, range(1, 151))))
    asked: list[int] = []

    def ask(events: list[str]) -> dict[str, list[dict[str, Any]]]:
        asked.append(len(events))
        return {
            event: [
                {"consumer": "crm", "kind": "webhook", "state": "delivered", "tries": 1, "why": None},
                {"consumer": "slow", "kind": "webhook", "state": "delivered", "tries": 3, "why": None},
                {"consumer": "bad", "kind": "webhook", "state": "retrying", "tries": 2, "why": "answered 500",
                 "next_try_at": "2199-01-01T00:00:00Z"},
                {"consumer": "echo", "kind": "bot", "state": "waiting", "tries": 0, "why": None},
                {"consumer": "old", "kind": "bot", "state": "dead", "tries": 12, "why": "answered 401"},
                {"consumer": "deaf", "kind": "pull", "state": "not_wanted", "tries": 0, "why": None},
            ]
            for event in events
            if event != "evt_support_2"
        }  # fmt: skip

    (found,) = with_consumers([fate], ask)
    assert asked == [100, 50]
    lines = list(found.lines())
    assert lines[2] == "      webhook crm: delivered"
    assert lines[3] == "      webhook slow: delivered after 3 tries"
    assert lines[4].startswith("      webhook bad: failed after 2 tries: answered 500; the next try is in ")
    assert lines[5] == "      bot echo: waits for its turn"
    assert lines[6] == (
        "      bot old: given up after 12 tries: answered 401; `orchestrator consumer replay old"
        " evt_support_1` sends it again"
    )
    assert "deaf" not in "\n".join(lines)
    assert found.as_json()["steps"][1]["consumers"] is None
    assert len(found.as_json()["steps"][0]["consumers"]) == 6
