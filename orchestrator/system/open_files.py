"""Which files stay open to a confined process: the narrowest set that works. It only looks at what is where.

Nothing that holds the state folder, the configuration or the codes is ever opened as a whole, nor a home, nor
``/etc``. A wanted folder that holds one of those is opened piece by piece, without it.
"""

# Paths are texts here, of which a child looks at hundreds when it starts:
# ruff: noqa: PTH100, PTH110, PTH113, PTH114, PTH117, PTH118, PTH120, PTH208

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from orchestrator.system.landlock import KEEP, OVERWRITE, READ, Rule

_SYSTEM: Final = (
    # Programs' libraries and data, of any user; nix and guix keep theirs elsewhere.
    "/usr", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/gnu/store",
    # The process itself, the limits of its control group, what Go asks about the machine.
    "/proc", "/sys/fs/cgroup", "/sys/devices/system/cpu", "/sys/kernel/mm/transparent_hugepage",
    "/dev/random", "/dev/urandom", "/dev/zero",
    # The linker, the time of day, the types of files.
    "/etc/ld.so.cache", "/etc/localtime", "/etc/timezone", "/etc/mime.types",
    # Certificates: where Debian, Red Hat, SUSE, Arch and Alpine keep them.
    "/etc/ssl/certs", "/etc/ssl/cert.pem", "/etc/ssl/ca-bundle.pem", "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/certs", "/etc/pki/tls/cert.pem", "/etc/pki/tls/cacert.pem", "/etc/pki/tls/openssl.cnf",
    "/etc/pki/ca-trust/extracted", "/etc/ca-certificates/extracted", "/var/lib/ca-certificates",
    "/etc/crypto-policies",
)  # fmt: skip
NAMES: Final = (
    "/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf",
    "/etc/services", "/etc/protocols",
)  # fmt: skip
"""How names of hosts are looked up. Other programs replace these files while the service runs."""
_VARIABLES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR", "LD_LIBRARY_PATH", "TZDIR")
"""What names further files, with colons between."""
_TOO_WIDE: Final = (
    "/", "/boot", "/dev", "/etc", "/home", "/media", "/mnt", "/opt", "/proc", "/root", "/run", "/srv", "/sys",
    "/tmp", "/var", "/var/lib", "/var/tmp",
)  # fmt: skip
"""Folders that no variable or path of modules opens as a whole."""
_PARTS: Final = ("bin", "lib", "lib32", "lib64", "share", "pyvenv.cfg")
"""What belongs to Python in the folder that it is installed in."""
_MODULES: Final = (".py", ".pyc", ".so", ".pth", ".zip", ".egg")


def of_account(own: Iterable[Path], shared: Iterable[Rule]) -> list[Rule]:
    """Return what stays open to the process of an account.

    Args:
        own: The folders of the account, which nobody else uses.
        shared: What `to_read` returns.
    """
    return [*shared, Rule(Path("/dev/null"), OVERWRITE), *(Rule(folder, KEEP) for folder in own)]


def of_maker(folders: Iterable[Path], shared: Iterable[Rule], reads: Iterable[Path] = ()) -> list[Rule]:
    """Return what stays open to the process that makes the accounts' processes.

    What is closed to it, its children cannot open any more. They begin by writing to their own ``/proc``.

    Args:
        folders: The folders in which the accounts have theirs, and those that a child writes to at its start.
        shared: What `to_read` returns.
        reads: Files that a child may open to itself besides.
    """
    more = [Rule(path, READ) for path in reads]
    return [*of_account(folders, shared), *more, Rule(Path("/proc"), READ | OVERWRITE)]


def to_read(
    environ: Mapping[str, str], modules: Sequence[str], prefixes: Iterable[str], closed: Iterable[Path]
) -> list[Rule]:
    """Return what every account's process reads.

    Args:
        environ: The environment, which may name certificates and libraries.
        modules: Where Python looks for modules.
        prefixes: Where this Python, the one that it was made from, and this package are installed.
        closed: Folders that stay closed, even beneath what is read: the state folder, the configuration's,
            that of the codes.
    """
    shut = frozenset(_real(path) for path in closed)
    wide = frozenset(map(_real, (*_TOO_WIDE, *_homes(environ))))
    named = [entry for name in _VARIABLES for entry in environ.get(name, "").split(":")]
    named += [environ.get("TZ", "").removeprefix(":")]
    found = dict.fromkeys(path for one in _SYSTEM for path in _without(_real(one), shut))
    for one in filter(os.path.isabs, NAMES):
        found |= dict.fromkeys(_lookup_file(one, wide | shut))
    for one in filter(os.path.isabs, named):
        if _real(one) not in wide:
            found |= dict.fromkeys(_without(_real(one), shut))
    for one in map(_real, prefixes):
        # Somebody may keep the configuration in the folder that Python is installed in.
        parts = [os.path.join(one, part) for part in _PARTS] if one in wide | shut else [one]
        found |= dict.fromkeys(path for part in parts for path in _without(part, shut))
    for one in filter(os.path.isabs, modules):
        path = _real(one)
        is_whole = path not in wide and not any(_holds(path, closed) for closed in shut)
        found |= dict.fromkeys([path] if is_whole else _modules_in(path, shut))
    return [Rule(Path(path), READ) for path in _outermost(found) if os.path.exists(path)]


def here(closed: Iterable[Path], modules: Iterable[str] = ()) -> list[Rule]:
    """Return what `to_read` does, for this Python and its environment.

    Args:
        closed: Folders that stay closed.
        modules: Where modules of Python are beyond `sys.path`.
    """
    # Sources that were never installed lie where Python does not look.
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    prefixes = (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix, package)
    return to_read(os.environ, [*sys.path, *modules], prefixes, closed)


def identities(rules: Iterable[Rule]) -> tuple[tuple[str, int, int], ...]:
    """Return by what the kernel knows the files of rules.

    A rule is about the file that was there when the rule was made. Where another took its place, the rule is
    out of date.
    """
    return tuple((str(rule.path), *_identity(rule.path)) for rule in rules)


def _identity(path: Path) -> tuple[int, int]:
    try:
        about = path.stat()
    except OSError:
        return (0, 0)
    return (about.st_dev, about.st_ino)


def _homes(environ: Mapping[str, str]) -> list[str]:
    return [home for home in (environ.get("HOME", ""),) if os.path.isabs(home)]


def _real(path: str | Path) -> str:
    return os.path.realpath(path)


def _holds(folder: str, path: str) -> bool:
    """Tell whether a path is a folder, or beneath it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _outermost(paths: Iterable[str]) -> list[str]:
    """Return paths without those that lie beneath another of them."""
    found: list[str] = []
    for path in sorted(set(paths), key=lambda one: one.split("/")):
        if not (found and _holds(found[-1], path)):
            found.append(path)
    return found


def _lookup_file(path: str, not_whole: frozenset[str]) -> Iterator[str]:
    """Yield what to open for a file that another program may replace at any time.

    Where the file is a link to another folder, as with systemd-resolved, that whole folder is opened: then
    the next file of that name can be read, too.
    """
    target = _real(path)
    folder = os.path.dirname(target)
    yield folder if os.path.islink(path) and folder not in not_whole else target


def _without(path: str, shut: frozenset[str]) -> Iterator[str]:
    """Yield a path, or, if it holds a closed folder, those beneath it that do not."""
    if path in shut:
        return
    if not any(_holds(path, one) for one in shut):
        yield path
        return
    for name in _names(path):
        inner = os.path.join(path, name)
        if not os.path.islink(inner):  # what it points to is opened by its own name, or is not
            yield from _without(inner, shut)


def _modules_in(folder: str, shut: frozenset[str]) -> Iterator[str]:
    """Yield what looks like Python's in a folder that may hold anything else."""
    for name in _names(folder):
        path = _real(os.path.join(folder, name))
        is_package = os.path.isfile(os.path.join(path, "__init__.py")) or name.endswith(
            (".dist-info", ".egg-info")
        )
        if is_package or (name.endswith(_MODULES) and os.path.isfile(path)):
            yield from _without(path, shut)


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []
