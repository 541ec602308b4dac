"""A service in the background: a real one without accounts, and what whoever waits for it is told."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestrator.cli.demo.background import BackgroundService, Cancelled
from orchestrator.control.view import AccountView
from orchestrator.errors import OrchestratorError

PATIENCE = 60.0
CONFIGURATION = "state_dir: state\naccounts:\n  spare: {enabled: false}\n"


class Background:
    """A service in a folder, with what it has told."""

    def __init__(self, folder: Path, configuration: str) -> None:
        config_file = folder / "accounts.yaml"
        config_file.write_text(configuration)
        self.told: list[AccountView] = []
        self.ended = threading.Event()
        self.service = BackgroundService(
            config_file,
            folder / "state" / "control.sock",
            {**os.environ, "STATE_DIRECTORY": "/nonexistent", "RUNTIME_DIRECTORY": "/nonexistent"},
            folder / "service.log",
            changed=self.told.extend,
            ended=self.ended.set,
        )


@pytest.fixture
def background(tmp_path: Path) -> Iterator[Background]:
    background = Background(tmp_path, CONFIGURATION)
    background.service.start()
    yield background
    background.service.kill()
    assert background.ended.wait(PATIENCE)
    background.service.join()


def test_it_is_up_says_what_changes_and_stops_in_good_order(background: Background) -> None:
    service = background.service
    service.until_up(PATIENCE)
    assert service.until(lambda accounts: accounts["spare"].state, "not there", PATIENCE) == "disabled"
    assert [account.name for account in background.told] == ["spare"]
    assert service.client.call("ping")["accounts"] == 1
    service.ask_to_stop()
    assert background.ended.wait(PATIENCE)
    assert not service.runs
    assert "the service has stopped" in service.log.read_text()
    with pytest.raises(OrchestratorError, match="nothing came: the service has ended"):
        service.until(lambda _: None, "nothing came", PATIENCE)
    with pytest.raises(OrchestratorError, match="the service has ended"):
        service.pause(PATIENCE)


def test_what_does_not_come_true_is_an_error_with_the_end_of_the_log(background: Background) -> None:
    background.service.until_up(PATIENCE)
    with pytest.raises(OrchestratorError, match="spare did not connect within 0 s") as raised:
        background.service.until(lambda _: None, "spare did not connect", 0.1)
    assert "  spare: disabled" in str(raised.value)
    assert "the control socket is" in str(raised.value)


@pytest.mark.parametrize(
    "waits",
    [
        lambda service: service.until(lambda _: None, "nothing came", PATIENCE),
        lambda service: service.pause(PATIENCE),
    ],
)
def test_nobody_waits_once_it_is_cancelled(
    background: Background, waits: Callable[[BackgroundService], object]
) -> None:
    service = background.service
    outcomes: list[str] = []

    def wait() -> None:
        try:
            waits(service)
        except Cancelled:
            outcomes.append("cancelled")

    thread = threading.Thread(target=wait)
    thread.start()
    service.cancel()
    thread.join(PATIENCE)
    assert outcomes == ["cancelled"]
    with pytest.raises(Cancelled):
        service.until_up(PATIENCE)


def test_one_that_cannot_start_says_why(tmp_path: Path) -> None:
    background = Background(tmp_path, "accounts: 3\n")
    background.service.start()
    with pytest.raises(OrchestratorError, match="did not take commands: the service has ended") as raised:
        background.service.until_up(PATIENCE)
    assert "accounts.yaml:1" in str(raised.value)
    background.service.join()
    background.service.ask_to_stop()
    background.service.kill()
