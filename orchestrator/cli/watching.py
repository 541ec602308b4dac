"""Shows how accounts change: ``list --watch``."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from orchestrator.cli import selecting
from orchestrator.cli.formatting import clock, printable
from orchestrator.cli.terminal import Terminal, judge, sane
from orchestrator.control import causes
from orchestrator.control.attention import Need, need, with_need
from orchestrator.control.client import Client
from orchestrator.control.view import AccountView
from orchestrator.errors import OrchestratorError


def watch(
    client: Client,
    names: Sequence[str],
    tags: Collection[str],
    *,
    as_json: bool,
    reveal: bool,
    needs_person: bool,
) -> None:
    """Show accounts, and then each change, until Ctrl-C.

    Args:
        client: Asks the service.
        names: The names and patterns of the accounts; none means all.
        tags: The tags that they have to have.
        as_json: Print a line for every change, for programs.
        reveal: Show complete phone numbers.
        needs_person: Show only accounts that need a person.

    Raises:
        NoSuchAccount: There is no account of a name, or none that fits a pattern.
        typer.BadParameter: No account has one of the tags.
        OrchestratorError: The service does not run, or has ended.
    """
    asked = () if any(map(selecting.is_pattern, names)) else names
    with client.stream("watch", names=[*asked], reveal=reveal) as every:
        events = _checked(every, names, tags)
        if as_json:
            for line in needs(events) if needs_person else changes(events):
                print(json.dumps(line), flush=True)
            return
        if needs_person:
            events = (only(event, lambda one: need(one) is not None) for event in events)
        if _has_room(judge()):
            _live(events, needs_person=needs_person)
        else:
            _lines(events, over="needs nobody any more" if needs_person else "removed")


def _checked(
    events: Iterable[Mapping[str, Any]], names: Sequence[str], tags: Collection[str]
) -> Iterator[dict[str, Any]]:
    """Yield events with the chosen accounts alone; the first one has to have some of each name and tag."""
    is_first = True
    for event in events:
        if is_first:
            selecting.select(accounts_of(event), names, tags, or_none=True)
        is_first = False
        yield only(event, lambda one: selecting.fits(one, names, tags))


def only(event: Mapping[str, Any], shows: Callable[[AccountView], bool]) -> dict[str, Any]:
    """Return an event without the accounts that are not to be shown: those count as gone.

    Args:
        event: The event.
        shows: Tells whether an account is to be shown.
    """
    shown, gone = [], list(event["gone"])
    for account in accounts_of(event):
        if shows(account):
            shown.append(account.as_json())
        else:
            gone.append(account.name)
    return {**event, "accounts": shown, "gone": gone}


def changes(events: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield what programs read of each account that changes."""
    for event in events:
        for account in accounts_of(event):
            yield account.as_json()


def needs(events: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield what programs read: first of all accounts, then of each whose need begins, changes or ends."""
    known: dict[str, tuple[AccountView, Need]] = {}
    is_first = True
    for event in events:
        for name in event["gone"]:
            if name in known:
                yield with_need(known.pop(name)[0], None)
        for account in accounts_of(event):
            _, before = known.get(account.name, (account, None))
            found = need(account)
            if found is None:
                known.pop(account.name, None)
            else:
                known[account.name] = account, found
            if found != before or is_first:
                yield with_need(account, found)
        is_first = False


def accounts_of(event: Mapping[str, Any]) -> Iterable[AccountView]:
    """Return the accounts of an event."""
    return map(AccountView.from_json, event["accounts"])


def _has_room(able: Terminal) -> bool:
    from orchestrator.cli import table

    return able.is_live and able.size is not None and able.size[0] >= table.NARROW


def _live(events: Iterable[Mapping[str, Any]], *, needs_person: bool) -> None:
    from rich.console import RenderableType
    from rich.live import Live

    from orchestrator.cli import table

    accounts: dict[str, AccountView] = {}
    screen = table.console()

    def shown() -> RenderableType:
        found = list(accounts.values())
        return table.fitting(found, screen.width, screen.height, needs=needs_person)

    # The table shows how long ago things happened, so it is made again every second, in the size that the
    # terminal has by then. It has a screen of its own: on a screen with other lines, a terminal that becomes
    # narrower breaks lines anew, and nobody can tell any more where the table began.
    try:
        with (
            sane(),
            Live(get_renderable=shown, console=screen, refresh_per_second=1, screen=True) as live,
        ):
            for event in events:
                _take(event, accounts)
                live.refresh()
    except (KeyboardInterrupt, OrchestratorError):
        screen.print(shown())  # what was seen last stays on the terminal
        raise


def _lines(events: Iterable[Mapping[str, Any]], over: str) -> None:
    accounts: dict[str, AccountView] = {}
    for event in events:
        before = dict(accounts)
        _take(event, accounts)
        for name in before.keys() - accounts.keys():
            print(printable(f"{time.strftime('%H:%M:%S')} {name} {over}"), flush=True)
        for name, account in accounts.items():
            last = before.get(name)
            if last is None or (last.state, last.reason) != (account.state, account.reason):
                why = causes.reason(account, lambda moment: clock(moment, time.time()))
                reason = f": {why}" if why else ""
                print(printable(f"{time.strftime('%H:%M:%S')} {name} {account.state}{reason}"), flush=True)


def _take(event: Mapping[str, Any], accounts: dict[str, AccountView]) -> None:
    for account in accounts_of(event):
        accounts[account.name] = account
    for name in event["gone"]:
        accounts.pop(name, None)
