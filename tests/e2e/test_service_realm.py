"""No session is lost by a start in the wrong environment, nor by the way version 0.1 kept it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import stores
from support.kept import Contents
from support.service import Service

from orchestrator.sandbox.process import SandboxProcess
from orchestrator.store import realm

pytestmark = pytest.mark.both_stores

NAMES = ("one", "two.sqlite3", "three")


@pytest.fixture(scope="module")
def paired(
    shared_sandbox: SandboxProcess, make_number: Callable[[], str], make_folder: Callable[[], Path]
) -> Path:
    """A folder with a state of three accounts that were really linked; each test takes a copy."""
    folder = make_folder()
    with Service(folder, shared_sandbox, NAMES) as service:
        for name in NAMES:
            service.pair(name, make_number())
    return folder


@pytest.fixture
def state(paired: Path, folder: Path) -> Path:
    stores.current().copy(paired, folder)
    return folder


@pytest.fixture(scope="module")
def other_sandbox() -> Iterator[SandboxProcess]:
    with SandboxProcess() as process:
        yield process


def of_old(folder: Path) -> None:
    """Move all sessions to where version 0.1 kept them, and forget where they were paired."""
    sessions = folder / "state" / "sessions"
    for home in sorted(sessions.iterdir(), key=lambda path: -len(path.name)):
        home.rename(sessions / ".home")
        for file in (sessions / ".home").iterdir():
            if file.name == "realm":
                file.unlink()
            else:
                file.rename(sessions / file.name.replace("session", home.name, 1))
        (sessions / ".home").rmdir()
    shutil.rmtree(folder / "state" / "messages")


def contents(service: Service) -> dict[str, Contents]:
    return {name: service.kept.session(name) for name in NAMES}


def connect_without_a_code(folder: Path, sandbox: SandboxProcess) -> None:
    with Service(folder, sandbox, NAMES, start=False) as service:
        known = {name: len(service.timeline(name)) for name in NAMES}
        service.start()
        for name in NAMES:
            service.wait_for_state(name, "connected")
            assert "pairing" not in [entry["to"] for entry in service.timeline(name)[known[name] :]]
            assert not service.quarantined(name)
            assert service.kept.realm(name) == realm.current(service.environment)


def test_a_service_in_the_environment_of_another_sandbox(
    state: Path, sandbox: SandboxProcess, other_sandbox: SandboxProcess
) -> None:
    since = other_sandbox.client.last_event()
    with Service(state, other_sandbox, NAMES, start=False) as service:
        before = contents(service)
        assert "sandbox's environment" in service.command("list").stderr
        service.start()
        for name in NAMES:
            account = service.wait_for_state(name, "failed")
            assert account["kind"] == "config"
            assert "paired with another sandbox" in account["reason"]
            assert not service.quarantined(name)
        assert "this is the sandbox's environment" in service.log[0]
        assert contents(service) == before
        # Nothing was dialed, and there is nothing that could have been used up.
        assert not [one for one in other_sandbox.client.events(since) if one["event"] == "opened"]
        assert service.pngs() == []
    connect_without_a_code(state, sandbox)


@pytest.mark.files_only("version 0.1 had nothing else")
def test_a_state_of_an_older_version_is_taken_over_without_a_code(
    state: Path, sandbox: SandboxProcess
) -> None:
    of_old(state)
    with Service(state, sandbox, NAMES, start=False) as service:
        listed = service.command("list").stdout
        assert all(name in listed for name in NAMES)
        assert "belongs to no account" not in listed
        said = service.command("doctor", check=False).stdout
        assert "3 sessions are still in the folders of version 0.1" in said
        assert (service.state / "sessions" / "one.sqlite3").exists()
        service.start()
        for name in NAMES:
            assert any(f"{name}: the session of version 0.1 was taken over" in line for line in service.log)
    connect_without_a_code(state, sandbox)


@pytest.mark.files_only("version 0.1 had nothing else")
def test_an_older_state_in_the_environment_of_another_sandbox(
    state: Path, sandbox: SandboxProcess, other_sandbox: SandboxProcess
) -> None:
    """Nobody knows where its sessions were paired, so they are tried out, and then as they were."""
    with Service(state, sandbox, NAMES, start=False) as service:
        before = contents(service)
    of_old(state)
    with Service(state, other_sandbox, NAMES) as service:
        for name in NAMES:
            account = service.wait_for_state(name, "failed")
            assert account["kind"] == "config"
            assert "was not paired with this sandbox" in account["reason"]
            assert not service.quarantined(name)
        assert contents(service) == before
    connect_without_a_code(state, sandbox)
