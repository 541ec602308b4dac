"""The commands that link an account to its phone: ``repair`` and ``qr``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.accounts.states import State
from orchestrator.cli import completion, invocation
from orchestrator.cli.code_screen import CodeScreen
from orchestrator.cli.formatting import examples, warn_of_sandbox
from orchestrator.control.view import AccountView
from orchestrator.errors import OrchestratorError

if TYPE_CHECKING:
    from orchestrator.accounts.pipe import Pairing

app = typer.Typer(rich_markup_mode=None)

Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False, autocompletion=completion.accounts)]


@app.command(
    epilog=examples(
        "orchestrator repair support",
        "orchestrator repair support --code",
        "orchestrator repair support --no-wait && orchestrator qr support",
    )
)
def repair(
    context: typer.Context,
    name: Name,
    code: Annotated[
        bool,
        typer.Option(
            "--code", help="Pair by an eight-character code to type on the phone, instead of a QR code."
        ),
    ] = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Return at once. `orchestrator qr NAME` shows the code.")
    ] = False,
) -> None:
    """Pair an account again.

    The account is stopped, its session moves to quarantine, and a new code appears. On a terminal, the
    command shows the code until the account is connected. Ctrl-C ends the command, and the service keeps
    waiting for the phone. Elsewhere the command returns at once, and the code appears in the folder of
    codes. Without a running service, the command runs the account itself until the account is connected.
    """
    invocation.keep_out_of_cores()
    warn_of_sandbox()
    where = invocation.of(context)
    pairing: Pairing = "code" if code else "qr"
    client = where.running_service()
    if client is None:
        _repair_alone(where, name, pairing, no_wait=no_wait)
        return
    if no_wait or not sys.stdout.isatty():
        client.call("repair", name=name, pairing=pairing)
        print(f"{name} is being paired again; `orchestrator qr {name}` shows the code")
        return
    with CodeScreen() as screen, client.stream("repair", name=name, pairing=pairing, wait=True) as events:
        for event in events:
            screen.show(event)
    _report(AccountView.from_json(events.result["account"]))


def _repair_alone(where: invocation.Places, name: str, pairing: Pairing, *, no_wait: bool) -> None:
    settings = where.settings()
    if no_wait:
        from orchestrator.cli.offline.changes import forget_session

        forget_session(settings, name)
        print(f"{name} has no session any more; it shows a code when the service runs")
        return
    from orchestrator.service import needs

    needs.check_before_imports()
    from orchestrator.service import pair_once

    start = where.start_command(settings.config_file)
    said = f"the service is not running (`{start}` starts it), so this command runs the account itself"
    print(said, file=sys.stderr)
    with CodeScreen() as screen:
        account = pair_once.repair(settings, name, pairing, screen.show)
    if account is None:
        raise KeyboardInterrupt
    _report(AccountView.from_json(account))
    print(f"to keep the account connected, start the service: `{start}`")


@app.command(epilog=examples("orchestrator qr support"))
def qr(context: typer.Context, name: Name) -> None:
    """Show the current code of an account.

    Each new code replaces the one before, until the account is connected.
    """
    invocation.keep_out_of_cores()
    client = invocation.of(context).service()
    with CodeScreen() as screen, client.stream("qr", name=name) as events:
        for event in events:
            screen.show(event)
    _report(AccountView.from_json(events.result["account"]))


def _report(account: AccountView) -> None:
    if account.state == State.CONNECTED:
        print(f"{account.name} is connected" + (f" as {account.phone}" if account.phone else ""))
        return
    reason = f": {account.reason}" if account.reason else ""
    raise OrchestratorError(f"{account.name} is {account.state}{reason}", key="not_paired")
