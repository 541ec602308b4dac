"""The commands that change accounts: ``add``, ``remove``, ``start``, ``stop`` and ``restart``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.accounts import names
from orchestrator.accounts.words import counted
from orchestrator.cli import asking, completion, editing, invocation, put_aside, selecting
from orchestrator.cli.formatting import examples, printable, printable_lines
from orchestrator.config import locate
from orchestrator.control.client import Client
from orchestrator.control.view import AccountView
from orchestrator.errors import ConfigError, ExitCode, NoSuchAccount, OrchestratorError
from orchestrator.system.units import RUN

app = typer.Typer(rich_markup_mode=None)

Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME...",
        show_default=False,
        help="Names of accounts, or patterns such as 'shop-1*'.",
        autocompletion=completion.accounts,
    ),
]
_LONGEST_URL = 16 * 1024
All = Annotated[bool, typer.Option("--all", help="All enabled accounts.")]
_RETURN_SECONDS = 300.0
"""How long ``restart --wait`` waits, unless asked for another time."""
_DOING = {"start": "starting", "stop": "stopping", "restart": "restarting"}


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
    tags: Annotated[
        list[str] | None,
        typer.Option(
            "--tag",
            metavar="TAG",
            show_default=False,
            help="Word by which people find the account, such as a customer. May be given several times.",
            autocompletion=completion.tags,
        ),
    ] = None,
    note: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="What people want to remember of the account, on one line."),
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
        proxy = one_line_of_stdin("a URL", "--proxy")
    if proxy_file is not None:
        proxy_file = os.path.abspath(proxy_file)  # noqa: PTH100 - resolve() would follow the operator's links
    _check_values(
        phone=phone,
        proxy=proxy,
        proxy_file=proxy_file,
        device_name=device_name,
        memory_limit=memory_limit,
        note=note,
    )
    _check_tags(tags or ())
    where = replace(invocation.of(context), create=True)
    file = where.config_file()
    client = where.running_service()
    check_service_reads(client, file)
    editing.need_store(where, client)
    is_new = not os.path.lexists(file)
    edit.add_account(
        file,
        name,
        phone=phone,
        proxy=proxy,
        proxy_file=proxy_file,
        enabled=not disabled,
        device_name=device_name,
        memory_limit=memory_limit,
        tags=tags or (),
        note=note,
    )
    print(printable(_added(name, file, is_new=is_new)))
    if client is not None:
        with editing.told(file, "`orchestrator reload` has the service take it over"):
            client.call("reload")
    if disabled:
        return
    if client is not None:
        print(printable(f"to link the account: `orchestrator link {name}`"))
        return
    start = where.start_command(file)
    print(printable(f"the service is not running; `{start}` starts it"))
    # Without the service, only the unit's user can link.
    then = "" if start == RUN else "then, "
    print(printable(f"{then}to link the account: `orchestrator link {name}`"))


def _added(name: str, file: Path, *, is_new: bool) -> str:
    """Say where a new account is. Whoever did not choose the place of a new file is told how to choose it."""
    if not is_new:
        return f"{name} is in {file}"
    if file == locate.SYSTEM_CONFIG:
        return (
            f"{name} is in the new file {file}, which is the configuration of this machine, because root has"
            " added the account: with --config FILE before `add`, it is in a file of your choice"
        )
    return f"{name} is in the new file {file}"


def one_line_of_stdin(what: str, hint: str) -> str:
    """Return the one line on stdin.

    Args:
        what: What is expected there.
        hint: What the command's help calls it.

    Raises:
        typer.BadParameter: Stdin has no text, or has more than one line.
    """
    # More than any URL of a proxy has: what is too long need not be read to its end.
    data = sys.stdin.buffer.read(_LONGEST_URL + 1)
    text = data.decode(errors="replace").removesuffix("\n").removesuffix("\r")
    if not text.strip():
        raise typer.BadParameter(f"expected {what} on stdin, found nothing", param_hint=hint)
    if len(text.splitlines()) > 1 or len(data) > _LONGEST_URL:
        raise typer.BadParameter(f"expected {what} alone on stdin, found more", param_hint=hint)
    return text


def _check_tags(given: Sequence[str]) -> None:
    """Check the tags of a new account, before anything is done.

    Raises:
        typer.BadParameter: One is none, or there are too many.
    """
    from orchestrator.config import tags

    try:
        tags.check_tags(given)
    except ConfigError as error:
        raise typer.BadParameter(str(error).removeprefix("tags: "), param_hint="--tag") from None


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
    epilog=examples(
        "orchestrator remove support",
        "orchestrator remove support --unlink",
        "orchestrator remove support --keep-session --yes",
    )
)
def remove(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", show_default=False, autocompletion=completion.accounts)
    ],
    keep_session: Annotated[
        bool,
        typer.Option(
            "--keep-session",
            help="Leave the session and the messages in place, so that the account can be added again.",
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
    strictly: Annotated[
        bool,
        typer.Option(
            "--unlink",
            help="Remove the account only if WhatsApp logs its device out, and then delete its session and"
            " its messages at once. Else nothing is changed.",
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Remove an account from the configuration.

    WhatsApp unlinks the device of a connected account. If that is not possible, the command says so: then
    remove the device on the phone, under Linked devices. The account is stopped. Its session and its messages
    move to quarantine, where they are kept for `quarantine_days`, 7 by default.

    With --unlink, nothing is kept and nothing stays linked: WhatsApp logs the device out first, and when
    WhatsApp has confirmed that, the session and the messages are deleted for good. If WhatsApp does not
    confirm, the account stays as it is.
    """
    if strictly and (keep_session or no_unlink):
        raise typer.BadParameter(
            "cannot be combined with --keep-session or --no-unlink", param_hint="--unlink"
        )
    where = invocation.of(context)
    file = where.config_file()
    client = where.running_service()
    check_service_reads(client, file)
    editing.need_store(where, client)
    former = put_aside.former(where, name)
    from orchestrator.cli import leaving

    # Nobody is asked about something that is not possible.
    leaving.check(where, client, file, name, former, strictly=strictly)
    if not yes and asking.can_ask():
        more = ", log it out at WhatsApp, and delete its session and messages for good" if strictly else ""
        asking.confirm(f"Remove {name} from {file}{more}?", yes=False)
    if strictly and client is not None:
        leaving.remove(where, client, file, name, former)
        return
    unlink = not keep_session and not no_unlink
    if client is not None:
        unlinked, why = _remove_by(client, file, name, keep_session=keep_session, unlink=unlink)
    else:
        unlinked, why = _remove_alone(where, file, name, keep_session=keep_session, unlink=unlink)
    print(printable(f"{name} was removed from {file}"))
    if unlinked:
        print("WhatsApp has unlinked its device: its session cannot log in any more")
    elif unlinked is not None:
        because = f" ({why})" if why else ""
        print(
            f"orchestrator: the device of {name}{former.device} is still linked{because}: remove it on the"
            " phone, under Linked devices. Until then, whoever has the session in quarantine has the account",
            file=sys.stderr,
        )
    elif former.linked:
        print(f"the phone still shows its device{former.device} under Linked devices")
    if keep_session:
        print(printable(f"its session is kept; `orchestrator add {name}` uses the session again"))
    else:
        _tell_kept(where, name, former)


def _tell_kept(where: invocation.Places, name: str, former: put_aside.Former) -> None:
    """Say what of an account that was just removed is kept in quarantine, and until when."""
    newest = next((one for one in put_aside.read(where) if one.name == name), None)
    if newest is not None and newest.restorable:
        what = "session and its messages" if newest.session and newest.messages else put_aside.holds(newest)
        over = not newest.messages and newest.reason in put_aside.LOGGED_OUT
        back = f"`orchestrator restore {name}` brings it back"
        then = "WhatsApp has logged that session out" if over else back
        print(
            printable(
                f"what is kept of it, its {what}, stays in quarantine {former.until(newest.at)}; {then}"
            )
        )


def _remove_by(
    client: Client, file: Path, name: str, *, keep_session: bool, unlink: bool
) -> tuple[bool | None, str | None]:
    """Return whether the device was unlinked, None if there is nothing to say of it; and why not."""
    from orchestrator.config import edit

    more = {"unlink": True} if unlink else {}
    edit.remove_account(file, name)
    with editing.told(file, "`orchestrator reload` has the service take it over"):
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
    if isinstance(shard := result.get("runs_on"), str):
        print(
            printable(
                f"{name} goes on on the machine {shard}, whose configuration has the account: run the same"
                " command there, once no other machine of the cluster has it in its configuration"
            )
        )
    return result.get("unlinked"), result.get("why_linked")


def _remove_alone(
    where: invocation.Places, file: Path, name: str, *, keep_session: bool, unlink: bool
) -> tuple[bool | None, str | None]:
    """Return whether the device was unlinked, None if there is nothing to say of it; and why not."""
    from orchestrator.cli.offline import changes, kept
    from orchestrator.config import edit

    store = kept.store(where)
    with changes.exclusive(store, f"removes {name}"):
        # The step that can be refused comes first: an account without a session is better than the reverse.
        edit.remove_account(file, name)
        again = f"`orchestrator add {name}`, then `orchestrator remove {name}` again"
        with editing.told(file, f"what is kept of {name} stays until {again}"):
            linked = store.sessions.device(name).linked is not False
            changes.forget_account(store, name, keep_session=keep_session)
    return (False, "the service is not running") if linked and unlink else (None, None)


@app.command(
    epilog=examples(
        "orchestrator start support",
        "orchestrator start 'shop-1*'",
        "orchestrator start --tag berlin",
        "orchestrator start --all",
    )
)
def start(
    context: typer.Context, names: Names = None, tags: selecting.Tags = None, everyone: All = False
) -> None:
    """Start accounts that are stopped, failed or waiting.

    Accounts start at once. A temporary ban is not shortened. If WhatsApp refuses the version of the client,
    accounts that you name are tried once, and `--all` tries none of those that wait.
    """
    raise typer.Exit(_order(context, "start", names, tags, everyone=everyone)[1])


@app.command(
    epilog=examples(
        "orchestrator stop support sales-br",
        "orchestrator stop 'shop-1*'",
        "orchestrator stop --tag berlin",
        "orchestrator stop --all",
    )
)
def stop(
    context: typer.Context, names: Names = None, tags: selecting.Tags = None, everyone: All = False
) -> None:
    """Stop accounts.

    They stay stopped until `orchestrator start`, even when the service restarts.
    """
    raise typer.Exit(_order(context, "stop", names, tags, everyone=everyone, wait=True)[1])


@app.command(
    epilog=examples(
        "orchestrator restart support",
        "orchestrator restart 'shop-1*'",
        "orchestrator restart --tag berlin",
        "orchestrator restart --all",
        "orchestrator restart --all --wait --for 10m",
    )
)
def restart(
    context: typer.Context,
    names: Names = None,
    tags: selecting.Tags = None,
    everyone: All = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until the accounts are back. Exit with 3 if one is not.")
    ] = False,
    limit: Annotated[
        str | None,
        typer.Option(
            "--for",
            metavar="TIME",
            help="With --wait: wait no longer than this. Default: 5m.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Restart the processes of accounts.

    The sessions are kept, so no new code is needed. Connected accounts restart in turn: at most
    `start.parallel` accounts are offline at once, each for under a second. With `--all`, the command first
    says how many accounts these are.

    `--all`, patterns and tags leave out accounts that an operator stopped: `orchestrator start` starts them.
    An account that you name is started if it does not run.
    """
    seconds = _RETURN_SECONDS
    if limit is not None:
        if not wait:
            raise typer.BadParameter("needs --wait", param_hint="--for")
        from orchestrator.cli import durations  # what reads the configuration, only where it is needed

        seconds = durations.seconds("--for", limit, 1.0, durations.DAY)
    from orchestrator.cli import returning

    client = invocation.of(context).service()
    before: dict[str, AccountView] = {}
    if wait or everyone:
        found = map(AccountView.from_json, client.call("list")["accounts"])
        before = {one.name: one for one in found}
    if everyone and not (names or tags):
        parallel = client.call("facts")["starting"]["parallel"]
        print(printable(returning.announced(before.values(), parallel)), flush=True)
    done, code = _order(context, "restart", names, tags, everyone=everyone)
    if wait and done and not returning.wait(client, before, done, seconds) and code == ExitCode.DONE:
        code = ExitCode.NOT_CONNECTED
    raise typer.Exit(code)


def _order(
    context: typer.Context,
    command: str,
    names: list[str] | None,
    tags: list[str] | None,
    *,
    everyone: bool,
    **more: bool,
) -> tuple[list[str], int]:
    """Give an order; return the accounts that took it, and the exit code."""
    if everyone == bool(names or tags):
        raise typer.BadParameter("name the accounts, or give --tag or --all", param_hint="NAME...")
    client = invocation.of(context).service()
    chosen = _choose(client, command, names or [], tags or [])
    result = client.call(command, names=chosen, all=everyone, **more)
    for account in result["accounts"]:
        print(printable(f"{account['name']}: {account['state']}"))
    errors: dict[str, dict[str, Any]] = result["errors"]
    for error in errors.values():
        print(f"orchestrator: {printable_lines(error['error'])}", file=sys.stderr)
    codes = {error["exit_code"] for error in errors.values()}
    if warning := result.get("warning"):
        print(f"orchestrator: {printable_lines(warning)}", file=sys.stderr)
        codes.add(ExitCode.FAILED)
    code = ExitCode.DONE if not codes else codes.pop() if len(codes) == 1 else ExitCode.FAILED
    return result["done"], code


def _choose(client: Client, command: str, names: list[str], tags: list[str]) -> list[str]:
    """Return the names of the accounts that an order is for, and say which these are before it is given.

    Where every account is named, or all are meant, the operator knows: nothing is asked or said.

    Raises:
        NoSuchAccount: There is no account of a name, or none that fits a pattern.
        typer.BadParameter: No account has the tags.
        OrchestratorError: All accounts that were chosen are disabled, or are stopped and to be restarted.
    """
    if not tags and not any(map(selecting.is_pattern, names)):
        return names
    accounts = map(AccountView.from_json, client.call("list")["accounts"])
    found = selecting.select(accounts, names, tags)
    if command == "restart":
        found = selecting.without_stopped(found, names, command)
    # Like `--all`, a pattern or a tag is about the accounts that run; a name that was written out counts.
    chosen = selecting.without_disabled(found, names, command)
    print(printable(f"{_DOING[command]} {counted(len(chosen), 'account')}: {', '.join(chosen)}"), flush=True)
    return chosen
