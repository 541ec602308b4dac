"""The commands that link an account to its phone: ``repair`` and ``qr``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.accounts.states import State
from orchestrator.cli import asking, completion, invocation, put_aside
from orchestrator.cli.code_screen import CodeScreen
from orchestrator.cli.formatting import examples, printable, warn_of_sandbox
from orchestrator.control.view import AccountView
from orchestrator.errors import OrchestratorError

if TYPE_CHECKING:
    from orchestrator.accounts.pipe import Pairing

app = typer.Typer(rich_markup_mode=None)

Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False, autocompletion=completion.accounts)]
ByCode = Annotated[
    bool,
    typer.Option(
        "--code", help="Pair by an eight-character code to type on the phone, instead of a QR code."
    ),
]
NoWait = Annotated[
    bool, typer.Option("--no-wait", help="Return at once. `orchestrator qr NAME` shows the code.")
]


@app.command(
    epilog=examples(
        "orchestrator repair support",
        "orchestrator repair support --code",
        "orchestrator repair support --any-phone",
        "orchestrator repair support --no-wait && orchestrator qr support",
    )
)
def repair(
    context: typer.Context,
    name: Name,
    code: ByCode = False,
    any_phone: Annotated[
        bool,
        typer.Option(
            "--any-phone",
            help="Let any phone be linked. Without this option, only the phone that the account had can be"
            " linked.",
        ),
    ] = False,
    no_wait: NoWait = False,
    yes: Annotated[
        bool,
        typer.Option("--yes", "-y", help="Do not ask before an account is paired anew that is connected."),
    ] = False,
) -> None:
    """Pair an account again.

    The account is stopped, its session moves to quarantine, and a new code appears. On a terminal, the
    command shows the code until the account is connected. Ctrl-C ends the command, and the service keeps
    waiting for the phone. Elsewhere the command returns at once, and the code appears in the folder of
    codes. Without a running service, the command runs the account itself until the account is connected.

    If the account is connected, the command asks first. Without a terminal, it then needs --yes.

    The device that the account used so far stays linked, so that `orchestrator restore` can undo a repair.
    Remove the device on the phone under Linked devices when you do not need it any more.
    """
    invocation.keep_out_of_cores()
    where = invocation.of(context)
    warn_of_sandbox(where)
    pairing: Pairing = "code" if code else "qr"
    client = where.running_service()
    undo = _Undo(name, put_aside.former(where, name))
    if client is None:
        pair_alone(where, name, pairing, any_phone=any_phone, no_wait=no_wait, undo=undo)
        return
    if client.call("list", names=[name])["accounts"][0].get("state") == State.CONNECTED:
        asking.confirm(
            f"{name} is connected. Pair it anew? Its session goes into quarantine, and {name} is offline"
            " until a phone uses the new code.",
            yes=yes,
        )
    more = {"any_phone": True} if any_phone else {}  # a service of an earlier version does not know it
    if no_wait or not sys.stdout.isatty():
        client.call("repair", name=name, pairing=pairing, **more)
        print(printable(f"{name} is being paired again; `orchestrator qr {name}` shows the code"))
        undo.tell()
        return
    with (
        CodeScreen() as screen,
        client.stream("repair", name=name, pairing=pairing, wait=True, **more) as events,
    ):
        for event in events:
            undo.tell()
            screen.show(event)
    report(AccountView.from_json(events.result["account"]))


class _Undo:
    """Says once how a repair is undone, and what the phone still shows.

    Args:
        name: The account.
        former: The session that it has before.
    """

    def __init__(self, name: str, former: put_aside.Former) -> None:
        self._name = name
        self._former = former
        self._told = not former.linked

    def tell(self) -> None:
        """Say it, once the account's session goes; nothing if it has none."""
        if self._told:
            return
        self._told = True
        name, former = self._name, self._former
        print(
            printable(
                f"to undo this: `orchestrator restore {name}`; the former session is kept {former.until()}"
            )
        )
        print(
            f"the former device{former.device} stays linked: when the new one works, remove the older one on"
            " the phone, under Linked devices",
            flush=True,
        )


def pair_alone(
    where: invocation.Places,
    name: str,
    pairing: Pairing,
    *,
    any_phone: bool,
    no_wait: bool,
    undo: _Undo | None = None,
) -> None:
    """Pair an account without a running service, or only have it lose its session.

    Args:
        where: Where things are.
        name: The account.
        pairing: By QR code, or by a code of eight characters.
        any_phone: Let any phone be linked.
        no_wait: Only have the account lose its session.
        undo: Says how that is undone; None for an account without a session.
    """
    settings = where.settings()
    if no_wait:
        from orchestrator.cli.offline import kept
        from orchestrator.cli.offline.changes import forget_session

        forget_session(kept.store(where), settings, name, any_phone=any_phone)
        print(f"{name} has no session any more; it shows a code when the service runs")
        if undo is not None:
            undo.tell()
        return
    from orchestrator.service import needs

    needs.check_before_imports()
    from orchestrator.service import pair_once

    start = where.start_command(settings.config_file)
    said = f"the service is not running (`{start}` starts it), so this command runs the account itself"
    print(printable(said), file=sys.stderr)
    with CodeScreen() as screen:

        def show(event: Mapping[str, Any]) -> None:
            if undo is not None:
                undo.tell()
            screen.show(event)

        account = pair_once.repair(settings, name, pairing, show, any_phone=any_phone)
    if account is None:
        raise KeyboardInterrupt
    report(AccountView.from_json(account))
    print(printable(f"to keep the account connected, start the service: `{start}`"))


@app.command(epilog=examples("orchestrator qr support"))
def qr(context: typer.Context, name: Name) -> None:
    """Show the current code of an account.

    Each new code replaces the one before, until the account is connected. If nobody used the codes of an
    account and it shows none any more, a new round of codes begins. A session is never touched.
    """
    invocation.keep_out_of_cores()
    client = invocation.of(context).service()
    with CodeScreen() as screen, client.stream("qr", name=name) as events:
        for event in events:
            screen.show(event)
    report(AccountView.from_json(events.result["account"]))


def report(account: AccountView) -> None:
    """Say that an account is connected.

    Raises:
        OrchestratorError: It is not.
    """
    if account.state == State.CONNECTED:
        print(printable(f"{account.name} is connected" + (f" as {account.phone}" if account.phone else "")))
        return
    reason = f": {account.reason}" if account.reason else ""
    raise OrchestratorError(f"{account.name} is {account.state}{reason}", key="not_paired")
