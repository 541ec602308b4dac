"""The service as a process: lock, log, signals, control socket, and the supervisor between them."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import logging
import signal
import sys

from orchestrator import __version__
from orchestrator.config.settings import Settings
from orchestrator.errors import ExitCode, OrchestratorError
from orchestrator.service import isolation, needs, orphans, ways
from orchestrator.service.control.commands import Commands
from orchestrator.service.control.listening import ControlSocket
from orchestrator.service.control.server import ControlServer
from orchestrator.service.library import check_library
from orchestrator.service.startup import ignore_signals, make_spawner, raise_file_limit, take_signals
from orchestrator.service.supervisor import Supervisor
from orchestrator.service.systemd import Announcer
from orchestrator.store import leftovers, realm
from orchestrator.store.files import in_files
from orchestrator.store.layout import StatePaths
from orchestrator.system import logs
from orchestrator.system.sd_notify import Notifier

log = logging.getLogger(__name__)


def run(
    settings: Settings,
    *,
    log_level: str = "INFO",
    log_format: logs.Format = "text",
    state_configured: bool = False,
) -> ExitCode:
    """Run the service in the foreground until a signal ends it.

    SIGTERM and SIGINT stop the service gracefully; a second signal kills accounts that have not stopped yet.
    SIGHUP reloads the configuration. A service that systemd has started tells systemd its status.

    Args:
        settings: The configuration.
        log_level: The lowest level that is logged: DEBUG, INFO, WARNING or ERROR.
        log_format: The format of the log; see `logs.configure`.
        state_configured: Whether the configuration says where the state folder is, and not ``--state-dir``.

    Raises:
        AlreadyRunning: A service runs on the same state folder.
        StateError: A folder or file cannot be used, or this machine lacks what the service needs.
        OrchestratorError: The configuration requires isolation that this machine lacks.
        LibraryError: neonize does not work on this machine.
    """
    announcer = Announcer(Notifier.take())  # before anything is started that would inherit the environment
    take_signals()
    paths = StatePaths.of(settings.state_dir)
    ways.check_for_root(settings, paths)
    repaired = paths.prepare()
    store = in_files(paths, settings.qr_dir, settings.qr_group)
    with store.ownership.take("the service", paths.control_socket):
        logs.configure(log_level, log_format)
        logs.log_uncaught()
        if sys.stderr is not None:
            faulthandler.enable()  # after a watchdog's SIGABRT, the log shows where the service hung
        if realm.is_sandbox():
            log.warning("%s", realm.WARNING)
        for sentence in [*repaired, *store.sessions.close_to_others()]:
            log.warning("%s", sentence)
        needs.check(paths, sum(account.enabled for account in settings.accounts.values()))
        isolation.check(settings.confine)
        library = check_library()
        for sentence in [*orphans.end(paths.sessions), *leftovers.clear(paths, settings)]:
            log.warning("%s", sentence)
        raise_file_limit()
        with contextlib.closing(ControlSocket(paths.control_socket)) as listener:
            supervisor = Supervisor(
                settings,
                store,
                make_spawner(paths),
                version=library.version,
                seal=library.seal,
                log_level=log_level,
                log_format="json" if log_format == "json" else "text",
                around_reload=announcer.reload,
                state_configured=state_configured,
            )
            asyncio.run(_serve(supervisor, listener, announcer, library.version))
    return ExitCode.DONE


async def _serve(supervisor: Supervisor, listener: ControlSocket, announcer: Announcer, library: str) -> None:
    commands = Commands(supervisor)
    server = ControlServer(listener, commands)
    stop = asyncio.Event()
    reloads: set[asyncio.Task[None]] = set()

    def ask_to_stop(number: signal.Signals) -> None:
        if stop.is_set():
            log.warning("%s again: accounts that have not stopped yet are killed", number.name)
            supervisor.hurry()
        else:
            log.info("%s: the service is stopping", number.name)
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
            "orchestrator %s with neonize %s runs %d accounts; the control socket is %s",
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
        ignore_signals()
    log.info("the service has stopped")


async def _reload(supervisor: Supervisor) -> None:
    try:
        changes = await supervisor.reload()
    except OrchestratorError:
        return  # the supervisor has logged it, and goes on with the configuration it has
    for sentence in supervisor.strays():
        log.warning("%s", sentence)
    said = "; ".join(f"{what}: {', '.join(names)}" for what, names in changes.items() if names)
    log.info("the configuration was reloaded: %s", said or "nothing has changed")
