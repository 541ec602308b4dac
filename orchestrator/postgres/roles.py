"""The roles of accounts, by the functions of an administrator.

A password is made here and goes to the server as a verifier, from which nobody gets back to it. So neither
the server's log nor its statistics have it.
"""

from __future__ import annotations

import secrets
import time
from typing import Final

from orchestrator.errors import StoreAway
from orchestrator.postgres.database import Connection

_BYTES: Final = 24
_GOING: Final = 3.0
"""Seconds until the connections of a process that has ended are gone."""


def make_account(connection: Connection, account: str) -> str:
    """Make the role and the schema of an account, or give the role another password.

    Returns:
        The password: until the next call nobody else knows it, and whoever had the one before cannot log in.
    """
    password = _password()
    connection.execute(
        "SELECT orchestrator_admin.make_account(%s, %s)", [account, _verifier(connection, account, password)]
    )
    return password


def is_in_use(connection: Connection, account: str, *, patience: float = _GOING) -> bool:
    """Tell whether an account has connections; those of a process that has just ended may take a moment."""
    until = time.monotonic() + patience
    while True:
        row = connection.execute("SELECT orchestrator_admin.backends(%s)", [account]).fetchone()
        if row == (0,):
            return False
        if time.monotonic() >= until:
            return True
        # Within one transaction, what the server says of its activity would stay as it was.
        connection.execute("SELECT pg_stat_clear_snapshot(), pg_sleep(0.05)")


def shut_out(connection: Connection, account: str) -> int:
    """Let nobody log in as an account until `make_account`, and end its connections.

    Returns:
        How many there were.

    Raises:
        StoreAway: One did not end in time.
    """
    row = connection.execute("SELECT orchestrator_admin.lock_account(%s)", [account]).fetchone()
    assert row is not None
    if row[0] and is_in_use(connection, account):
        raise StoreAway("a connection of an account does not end")
    return int(row[0])


def _password() -> str:
    return secrets.token_urlsafe(_BYTES)


def _verifier(connection: Connection, role: str, password: str) -> str:
    made = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
    return made.decode("ascii")
