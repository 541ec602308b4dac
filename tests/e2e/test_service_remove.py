"""`remove` has WhatsApp unlink the device, or says that it is linked still."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.service import PATIENCE, Service

from orchestrator.control.client import Stream
from orchestrator.sandbox.process import SandboxProcess

pytestmark = pytest.mark.both_stores

STILL_LINKED = "is still linked"


@dataclass
class World:
    service: Service
    phone: str

    def devices(self) -> list[Any]:
        """Return what the phone has under Linked devices."""
        phones = {one["phone"]: one["devices"] for one in self.service.sandbox.client.phones()}
        return list(phones[self.phone])

    def check_note(self) -> None:
        """See that whoever comes upon what was put away in a folder reads what it is."""
        if self.service.kept is self.service.files:
            note = self.service.state / "quarantine" / "README.txt"
            assert note.stat().st_mode & 0o777 == 0o600
            assert "Linked" in note.read_text()


@pytest.fixture
def world(sandbox: SandboxProcess, make_number: Callable[[], str], tmp_path: Path) -> Iterator[World]:
    with Service(tmp_path, sandbox, ["a", "other"]) as service:
        world = World(service, make_number())
        service.pair("a", world.phone)
        assert world.devices()
        yield world


def test_the_device_is_unlinked_and_the_session_of_no_use(world: World) -> None:
    service = world.service
    done = service.command("remove", "a", "--yes")
    assert "WhatsApp has unlinked its device" in done.stdout
    assert done.stderr == ""
    assert not world.devices()
    (place,) = service.quarantined("a")
    assert place.name.endswith("-logged_out")
    assert place.is_closed()
    assert not service.kept.has_session("a")
    world.check_note()
    # What it was is known when somebody wants it back.
    restored = service.command("restore", "a", check=False)
    assert "will not log in again" in restored.stderr


def test_the_device_stays_if_the_operator_says_so(world: World) -> None:
    service = world.service
    done = service.command("remove", "a", "--yes", "--no-unlink")
    assert "unlinked" not in done.stdout
    assert len(world.devices()) == 1
    (place,) = service.quarantined("a", "removed")
    service.command("restore", "a")
    service.command("add", "a")
    service.wait_for_state("a", "connected")
    assert not place.exists()
    service.command("remove", "a", "--yes", "--keep-session")
    assert len(world.devices()) == 1
    assert service.kept.has_session("a")


def test_an_account_that_is_not_connected(world: World) -> None:
    service = world.service
    service.command("stop", "a")
    done = service.command("remove", "a", "--yes")
    assert STILL_LINKED in done.stderr
    assert "not connected" in done.stderr
    assert len(world.devices()) == 1
    assert service.quarantined("a", "removed")


def test_an_account_that_was_never_linked(world: World) -> None:
    world.service.wait_for_code("other")
    done = world.service.command("remove", "other", "--yes")
    assert done.stderr == ""
    assert "unlinked" not in done.stdout


def test_whatsapp_does_not_answer(world: World) -> None:
    service = world.service
    service.sandbox.client.fault("blackhole", world.phone)
    done = service.command("remove", "a", "--yes")
    assert STILL_LINKED in done.stderr
    # On a busy machine, the silence may have been noticed before.
    assert "did not answer" in done.stderr or "not connected" in done.stderr
    assert service.quarantined("a", "removed")
    assert not service.kept.has_session("a")
    assert len(world.devices()) == 1
    assert "a" not in {one["name"] for one in service.accounts()}


def test_who_leaves_for_good_leaves_nothing_behind(world: World) -> None:
    service = world.service
    older = service.kept.put_away_copy("a", "20990101T000000Z", "repair")
    done = service.command("remove", "a", "--yes", "--unlink")
    assert "logged its device out" in done.stdout
    assert "are deleted" in done.stdout
    assert not world.devices()
    # What was put away earlier may be of another device, which nobody logged out.
    assert "1 other session" in done.stderr
    assert [place.name for place in service.quarantined("a")] == [older]
    assert not service.kept.has_session("a")
    assert not service.kept.has_messages("a")
    assert "a" not in {one["name"] for one in service.accounts()}
    assert "a:" not in service.config_file.read_text()
    assert service.command("restore", "a", check=False).returncode == 0  # that one, which was asked for


def test_who_cannot_leave_for_good_keeps_everything(world: World) -> None:
    service = world.service
    before = service.config_file.read_text()
    service.sandbox.client.fault("blackhole", world.phone)
    done = service.command("remove", "a", "--yes", "--unlink", check=False)
    assert done.returncode == 1
    assert "nothing was" in done.stderr
    assert "Linked devices" in done.stderr
    assert len(world.devices()) == 1
    assert service.config_file.read_text() == before
    assert service.quarantined("a") == []
    service.sandbox.client.clear_faults()
    # Nobody has to scan anything: it has its session still, and works as before.
    service.wait_for_state("a", "connected")
    assert len(world.devices()) == 1
    service.command("remove", "a", "--yes", "--unlink")
    assert not world.devices()
    assert service.quarantined("a") == []


def test_an_account_whose_configuration_cannot_be_edited_is_not_logged_out(world: World) -> None:
    service = world.service
    text = service.config_file.read_text()
    service.config_file.write_text(text + "bots: {echo: {app: 'my_bot:bot', accounts: [a]}}\n")
    done = service.command("remove", "a", "--yes", "--unlink", check=False)
    assert done.returncode == 1
    assert "bots.echo.accounts names a" in done.stderr
    assert len(world.devices()) == 1
    assert service.about("a")["state"] == "connected"


def test_without_a_service(world: World) -> None:
    service = world.service
    service.stop()
    done = service.command("remove", "a", "--yes")
    assert STILL_LINKED in done.stderr
    assert "the service is not running" in done.stderr
    assert len(world.devices()) == 1
    assert service.quarantined("a", "removed")
    world.check_note()
    done = service.command("remove", "other", "--yes")
    assert done.stderr == ""
    service.configure(["b"])
    service.start()


def test_a_service_that_is_killed_meanwhile_loses_nothing(world: World) -> None:
    service = world.service
    service.sandbox.client.fault("blackhole", world.phone)
    service.configure(["other"])
    with Stream(service.client.path, {"command": "remove", "name": "a", "unlink": True}, PATIENCE):
        service.until(lambda accounts: "a" in accounts, "the account is there until its process has ended")
        service.kill()
    # Nothing has said that the device is unlinked, so the session is as good as before.
    service.sandbox.client.clear_faults()
    service.start()
    assert service.kept.has_session("a") or service.quarantined("a")
    service.command("add", "a")
    service.wait_for_state("a", "connected", "pairing")
