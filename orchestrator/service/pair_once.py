"""Pairs one account without a running service."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable

from orchestrator.accounts.events import Order
from orchestrator.accounts.names import no_such_account
from orchestrator.accounts.pipe import Pairing
from orchestrator.accounts.states import State
from orchestrator.config.settings import Settings
from orchestrator.control.protocol import Json
from orchestrator.service import isolation, needs, orphans, stores, ways
from orchestrator.service.control.commands import Result, follow
from orchestrator.service.library import check_library
from orchestrator.service.startup import ignore_signals, make_spawner, take_signals
from orchestrator.service.supervisor import Supervisor
from orchestrator.store.layout import StatePaths
from orchestrator.system import logs

log = logging.getLogger(__name__)

SETTLE_SECONDS = 5.0
"""How long an account that was paired without a service stays connected before it is stopped again.

A new device first uploads its keys, and neonize can crash if it is stopped during the upload.
"""


def repair(
    settings: Settings,
    name: str,
    pairing: Pairing,
    show: Callable[[Json], None],
    *,
    any_phone: bool = False,
) -> Json | None:
    """Pair one account without a running service, then stop it again.

    Args:
        settings: The configuration.
        name: The account.
        pairing: By QR code, or by a code of eight characters.
        show: Receives the events of `commands.follow`.
        any_phone: Let any phone be linked, and not only the one that the account had.

    Returns:
        The account as it was before the final stop; None if a signal ended the pairing.

    Raises:
        NoSuchAccount: The configuration does not name it.
        AlreadyRunning: A service runs after all.
        StateError: A folder or file cannot be used.
        LibraryError: neonize does not work on this machine.
        OrchestratorError: The account is disabled, or lacks its number for pairing by code, or the
            configuration names the phone, or requires isolation that this machine lacks.
    """
    if name not in settings.accounts:
        raise no_such_account(name, known=settings.accounts, file=settings.config_file)
    take_signals()
    paths = StatePaths.of(settings.state_dir)
    ways.check_for_root(settings, paths)
    paths.prepare()
    with stores.opened(settings, paths) as store, store.ownership.take(f"repairs {name}"):
        # The terminal shows the progress; log lines would disturb it.
        logs.configure("ERROR", "text")
        needs.check(paths, 1)
        isolation.check(settings.confine)
        library = check_library()
        for sentence in [*orphans.end(paths.sessions), *store.moves.clear_up(settings)]:
            log.error("%s", sentence)
        supervisor = Supervisor(
            settings,
            store,
            make_spawner(paths),
            version=library.version,
            seal=library.seal,
            log_level="ERROR",
        )
        return asyncio.run(_repair(supervisor, name, pairing, show, any_phone=any_phone))


async def _repair(
    supervisor: Supervisor, name: str, pairing: Pairing, show: Callable[[Json], None], *, any_phone: bool
) -> Json | None:
    work = _pair(supervisor, name, pairing, show, any_phone=any_phone)
    task = asyncio.get_running_loop().create_task(work)

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
        ignore_signals()


async def _pair(
    supervisor: Supervisor, name: str, pairing: Pairing, show: Callable[[Json], None], *, any_phone: bool
) -> Json:
    supervisor.start(only=name)
    supervisor.order(name, Order.REPAIR, pairing, any_phone=any_phone)
    async with contextlib.aclosing(follow(supervisor, name)) as events:
        async for event in events:
            if not isinstance(event, Result):
                show(event)
                continue
            account: Json = event.value["account"]
            if account["state"] == State.CONNECTED:
                await asyncio.sleep(SETTLE_SECONDS)
            return account
    raise AssertionError("the events end with a result")
