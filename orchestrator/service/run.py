"""The service as a process: lock, log, signals, control socket, and the supervisor between them."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import logging
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator import __version__
from orchestrator.access.tokens import Tokens
from orchestrator.accounts import deadlines, orderers
from orchestrator.accounts.words import counted
from orchestrator.config.settings import Settings
from orchestrator.errors import AlreadyRunning, ExitCode, OrchestratorError
from orchestrator.service import admissible, isolation, needs, orphans, stores, ways, who
from orchestrator.service.aside import Aside
from orchestrator.service.companions import commands as companion_commands
from orchestrator.service.companions.following import Following
from orchestrator.service.companions.requests import Requests
from orchestrator.service.companions.team import Companions
from orchestrator.service.control import (
    leaving,
    notifications,
    overview,
    process,
    reloading,
    routing,
    sending,
    showing,
)
from orchestrator.service.control.commands import Commands
from orchestrator.service.control.listening import ControlSocket
from orchestrator.service.control.server import ControlServer
from orchestrator.service.joining import Joined
from orchestrator.service.library import check_library
from orchestrator.service.on_change import Telling
from orchestrator.service.startup import ignore_signals, make_spawner, raise_file_limit, take_signals
from orchestrator.service.supervisor import Supervisor
from orchestrator.service.systemd import Announcer
from orchestrator.service.waiting_room import WaitingRoom
from orchestrator.store import realm
from orchestrator.store.layout import StatePaths
from orchestrator.store.protocols import Store
from orchestrator.system import logs, sd_listen
from orchestrator.system.log_file import LogFile
from orchestrator.system.sd_notify import Notifier

log = logging.getLogger(__name__)


def run(
    settings: Settings,
    *,
    log_level: str = "INFO",
    log_format: logs.Format = "text",
    log_file: Path | None = None,
    state_configured: bool = False,
) -> ExitCode:
    """Run the service in the foreground until a signal ends it.

    SIGTERM and SIGINT stop the service gracefully; a second signal kills accounts that have not stopped yet.
    SIGHUP reloads the configuration. A service that systemd has started tells systemd its status.

    Args:
        settings: The configuration.
        log_level: The lowest level that is logged: DEBUG, INFO, WARNING or ERROR.
        log_format: The format of the log; see `logs.configure`.
        log_file: Where the log goes instead of stderr; every reading of the configuration opens it anew.
        state_configured: Whether the configuration says where the state folder is, and not ``--state-dir``.

    Raises:
        AlreadyRunning: A service runs on the same state folder.
        ConfigError: The configuration names a variable that is not set.
        StateError: A folder or file cannot be used, or this machine lacks what the service needs.
        OrchestratorError: The configuration requires isolation that this machine lacks.
        LibraryError: neonize does not work on this machine.
    """
    # Before anything is started that would inherit the environment, or anything is opened.
    given = sd_listen.take()
    announcer = Announcer(Notifier.take())
    take_signals()
    paths = StatePaths.of(settings.state_dir)
    ways.check_for_root(settings, paths)
    repaired = paths.prepare()
    with (
        stores.opened(settings, paths) as store,
        contextlib.closing(WaitingRoom(settings, paths, announcer)) as room,
        _log(log_level, log_format, log_file) as log_to,
        store.ownership.take("the service", paths.control_socket, room.wait),
    ):
        if said := realm.about_world(paths.world):
            log.warning("%s", said)
        for sentence in [*repaired, *store.sessions.close_to_others()]:
            log.warning("%s", sentence)
        admissible.check_start(settings)
        needs.check(paths, sum(account.enabled for account in settings.accounts.values()))
        isolation.check(settings.confine)
        isolation.check_merging(wanted=settings.memory_merge)
        library = check_library()
        for sentence in [*orphans.end(paths.sessions), *store.moves.clear_up(settings)]:
            log.warning("%s", sentence)
        with contextlib.suppress(OSError):  # a hint, without which everything works
            realm.note_world(paths.world, realm.current())
        raise_file_limit()
        with (
            stores.messages(settings, store) as messages,
            contextlib.closing(room.control_socket()) as listener,
        ):
            reloads = Reloads(announcer, log_to)
            supervisor = Supervisor(
                settings,
                store,
                make_spawner(paths),
                version=library.version,
                seal=library.seal,
                log_level=log_level,
                log_format="json" if log_format == "json" else "text",
                around_reload=reloads.around,
                state_configured=state_configured,
                messages=messages,
            )
            parts = _Parts(supervisor, store, paths, given, listener, announcer, reloads, log_level, log_file)
            asyncio.run(_serve(parts, library.version))
    return ExitCode.DONE


@contextlib.contextmanager
def _log(level: str, form: logs.Format, path: Path | None) -> Iterator[LogFile | None]:
    """Have the log go where it is to go until the end of the context: to stderr, or to a file.

    Raises:
        StateError: The file cannot be used.
    """
    file = None if path is None else LogFile(path)
    logs.configure(level, form, file=file)
    logs.log_uncaught()
    # After a watchdog's SIGABRT, the log shows where the service hung.
    if file is not None:
        faulthandler.enable(file.fileno())
        file.take_children()
    elif sys.stderr is not None:
        faulthandler.enable()
    try:
        yield file
    except OrchestratorError as error:
        # Who reads the log later does not see what is on stderr now; of another service, this is its log.
        if file is not None and not isinstance(error, AlreadyRunning):
            log.critical("the service has ended: %s", error)
        raise
    finally:
        if file is not None:
            faulthandler.disable()
            file.close()


class Reloads:
    """Every reading of the configuration: announced, and then told to whoever wants to know.

    The file of the log is opened anew before, as after a rotation.

    Args:
        announcer: Announces it.
        file: The file of the log, if there is one.

    Attributes:
        after: Are called when the configuration was read again and is in use.
    """

    def __init__(self, announcer: Announcer, file: LogFile | None = None) -> None:
        self.after: list[Callable[[], None]] = []
        self._announcer = announcer
        self._file = file

    @contextlib.contextmanager
    def around(self) -> Iterator[None]:
        """Make the context of one reading."""
        if self._file is not None:
            try:
                self._file.reopen()
            except OrchestratorError as error:
                log.error("the log goes on in the file that is open: %s", error)
        with self._announcer.reload():
            yield
        for call in self.after:
            call()


@dataclass(frozen=True, slots=True)
class _Parts:
    supervisor: Supervisor
    store: Store
    paths: StatePaths
    given: Sequence[socket.socket]
    listener: ControlSocket
    announcer: Announcer
    reloads: Reloads
    log_level: str
    log_file: Path | None


async def _serve(parts: _Parts, library: str) -> None:
    supervisor, listener, announcer = parts.supervisor, parts.listener, parts.announcer
    commands, aside = Commands(supervisor), Aside("companions")
    requests = Requests(commands, supervisor, parts.store.record, Tokens(parts.paths.tokens), aside)
    companions = Companions(
        lambda: supervisor.settings,
        parts.paths,
        aside,
        requests.serve,
        given=parts.given,
        log_level=parts.log_level,
        stored=supervisor.messages.are_stored,
    )
    if supervisor.adopting is not None:
        supervisor.adopting.let_go = companions.let_go
    known, pulls = parts.store.consumers, parts.store.pulls
    if known is not None and pulls is not None:
        requests.following = Following(supervisor.terms, known, pulls, aside)
    requests.by_hand, requests.given = companions.by_hand, companions.given
    companion_commands.add(commands, supervisor, companions)
    sending.add(commands, supervisor.sends)
    overview.add(commands, supervisor)
    reloading.add(commands, supervisor)
    process.add(commands, supervisor, lambda why: ask_to_stop(why), parts.log_file)
    leaving.add(commands, supervisor)
    showing.add(commands, supervisor)
    telling = Telling(supervisor, parts.store.record)
    notifications.add(commands, telling)
    parts.reloads.after = [companions.reloaded, telling.reloaded]
    joined = None
    if supervisor.adopting is not None:
        joined = Joined(supervisor.settings, parts.store, supervisor.adopting)
        commands.whole.elsewhere = joined.elsewhere
        routing.Routing(commands, joined.elsewhere, joined.orders)
        parts.reloads.after.append(lambda: joined.reloaded(supervisor.settings))
    server = ControlServer(listener, commands)
    stop, hurries = asyncio.Event(), asyncio.Event()
    reloads: set[asyncio.Task[None]] = set()

    def ask_to_stop(why: str) -> None:
        if stop.is_set():
            log.warning("%s again: accounts that have not stopped yet are killed", why)
            companions.hurry()
            hurries.set()
        else:
            log.info("%s: the service is stopping", why)
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
        loop.add_signal_handler(number, ask_to_stop, number.name)
    loop.add_signal_handler(signal.SIGHUP, ask_to_reload)
    try:
        supervisor.start()
        await server.start()
        log.info(
            "orchestrator %s with neonize %s runs %s; the control socket is %s",
            __version__,
            library,
            counted(len(supervisor.settings.accounts), "account"),
            listener.path,
        )
        announcer.ready(supervisor)
        if joined is not None:
            joined.start()
        companions.start()
        telling.start()
        await stop.wait()
    finally:
        await telling.stop()
        try:
            async with asyncio.timeout(deadlines.COMPANIONS_STOPPING + deadlines.REAP_SECONDS):
                await companions.stop()
        except TimeoutError:
            log.error("the gateway and the bots are not gone in time: the accounts are stopped anyway")
            companions.hurry()
        finally:
            hurrying = loop.create_task(_hurry(supervisor, hurries))
            if joined is not None:
                await joined.leave()
            await supervisor.stop()
            if joined is not None:
                joined.close()
            hurrying.cancel()
            aside.close()
        await server.close()
        await announcer.close()
        ignore_signals()
    log.info("the service has stopped")


async def _hurry(supervisor: Supervisor, hurries: asyncio.Event) -> None:
    """Give the accounts no more than a moment, once somebody wants that; they are stopping already."""
    await hurries.wait()
    supervisor.hurry()


async def _reload(supervisor: Supervisor) -> None:
    who.begin(orderers.SIGHUP)
    try:
        changes = await supervisor.reload()
    except OrchestratorError:
        return  # the supervisor has logged it, and goes on with the configuration it has
    for sentence in supervisor.reloader.strays():
        log.warning("%s", sentence)
    if changes["restart"]:
        log.warning("a restart of the service is needed for changes of: %s", ", ".join(changes["restart"]))
