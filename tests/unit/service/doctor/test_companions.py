"""What is said of the gateway and the bots."""

from pathlib import Path
from typing import Any, cast

import pytest
from support.doctor import context_of

from orchestrator.control.client import Client
from orchestrator.control.companions_view import lines
from orchestrator.control.protocol import Json
from orchestrator.errors import OrchestratorError
from orchestrator.service.doctor.checks import companions
from orchestrator.service.doctor.context import Context, Lookup

RUNNING: Json = {
    "name": "gateway",
    "state": "running",
    "since": "2026-11-22T10:00:00Z",
    "pid": 7,
    "reason": None,
}
GATEWAY: Json = {**RUNNING, "restarts": 0, "webhooks": 2, "isolation": "full", "listens": [], "problems": []}
BOT: Json = {**RUNNING, "name": "bot echo", "pid": 8, "restarts": 0}
WAITS: Json = {"state": "waiting", "pid": None, "reason": "its process was ended by SIGKILL"}


def about(gateway: Json | None = None, *bots: Json, attached: tuple[str, ...] = ()) -> Json:
    return {"gateway": {**GATEWAY, **(gateway or {})}, "bots": list(bots), "attached": list(attached)}


def context_with(folder: Path, answer: Any) -> Context:  # noqa: ANN401
    class Answers:
        def call(self, command: str) -> Json:
            if isinstance(answer, OrchestratorError):
                raise answer
            return {"companions": answer} if command == "companions" else {}

    context = context_of(folder)
    context.client = Lookup(lambda: cast("Client", Answers()))
    return context


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        (None, []),
        (about(), ["gateway: running, 2 webhooks"]),
        (about(None, BOT), ["gateway: running, 2 webhooks, 1 bot"]),
        (
            about({"webhooks": 1}, BOT, {**BOT, **WAITS}, attached=("mine",)),
            [
                "gateway: running, 1 webhook, 2 bots, 1 bot run by hand",
                "bot echo: waiting (its process was ended by SIGKILL)",
            ],
        ),
        (
            about({**WAITS, "webhooks": 0, "problems": ["the gateway cannot listen on 127.0.0.1:80: no"]}),
            [
                "gateway: waiting (its process was ended by SIGKILL)",
                "the gateway cannot listen on 127.0.0.1:80: no",
            ],
        ),
    ],
)
def test_list_says_it_in_a_line(what: Json | None, expected: list[str]) -> None:
    assert lines(what) == expected


def test_doctor_says_what_does_not_run(tmp_path: Path) -> None:
    def status(answer: Any) -> list[str]:  # noqa: ANN401
        return [one.status for one in companions.find(context_with(tmp_path, answer))]

    assert status(None) == []
    assert status(OrchestratorError("old", key="unknown_command")) == []
    assert status(about(None, BOT)) == ["OK", "OK"]
    assert status(about(WAITS, {**BOT, "state": "starting"})) == ["FAIL", "WARN"]
    assert status(about({"problems": ["taken"]})) == ["OK", "FAIL"]
    assert status(about({"isolation": "without isolation of signals"})) == ["OK", "WARN"]
