"""What is said of a service that runs."""

from pathlib import Path
from typing import cast

import pytest
from support.doctor import context_of

from orchestrator import __version__
from orchestrator.accounts.moments import local
from orchestrator.control.client import Client
from orchestrator.control.protocol import Json
from orchestrator.errors import OrchestratorError
from orchestrator.service.doctor.checks import service, starting
from orchestrator.service.doctor.context import Context, Lookup
from orchestrator.store import maintenance


class Answers:
    """Stands in for the client of a service that runs."""

    def __init__(self, version: str = __version__, trial: OrchestratorError | None = None) -> None:
        self.commands: list[str] = []
        self._about: Json = {
            "pid": 7,
            "accounts": 3,
            "started_at": "2026-11-22T10:00:00Z",
            "version": version,
        }
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
        f"runs as process 7 with 3 accounts, since {local('2026-11-22T10:00:00Z')}",
    )
    _, finding = service.find(context_with(tmp_path, Answers("0.0.1")))
    assert (finding.status, finding.advice) == ("WARN", "restart the service")
    assert f"the service has version 0.0.1, this command has {__version__}" in finding.text


def test_maintenance_is_told_with_and_without_a_service(tmp_path: Path) -> None:
    answers = Answers()
    answers._about["maintenance"] = "2026-11-29T16:00:00Z"
    _, finding = service.find(context_with(tmp_path, answers))
    assert (finding.status, finding.advice) == ("WARN", service.END)
    since = local("2026-11-29T16:00:00Z")
    assert finding.text == f"maintenance is on since {since}: no account starts by itself"
    context = context_of(tmp_path)
    (finding,) = service.find(context)
    assert finding.status == "OK"
    context.paths.get().prepare()
    maintenance.save(context.paths.get().maintenance, 1.0)
    _, finding = service.find(context)
    assert (finding.status, finding.advice) == ("WARN", service.END)


def test_codes_that_nobody_looks_at_are_told_and_are_no_fault(tmp_path: Path) -> None:
    answers = Answers()
    for count, words in ((1, "1 account waits"), (40, "40 accounts wait")):
        answers._about["unseen"] = count
        _, finding = service.find(context_with(tmp_path, answers))
        assert (finding.status, finding.text) == ("OK", f"{words} until somebody looks at a code")
        assert "orchestrator qr NAME" in finding.advice
    answers._about["unseen"] = 0
    assert len(list(service.find(context_with(tmp_path, answers)))) == 1


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
