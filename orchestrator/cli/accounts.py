"""The commands that change accounts: ``add``, ``remove``, ``start``, ``stop`` and ``restart``."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.accounts import names
from orchestrator.cli import completion, invocation
from orchestrator.cli.formatting import examples
from orchestrator.control.client import Client
from orchestrator.errors import ConfigError, ExitCode, NoSuchAccount, OrchestratorError
from orchestrator.store.layout import StatePaths
from orchestrator.system.units import RUN

app = typer.Typer(rich_markup_mode=None)

Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="NAME...", show_default=False, autocompletion=completion.accounts),
]
All = Annotated[bool, typer.Option("--all", help="All enabled accounts.")]


@app.command(
    epilog=examples(
        "orchestrator add support",
        "orchestrator add sales-br --phone +5511999990000 --proxy socks5://127.0.0.1:1080",
        "orchestrator add spare --disabled",
    )
)
def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name: a-z, 0-9, dot, dash, underscore.")],
    phone: Annotated[
        str | None,
        typer.Option(
            metavar="+NUMBER",
            help="Its number; guards against linking another phone, and is needed for pairing by code.",
        ),
    ] = None,
    proxy: Annotated[
        str | None,
        typer.Option(metavar="URL", help="http://, https:// or socks5://, with user:password@ if needed."),
    ] = None,
    device_name: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What the phone shows under linked devices.")
    ] = None,
    memory_limit: Annotated[
        str | None, typer.Option(metavar="SIZE", help="What its process may use, such as 200M.")
    ] = None,
    disabled: Annotated[bool, typer.Option("--disabled", help="Do not run it yet.")] = False,
) -> None:
    """Add an account to the configuration.

    A running service starts it at once. The file keeps its comments and layout; if there is none, it is made.
    """
    from orchestrator.config import edit

    _check_values(name, phone=phone, proxy=proxy, device_name=device_name, memory_limit=memory_limit)
    where = replace(invocation.of(context), create=True)
    file = where.config_file()
    client = where.running_service()
    check_service_reads(client, file)
    edit.add_account(
        file,
        name,
        phone=phone,
        proxy=proxy,
        enabled=not disabled,
        device_name=device_name,
        memory_limit=memory_limit,
    )
    print(f"{name} is in {file}")
    if client is not None:
        client.call("reload")
    if disabled:
        return
    if client is not None:
        print(f"to link it: `orchestrator qr {name}`")
        return
    start = where.start_command(file)
    print(f"the service is not running; `{start}` starts it")
    # Without it, only the unit's user can repair.
    print(
        f"to link it: `orchestrator repair {name}`"
        if start == RUN
        else f"then, to link it: `orchestrator qr {name}`"
    )


def _check_values(name: str, **values: str | None) -> None:
    """See that each value is fit for the configuration, before anything is done.

    Raises:
        typer.BadParameter: One is not.
    """
    from orchestrator.config import reader

    check_name(name, "NAME")
    for key, value in values.items():
        if value is not None:
            try:
                reader.check_value(key, value)
            except ConfigError as error:
                hint = f"--{key.replace('_', '-')}"
                raise typer.BadParameter(str(error).removeprefix(f"{key}: "), param_hint=hint) from None


def check_name(name: str, hint: str) -> None:
    """See that an account can have a name.

    Args:
        name: The name.
        hint: What the command's help calls it.

    Raises:
        typer.BadParameter: It cannot.
    """
    try:
        names.check_name(name)
    except ConfigError as error:
        raise typer.BadParameter(str(error), param_hint=hint) from None


def check_service_reads(client: Client | None, file: Path) -> None:
    """See that the service has the configuration that is about to be edited."""
    if client is None:
        return
    used = Path(client.call("ping")["config_file"])
    if not used.exists() or not file.exists() or not used.samefile(file):
        raise OrchestratorError(
            f"the running service has another configuration, {used}, not {file}: name it with --config,"
            " or another service's state folder with --state-dir",
            key="config_in_use",
        )


@app.command(
    epilog=examples("orchestrator remove support", "orchestrator remove support --keep-session --yes")
)
def remove(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", show_default=False, autocompletion=completion.accounts)
    ],
    keep_session: Annotated[
        bool,
        typer.Option("--keep-session", help="Leave its session where it is, for when it is added again."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, not even on a terminal.")] = False,
) -> None:
    """Take an account out of the configuration.

    It is stopped, and its session put into quarantine, where it is kept for some days.
    """
    where = invocation.of(context)
    file = where.config_file()
    client = where.running_service()
    check_service_reads(client, file)
    if not yes and sys.stdin.isatty() and sys.stdout.isatty():
        typer.confirm(f"Remove {name} from {file}?", abort=True)
    if client is not None:
        _remove_by(client, file, name, keep_session=keep_session)
    else:
        _remove_alone(where.state(), file, name, keep_session=keep_session)
    print(f"{name} is removed from {file}")
    if keep_session:
        print(f"its session is kept; `orchestrator add {name}` takes it up again")


def _remove_by(client: Client, file: Path, name: str, *, keep_session: bool) -> None:
    from orchestrator.config import edit

    edit.remove_account(file, name)
    try:
        client.call("remove", name=name, keep_session=keep_session)
    except NoSuchAccount:
        # It was added to the file by hand and never taken over, or somebody's reload came between.
        client.call("reload")


def _remove_alone(state: StatePaths, file: Path, name: str, *, keep_session: bool) -> None:
    from orchestrator.cli.offline import changes
    from orchestrator.config import edit

    with changes.exclusive(state, f"removes {name}"):
        # First what can be refused: an account without a session is better than a session without an account.
        edit.remove_account(file, name)
        changes.forget_account(state, name, keep_session=keep_session)


@app.command(epilog=examples("orchestrator start support", "orchestrator start --all"))
def start(context: typer.Context, names: Names = None, everyone: All = False) -> None:
    """Start accounts that were stopped, gave up, or wait.

    They start at once, except where WhatsApp has named a time before which it will not have them.
    """
    _order(context, "start", names, everyone=everyone)


@app.command(epilog=examples("orchestrator stop support sales-br", "orchestrator stop --all"))
def stop(context: typer.Context, names: Names = None, everyone: All = False) -> None:
    """Stop accounts until somebody starts them.

    They stay stopped when the service is started anew.
    """
    _order(context, "stop", names, everyone=everyone, wait=True)


@app.command(epilog=examples("orchestrator restart support", "orchestrator restart --all"))
def restart(context: typer.Context, names: Names = None, everyone: All = False) -> None:
    """Give accounts a new process.

    Their sessions are kept: they connect again without being paired. Of many that are connected, no more are
    away at a time than may start at once.
    """
    _order(context, "restart", names, everyone=everyone)


def _order(
    context: typer.Context, command: str, names: list[str] | None, *, everyone: bool, **more: bool
) -> None:
    if everyone == bool(names):
        raise typer.BadParameter("name the accounts, or give --all", param_hint="NAME...")
    result = invocation.of(context).service().call(command, names=names or [], all=everyone, **more)
    for account in result["accounts"]:
        print(f"{account['name']}: {account['state']}")
    errors: dict[str, dict[str, Any]] = result["errors"]
    for error in errors.values():
        print(f"orchestrator: {error['error']}", file=sys.stderr)
    codes = {error["exit_code"] for error in errors.values()}
    if warning := result.get("warning"):
        print(f"orchestrator: {warning}", file=sys.stderr)
        codes.add(ExitCode.FAILED)
    if codes:
        raise typer.Exit(codes.pop() if len(codes) == 1 else ExitCode.FAILED)
