"""The inbox: what people write to an account is stored if they are allowed, and only counted if not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.conversation import Contact
from support.linked import wait_until
from support.service import PATIENCE, Service

from orchestrator.sandbox.process import SandboxProcess

pytestmark = pytest.mark.both_stores

NUMBERS: dict[str, str] = {}


@pytest.fixture(scope="module")
def service(
    shared_sandbox: SandboxProcess, make_number: Callable[[], str], make_folder: Callable[[], Path]
) -> Iterator[Service]:
    folder = make_folder()
    accounts = {"open": {"messages": {"allow": "*"}}, "closed": {}}
    with Service(folder, shared_sandbox, accounts) as service:
        for name in accounts:
            NUMBERS[name] = make_number()
            service.pair(name, NUMBERS[name])
        yield service


def test_a_text_is_stored(service: Service, ada: Contact) -> None:
    ids = [ada.write(NUMBERS["open"], f"number {count}") for count in range(20)]
    with service.kept.inbox("open") as reader:
        wait_until(lambda: len(reader.after(0)) >= 20, "not all is stored")
        stored = reader.after(0)
    assert [one.id for one in stored] == ids
    assert {one.notes["phones"][one.chat] for one in stored} == {ada.number}


def test_what_is_not_allowed_is_only_counted(service: Service, ada: Contact) -> None:
    since = ada.sandbox.last_event()
    message = ada.write(NUMBERS["closed"], "nobody keeps this")
    ada.sandbox.wait_for("receipt", PATIENCE, since, id=message)
    assert not service.kept.has_inbox("closed")
    assert "nobody keeps this" not in " ".join(service.log)
