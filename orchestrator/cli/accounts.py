"""The commands that change accounts: ``add``, ``remove``, ``start``, ``stop`` and ``restart``."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.accounts import names
from orchestrator.cli import completion, invocation
from orchestrator.cli.formatting import examples, printable, printable_lines
from orchestrator.control.client import Client
from orchestrator.errors import ConfigError, ExitCode, NoSuchAccount, OrchestratorError
from orchestrator.store.layout import StatePaths
from orchestrator.system.units import RUN

app = typer.Typer(rich_markup_mode=None)

Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="NAME...", show_default=False, autocompletion=completion.accounts),
]
_LONGEST_URL = 16 * 1024
All = Annotated[bool, typer.Option("--all", help="All enabled accounts.")]


@app.command(
    epilog=examples(
        "orchestrator add support",
        "orchestrator add sales-br --phone +5511999990000 --proxy socks5://127.0.0.1:1080",
        "orchestrator add sales-de --proxy - < proxy.txt",
        "orchestrator add spare --disabled",
    )
)
def add(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Name of the account: a-z, 0-9, dot, dash, underscore.")
    ],
    phone: Annotated[
        str | None,
        typer.Option(
            metavar="+NUMBER",
            help="Phone number of the account. No other phone can be linked then. Pairing by code needs it.",
        ),
    ] = None,
    proxy: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="URL of the proxy: http://, https:// or socks5://, with user:password@ if needed; - reads "
            "the URL from stdin. Other users can see a command line, so give a password through stdin.",
        ),
    ] = None,
    proxy_file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="File with the URL of the proxy. The configuration then names the file and has no password.",
        ),
    ] = None,
    device_name: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Name that the phone shows under linked devices.")
    ] = None,
    memory_limit: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Memory that the account's process may use, such as 200M."),
    ] = None,
    disabled: Annotated[bool, typer.Option("--disabled", help="Do not run the account yet.")] = False,
) -> None:
    """Add an account to the configuration.

    A running service starts the account at once. The file keeps its comments and layout. If there is no file,
    this command creates one.
    """
    from orchestrator.config import edit

    if proxy is not None and proxy_file is not None:
        raise typer.BadParameter("cannot be combined with --proxy", param_hint="--proxy-file")
    check_name(name, "NAME")
    if proxy == "-":
        proxy = _stdin()
    if proxy_file is not None:
        proxy_file = os.path.abspath(proxy_file)  # noqa: PTH100 - resolve() would follow the operator's links
    _check_values(
        phone=phone,
        proxy=proxy,
        proxy_file=proxy_file,
        device_name=device_name,
        memory_limit=memory_limit,
    )
    where = replace(invocation.of(context), create=True)
    file = where.config_file()
    client = where.running_service()
    check_service_reads(client, file)
    edit.add_account(
        file,
        name,
        phone=phone,
        proxy=proxy,
        proxy_file=proxy_file,
        enabled=not disabled,
        device_name=device_name,
        memory_limit=memory_limit,
    )
    print(printable(f"{name} is in {file}"))
    if client is not None:
        client.call("reload")
    if disabled:
        return
    if client is not None:
        print(f"to link the account: `orchestrator qr {name}`")
        return
    start = where.start_command(file)
    print(f"the service is not running; `{start}` starts it")
    # Without the service, only the unit's user can repair.
    print(
        f"to link the account: `orchestrator repair {name}`"
        if start == RUN
        else f"then, to link the account: `orchestrator qr {name}`"
    )


def _stdin() -> str:
    """Return the one line on stdin.

    Raises:
        typer.BadParameter: Stdin has no text, or has more than one line.
    """
    # More than any URL of a proxy has: what is too long need not be read to its end.
    data = sys.stdin.buffer.read(_LONGEST_URL + 1)
    text = data.decode(errors="replace").removesuffix("\n").removesuffix("\r")
    if not text.strip():
        raise typer.BadParameter("expected a URL on stdin, found nothing", param_hint="--proxy")
    if len(text.splitlines()) > 1 or len(data) > _LONGEST_URL:
        raise typer.BadParameter("expected a URL alone on stdin, found more", param_hint="--proxy")
    return text


def _check_values(**values: str | None) -> None:
    """Check that each value is valid in the configuration, before anything is done.

    Raises:
        typer.BadParameter: A value is not valid.
    """
    from orchestrator.config import reader

    for key, value in values.items():
        if value is not None:
            try:
                reader.check_value(key, value)
            except ConfigError as error:
                hint = f"--{key.replace('_', '-')}"
                raise typer.BadParameter(str(error).removeprefix(f"{key}: "), param_hint=hint) from None


def check_name(name: str, hint: str) -> None:
    """Check that an account can have a name.

    Args:
        name: The name.
        hint: What the command's help calls the argument.

    Raises:
        typer.BadParameter: The name is not valid.
    """
    try:
        names.check_name(name)
    except ConfigError as error:
        raise typer.BadParameter(str(error), param_hint=hint) from None


def check_service_reads(client: Client | None, file: Path) -> None:
    """Check that the service uses the configuration that is about to be edited."""
    if client is None:
        return
    used = Path(client.call("ping")["config_file"])
    if not used.exists() or not file.exists() or not used.samefile(file):
        raise OrchestratorError(
            f"the running service uses another configuration, {used}, not {file}: name that configuration"
            " with --config, or the state folder of another service with --state-dir",
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
        typer.Option(
            "--keep-session", help="Leave the session in place, so that the account can be added again."
        ),
    ] = False,
    no_unlink: Annotated[
        bool,
        typer.Option(
            "--no-unlink",
            help="Do not ask WhatsApp to unlink the device, so that `orchestrator restore` can bring the"
            " session back.",
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Remove an account from the configuration.

    WhatsApp unlinks the device of a connected account. If that is not possible, the command says so: then
    remove the device on the phone, under Linked devices. The account is stopped. Its session moves to
    quarantine, where it is kept for `quarantine_days`, 7 by default.
    """
    where = invocation.of(context)
    file = where.config_file()
    client = where.running_service()
    check_service_reads(client, file)
    if not yes and sys.stdin.isatty() and sys.stdout.isatty():
        typer.confirm(f"Remove {name} from {file}?", abort=True)
    unlink = not keep_session and not no_unlink
    if client is not None:
        unlinked, why = _remove_by(client, file, name, keep_session=keep_session, unlink=unlink)
    else:
        unlinked, why = _remove_alone(where.state(), file, name, keep_session=keep_session)
    print(printable(f"{name} was removed from {file}"))
    if unlinked:
        print("WhatsApp has unlinked its device: its session cannot log in any more")
    elif unlinked is not None:
        because = f" ({why})" if why else ""
        print(
            f"orchestrator: the device of {name} is still linked{because}: remove it on the phone, under"
            " Linked devices. Until then, whoever has the session in quarantine has the account",
            file=sys.stderr,
        )
    if keep_session:
        print(f"its session is kept; `orchestrator add {name}` uses the session again")


def _remove_by(
    client: Client, file: Path, name: str, *, keep_session: bool, unlink: bool
) -> tuple[bool | None, str | None]:
    """Return whether the device was unlinked, None if there is nothing to say of it; and why not."""
    from orchestrator.config import edit

    more = {"unlink": True} if unlink else {}
    edit.remove_account(file, name)
    try:
        result = client.call("remove", name=name, keep_session=keep_session, **more)
    except NoSuchAccount:
        # The account was added to the file by hand and never loaded, or another reload came first.
        client.call("reload")
        return None, None
    except OrchestratorError as error:
        if error.key != "bad_request":
            raise
        client.call("remove", name=name, keep_session=keep_session)
        return False, "the running service is of an earlier version"
    return result.get("unlinked"), result.get("why_linked")


def _remove_alone(
    state: StatePaths, file: Path, name: str, *, keep_session: bool
) -> tuple[bool | None, str | None]:
    """Return whether the device was unlinked, None if there is nothing to say of it; and why not."""
    from orchestrator.cli.offline import changes
    from orchestrator.config import edit
    from orchestrator.store import device

    with changes.exclusive(state, f"removes {name}"):
        # The step that can be refused comes first: an account without a session is better than the reverse.
        edit.remove_account(file, name)
        linked = device.look(state.session(name)).linked is not False
        changes.forget_account(state, name, keep_session=keep_session)
    return (False, "the service is not running") if linked and not keep_session else (None, None)


@app.command(epilog=examples("orchestrator start support", "orchestrator start --all"))
def start(context: typer.Context, names: Names = None, everyone: All = False) -> None:
    """Start accounts that are stopped, failed or waiting.

    Accounts start at once. A temporary ban is not shortened. If WhatsApp refuses the version of the client,
    accounts that you name are tried once, and `--all` tries none of those that wait.
    """
    _order(context, "start", names, everyone=everyone)


@app.command(epilog=examples("orchestrator stop support sales-br", "orchestrator stop --all"))
def stop(context: typer.Context, names: Names = None, everyone: All = False) -> None:
    """Stop accounts.

    They stay stopped until `orchestrator start`, even when the service restarts.
    """
    _order(context, "stop", names, everyone=everyone, wait=True)


@app.command(epilog=examples("orchestrator restart support", "orchestrator restart --all"))
def restart(context: typer.Context, names: Names = None, everyone: All = False) -> None:
    """Restart the processes of accounts.

    The sessions are kept, so no new code is needed. Connected accounts restart in turn: at most
    `start.parallel` accounts are offline at once, each for under a second.
    """
    _order(context, "restart", names, everyone=everyone)


def _order(
    context: typer.Context, command: str, names: list[str] | None, *, everyone: bool, **more: bool
) -> None:
    if everyone == bool(names):
        raise typer.BadParameter("name the accounts, or give --all", param_hint="NAME...")
    result = invocation.of(context).service().call(command, names=names or [], all=everyone, **more)
    for account in result["accounts"]:
        print(printable(f"{account['name']}: {account['state']}"))
    errors: dict[str, dict[str, Any]] = result["errors"]
    for error in errors.values():
        print(f"orchestrator: {printable_lines(error['error'])}", file=sys.stderr)
    codes = {error["exit_code"] for error in errors.values()}
    if warning := result.get("warning"):
        print(f"orchestrator: {printable_lines(warning)}", file=sys.stderr)
        codes.add(ExitCode.FAILED)
    if codes:
        raise typer.Exit(codes.pop() if len(codes) == 1 else ExitCode.FAILED)
