from collections.abc import Callable, Iterator

import pytest
from support.conversation import Account, Contact, own_account

from orchestrator.sandbox.process import SandboxProcess


@pytest.fixture(scope="session")
def alice(
    shared_sandbox: SandboxProcess, make_number: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Account]:
    """Somebody with a bot that stays online; tests tell their messages from each other's by their ids."""
    folder = tmp_path_factory.mktemp("alice")
    with own_account(shared_sandbox, make_number(), folder, download=True) as account:
        yield account


@pytest.fixture(scope="session")
def bob(
    shared_sandbox: SandboxProcess, make_number: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Account]:
    """Somebody else of that kind."""
    folder = tmp_path_factory.mktemp("bob")
    with own_account(shared_sandbox, make_number(), folder, download=True) as account:
        yield account


@pytest.fixture
def ada(sandbox: SandboxProcess, make_number: Callable[[], str]) -> Contact:
    """A contact with nothing but a phone, to whom nobody has written before."""
    contact = Contact(make_number(), sandbox.client)
    sandbox.client.add_phone(contact.number, "Ada")
    return contact
