"""The commands that change what the configuration says of accounts: ``set``, ``enable`` and ``disable``."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.accounts.moments import say_time
from orchestrator.accounts.names import shorten
from orchestrator.cli import completion, editing, invocation, selecting
from orchestrator.cli.accounts import Names, check_service_reads, one_line_of_stdin
from orchestrator.cli.formatting import examples, local, printable
from orchestrator.cli.reloading import reload_service
from orchestrator.errors import ConfigError
from orchestrator.system.clock import utc

if TYPE_CHECKING:
    from orchestrator.config.set_values import Edited, Wanted

app = typer.Typer(rich_markup_mode=None)

Note = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="What people want to remember of the account, on one line."),
]


@app.command(
    "set",
    epilog=examples(
        "orchestrator set support note='belongs to the shop in Berlin'",
        "orchestrator set support backoff.max=10m tags=sales,berlin",
        "orchestrator set support memory_limit=",
        "orchestrator set support proxy=- < proxy.txt",
        "orchestrator set 'shop-1*' memory_limit=200M",
        "orchestrator set --tag berlin device_name=Berlin",
    ),
)
def set_(
    context: typer.Context,
    given: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME... KEY=VALUE...",
            show_default=False,
            help="Names of accounts, or patterns such as 'shop-1*'; then keys of an account, such as"
            " backoff.max, each with its value. KEY= removes the key, KEY=- reads the value from stdin."
            " A list is a,b or [a, b].",
            autocompletion=completion.accounts,
        ),
    ],
    tags: selecting.Tags = None,
) -> None:
    """Set keys of accounts in the configuration.

    The file keeps its comments and layout. A running service reads the file again at once. `orchestrator
    config show NAME` shows the keys that are in force, and docs/configuration.md explains them.
    """
    named = [*itertools.takewhile(lambda one: "=" not in one, given)]
    if len(named) == len(given):
        raise typer.BadParameter(
            printable(f"expected KEY=VALUE at the end, found {shorten(given[-1])}"), param_hint="KEY=VALUE..."
        )
    if not named and not tags:
        raise typer.BadParameter("name the accounts, or give --tag", param_hint="NAME...")
    _apply_to_many(context, named, tags, _assignments(given[len(named) :]))


@app.command(
    epilog=examples(
        "orchestrator disable support",
        "orchestrator disable support --until 2026-12-24 --note 'the shop is closed'",
        "orchestrator disable 'shop-1*' --until 30d",
        "orchestrator disable --tag berlin",
    )
)
def disable(
    context: typer.Context,
    names: Names = None,
    tags: selecting.Tags = None,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="DATE",
            help="When the accounts are enabled by themselves: a date such as 2026-12-24 or"
            " 2026-12-24T08:00, or how long from now, such as 30d.",
        ),
    ] = None,
    note: Note = None,
) -> None:
    """Disable accounts in the configuration.

    The accounts stop at once, and stay in the list. Their sessions are kept. Unlike `orchestrator stop`, this
    stands in the file, with a note and a date. `orchestrator list --check` counts neither.
    """
    from orchestrator.config.set_values import Wanted, yaml_of

    wanted = [Wanted(("enabled",), "false"), Wanted(("disabled_until",), None)]
    said = "is disabled"
    if until is not None:
        from orchestrator.cli import durations

        at = durations.future("--until", until, time.time())
        said += f" until {local(utc(at))}"
        wanted = [
            Wanted(("enabled",), None),
            Wanted(("disabled_until",), yaml_of(("disabled_until",), say_time(at))),
        ]
    if note is not None:
        wanted.append(Wanted(("note",), _noted(note)))
    _apply_to_many(context, names, tags, wanted, said)


@app.command(
    epilog=examples(
        "orchestrator enable support", "orchestrator enable 'shop-1*'", "orchestrator enable --tag berlin"
    )
)
def enable(context: typer.Context, names: Names = None, tags: selecting.Tags = None) -> None:
    """Enable accounts in the configuration that are disabled.

    The accounts start at once, in turn, unless an operator stopped them.
    """
    from orchestrator.config.set_values import Wanted

    wanted = [Wanted(("enabled",), None), Wanted(("disabled_until",), None)]
    edited = _apply_to_many(context, names, tags, wanted, "is enabled")
    if noted := [one for one in edited.changed if edited.after.accounts[one].note]:
        print(printable(f"a note stays; to remove it: `orchestrator set {noted[0]} note=`"))


def _noted(note: str) -> str | None:
    from orchestrator.config.set_values import yaml_of

    try:
        return yaml_of(("note",), note) if note else None
    except ConfigError as error:
        raise typer.BadParameter(str(error).removeprefix("note: "), param_hint="--note") from None


def _assignments(values: Sequence[str]) -> list[Wanted]:
    """Read what is to be set.

    Raises:
        typer.BadParameter: There is no such key, a value is not fit for its key, or a secret would be seen.
    """
    from orchestrator.config.set_values import find_key, read_assignment

    found = []
    from_stdin = [value for value in values if value.endswith("=-")]
    if len(from_stdin) > 1:
        raise typer.BadParameter("only one value can come from stdin", param_hint="KEY=VALUE...")
    for given in values:
        key, _, value = given.partition("=")
        try:
            if given in from_stdin:
                find_key(key)
                value = one_line_of_stdin("a value", "KEY=VALUE...")
                given = f"{key}={value}"
            elif key == "proxy" and "@" in value:
                raise ConfigError(
                    "proxy: other users of this machine can see a command line, and the URL has a password:"
                    " give it through stdin, as proxy=-"
                )
            if key == "proxy_file" and value and value[0] not in "~$" and value != "null":
                given = f"{key}={os.path.abspath(value)}"  # noqa: PTH100 - resolve() would follow links
            found.append(read_assignment(given))
        except ConfigError as error:
            raise typer.BadParameter(printable(str(error)), param_hint="KEY=VALUE...") from None
    return found


def _apply_to_many(
    context: typer.Context,
    names: Sequence[str] | None,
    tags: Sequence[str] | None,
    wanted: Sequence[Wanted],
    said: str | None = None,
) -> Edited:
    """Set the same keys of all accounts that were chosen, disabled ones too.

    Raises:
        NoSuchAccount: There is no account of a name, or none that fits a pattern.
        typer.BadParameter: No account was chosen, or none has the tags.
    """
    if not names and not tags:
        raise typer.BadParameter("name the accounts, or give --tag", param_hint="NAME...")
    where = invocation.of(context)
    file = where.config_file()
    found = selecting.select(where.settings().accounts.values(), names, tags, file=file)
    return _apply(context, {one.name: tuple(wanted) for one in found}, said)


def _apply(context: typer.Context, wanted: Mapping[str, Sequence[Wanted]], said: str | None = None) -> Edited:
    """Edit the configuration, have a running service read it, and say what that does.

    Args:
        context: What the command's options say.
        wanted: What is to be set of each account.
        said: What is then so of the accounts, in words; None for the keys.
    """
    from orchestrator.config import set_values

    where = invocation.of(context)
    file = where.config_file()
    client = where.running_service()
    check_service_reads(client, file)
    editing.need_store(where, client)
    edited = set_values.set_values(
        file, {name: tuple(values) for name, values in wanted.items()}, state_dir=where.state_dir
    )
    for line in _said(edited, wanted, file, said):
        print(printable(line))
    if client is not None:
        if edited.changed:
            with editing.told(file, "`orchestrator reload` has the service take it over"):
                reload_service(client)
    elif edited.changed:
        print("the service is not running; it uses the new settings when it starts")
    return edited


def _said(edited: Edited, wanted: Mapping[str, Sequence[Wanted]], file: Path, said: str | None) -> list[str]:
    lines = []
    for name in wanted:
        keys = ", ".join(edited.changed.get(name, ()))
        so = f"{name} {said} in {file}" if said else f"{name}: {keys} in {file}"
        lines.append(so if keys else f"{name}: nothing to change in {file}")
    return lines
