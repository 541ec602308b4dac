import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import stores
from support.container_engine import IMAGE, Engine, need_engine
from support.conversation import Account, Contact, own_account
from support.postgres import PostgresServer, serving
from support.wheel import built_wheel

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


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    stores.parametrize(metafunc)


@pytest.fixture(scope="module", autouse=True)
def store(request: pytest.FixtureRequest) -> Iterator[None]:
    """Where the services of a module keep their accounts."""
    if getattr(request, "param", stores.FILES) == stores.FILES:
        yield
        return
    postgres = stores.Postgres(request.getfixturevalue("database_server"))
    with stores.using(postgres):
        yield
    postgres.close()


@pytest.fixture(scope="session")
def database_server() -> Iterator[PostgresServer]:
    """A server that is large enough for all services of a worker, and writes down what goes wrong only."""
    with serving(max_connections="300", log_statement="none", log_min_messages="warning") as server:
        yield server


@pytest.fixture(scope="module")
def make_folder(
    tmp_path_factory: pytest.TempPathFactory,
    store: None,  # noqa: ARG001 - with another store, all that was made with a folder is made anew
) -> Iterator[Callable[[], Path]]:
    """Make folders for services, in memory if there is some; the services are of one store.

    Linking stores 812 keys, and the library waits for the disk after each: that takes one second on a disk
    of one's own, and six on one that others use.
    """
    memory = Path("/dev/shm")
    if not (memory.is_dir() and os.access(memory, os.W_OK)):
        yield lambda: tmp_path_factory.mktemp("service")
        return
    root = Path(tempfile.mkdtemp(prefix="orchestrator-tests-", dir=memory))
    yield lambda: Path(tempfile.mkdtemp(dir=root))
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def folder(make_folder: Callable[[], Path]) -> Path:
    """An empty folder for a service."""
    return make_folder()


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as it is installed, built from these sources once for all workers."""
    folder = tmp_path_factory.getbasetemp()
    return built_wheel(folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder)


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """What builds images and runs containers; skips tests where that cannot be done."""
    need_engine()
    with Engine() as made:
        yield made


@pytest.fixture(scope="session")
def image(engine: Engine) -> str:
    """The image of the service, built from these sources."""
    engine.build(IMAGE)
    return IMAGE
