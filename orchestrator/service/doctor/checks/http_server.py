"""Who can reach the HTTP server, and whom it lets in."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from orchestrator.access import exposure, tokens
from orchestrator.access.token import Token
from orchestrator.consumers.settings import Http, Systemd, Tcp
from orchestrator.errors import ConfigError
from orchestrator.service.doctor.check import Check, Finding, fail, ok, warn
from orchestrator.service.doctor.context import Context

SHOWN = 5
"""How many tokens are named."""
_ADD = "`orchestrator token add NAME --scope read,send` makes one"


def find(context: Context) -> Iterator[Finding]:
    """Compare where the server listens with the tokens that there are."""
    settings, paths = context.settings.or_none(), context.paths.or_none()
    if settings is None or paths is None:
        return
    found = [one for one in tokens.read(paths.tokens) if not one.is_of_page]
    if settings.http is None:
        if found:
            yield ok(f"there is no HTTP server, but there are tokens: {_named(found)}")
        return
    yield from _listening(_with_sockets(context, settings.http), found)
    yield from _expired(found)


def _with_sockets(context: Context, http: Http) -> Http:
    """Put the addresses of systemd's sockets in their place, as a running service knows them."""
    if Systemd() not in http.listen:
        return http
    try:
        addresses = context.client.get().call("companions")["companions"]["gateway"]["listens"]
        sockets = {Tcp.parse(one) for one in addresses if not one.startswith("unix")}
    except Exception:  # noqa: BLE001 - without a service, only systemd knows; another check looks at the service
        return http
    others = [one for one in http.listen if not isinstance(one, Systemd)]
    return replace(http, listen=(*others, *sorted(sockets - {*others}, key=str)))


def _listening(http: Http, found: Sequence[Token]) -> Iterator[Finding]:
    try:
        exposure.check(http.listen, len(found))
    except ConfigError as error:
        yield fail(str(error))
        return
    where = ", ".join(map(str, http.listen))
    valid = [one for one in found if not one.is_over(time.time())]
    if not valid:
        over_tcp = any(isinstance(one, Tcp | Systemd) for one in http.listen)
        yield ok(f"the server listens on {where}, and no token is valid", _ADD if over_tcp else "")
        return
    if outside := exposure.exposed(http.listen):
        yield warn(
            f"these tokens can be used from other machines, and travel unencrypted, because"
            f" {', '.join(map(str, outside))} is open to them: {_named(valid)}",
            "listen on 127.0.0.1 with a reverse proxy for TLS in front, or let a firewall keep others out",
        )
    elif http.public_url is not None and http.public_url.startswith("http://"):
        yield warn(
            f"these tokens can be used from other machines, and travel unencrypted to {http.public_url}:"
            f" {_named(valid)}",
            "have the reverse proxy speak https, and write that into `public_url:`",
        )
    elif http.public_url is not None:
        yield ok(f"these tokens can be used from other machines, by {http.public_url}: {_named(valid)}")
    else:
        yield ok(f"the server listens on {where}, with {len(valid)} valid tokens")


def _expired(found: Sequence[Token]) -> Iterator[Finding]:
    if over := [one for one in found if one.is_over(time.time())]:
        yield ok(f"tokens that have expired: {_named(over)}", f"`orchestrator token remove {over[0].name}`")


def _named(found: Sequence[Token]) -> str:
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return ", ".join(one.name for one in found[:SHOWN]) + more


CHECK = Check(
    "http", "HTTP server", "Who can reach the HTTP server, and whether tokens let anybody in.", find
)
