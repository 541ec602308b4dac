"""What is said of a service that runs."""

from pathlib import Path
from typing import cast

import pytest
from support.doctor import context_of

from orchestrator import __version__
from orchestrator.control.client import Client
from orchestrator.control.protocol import Json
from orchestrator.errors import OrchestratorError
from orchestrator.service.doctor.checks import service, starting
from orchestrator.service.doctor.context import Context, Lookup


class Answers:
    """Stands in for the client of a service that runs."""

    def __init__(self, version: str = __version__, trial: OrchestratorError | None = None) -> None:
        self.commands: list[str] = []
        self._about = {"pid": 7, "accounts": 3, "started_at": "2026-11-22T10:00:00Z", "version": version}
        self._trial = trial

    def call(self, command: str) -> Json:
        self.commands.append(command)
        if command == "trial" and self._trial is not None:
            raise self._trial
        return self._about if command == "ping" else {}


def context_with(folder: Path, answers: Answers) -> Context:
    context = context_of(folder)
    context.client = Lookup(lambda: cast("Client", answers))
    return context


def test_a_service_of_another_version_is_told(tmp_path: Path) -> None:
    (finding,) = service.find(context_with(tmp_path, Answers()))
    assert (finding.status, finding.text) == (
        "OK",
        "runs as process 7 with 3 accounts, since 2026-11-22T10:00:00Z",
    )
    _, finding = service.find(context_with(tmp_path, Answers("0.0.1")))
    assert (finding.status, finding.advice) == ("WARN", "restart the service")
    assert f"the service has version 0.0.1, this command has {__version__}" in finding.text


def test_a_service_is_asked_once_how_it_is(tmp_path: Path) -> None:
    answers = Answers()
    context = context_with(tmp_path, answers)
    found = [*service.find(context), *starting.find(context)]
    assert [one.status for one in found] == ["OK", "OK"]
    assert answers.commands == ["ping", "trial"]
    assert not context.is_free()


@pytest.mark.parametrize(
    ("error", "statuses"),
    [
        (OrchestratorError("no thread", key="cannot_start"), ["FAIL"]),
        (OrchestratorError("other words", key="unknown_command"), []),
        (OrchestratorError("this service (version 0) knows no such command", key="failed"), []),
    ],
)
def test_an_older_service_cannot_try_to_start_a_process(
    tmp_path: Path, error: OrchestratorError, statuses: list[str]
) -> None:
    found = list(starting.find(context_with(tmp_path, Answers(trial=error))))
    assert [one.status for one in found] == statuses


def test_nothing_is_tried_without_a_service(tmp_path: Path) -> None:
    assert list(starting.find(context_of(tmp_path))) == []
