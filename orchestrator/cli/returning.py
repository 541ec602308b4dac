"""Waits until accounts that were restarted are back, and tells what a restart of many does."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping

from orchestrator.accounts.states import WAITS_FOR_TURN, State
from orchestrator.accounts.words import counted
from orchestrator.cli.formatting import printable
from orchestrator.control.client import Client
from orchestrator.control.view import AccountView

_ON_ITS_WAY = frozenset({State.STARTING, State.CONNECTING, State.RECONNECTING, State.BACKOFF})


def announced(accounts: Iterable[AccountView], parallel: int) -> str:
    """Say what a restart of all does: how many accounts, at which pace, who is offline for how long.

    Args:
        accounts: All accounts. Those that are disabled or stopped are not restarted.
        parallel: How many may connect at once.
    """
    every = list(accounts)
    found = [one for one in every if one.state not in (State.DISABLED, State.STOPPED)]
    stopped = sum(one.state == State.STOPPED for one in every)
    connected = sum(one.state == State.CONNECTED for one in found)
    others = len(found) - connected
    parts = []
    if connected:
        parts.append(
            f"{counted(connected, 'connected account')} in turn, at most {parallel} at once, each offline for"
            " about a second"
        )
    if others:
        verb = "is" if others == 1 else "are"
        parts.append(f"{counted(others, 'account')} that {verb} not connected, at once")
    said = f"restarting {'; '.join(parts)}" if parts else "nothing to restart"
    if stopped:
        verb = "stays" if stopped == 1 else "stay"
        return f"{said} ({counted(stopped, 'account')} that an operator stopped {verb} stopped)"
    return said if parts else f"{said}: no account is enabled"


def is_back(before: AccountView | None, now: AccountView) -> bool | None:
    """Tell whether an account is back after a restart; None as long as that is open.

    Args:
        before: The account before the order, None if it was not there.
        now: The account.
    """
    if now.state == State.CONNECTED:
        if before is None or now.pid != before.pid:
            return True
        # The process from before still works: it waits for its turn, or the service has left it as it is.
        waits = now.reason is None or now.reason.startswith(WAITS_FOR_TURN)
        return None if waits else False
    if now.pid is not None and before is not None and now.pid == before.pid:
        return None  # it is about to end
    if now.state in _ON_ITS_WAY:
        return None
    return False


def wait(client: Client, before: Mapping[str, AccountView], names: list[str], limit: float) -> bool:
    """Wait until accounts are back, and say which are not; tell whether all are.

    Args:
        client: The service.
        before: The accounts before they were restarted.
        names: Those that were.
        limit: Seconds to wait at most.
    """
    deadline = time.monotonic() + limit
    left = dict.fromkeys(names)
    seen: dict[str, AccountView] = {}
    failed: dict[str, AccountView] = {}
    with client.stream("watch", names=names) as events:
        stream = iter(events)
        while left and events.is_ready(max(0.0, deadline - time.monotonic())):
            event = next(stream)
            for one in map(AccountView.from_json, event["accounts"]):
                seen[one.name] = one
                back = is_back(before.get(one.name), one)
                failed.pop(one.name, None)
                left.pop(one.name, None)
                if back is None:
                    left[one.name] = None
                elif not back:
                    failed[one.name] = one
            for name in event["gone"]:
                left.pop(name, None)
                failed.pop(name, None)
    missing = [*failed, *left]
    for name in missing:
        account = seen.get(name)
        state = "still not back" if account is None else account.state
        why = f": {account.reason}" if account is not None and account.reason else ""
        print(f"orchestrator: {printable(f'{name} is {state}{why}')}", file=sys.stderr)
    back_again = len(names) - len(missing)
    print(printable(f"{counted(back_again, 'account')} of {len(names)} back"))
    return not missing
