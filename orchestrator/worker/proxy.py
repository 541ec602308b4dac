"""The proxy of an account's process: its URL is looked at once more, and nothing else stands in its way."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Mapping

from orchestrator.accounts.proxy import HOST, Proxy, ProxyError, environment_proxy, parse, parse_environment

VARIABLES = frozenset({"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "FTP_PROXY"})
"""Names of environment variables, in either case, that Go or Python's HTTP libraries take a proxy from."""


def find(own: str | None, environ: Mapping[str, str], host: str = HOST) -> Proxy | None:
    """Return the proxy that the process goes through, None for none.

    Args:
        own: URL of the account's own.
        environ: The environment, which may name one for accounts without their own.
        host: The host of WhatsApp's that is wanted: the environment may name hosts that need no proxy.

    Raises:
        ProxyError: Its URL is not one that can be used.
    """
    if own is not None:
        return parse(own)
    named = environment_proxy(environ, host)
    return None if named is None else parse_environment(named)


_MOVED = "ORCHESTRATOR_ENVIRONMENT_MOVED"


def forget_environment() -> None:
    """Take every proxy out of this process's environment, so that only the account's own is left.

    Must be called before Go's library is loaded. Go does not look where Python and C keep the environment,
    but where the kernel has put it when the process started, and which Python's changes need not reach: so
    that is blotted out as well. (A SOCKS proxy would otherwise be reached through the environment's.)

    Raises:
        ProxyError: It is not possible.
    """
    # A variable more, and C keeps its list of variables elsewhere. Else it would close the gaps in the
    # kernel's list, behind whose end Go looks for what the kernel says of the machine: the size of a page.
    os.environ[_MOVED] = ""
    for name in [name for name in os.environ if name.upper() in VARIABLES or name == _MOVED]:
        del os.environ[name]
    try:
        _blot_out()
    except OSError as error:
        raise ProxyError(
            f"the proxies of the environment cannot be taken out of it ({error.strerror}): "
            "start the service without HTTPS_PROXY"
        ) from None


def _blot_out() -> None:
    """Overwrite the proxies in the environment that the kernel has put on this process's stack.

    This goes by the memory itself: a process that keeps out of core files cannot open its ``/proc/self/mem``.
    """
    with open("/proc/self/stat", "rb") as file:  # noqa: PTH123 - no import for one line
        # The command's name, in parentheses, may hold blanks; env_start and env_end are fields 50 and 51.
        start, end = map(int, file.read().rpartition(b")")[2].split()[47:49])
    if not 0 < start < end:
        raise OSError(errno.EACCES, "the kernel does not say where it is")
    entries = ctypes.string_at(start, end - start).split(b"\0")
    if any(map(_is_proxy, entries)):
        blotted = b"\0".join(b"_" * len(entry) if _is_proxy(entry) else entry for entry in entries)
        ctypes.memmove(start, blotted, len(blotted))


def _is_proxy(entry: bytes) -> bool:
    return entry.partition(b"=")[0].decode(errors="replace").upper() in VARIABLES
