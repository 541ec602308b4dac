"""An account's own proxy: is its URL one the library takes, and does nothing else stand in its way?"""

from __future__ import annotations

import os
import re
from urllib.parse import unquote, urlsplit

SCHEMES = ("http", "https", "socks5")
"""What whatsmeow knows."""
VARIABLES = frozenset({"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "FTP_PROXY"})
"""Names of environment variables, in either case, that Go or Python's HTTP libraries take a proxy from."""

_USER_INFO = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:]|%[0-9A-Fa-f]{2})*")
"""What Go's URL parser lets pass before the ``@``; anything else has to be percent-encoded."""


class ProxyError(Exception):
    """A proxy cannot be used; the message says why, without any part of its URL."""


def check(url: str) -> None:
    """Check a proxy's URL as the library will read it.

    Raises:
        ProxyError: It is none that could work.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ProxyError("the proxy is no URL with a valid port") from None
    if parts.scheme not in SCHEMES:
        raise ProxyError(f"the proxy's URL must begin with {', '.join(f'{name}://' for name in SCHEMES)}")
    if not host:
        raise ProxyError("the proxy's URL names no host")
    if port == 0:
        raise ProxyError("the proxy's URL names port 0")
    if any(ord(character) <= 32 or ord(character) == 127 for character in url):
        raise ProxyError("the proxy's URL has a blank in it")
    user_info, at, _ = parts.netloc.rpartition("@")
    if at and not _USER_INFO.fullmatch(user_info):
        raise ProxyError("the proxy's user or password has a character that must be written as %XX")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ProxyError("the proxy's URL must end with its host and port")


def secrets(url: str) -> list[str]:
    """Return the texts that would give the proxy's password away: as it is written, and as it is sent."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return [url]
    user_info, _, _ = parts.netloc.rpartition("@")
    if not user_info:
        return []
    password = user_info.partition(":")[2]
    # A word of a few letters could be part of anything, and hiding it everywhere would tell what it is.
    passwords = [word for word in (password, unquote(password)) if len(word) >= 4]
    return [url, user_info, unquote(user_info), *passwords]


def forget_environment() -> None:
    """Take every proxy out of this process's environment, so that only the account's own is left.

    Must be called before Go's library is loaded. Go does not look where Python and C keep the environment,
    but where the kernel has put it when the process started, and which Python's changes need not reach: so
    that is blotted out as well. (A SOCKS proxy would otherwise be reached through the environment's.)

    Raises:
        ProxyError: It is not possible.
    """
    for name in [name for name in os.environ if name.upper() in VARIABLES]:
        del os.environ[name]
    try:
        _blot_out()
    except OSError as error:
        raise ProxyError(
            f"the proxies of the environment cannot be taken out of it ({error.strerror}): "
            "start the service without HTTPS_PROXY"
        ) from None


def _blot_out() -> None:
    """Overwrite the proxies in the environment that the kernel has put on this process's stack."""
    with open("/proc/self/environ", "rb") as file:  # noqa: PTH123 - no import for one line
        if not any(_is_proxy(entry) for entry in file.read().split(b"\0")):
            return
    with open("/proc/self/stat", "rb") as file:  # noqa: PTH123
        # The command's name, in parentheses, may hold blanks; env_start and env_end are fields 50 and 51.
        start, end = map(int, file.read().rpartition(b")")[2].split()[47:49])
    with open("/proc/self/mem", "r+b", buffering=0) as memory:  # noqa: PTH123
        memory.seek(start)
        entries = (memory.read(end - start) or b"").split(b"\0")
        kept = [b"_" * len(entry) if _is_proxy(entry) else entry for entry in entries]
        memory.seek(start)
        memory.write(b"\0".join(kept))


def _is_proxy(entry: bytes) -> bool:
    return entry.partition(b"=")[0].decode(errors="replace").upper() in VARIABLES
