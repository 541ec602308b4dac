"""The command ``link``, which pairs an account that is not linked."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from orchestrator.cli import invocation
from orchestrator.cli.code_screen import CodeScreen
from orchestrator.cli.formatting import examples, printable, warn_of_sandbox
from orchestrator.cli.pairing import ByCode, Name, NoWait, pair_alone, report
from orchestrator.control.view import AccountView
from orchestrator.errors import OrchestratorError

if TYPE_CHECKING:
    from orchestrator.accounts.pipe import Pairing

app = typer.Typer(rich_markup_mode=None)


@app.command(
    epilog=examples(
        "orchestrator link support",
        "orchestrator link support --code",
        "orchestrator link support --no-wait && orchestrator qr support",
    )
)
def link(
    context: typer.Context,
    name: Name,
    code: ByCode = False,
    no_wait: NoWait = False,
) -> None:
    """Link an account to its phone.

    On a terminal, the command shows the code until the account is connected. Ctrl-C ends the command, and
    the service keeps waiting for the phone. Elsewhere the command returns at once, and the code appears in
    the folder of codes. Without a running service, the command runs the account itself until the account is
    connected.

    An account that is linked stays as it is: `orchestrator repair` pairs it again.
    """
    invocation.keep_out_of_cores()
    where = invocation.of(context)
    warn_of_sandbox(where)
    pairing: Pairing = "code" if code else "qr"
    client = where.running_service()
    if client is None:
        _link_alone(where, name, pairing, no_wait=no_wait)
        return
    if no_wait or not sys.stdout.isatty():
        client.call("link", name=name, pairing=pairing)
        print(printable(f"{name} shows a code; `orchestrator qr {name}` shows the code here"))
        return
    with CodeScreen() as screen, client.stream("link", name=name, pairing=pairing, wait=True) as events:
        for event in events:
            screen.show(event)
    report(AccountView.from_json(events.result["account"]))


def _link_alone(where: invocation.Places, name: str, pairing: Pairing, *, no_wait: bool) -> None:
    from orchestrator.accounts.names import no_such_account
    from orchestrator.cli.offline import kept
    from orchestrator.control.outlook import already_linked

    settings = where.settings()
    if name not in settings.accounts:
        raise no_such_account(name, known=settings.accounts, file=settings.config_file)
    if kept.store(where).sessions.device(name).linked is not False:
        raise OrchestratorError(already_linked(name), key="already_linked")
    if no_wait:
        start = where.start_command(settings.config_file)
        print(printable(f"{name} shows a code when the service runs: `{start}` starts the service"))
        return
    pair_alone(where, name, pairing, any_phone=False, no_wait=False)
