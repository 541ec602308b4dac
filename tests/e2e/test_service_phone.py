"""Which phone may be linked: the first one that was, also where the configuration names none."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.service import Json, Service

from orchestrator.sandbox.process import SandboxProcess
from orchestrator.system.masking import mask_number

pytestmark = pytest.mark.both_stores


@dataclass
class World:
    service: Service
    own: str
    other: str

    def devices(self, phone: str) -> list[Any]:
        """Return what a phone has under Linked devices."""
        phones = {one["phone"]: one["devices"] for one in self.service.sandbox.client.phones()}
        return list(phones.get(phone, []))

    def unlink(self) -> None:
        """Have the owner unlink the account's device, and wait for the code that follows."""
        pid = self.service.child("a2")
        self.service.sandbox.client.unlink(self.own)
        self.service.wait_for_code("a2", after=pid)

    def kept(self) -> dict[str, Any]:
        return self.service.kept.status("a2")


@pytest.fixture
def world(shared_sandbox: SandboxProcess, make_number: Callable[[], str], tmp_path: Path) -> Iterator[World]:
    """A service with an account that is connected, for which the configuration names no phone."""
    with Service(tmp_path, shared_sandbox, ["a2"]) as service:
        world = World(service, make_number(), make_number())
        service.pair("a2", world.own)
        yield world


def assert_refused(world: World) -> None:
    service = world.service
    account = service.wait_for_state("a2", "failed")
    assert account["kind"] == "wrong_phone"
    linked, wanted = mask_number(world.other[1:]), mask_number(world.own[1:])
    assert account["reason"].startswith(f"linked to {linked} instead of {wanted}; this device was unlinked")
    assert "--any-phone" in account["reason"]
    assert account["phone"] == wanted
    assert not world.devices(world.other)
    assert len(service.quarantined("a2", "wrong_phone")) == 1
    done = service.command("send", "a2", "--to", world.own, "the secret offer")
    assert "waits (a2 is not connected but failed)" in done.stdout
    service.command("outbox", "a2", "--take-back", "1")
    assert service.sandbox.client.inbox(world.own) == []
    advice = service.explain("a2")["outlook"]["advice"]
    assert any("repair a2 --any-phone" in sentence for sentence in advice)
    for text in (*service.log, json.dumps(service.explain("a2")), json.dumps(service.timeline("a2"))):
        assert world.own[1:] not in text
        assert world.other[1:] not in text


def test_another_phone_that_scans_the_code_is_unlinked_again(world: World) -> None:
    world.unlink()
    world.service.scan("a2", world.other)
    assert_refused(world)
    # The right phone is let in, and an operator can let in another.
    world.service.command("repair", "a2", "--yes")
    world.service.pair("a2", world.own)
    world.service.command("repair", "a2", "--yes", "--any-phone")
    account = world.service.pair("a2", world.other)
    assert account["phone"] == mask_number(world.other[1:])
    world.service.sandbox.client.unlink(world.other)
    world.service.scan("a2", world.own, after=account["pid"])
    account = world.service.wait_for_state("a2", "failed")
    assert account["reason"].startswith(f"linked to {mask_number(world.own[1:])} instead of")


def test_the_number_outlives_the_service(world: World) -> None:
    service = world.service
    service.stop()
    assert world.kept()["linked_phone"] == world.own[1:]
    assert service.kept.is_record_closed()
    service.sandbox.client.unlink(world.own)
    service.start()
    service.scan("a2", world.other)
    assert_refused(world)


@pytest.mark.parametrize("lost", ["the number", "the file"])
def test_the_session_tells_the_number_that_nobody_has_written_down(world: World, lost: str) -> None:
    service = world.service
    service.stop()
    if lost == "the file":
        service.kept.forget_status()
    else:  # as version 0.1 has written it

        def forget_the_number(about: Json) -> None:
            del about["linked_phone"], about["any_phone"]

        service.kept.change_status(forget_the_number)
    service.sandbox.client.unlink(world.own)  # no log-in will tell it either
    service.start()
    service.scan("a2", world.other)
    assert_refused(world)


def test_a_repair_without_a_service_remembers_the_number_and_what_an_operator_allows(world: World) -> None:
    service = world.service
    service.stop()
    service.kept.forget_status()
    service.command("repair", "a2", "--yes", "--no-wait")
    assert (world.kept()["linked_phone"], world.kept()["any_phone"]) == (world.own[1:], False)
    service.start()
    service.scan("a2", world.other)
    assert_refused(world)
    service.stop()
    service.command("repair", "a2", "--yes", "--any-phone", "--no-wait")
    assert (world.kept()["linked_phone"], world.kept()["any_phone"]) == (None, True)
    service.start()
    service.stop()  # a service that sees no phone goes on to let any be linked
    assert world.kept()["any_phone"]
    service.start()
    service.pair("a2", world.other)
    service.stop()
    assert (world.kept()["linked_phone"], world.kept()["any_phone"]) == (world.other[1:], False)


def test_an_account_that_is_removed_and_added_again_is_a_fresh_one(world: World) -> None:
    service = world.service
    service.command("remove", "a2", "--yes")
    service.command("add", "a2")
    service.pair("a2", world.other)


def test_a_session_of_another_number_that_is_restored_on_purpose_counts(world: World) -> None:
    service = world.service
    service.command("repair", "a2", "--yes", "--any-phone")
    service.pair("a2", world.other)
    (first,) = service.quarantined("a2", "repair")
    (address,) = first.devices()
    assert address.startswith(world.own[1:])
    service.command("stop", "a2")
    service.kept.drop_session("a2")
    service.command("restore", "a2", first.name)
    service.command("start", "a2")
    account = service.wait_for_state("a2", "connected", "failed")
    assert (account["state"], account["phone"]) == ("connected", mask_number(world.own[1:]))
    world.unlink()
    service.scan("a2", world.other)
    assert service.wait_for_state("a2", "failed")["kind"] == "wrong_phone"


def test_a_new_name_keeps_the_number(world: World) -> None:
    service = world.service
    service.command("rename", "a2", "b2")
    pid = service.wait_for_state("b2", "connected")["pid"]
    service.sandbox.client.unlink(world.own)
    service.scan("b2", world.other, after=pid)
    assert service.wait_for_state("b2", "failed")["kind"] == "wrong_phone"


def test_the_configuration_wins(world: World) -> None:
    service = world.service
    service.configure({"a2": {"phone": world.other}})
    service.command("reload")
    assert service.wait_for_state("a2", "failed")["kind"] == "config"
    done = service.command("repair", "a2", "--yes", "--any-phone", check=False)
    assert done.returncode == 1
    assert "`phone:`" in done.stderr
    service.command("repair", "a2", "--yes")
    service.pair("a2", world.other)
    # What the configuration has named and was linked is what is remembered.
    service.configure(["a2"])
    service.command("reload")
    pid = service.wait_for_state("a2", "connected")["pid"]
    service.sandbox.client.unlink(world.other)
    service.scan("a2", world.own, after=pid)
    assert service.wait_for_state("a2", "failed")["kind"] == "wrong_phone"


def test_the_remembered_number_is_good_for_pairing_by_code(world: World) -> None:
    service = world.service
    service.client.call("repair", name="a2", pairing="code")
    assert service.wait_for_state("a2", "pairing")["qr_path"] is None
    refused = service.command("repair", "a2", "--yes", "--code", "--any-phone", check=False)
    assert refused.returncode == 1
    assert "phone:" in refused.stderr
