"""Tries to reach WhatsApp's host as an account's process does: TCP, proxy, TLS."""

from __future__ import annotations

import socket
import ssl
import time

from orchestrator.accounts.proxy import HOST, PORT, Proxy
from orchestrator.errors import OrchestratorError
from orchestrator.system.dialing import DialError, Line, words

TIMEOUT = 10.0
"""Seconds for each step. A step takes a fraction of a second over any usable line."""


class Unreachable(OrchestratorError):  # noqa: N818 - what WhatsApp is
    """WhatsApp cannot be reached. The message says at which step, and what to look at."""

    key = "whatsapp_unreachable"


def reach(proxy: Proxy | None) -> float:
    """Connect to WhatsApp's host, check its certificate, and hang up.

    Args:
        proxy: The proxy to go through, None for a direct connection.

    Returns:
        How many seconds this took.

    Raises:
        Unreachable: WhatsApp cannot be reached.
    """
    started = time.monotonic()
    try:
        with Line(HOST, PORT, proxy, lambda: TIMEOUT):
            return time.monotonic() - started
    except DialError as error:
        raise Unreachable(f"{error.what}: {_what_to_look_at(error.error)}") from None


def _what_to_look_at(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"{words(error)}: check that the clock is right, that root certificates are installed"
            " (ca-certificates), that $SSL_CERT_FILE names the right ones, and that no firewall or proxy"
            " decrypts the connection"
        )
    if isinstance(error, TimeoutError):
        return f"no answer within {TIMEOUT:.0f} s: does a firewall drop the connection?"
    if isinstance(error, socket.gaierror):
        return f"{words(error)}: does DNS work?"
    return words(error)
