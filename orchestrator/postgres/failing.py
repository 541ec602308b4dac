"""What an error of psycopg means for us, in a sentence that says what to do."""

from __future__ import annotations

import re
from typing import Final

import psycopg

from orchestrator.errors import StateError, StoreAway, StoreUnusable
from orchestrator.postgres.dsn import Dsn
from orchestrator.system import redaction

_AWAY: Final = {
    "25006": "is a standby that takes no writes",
    "53100": "has no room on its disk",
    "53200": "has no memory left",
    "53300": "has as many connections as it allows: raise max_connections",
    "57P01": "was ended, or ended this connection",
    "57P02": "has crashed",
    "57P03": "is not ready for connections",
    "57014": "does not answer in time",
    "55P03": "is kept busy by somebody else's lock",
}
"""What passes by itself, or what an operator of the database mends without the service."""

_REFUSED: Final = {
    r"password authentication failed": "refuses the user or the password: correct them in the file with the"
    " DSN, or set the role's password there (ALTER ROLE ... PASSWORD ...)",
    r"no pg_hba\.conf entry": "lets nobody in from this machine as this user: add a line to pg_hba.conf",
    r"Peer authentication failed": "lets nobody in as this user by the socket: name 127.0.0.1 in the DSN, or"
    " have pg_hba.conf ask for scram-sha-256",
    r"database .* does not exist": "does not exist on that server: make it (CREATE DATABASE ... OWNER ...),"
    " or correct its name in the file with the DSN",
    r"role .* does not exist": "has no such user: make the role (CREATE ROLE ... LOGIN PASSWORD ...), or"
    " correct the user in the file with the DSN",
    r"permission denied for database": "does not let this user connect to the database: GRANT CONNECT",
    r"certificate verify failed|signature failure|does not match host name|certificate has expired": "shows a"
    " certificate that does not prove who the server is: see sslrootcert and the host's name",
    r"server does not support SSL": "offers no TLS: switch ssl on there",
    r"channel binding": "offers no channel binding: use scram-sha-256 for this user",
    r"root certificate file": "cannot be checked: let this user read the file of sslrootcert",
}
"""What a person has to mend."""
_UNREACHED: Final = {
    r"Connection refused": "nothing listens there: start the server, or correct the DSN's host and port",
    r"No such file or directory": "there is no such socket: start the server, or correct the DSN's host",
    r"timeout|timed out": "there is no answer: see whether the server runs, and the network on the way",
    r"could not translate host name|Name or service not known|failed to resolve": "no such host: correct the"
    " DSN's host, or see this machine's DNS",
    r"No route to host|Network is unreachable": "there is no way to it: see this machine's network, or"
    " correct the DSN's host",
    r"starting up": "it is starting",
    r"shutting down": "it is being stopped",
    r"recovery mode": "it recovers",
    r"too many (clients|connections)|remaining connection slots": "it has as many connections as it allows:"
    " raise max_connections",
    r"server closed the connection|terminat|connection is (closed|lost)|EOF|reset by peer": "the connection"
    " was lost",
}
"""Why nobody answers."""


def explain(error: psycopg.Error, dsn: Dsn) -> StateError:
    """Return the error of ours that an error of the driver is."""
    state = error.sqlstate or ""
    if state in _AWAY:
        return StoreAway(f"{dsn} {_AWAY[state]}")
    if state.startswith("08"):
        return StoreAway(f"{dsn} cannot be reached: the connection was lost")
    if state == "42501":
        return StoreUnusable(f"{dsn} does not give this user the rights that it needs: {_line(error)}")
    if state.startswith(("3F", "42P01", "42883")):
        return StoreUnusable(f"{dsn} was not made ready: run `orchestrator cluster init` ({_line(error)})")
    if state:
        return StoreUnusable(f"{dsn} refuses what is asked ({state}): {_line(error)}")
    text = str(error)
    for pattern, words in _REFUSED.items():
        if re.search(pattern, text):
            return StoreUnusable(f"{dsn} {words}")
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return StoreAway(f"{dsn} cannot be reached: {_reason(text)}")
    return StoreUnusable(f"{dsn} cannot be used: {_line(error)}")


def _line(error: psycopg.Error) -> str:
    """Return what a server says, without its details, which may quote what was written."""
    return redaction.redact(error.diag.message_primary or type(error).__name__)


def _reason(text: str) -> str:
    for pattern, words in _UNREACHED.items():
        if re.search(pattern, text, re.IGNORECASE):
            return words
    return redaction.redact(text.strip().splitlines()[-1]) if text.strip() else "the driver says no reason"
