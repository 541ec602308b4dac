"""The commands that show accounts: ``list``, ``status`` (the same one) and ``explain``."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import typer

from orchestrator.accounts.orderers import with_who
from orchestrator.accounts.words import counted
from orchestrator.cli import completion, invocation, selecting
from orchestrator.cli.formatting import (
    ago,
    ahead,
    cpu,
    during,
    examples,
    local,
    megabytes,
    printable,
    unix,
    warn_of_sandbox,
)
from orchestrator.control import causes
from orchestrator.control.client import Client
from orchestrator.control.companions_view import lines
from orchestrator.control.phones import about_phones
from orchestrator.control.view import AccountView
from orchestrator.errors import ExitCode, NoSuchAccount, NotRunning, OrchestratorError

app = typer.Typer(rich_markup_mode=None)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
_LABEL = "  {:<10}"
_NO_ACCOUNTS = "there are no accounts yet; `orchestrator add NAME` adds one"
_ENTRIES = (50, 1000)
"""How many entries of a timeline are read: first as many as mostly suffice, then as many as there may be."""


def _list_accounts(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="Show only these accounts; also patterns, such as 'shop-1*'.",
            autocompletion=completion.accounts,
        ),
    ] = None,
    tags: selecting.Tags = None,
    as_json: AsJson = False,
    wide: Annotated[
        bool,
        typer.Option(
            "--wide",
            help="Show what each account's process uses, too (memory, CPU time, open files, threads), its"
            " messages and its tags.",
        ),
    ] = False,
    reveal: Annotated[bool, typer.Option("--reveal", help="Show complete phone numbers.")] = False,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch", "-w", help="Show changes until Ctrl-C. With --json: print a line for every change."
        ),
    ] = False,
    needs_person: Annotated[
        bool,
        typer.Option(
            "--needs-person",
            help="Show only accounts that wait for a person, such as those with a code to scan, and the"
            " command that helps.",
        ),
    ] = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Print only what is down, and exit with code 3 if anything is: accounts that are not"
            " connected and that nobody stopped or disabled. With --needs-person: accounts that wait for a"
            " person.",
        ),
    ] = False,
    lasting: Annotated[
        str | None,
        typer.Option(
            "--for",
            metavar="TIME",
            show_default=False,
            help="With --check or --needs-person: leave out what is down for a shorter time, such as 5m.",
        ),
    ] = None,
) -> None:
    """List the accounts with their states.

    Without a running service, the list comes from the configuration and the last known states; --check and
    --needs-person exit with code 4 then.

    A line below the table names accounts that are linked to one phone. That alone is no failure of --check.
    """
    if wide and as_json:
        raise typer.BadParameter("cannot be combined with --json, which has all fields", param_hint="--wide")
    if wide and watch:
        # An account is sent when its state changes: the numbers between two changes would be old.
        raise typer.BadParameter("cannot be combined with --watch", param_hint="--wide")
    if watch and check:
        raise typer.BadParameter("cannot be combined with --watch", param_hint="--check")
    least = 0.0 if lasting is None else _least(lasting, fits=(check or needs_person) and not watch)
    where = invocation.of(context)
    warn_of_sandbox(where)
    if watch:
        from orchestrator.cli import watching

        watching.watch(
            where.service(),
            names or (),
            tags or (),
            as_json=as_json,
            reveal=reveal,
            needs_person=needs_person,
        )
        return
    every, notes = _read(
        where,
        names or (),
        tags or (),
        reveal=reveal,
        online=check or needs_person,
        beside=not (as_json or check or needs_person or names or tags),
    )
    found = every
    if check or needs_person:
        found = _trouble(where, found, least, needs_person=needs_person)
    if as_json:
        print(json.dumps([_for_programs(one, needs_person=needs_person) for one in found], indent=2))
    elif found:
        from orchestrator.cli import table

        table.show(found, wide=wide, needs=needs_person)
        if needs_person and not (check or wide):
            print(printable(_for_example(found[0])))
    elif not check:
        print(printable(_nobody(needs_person=needs_person, tagged=bool(tags))))
    if not (as_json or needs_person or tags):
        for sentence in [*about_phones(every), *([] if check else notes)]:
            print(printable(sentence))
    if check and found:
        raise typer.Exit(ExitCode.NOT_CONNECTED)


app.command(
    "list",
    epilog=examples(
        "orchestrator list",
        "orchestrator list --watch",
        "orchestrator list --wide 'shop-*'",
        "orchestrator list --tag sales",
        "orchestrator list --needs-person",
        "orchestrator list --check --for 5m || echo 'something is down'",
        "orchestrator list --json | jq -r '.[] | select(.state == \"failed\") | .name'",
    ),
)(_list_accounts)
app.command(
    "status",
    help="List the accounts with their states: another name of `orchestrator list`.",
    epilog=examples("orchestrator status", "orchestrator status --watch", "orchestrator status support"),
)(_list_accounts)


def _least(text: str, *, fits: bool) -> float:
    """Return for how long something has to be down, in seconds.

    Raises:
        typer.BadParameter: The other options have nothing that could last.
        OrchestratorError: It is no length of time.
    """
    if not fits:
        raise typer.BadParameter("needs --check or --needs-person, without --watch", param_hint="--for")
    from orchestrator.cli import durations  # what reads the configuration, only where it is needed

    return durations.seconds("--for", text, 1, 365 * durations.DAY)


def _read(
    where: invocation.Places,
    names: Sequence[str],
    tags: Sequence[str],
    *,
    reveal: bool,
    online: bool,
    beside: bool,
) -> tuple[list[AccountView], list[str]]:
    """Return the accounts that are wanted, and what there is to say below a list of all accounts.

    Args:
        where: What the command's options say.
        names: Names and patterns; none means all.
        tags: Tags that the accounts have to have.
        reveal: Show complete phone numbers.
        online: The last known states are not enough: a service has to run.
        beside: Whether to say how the gateway and the bots are.

    Raises:
        NotRunning: No service runs, and the last known states are not enough.
        NoSuchAccount: There is no account of a name.
        typer.BadParameter: No account has one of the tags.
    """
    asked = [] if any(map(selecting.is_pattern, names)) else names
    notes: list[str] = []
    file = None
    try:
        client = where.service()
        result = client.call("list", names=[*asked], reveal=reveal)
        notes = [*_waiting(result), *_maintenance(result), *result.get("without_account", ())]
        if beside:
            notes = [*_beside(client), *notes]
        found = [AccountView.from_json(one) for one in result["accounts"]]
    except NotRunning:
        if online:
            raise
        from orchestrator.cli.offline import view

        accounts, file = view.read_accounts(where, reveal=reveal), where.config_file()
        found = view.describe(where, accounts, asked)
        notes = view.maintenance(where)
        if not names:
            notes += view.strays(where, accounts)
    return selecting.select(found, names, tags, file=file, or_none=not online), notes


def _trouble(
    where: invocation.Places, accounts: Iterable[AccountView], least: float, *, needs_person: bool
) -> list[AccountView]:
    """Return the accounts that are down, or that need a person.

    Args:
        where: What the command's options say.
        accounts: The accounts.
        least: For how many seconds an account has to be down, if it is.
        needs_person: What counts is whether an account needs a person.
    """
    from orchestrator.control import checking

    if needs_person:
        from orchestrator.control.attention import need

        found = [one for one in accounts if need(one) is not None]
    else:
        found = [one for one in accounts if checking.is_down(one)]
    if not (least and found):
        return found
    client, now = where.service(), time.time()
    return [one for one in found if not checking.is_down(one) or _lasts(client, one, least, now)]


def _lasts(client: Client, account: AccountView, least: float, now: float) -> bool:
    """Tell whether an account that is down has been for that many seconds, as far as anybody knows.

    An account that tries again and again changes its state all the time: what counts is the first time.
    """
    from orchestrator.control import checking

    at = unix(account.since)
    if at is None or now - at >= least:
        return True
    for count in _ENTRIES:
        try:
            entries = client.call("explain", name=account.name, entries=count)["timeline"]
        except NoSuchAccount:
            return False
        since = checking.down_since(account, entries, whole=len(entries) < count)
        if since is not None:
            at = unix(since)
            return at is None or now - at >= least
    return True


def _nobody(*, needs_person: bool, tagged: bool) -> str:
    """Say why a list has no accounts."""
    if needs_person:
        from orchestrator.control.attention import NOBODY_NEEDED

        return NOBODY_NEEDED
    return "no account has all of these tags" if tagged else _NO_ACCOUNTS


def _for_example(account: AccountView) -> str:
    """Say how the words of the column DO are meant."""
    from orchestrator.control.attention import need

    found = need(account)
    return "" if found is None else f"DO is what helps, such as `{found.command}`"


def _for_programs(account: AccountView, *, needs_person: bool) -> dict[str, Any]:
    """Return what programs read of an account."""
    if not needs_person:
        return account.as_json()
    from orchestrator.control.attention import need, with_need

    return with_need(account, need(account))


def _beside(client: Client) -> list[str]:
    """Return what there is to say of the gateway and the bots; nothing where none are configured."""
    try:
        return lines(client.call("companions").get("companions"))
    except OrchestratorError as error:
        if error.key != "unknown_command":  # a service of an earlier version
            raise
        return []


def _waiting(answer: Mapping[str, Any]) -> list[str]:
    """Return what there is to say of the cluster; nothing where there is none, or all is well."""
    cluster = answer.get("cluster")
    if not isinstance(cluster, dict):
        return []
    if cluster.get("away"):
        return ["the database is away: of accounts on other machines, this is what was known before"]
    if waiting := cluster.get("waiting"):
        return [f"{counted(waiting, 'account waits', 'accounts wait')} for a shard"]
    return []


def _maintenance(answer: Mapping[str, Any]) -> list[str]:
    """Return what there is to say of maintenance; nothing while it is off."""
    since = answer.get("maintenance")  # which a service of an earlier version does not say
    return [during(since)] if isinstance(since, str) else []


@app.command(
    epilog=examples("orchestrator explain support", "orchestrator explain support --json | jq .outlook")
)
def explain(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", show_default=False, autocompletion=completion.accounts)
    ],
    as_json: AsJson = False,
    entries: Annotated[
        int, typer.Option(metavar="N", min=0, max=1000, help="How many entries of the timeline to show.")
    ] = 20,
) -> None:
    """Say why an account is in its state, and what happens next.

    Shows since when and why, what happens next and when, what you can do, and the end of the timeline.
    """
    where = invocation.of(context)
    try:
        found = where.service().call("explain", name=name, entries=entries)
        found["account"] = AccountView.from_json(found["account"]).as_json()
    except NotRunning:
        found = _explain_offline(where, name, entries)
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        print("\n".join(_explained(found, time.time())))


def _explain_offline(where: invocation.Places, name: str, entries: int) -> dict[str, Any]:
    from orchestrator.cli.offline import kept, view
    from orchestrator.control.outlook import without_service

    (account,) = view.describe(where, view.read_accounts(where), [name])
    start = where.start_command(where.config_file())
    return {
        "account": account.as_json(),
        "outlook": without_service(account, start).as_json(),
        "timeline": kept.record(where).tail(name, entries),
    }


def _explained(found: Mapping[str, Any], now: float) -> list[str]:
    account, outlook = AccountView.from_json(found["account"]), found["outlook"]
    lines = [printable(f"{account.name} is {account.state}")]

    def say(label: str, text: str) -> None:
        lines.append(_LABEL.format(label) + printable(text))

    if account.since:
        say("since", f"{local(account.since)} ({ago(account.since, now)} ago)")
    if account.reason:
        say("because", account.reason)
    if cause := account.cause:
        what = ": ".join(filter(None, (causes.words(account), cause.reason)))
        say("cause", f"{local(cause.at)}: {what}" if cause.at else what)
    if account.attempt:
        say("attempt", f"{account.attempt} in a row")
    if account.phone:
        say("phone", account.phone)
    if account.tags:
        say("tags", ", ".join(account.tags))
    if account.note:
        say("note", account.note)
    if account.proxy:
        say("proxy", account.proxy)
    if account.shard:
        age = account.lease_age_s
        seen = "" if age is None else f", which was there {age:.0f} s ago"
        say("shard", f"{account.shard}{seen}")
    if account.pid:
        say("process", ", ".join([str(account.pid), *_usage(account)]))
    if account.isolation:
        say("isolation", account.isolation)
    if messages := ", ".join(_messages(account, now)):
        say("messages", messages)
    if to_send := ", ".join(_to_send(account, now)):
        say("outbox", to_send)
    if account.last_seen_at:
        say("last seen", f"WhatsApp last sent something {ago(account.last_seen_at, now)} ago")
    if account.phone_seen_at:
        say("its phone", f"gave its last sign {ago(account.phone_seen_at, now)} ago")
    if end := account.last_exit:
        say("last end", f"{local(end.at)}: {end.kind}" if end.at else f"{end.kind}")
        if end.traceback:
            say("traceback", end.traceback)
    at = f" ({ahead(outlook['at'], now)}, at {local(outlook['at'])})" if outlook["at"] else ""
    say("next", outlook["next"] + at)
    for number, advice in enumerate(outlook["advice"]):
        say("" if number else "you can", advice)
    for sentence in [*about_phones([account]), *_maintenance(found)]:
        say("note", sentence)
    if found["timeline"]:
        lines += ["", "timeline, in local time:"]
        lines += [_entry(entry) for entry in found["timeline"]]
    return lines


def _usage(account: AccountView) -> Iterable[str]:
    """Say what an account's process uses, as far as that is known."""
    if account.memory_bytes is not None:
        yield f"{megabytes(account.memory_bytes)} of memory"
    if account.cpu_s is not None:
        yield f"{cpu(account.cpu_s)} of CPU time"
    if account.open_files is not None:
        yield f"{account.open_files} open files"
    if account.threads is not None:
        yield f"{account.threads} threads"


def _messages(account: AccountView, now: float) -> Iterable[str]:
    """Say what became of messages that came in, as far as that is known."""
    if account.stored is not None:
        yield f"stored: {account.stored}"
    if account.waiting is not None:
        yield f"waiting for a consumer: {account.waiting}"
    if account.lost:
        yield f"lost: {account.lost}"
    if account.refused:
        yield f"received, not allowed: {account.refused}"
    if account.last_in_at:
        yield f"the last came in {ago(account.last_in_at, now)} ago"


def _to_send(account: AccountView, now: float) -> Iterable[str]:
    """Say what an account is to send, as far as that is known."""
    if account.queued is not None:
        yield f"waiting to be sent: {account.queued}"
    if account.last_out_at:
        yield f"the last was sent {ago(account.last_out_at, now)} ago"
    if account.restricted is not None:
        until = f" until {local(account.restricted_until)}" if account.restricted_until else ""
        what = "restricted" if account.restricted == "all" else "no messages to new chats"
        yield f"{what}{until}"


def _entry(entry: Mapping[str, Any]) -> str:
    text = f"  {local(entry['at'])}  {entry.get('from')} → {entry['to']}"
    text += with_who(entry.get("reason"), entry.get("by"))
    if entry.get("delay") is not None:
        what = "for" if entry.get("event") == "restricted" else "next try after"
        text += f" ({what} {entry['delay']:.0f} s)"
    if entry.get("others"):
        text += f", in the same minute as {counted(entry['others'], 'other')}"
    return printable(text)
