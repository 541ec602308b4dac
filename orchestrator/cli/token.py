"""The commands ``token …``: who may use the HTTP server, and for what."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.access import invitations, scopes, sessions, tokens, uses
from orchestrator.access import token as form
from orchestrator.access.sessions import Session
from orchestrator.access.token import Token
from orchestrator.accounts import characters
from orchestrator.accounts.names import NAME_RULE, is_name, no_such_account, shorten
from orchestrator.cli import invocation
from orchestrator.cli.formatting import examples, local, printable
from orchestrator.errors import ConfigError, OrchestratorError
from orchestrator.system.clock import iso

if TYPE_CHECKING:
    from orchestrator.store.layout import StatePaths

app = typer.Typer(
    name="token",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Make, list and remove the tokens of the HTTP server's clients, and log people out of the page.",
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@app.command(
    epilog=examples(
        "orchestrator token add crm --scope read,send --account support",
        "orchestrator token add prometheus --scope metrics",
        "orchestrator token add visitor --scope read --expires 30d > visitor.token",
    )
)
def add(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Name of the token: a-z, 0-9, dot, dash, underscore.")
    ],
    scope: Annotated[
        list[str],
        typer.Option(
            metavar="SCOPE",
            help="What the token may be used for, separated by commas: read (accounts, events, media), send"
            " (messages), operate (start, stop, repair, add and remove accounts, see codes), metrics.",
        ),
    ],
    account: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="An account that the token is for; may be given again. Default: all."
        ),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="How long the token is valid, such as 90d. Default: for ever."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a token and print it, once. Only a hash of it is kept.

    A running service lets its holder in as soon as this command has ended. The service does not have to run.
    """
    invocation.keep_out_of_cores()
    if not is_name(name):
        raise ConfigError(
            f"a token cannot be called {shorten(name)}: {NAME_RULE}{characters.remark(name)}", key="bad_name"
        )
    wanted = scopes_of(scope)
    accounts = None if not account else frozenset(account)
    if accounts is not None and "metrics" in wanted:
        raise typer.BadParameter("the metrics are of all accounts", param_hint="--account")
    now = time.time()
    until = None if expires is None else now + _seconds(expires)
    where = invocation.of(context)
    check_accounts(where, accounts)
    random = os.urandom(form.ID_BYTES + form.SECRET_BYTES)
    token, text = form.make(name, wanted, accounts, created=now, expires=until, random=random)
    paths = prepared(where)
    tokens.add(paths.tokens, token)
    if as_json:
        print(json.dumps({**_as_json(token, {}), "token": text}), flush=True)
        let_service_look(paths)
        return
    print(text)
    sys.stdout.flush()
    let_service_look(paths)
    if sys.stderr.isatty() or sys.stdout.isatty():
        print("Keep it: nobody can show this token again.", file=sys.stderr)


@app.command(name="list", epilog=examples("orchestrator token list", "orchestrator token list --json"))
def list_tokens(context: typer.Context, as_json: AsJson = False) -> None:
    """List the tokens: what each may be used for, and on which day each was used last.

    A row whose name begins with page- is of `orchestrator page`: it is no token, and has the rights of
    whoever is logged in to the page by its link. SESSIONS says in how many browsers somebody is.
    """
    now = time.time()
    paths = invocation.of(context).state()
    used, open_ones = uses.read(paths.gateway), sessions.count(sessions.read(paths.gateway), now)
    found = [
        one
        for one in tokens.read(paths.tokens)
        if not invitations.is_needless(one, now, is_in=one.id in open_ones)
    ]
    if as_json:
        print(json.dumps([_as_json(one, used, open_ones.get(one.id, ())) for one in found]))
        return
    if not found:
        none = "there is no token; `orchestrator token add NAME --scope read,send` makes one"
        print(printable(none), file=sys.stderr)
        return
    from orchestrator.cli.table import show_rows  # loads rich

    show_rows(
        ("NAME", "ID", "SCOPES", "ACCOUNTS", "EXPIRES", "LAST USED", "SESSIONS"),
        ((*_row(one, used, now), str(len(open_ones.get(one.id, ())))) for one in found),
    )


@app.command(epilog=examples("orchestrator token remove crm"))
def remove(
    context: typer.Context,
    names: Annotated[
        list[str], typer.Argument(metavar="NAME...", help="Names or ids of tokens.", show_default=False)
    ],
) -> None:
    """Remove tokens. A running service refuses them at once, and ends what they have open within a second.

    Whoever is logged in to the page by one of them is logged out. The name of a row page-… does the same.
    """
    paths = prepared(invocation.of(context))
    removed = tokens.remove(paths.tokens, names)
    let_service_look(paths)
    for one in removed:
        print(f"{one.name}: removed")


def scopes_of(given: list[str], choice: Sequence[scopes.Scope] = scopes.SCOPES) -> frozenset[scopes.Scope]:
    """Return the scopes that an option names.

    Args:
        given: What the option was given, each with one scope or several, separated by commas.
        choice: What the refusal of a word that is no scope offers.

    Raises:
        OrchestratorError: One is none.
    """
    named = [word.strip() for one in given for word in one.split(",")]
    try:
        return scopes.as_scopes(named)
    except ValueError as error:
        raise OrchestratorError(
            f"--scope: {shorten(str(error))} is no scope: choose from {', '.join(choice)}",
            key="bad_scope",
        ) from None


def _seconds(text: str) -> float:
    from orchestrator.cli.durations import seconds  # what reads the configuration, only where it is needed

    return seconds("--expires", text, 60, 3650 * 86_400)


def check_accounts(where: invocation.Places, accounts: frozenset[str] | None) -> None:
    """See that there are such accounts. Whoever names none needs no configuration.

    Raises:
        ConfigError: The configuration cannot be read.
        NoSuchAccount: There is no account of that name.
    """
    if accounts is None:
        return
    settings = where.settings()
    if unknown := sorted(accounts - settings.accounts.keys()):
        raise no_such_account(*unknown, known=settings.accounts, file=settings.config_file)


def prepared(where: invocation.Places) -> StatePaths:
    """Return the state folder, with all folders in it.

    Raises:
        StateError: It cannot be used.
    """
    from orchestrator.service import ways

    paths = where.state()
    ways.check_state_for_root(paths)
    paths.prepare()
    return paths


def let_service_look(paths: StatePaths) -> None:
    """Wait until a running service has seen the change, so that what comes after the command finds it."""
    from orchestrator.system import locking

    with contextlib.suppress(OSError):  # no service has ever run there, or the kernel hides who holds locks
        if locking.holders(paths.lock):
            time.sleep(tokens.LOOK_SECONDS)


def _as_json(token: Token, used: dict[str, int], there: Sequence[Session] = ()) -> dict[str, object]:
    return {
        "name": token.name,
        "id": token.id,
        "scopes": scopes.in_order(token.scopes),
        "accounts": None if token.accounts is None else sorted(token.accounts),
        "created": iso(token.created),
        "expires": iso(token.expires),
        "last_used": _day(token, used),
        "page": token.is_of_page,
        "sessions": [
            {
                "id": one.id,
                "created": iso(one.created),
                "expires": iso(one.expires),
                "last_used": iso(one.used),
            }
            for one in there
        ],
    }


def _day(token: Token, used: dict[str, int]) -> str | None:
    at = iso(used[token.id] * uses.DAY) if token.id in used else None
    return at and at[:10]


def _row(token: Token, used: dict[str, int], now: float) -> tuple[str, ...]:
    at = iso(token.expires)
    until = "never" if at is None else "expired" if token.is_over(now) else local(at)
    accounts = "all" if token.accounts is None else ", ".join(sorted(token.accounts))
    allowed = ", ".join(scopes.in_order(token.scopes))
    return token.name, token.id, allowed, accounts, until, _day(token, used) or "-"
