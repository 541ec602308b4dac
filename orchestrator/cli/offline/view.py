"""Shows the accounts while no service runs: from the configuration and from the last known states."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from orchestrator.accounts import same_phone
from orchestrator.accounts.moments import why_disabled
from orchestrator.accounts.names import no_such_account
from orchestrator.accounts.orderers import STOPPED
from orchestrator.accounts.states import State
from orchestrator.cli.formatting import during
from orchestrator.cli.invocation import Places
from orchestrator.cli.offline import kept
from orchestrator.config import file
from orchestrator.control.outlook import NOT_RUNNING
from orchestrator.control.view import AccountView, Cause
from orchestrator.store import status, summary
from orchestrator.store.summary import Summary
from orchestrator.system.clock import iso

if TYPE_CHECKING:  # most configurations have no cluster
    from orchestrator.store.owned import Owned


def read_accounts(where: Places, *, reveal: bool = False) -> Mapping[str, Summary]:
    """Return the configured accounts: from a summary if it is of the same configuration, which is faster.

    Args:
        where: What the command's options say.
        reveal: With phone numbers in full.

    Raises:
        ConfigError: There is no configuration, or it is not valid.
        StateError: The path of the state folder is too long.
    """
    path = where.config_file()
    if not reveal:
        found = kept.record(where).summary(file.digest(file.decode(file.read(path), path)))
        if found is not None:
            return found
    accounts = where.settings().accounts
    return {name: summary.summarize(settings, reveal=reveal) for name, settings in accounts.items()}


def describe(where: Places, accounts: Mapping[str, Summary], names: Iterable[str] = ()) -> list[AccountView]:
    """Return the accounts as a service would show them.

    Args:
        where: What the command's options say.
        accounts: The configured accounts.
        names: The accounts that are wanted; none means all.

    Raises:
        NoSuchAccount: The configuration does not name one of the accounts.
        StateError: The file of the last known states cannot be read.
    """
    cluster = kept.cluster(where)
    there = [*accounts] if cluster is None else _of_cluster(accounts, cluster)
    wanted = list(dict.fromkeys(names)) or there
    unknown = [name for name in wanted if name not in there]
    if unknown:
        raise no_such_account(*unknown, known=there, file=where.config_file())
    if cluster is not None:
        return _elsewhere(accounts, cluster, wanted)
    known = kept.record(where).load()
    shared = _on_one_phone(where, accounts, known)
    found = [_describe(accounts[name], known.get(name, status.Kept())) for name in wanted]
    return [one._replace(same_phone=shared.get(one.name, ())) for one in found]


def _of_cluster(accounts: Mapping[str, Summary], cluster: Mapping[str, Owned]) -> list[str]:
    """Return the names of all accounts: of the configuration, and of others that a machine runs."""
    others = sorted(name for name, one in cluster.items() if one.shard is not None and name not in accounts)
    return [*accounts, *others]


def _elsewhere(
    accounts: Mapping[str, Summary], cluster: Mapping[str, Owned], wanted: Iterable[str]
) -> list[AccountView]:
    """Return the accounts as other machines have written them down: no service runs on this one."""
    from orchestrator.service import seen
    from orchestrator.store.owned import Owned

    now = time.time()
    return [seen.describe(name, accounts.get(name), cluster.get(name, Owned()), now) for name in wanted]


def _on_one_phone(
    where: Places, accounts: Mapping[str, Summary], known: Mapping[str, status.Kept]
) -> dict[str, tuple[str, ...]]:
    """Return the other accounts of its phone for each account that shares one with others."""
    remembered = [(name, known[name].guard.number) for name in accounts if name in known]
    if not (groups := same_phone.groups(remembered)):
        return {}
    sessions = kept.store(where).sessions
    met = [name for group in groups for name in group]
    found = [(name, sessions.device(name).number) for name in met]
    return {
        name: tuple(one for one in group if one != name)
        for group in same_phone.groups(found)
        for name in group
    }


def strays(where: Places, accounts: Mapping[str, Summary]) -> list[str]:
    """Return a sentence for each session that belongs to no account."""
    if not any(name not in accounts for name in kept.session_names(where)):
        return []
    moves = kept.store(where).moves
    return moves.about_strays(moves.strays(accounts), accounts)


def maintenance(where: Places) -> list[str]:
    """Return what there is to say of maintenance; nothing while it is off.

    Raises:
        StateError: Nobody can tell.
    """
    since = iso(kept.record(where).maintenance())
    return [] if since is None else [during(since)]


def _describe(account: Summary, known: status.Kept) -> AccountView:
    last = _last(account.name, known)
    runs = account.runs_at(time.time())
    state, reason, retry_at = _state(account, known, last, runs=runs)
    cause = known.past.cause
    return AccountView(
        name=account.name,
        state=state.value,
        # When the service ended is written nowhere.
        since=last.since if state == last.state and reason != NOT_RUNNING else None,
        reason=reason,
        kind=last.kind if state in (State.BANNED, State.REPLACED, State.FAILED) else None,
        phone=account.phone or last.phone,
        next_retry_at=retry_at,
        restarts=last.restarts,
        last_seen_at=last.last_seen_at,
        phone_seen_at=last.phone_seen_at,
        phone_unlinks_at=last.phone_unlinks_at,
        stored=last.stored,
        lost=last.lost,
        queued=last.queued,
        restricted=last.restricted,
        restricted_until=last.restricted_until,
        last_exit=last.last_exit,
        tags=account.tags,
        proxy=account.proxy,
        last_in_at=last.last_in_at,
        last_out_at=last.last_out_at,
        note=account.note,
        disabled_until=None if runs else iso(account.disabled_until),
        cause=None if cause is None else Cause(cause.kind.value, cause.reason, iso(cause.at)),
    )


def _last(name: str, known: status.Kept) -> AccountView:
    """Return what a service showed last of an account; a service of another version may have kept that."""
    shown = known.shown or {}
    state = shown.get("state")
    return AccountView.from_json({**shown, "state": state if isinstance(state, str) else "", "name": name})


def _state(
    account: Summary, known: status.Kept, last: AccountView, *, runs: bool
) -> tuple[State, str | None, str | None]:
    """Return the state, the reason and the time of the next try."""
    if not runs:
        return State.DISABLED, why_disabled(account.disabled_until, account.note), None
    if known.stopped:
        return State.STOPPED, STOPPED, None
    if known.parked is not None:
        return known.parked.state, known.parked.reason, iso(known.parked.until)
    if last.state == State.FAILED:
        return State.FAILED, last.reason, None
    return State.STOPPED, NOT_RUNNING, None
