import gc
import itertools
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from hypothesis import HealthCheck, settings
from support import rings, stores
from support.neonize_process import NeonizeProcess
from support.postgres import fresh, postgres
from support.short_paths import tmp_path
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from orchestrator.sandbox.process import SandboxProcess

if TYPE_CHECKING:
    from support.browser import Browser, Screens

__all__ = ["fresh", "postgres", "tmp_path"]

# How long an example takes says more of the machine than of what is tested.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

_numbers = itertools.count(1)
_begun = time.monotonic()
_collected: list[object] = []

SHARING = tuple(
    f"tests/e2e/test_{name}.py"
    for name in (
        "acting",
        "command_bot",
        "composing",
        "send_crashes",
        "service_companions",
        "service_failures",
        "service_http",
        "service_hung",
        "service_logout",
        "service_metrics",
        "service_orders",
        "service_reload",
        "service_repair",
        "systemd",
        "systemd_install",
        "webhooks",
        "year",
    )
)
"""Modules whose tests share a service that takes long to make: one worker runs them all."""
SHARING_THE_IMAGE = tuple(
    f"tests/e2e/test_{name}.py" for name in ("compose_cluster", "container", "pod", "shards")
)
"""Modules whose tests share the image of the service, which takes minutes to build: one worker runs all."""


class KeepingTogether(LoadScopeScheduling):  # type: ignore[misc]
    """Deals out tests one by one, but for those of a module in `SHARING`.

    This is what --dist=loadgroup is for, which does nothing in xdist 3.8 with pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        if path in SHARING_THE_IMAGE:
            return SHARING_THE_IMAGE[0]
        return f"{path} {stores.of_test(nodeid)}" if path in SHARING else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> KeepingTogether | None:  # noqa: ANN401
    return KeepingTogether(config, log) if config.getoption("dist") == "load" else None


def pytest_addoption(parser: pytest.Parser) -> None:
    stores.add_option(parser)


def pytest_report_header(config: pytest.Config) -> list[str]:
    return rings.lines(config.args, config.invocation_params.dir)


def pytest_xdist_node_collection_finished(node: Any, ids: list[str]) -> None:  # noqa: ANN401
    """Say how many tests there are as soon as the first worker knows."""
    config = node.config
    if not _collected:
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.ensure_newline()
            seconds = time.monotonic() - _begun
            reporter.write_line(f"collected {len(ids):,} tests in {seconds:.0f} s; they begin in a moment")
    _collected.append(node)


def pytest_configure() -> None:
    # Tests start thousands of processes of this package. Where Python may not keep what it compiles, each of
    # them would compile all that it imports.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False

    # A shell ignores SIGINT for what it runs in the background, and so would every command in a test.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have what fails run once more where `.ci/run` asks for that; the summary lists each such test."""
    if os.environ.get("ORCHESTRATOR_TESTS_ONCE_MORE"):
        for item in items:
            item.add_marker(pytest.mark.flaky(reruns=1))


def pytest_collection_finish() -> None:
    # There are some million objects of pytest's now, which live as long as this process does. Each full
    # collection of garbage would look through all of them.
    gc.collect()
    gc.freeze()


class StartNeonize(Protocol):
    """Starts a bot in a sandbox; the bot is ended with the test.

    Bots of the same name share a database, so a second one takes up the session of the first. The options are
    those of `NeonizeProcess`.
    """

    def __call__(
        self,
        name: str = "bot",
        *,
        sandbox: SandboxProcess | None = None,
        proxy: str | None = None,
        device_name: str | None = None,
        download: bool = False,
    ) -> NeonizeProcess: ...


@pytest.fixture(scope="session")
def shared_sandbox() -> Iterator[SandboxProcess]:
    """One sandbox for all tests of a worker, which have to do with other numbers each."""
    with SandboxProcess() as process:
        yield process


@pytest.fixture
def sandbox(shared_sandbox: SandboxProcess) -> Iterator[SandboxProcess]:
    """The shared sandbox; faults a test has set end with it."""
    yield shared_sandbox
    shared_sandbox.client.clear_faults()


@pytest.fixture
def fresh_sandbox() -> Iterator[SandboxProcess]:
    """A sandbox for one test, which may stop, kill or restart it."""
    with SandboxProcess() as process:
        yield process


@pytest.fixture(scope="session")
def make_number() -> Callable[[], str]:
    """Make up phone numbers that no other test has, on this worker or another."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return lambda: f"+4915{worker:02}{next(_numbers):06}"


@pytest.fixture
def number(make_number: Callable[[], str]) -> str:
    """A phone number that no other test has."""
    return make_number()


@pytest.fixture
def neonize(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StartNeonize]:
    """Start bots, in the shared sandbox unless another one is given."""
    with ExitStack() as running:

        def start(
            name: str = "bot",
            *,
            sandbox: SandboxProcess | None = None,
            proxy: str | None = None,
            device_name: str | None = None,
            download: bool = False,
        ) -> NeonizeProcess:
            home: SandboxProcess = sandbox or request.getfixturevalue("sandbox")
            bot = NeonizeProcess(
                tmp_path / f"{name}.sqlite3",
                home.environment(),
                proxy=proxy,
                device_name=device_name,
                download=download,
            )
            return running.enter_context(bot)

        yield start


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    """One browser for all tests of a worker."""
    from support.browser import Browser, skip_without_chromium  # only these tests need playwright

    skip_without_chromium()
    browser = Browser()
    yield browser
    browser.stop()


@pytest.fixture
def screens(browser: "Browser") -> Iterator["Screens"]:
    """Pages of a test, each in a context of its own. The test has `browsing` as its decorator."""
    from support.browser import Screens

    screens = Screens(browser)
    yield screens
    browser.do(screens.close)
