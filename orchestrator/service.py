"""The service as a process: lock, log, signals, control socket, and the supervisor between them."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import logging
import resource
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from orchestrator import __version__, needs, orphans
from orchestrator.accounts.characters import remark
from orchestrator.accounts.events import Order
from orchestrator.accounts.pipe import Pairing
from orchestrator.accounts.states import State
from orchestrator.announce import Announcer
from orchestrator.config.settings import Settings
from orchestrator.control.commands import Commands, Result, follow
from orchestrator.control.listening import ControlSocket
from orchestrator.control.protocol import Json
from orchestrator.control.server import ControlServer
from orchestrator.errors import ExitCode, NoSuchAccount, OrchestratorError
from orchestrator.library import check_library
from orchestrator.process import Spawner
from orchestrator.store import leftovers, sessions
from orchestrator.store.layout import StatePaths
from orchestrator.store.lock import InstanceLock
from orchestrator.supervisor import Supervisor
from orchestrator.system import logs
from orchestrator.system.sd_notify import Notifier

log = logging.getLogger(__name__)

SETTLE_SECONDS = 5.0
"""How long an account that was paired without a service stays connected before it is stopped again.

The first thing a new device does is to upload its keys; neonize was seen to crash when stopped meanwhile.
"""

OPEN_FILES = 65_536
"""Open files that are enough for some thousand accounts."""


def run(
    settings: Settings,
    *,
    log_level: str = "INFO",
    log_format: logs.Format = "text",
    state_configured: bool = False,
) -> ExitCode:
    """Run the service in the foreground until a signal ends it.

    SIGTERM and SIGINT stop it in good order; a second one cuts that short. SIGHUP has it read the
    configuration again. If systemd has started it, systemd is told how it is.

    Args:
        settings: The configuration.
        log_level: What is logged: DEBUG, INFO, WARNING or ERROR.
        log_format: How; see `logs.configure`.
        state_configured: Whether the configuration says where the state folder is, and not ``--state-dir``.

    Raises:
        AlreadyRunning: A service runs on the same state folder.
        StateError: A folder or file cannot be used, or this machine lacks what the service needs.
        LibraryError: neonize does not work on this machine.
    """
    announcer = Announcer(Notifier.take())  # before anything is started that would inherit the environment
    _take_signals()
    paths = StatePaths.of(settings.state_dir)
    repaired = paths.prepare()
    with InstanceLock(paths.lock, what="the service", socket=paths.control_socket):
        logs.configure(log_level, log_format)
        logs.log_uncaught()
        if sys.stderr is not None:
            faulthandler.enable()  # a watchdog's SIGABRT tells where it hung
        for sentence in [*repaired, *_repair_modes(paths)]:
            log.warning("%s", sentence)
        needs.check(paths, sum(account.enabled for account in settings.accounts.values()))
        library = check_library()
        for sentence in [*orphans.end(paths.sessions), *leftovers.clear(paths, settings)]:
            log.warning("%s", sentence)
        raise_file_limit()
        with contextlib.closing(ControlSocket(paths.control_socket)) as listener:
            supervisor = Supervisor(
                settings,
                paths,
                make_spawner(paths),
                version=library.version,
                log_level=log_level,
                log_format="json" if log_format == "json" else "text",
                around_reload=announcer.reload,
                state_configured=state_configured,
            )
            asyncio.run(_serve(supervisor, listener, announcer, library.version))
    return ExitCode.DONE


def _repair_modes(paths: StatePaths) -> list[str]:
    try:
        return sessions.repair_modes(paths.sessions)
    except OSError as error:
        return [
            f"{paths.sessions}: others may read the sessions, and that could not be mended: {error.strerror}"
        ]


async def _serve(supervisor: Supervisor, listener: ControlSocket, announcer: Announcer, library: str) -> None:
    commands = Commands(supervisor)
    server = ControlServer(listener, commands)
    stop = asyncio.Event()
    reloads: set[asyncio.Task[None]] = set()

    def ask_to_stop(number: signal.Signals) -> None:
        if stop.is_set():
            log.warning("%s again: what has not stopped yet is killed", number.name)
            supervisor.hurry()
        else:
            log.info("%s: the service stops", number.name)
            announcer.stopping()
            commands.stopping = True
            stop.set()

    def ask_to_reload() -> None:
        if not stop.is_set():
            task = asyncio.get_running_loop().create_task(_reload(supervisor))
            reloads.add(task)
            task.add_done_callback(reloads.discard)

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ask_to_stop, number)
    loop.add_signal_handler(signal.SIGHUP, ask_to_reload)
    try:
        supervisor.start()
        await server.start()
        log.info(
            "orchestrator %s with neonize %s runs %d accounts; commands come in by %s",
            __version__,
            library,
            len(supervisor.settings.accounts),
            listener.path,
        )
        announcer.ready(supervisor)
        await stop.wait()
    finally:
        await supervisor.stop()
        await server.close()
        await announcer.close()
        _ignore_signals()
    log.info("the service has stopped")


async def _reload(supervisor: Supervisor) -> None:
    try:
        changes = await supervisor.reload()
    except OrchestratorError:
        return  # the supervisor has logged it, and goes on with the configuration it has
    for sentence in supervisor.strays():
        log.warning("%s", sentence)
    said = "; ".join(f"{what}: {', '.join(names)}" for what, names in changes.items() if names)
    log.info("the configuration was read again: %s", said or "nothing has changed")


def repair(settings: Settings, name: str, pairing: Pairing, show: Callable[[Json], None]) -> Json | None:
    """Pair one account without a running service, then stop it again.

    Args:
        settings: The configuration.
        name: The account.
        pairing: By QR code, or by a code of eight characters.
        show: Is told what happens: see `commands.follow`.

    Returns:
        The account in the state it was in before it was stopped; None if a signal ended it earlier.

    Raises:
        NoSuchAccount: The configuration does not name it.
        AlreadyRunning: A service runs after all.
        StateError: A folder or file cannot be used.
        LibraryError: neonize does not work on this machine.
        OrchestratorError: The account is disabled, or lacks its number for pairing by code.
    """
    if name not in settings.accounts:
        raise NoSuchAccount(f"there is no account {name!r}{remark(name)} in {settings.config_file}")
    _take_signals()
    paths = StatePaths.of(settings.state_dir)
    paths.prepare()
    with InstanceLock(paths.lock, what=f"repairs {name}"):
        # What goes on is shown; the log would stand in between.
        logs.configure("ERROR", "text")
        needs.check(paths, 1)
        library = check_library()
        for sentence in [*orphans.end(paths.sessions), *leftovers.clear(paths, settings)]:
            log.error("%s", sentence)
        supervisor = Supervisor(
            settings, paths, make_spawner(paths), version=library.version, log_level="ERROR"
        )
        return asyncio.run(_repair(supervisor, name, pairing, show))


async def _repair(
    supervisor: Supervisor, name: str, pairing: Pairing, show: Callable[[Json], None]
) -> Json | None:
    task = asyncio.get_running_loop().create_task(_pair(supervisor, name, pairing, show))

    def ask_to_stop() -> None:
        if not task.cancel():
            supervisor.hurry()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, ask_to_stop)
    try:
        return await task
    except asyncio.CancelledError:
        return None
    finally:
        await supervisor.stop()
        _ignore_signals()


async def _pair(supervisor: Supervisor, name: str, pairing: Pairing, show: Callable[[Json], None]) -> Json:
    supervisor.start(only=name)
    supervisor.order(name, Order.REPAIR, pairing)
    async with contextlib.aclosing(follow(supervisor, name)) as events:
        async for event in events:
            if not isinstance(event, Result):
                show(event)
                continue
            account: Json = event.value["account"]
            if account["state"] == State.CONNECTED:
                await asyncio.sleep(SETTLE_SECONDS)
            return account
    raise AssertionError("it ends with a result")


def make_spawner(paths: StatePaths) -> Spawner:
    """Return what starts the accounts' processes."""
    from orchestrator.worker import main

    return Spawner(main.run, paths.meeting_places)


def raise_file_limit() -> None:
    """Allow more open files if the system lets us: each account needs a handful, and the default is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _take_signals() -> None:
    """Make signals that come before the event loop can handle them end the process in good order, too."""

    def end(_number: int, _frame: FrameType | None) -> NoReturn:
        sys.exit(ExitCode.DONE)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the configuration has just been read


def _ignore_signals() -> None:
    """Let no signal change how the process ends: what it could ask for is done."""
    loop = asyncio.get_running_loop()
    numbers = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)  # between two handlers is the system's own
    for number in numbers:
        loop.remove_signal_handler(number)  # or it would be set back when the loop is closed
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
