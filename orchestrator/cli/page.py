"""The command ``page``: lets somebody in to the page that the gateway serves."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from orchestrator.access import invitations, scopes, sessions
from orchestrator.cli import invocation
from orchestrator.cli import token as token_command
from orchestrator.cli.formatting import examples, local, printable
from orchestrator.consumers import hosts
from orchestrator.consumers.settings import Tcp
from orchestrator.errors import OrchestratorError
from orchestrator.system.clock import iso

if TYPE_CHECKING:
    from orchestrator.access.scopes import Scope
    from orchestrator.access.token import Token
    from orchestrator.store.layout import StatePaths

app = typer.Typer()

LEAST_SECONDS: Final = 300.0
MOST_SECONDS: Final = 30 * 86_400.0
_LOOK_SECONDS: Final = 0.2
_OPEN_SECONDS: Final = 30.0
"""How long a browser may take until it has opened the page."""


@app.command(
    epilog=examples(
        "orchestrator page",
        "orchestrator page --open",
        "orchestrator page --scope read --account support --for 7d",
    )
)
def page(
    context: typer.Context,
    open_it: Annotated[
        bool, typer.Option("--open", help="Open the page in the browser of this machine.")
    ] = False,
    scope: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SCOPE",
            help="What the page may be used for, separated by commas: read, send, operate. With read alone it"
            " changes nothing and shows no codes. Default: all three.",
        ),
    ] = None,
    account: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="An account to show; may be given again. Default: all."),
    ] = None,
    duration: Annotated[
        str, typer.Option("--for", metavar="DURATION", help="How long the page stays open to its user.")
    ] = "12h",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Print a link to the page for people. It logs in the first browser that opens it within five minutes.

    The service must run, with `http:` in its configuration. `token list` shows who is logged in, and `token
    remove` logs them out.
    """
    invocation.keep_out_of_cores()
    wanted = _scopes(scope)
    seconds = _seconds(duration)
    where = invocation.of(context)
    accounts = None if not account else frozenset(account)
    token_command.check_accounts(where, accounts)
    base = address(where.settings().http, where.service().call("companions")["companions"])
    paths = token_command.prepared(where)
    row, code = invitations.invite(
        paths.tokens, paths.gateway, wanted, accounts, now=time.time(), seconds=seconds
    )
    token_command.let_service_look(paths)
    link = invitations.url(base, code)
    if as_json:
        print(json.dumps({"url": link, **_about(row)}), flush=True)
    elif not open_it:
        print(link, flush=True)
    if open_it:
        _open(link, row, paths)
    elif sys.stderr.isatty() and not as_json:
        print(_advice(row, base), file=sys.stderr)


def address(http: Any, companions: Any) -> str:  # noqa: ANN401 - `Http` or None, and what the service says
    """Return where browsers find the page, without a slash at its end. Pure.

    Args:
        http: The HTTP server in the configuration, None without one.
        companions: What the service says of the gateway, None if there is none.

    Raises:
        OrchestratorError: No browser can find it.
    """
    if http is None:
        raise OrchestratorError(
            "the configuration has no `http:`, so nothing serves the page: add `http: {}`, which listens on"
            " 127.0.0.1:8080, then run `orchestrator reload`",
            key="page_not_served",
        )
    gateway = (companions or {}).get("gateway") or {}
    listens = [str(one) for one in gateway.get("listens", ())]
    if not listens:
        why = "; ".join(map(str, gateway.get("problems", ()))) or "run `orchestrator reload` first"
        raise OrchestratorError(f"the gateway listens nowhere: {why}", key="page_not_served")
    if http.public_url is not None:
        return str(http.public_url).rstrip("/")
    places = list(_places(listens))
    if not places:
        raise OrchestratorError(
            "the gateway listens on UNIX sockets only, where no browser finds it: add an address such as"
            " 127.0.0.1:8080 to `http.listen`, or name in `http.public_url` the address of the proxy that"
            " leads there",
            key="page_not_served",
        )
    place = min(places, key=lambda one: (not one.is_loopback, not one.is_wildcard))
    host = ("::1" if ":" in place.host else "127.0.0.1") if place.is_wildcard else place.host
    return f"http://{Tcp(host, place.port)}"


def _places(listens: Sequence[str]) -> Iterator[Tcp]:
    for one in listens:
        with contextlib.suppress(ValueError):  # a UNIX socket
            yield Tcp.parse(one)


def _scopes(given: list[str] | None) -> frozenset[Scope]:
    if given is None:
        return frozenset(invitations.PAGE_SCOPES)
    wanted = token_command.scopes_of(given, invitations.PAGE_SCOPES)
    if not wanted <= frozenset(invitations.PAGE_SCOPES) or "read" not in wanted:
        raise OrchestratorError(
            "--scope: the page needs read, and beside that only send and operate make a difference",
            key="bad_scope",
        )
    return wanted


def _seconds(text: str) -> float:
    from orchestrator.cli.durations import seconds  # what reads the configuration, only where it is needed

    return seconds("--for", text, LEAST_SECONDS, MOST_SECONDS)


def _about(row: Token) -> dict[str, object]:
    return {
        "name": row.name,
        "scopes": scopes.in_order(row.scopes),
        "accounts": None if row.accounts is None else sorted(row.accounts),
        "code_until": iso(row.code_until),
        "expires": iso(row.expires),
    }


def _advice(row: Token, base: str) -> str:
    until = iso(row.expires)
    assert until is not None
    said = (
        "The link is good once, within five minutes. Whoever opens it is logged in until"
        f" {local(until)}, or until `orchestrator token remove {row.name}`."
    )
    if base.startswith("http://") and not is_here(base):
        said += " Nothing encrypts the way there: use it in a network that you trust."
    return printable(said)


def is_here(base: str) -> bool:
    """Tell whether an address leads to this machine alone."""
    address = hosts.as_address(hosts.host_and_port(base)[0])
    return address is not None and address.is_loopback


def _open(link: str, row: Token, paths: StatePaths) -> None:
    """Have a browser open the link, and wait until it has.

    The browser is given a private file that leads to the page: all users see the arguments of programs.

    Raises:
        OrchestratorError: No browser opens it.
    """
    import tempfile
    import webbrowser

    with tempfile.TemporaryDirectory(prefix="orchestrator-page-") as folder:
        file = Path(folder) / "open.html"
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            out.write(_LEADS.replace("LINK", json.dumps(link).replace("<", "\\u003c")))
        began = time.monotonic()
        if webbrowser.open(file.as_uri()):
            while time.monotonic() < began + _OPEN_SECONDS:
                if row.id in sessions.read(paths.gateway).codes:
                    print("the page is open in the browser", file=sys.stderr)
                    return
                time.sleep(_LOOK_SECONDS)
    raise OrchestratorError(
        "no browser of this machine has opened the page: run `orchestrator page` without --open, and open the"
        " link yourself",
        key="page_not_opened",
    )


_LEADS: Final = (
    '<!doctype html><meta charset="utf-8"><meta name="referrer" content="no-referrer">'
    "<title>Orchestrator</title><script>location.replace(LINK)</script>\n"
)
