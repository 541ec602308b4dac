"""Whether the receivers of webhooks can be reached. Nothing is sent to them."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from orchestrator.consumers.hosts import host_and_port, leads_to
from orchestrator.consumers.settings import Http, Webhook
from orchestrator.service.doctor.check import Check, Finding, ok, uncheckable, warn
from orchestrator.service.doctor.context import Context
from orchestrator.system.dialing import DialError, Line, words

TIMEOUT = 5.0
"""Seconds for each step. The gateway itself gives a connection 3 seconds."""
AT_ONCE = 16


def find(context: Context) -> Iterator[Finding]:
    """Connect to the host of each webhook, check its certificate, and hang up."""
    settings = context.settings.or_none()
    if settings is None or not settings.webhooks:
        return
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from pool.map(lambda one: _try(one, settings.http), settings.webhooks.values())


def _try(webhook: Webhook, http: Http | None) -> Finding:
    host, port = host_and_port(webhook.url)
    try:
        started = time.monotonic()
        _connect(webhook, host, port, http)
        seconds = time.monotonic() - started
    except _OwnServer:
        return warn(
            f"{webhook.name}: {host} is this service's own HTTP server",
            "name the receiver's URL; what is sent to the service itself is refused",
        )
    except DialError as error:
        what, why = error.what, words(error.error)
    except OSError as error:
        what, why = f"{host}:{port} cannot be reached", words(error)
    except Exception as error:  # noqa: BLE001 - the other receivers are worth their while
        return uncheckable(error)
    else:
        return ok(f"{webhook.name}: {host}:{port} can be reached, in {seconds:.2f} s")
    return warn(
        f"{webhook.name}: {what}: {why}",
        "check `url:` and whether the receiver runs; events for it wait, and are tried for three days",
    )


class _OwnServer(Exception):  # noqa: N818 - what was found
    """The host's name leads to the service itself."""


def _connect(webhook: Webhook, host: str, port: int, http: Http | None) -> None:
    """Connect and hang up.

    Raises:
        _OwnServer: The name leads to the service itself.
        DialError, OSError: There is no connection.
    """
    addresses = {str(one[4][0]) for one in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    if http is not None and any(leads_to(http.listen, address, port) for address in addresses):
        raise _OwnServer
    if webhook.url.lower().startswith("https://"):
        with Line(host, port, None, lambda: TIMEOUT):
            return
    with socket.create_connection((host, port), TIMEOUT):
        return


CHECK = Check("endpoints", "endpoints", "Whether the receivers of webhooks can be reached.", find)
