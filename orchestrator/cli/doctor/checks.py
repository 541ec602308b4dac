"""Checks whether this machine has what a service needs. It looks, and changes nothing."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from orchestrator import __version__
from orchestrator.accounts import duplicates
from orchestrator.accounts.proxy import Proxy, ProxyError, environment_proxy, parse, parse_environment
from orchestrator.cli.doctor.reach import Unreachable, reach
from orchestrator.config.settings import Settings
from orchestrator.control.client import Client
from orchestrator.errors import AlreadyRunning, ConfigError, NotRunning, OrchestratorError, StateError
from orchestrator.service import needs
from orchestrator.service.library import LibraryError, check_library
from orchestrator.store import device, moving, status
from orchestrator.store.codes.folder import group_id
from orchestrator.store.layout import StatePaths
from orchestrator.store.lock import InstanceLock, read_holder
from orchestrator.system import pythons
from orchestrator.system.files import first_closed
from orchestrator.system.folders import advice_on_owner, user_name
from orchestrator.system.redaction import redact

OK, WARN, FAIL = "OK", "WARN", "FAIL"
NOT_RUNNING = "does not run"

SPACE_FAIL, SPACE_WARN = 50_000_000, 500_000_000
"""Bytes free: a session is about one million, and a database that cannot be written ends its account."""
INODES_WARN = 1000
RELEASED = 1_763_164_800.0
"""Unix time of 15 November 2025, before neonize 0.5.2 was there: no clock that is right shows less."""
_TIME_ERROR = 5
"""What adjtimex(2) returns when nothing sets the clock."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked.

    Attributes:
        status: OK, WARN or FAIL.
        check: What was checked.
        text: What was found.
        advice: What to do about it, or nothing.
    """

    status: str
    check: str
    text: str
    advice: str = ""

    def as_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return asdict(self)


def examine(
    load: Callable[[], Settings], find_state: Callable[[], StatePaths], find_service: Callable[[], Client]
) -> Iterator[Finding]:
    """Check everything, one after the other.

    Args:
        load: Reads the configuration.
        find_state: Tells where the state folder is.
        find_service: Makes a client for the service.
    """
    yield from _checked("versions", _versions())
    yield from _checked("Python", _python(sys.version_info))
    yield from _checked("neonize", _library())
    settings: Settings | None = None
    try:
        settings = load()
    except ConfigError as error:
        yield Finding(FAIL, "configuration", str(error), "mend it, or name another with --config")
    except Exception as error:  # noqa: BLE001 - as in _checked
        yield _uncheckable("configuration", error)
    else:
        yield from _checked("configuration", _configuration(settings))
    free: StatePaths | None = None
    try:
        paths = find_state()
    except OrchestratorError as error:
        yield Finding(FAIL, "state folder", str(error), "name a folder with --state-dir")
    except Exception as error:  # noqa: BLE001 - as in _checked
        yield _uncheckable("state folder", error)
    else:
        yield from _checked("state folder", _folders(paths, settings))
        yield from _checked("sessions", _sessions(paths, settings))
        for finding in _checked("service", _service(paths, find_service)):
            yield finding
            if finding.status == OK and finding.text.startswith(NOT_RUNNING) and paths.sessions.exists():
                free = paths
        yield from _checked("disk space", _disk(paths))
    yield from _checked("clock", _clock())
    yield from _checked("this machine", _needs(settings, free))
    yield from _checked("WhatsApp", _network(settings))


def _checked(check: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    """Pass on what a check finds; what it cannot look at is a finding, too, and no end of the others."""
    try:
        yield from findings
    except Exception as error:  # noqa: BLE001 - whatever it is, the other checks are worth their while
        yield _uncheckable(check, error)


def _uncheckable(check: str, error: Exception) -> Finding:
    """Say why something could not be looked at."""
    if isinstance(error, OrchestratorError):
        return Finding(FAIL, check, redact(str(error)))
    if isinstance(error, OSError):
        text = f"{error.filename or 'something'} cannot be looked at: {error.strerror or error}"
        return Finding(FAIL, check, redact(text), "run this as the service's user, with `sudo -u`")
    text = f"could not be checked: {type(error).__name__}: {error}"
    return Finding(FAIL, check, redact(text), "please report this: it is an error in this program")


def _versions() -> Iterator[Finding]:
    versions = [f"orchestrator {__version__}", f"Python {platform.python_version()}"]
    for package in ("multiprocess", "neonize", "protobuf"):
        try:
            versions.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            versions.append(f"no {package}")
    yield Finding(OK, "versions", ", ".join(versions))


def _python(version: tuple[Any, ...]) -> Iterator[Finding]:
    """Name a Python that this program was never tried on; with 3.13, no account started for a while."""
    if not pythons.is_tried(version):
        major, minor, *_ = version
        yield Finding(
            WARN,
            "Python",
            f"this program was never tried on Python {major}.{minor}, and accounts may not start",
            f"use Python {pythons.tried()}, or see first whether `orchestrator demo --once` works",
        )


def _library() -> Iterator[Finding]:
    try:
        library = check_library()
    except LibraryError as error:
        yield Finding(FAIL, "libmagic" if error.lacks_libmagic else "neonize", str(error))
        return
    yield Finding(OK, "libmagic", "is there")
    yield Finding(OK, "neonize", f"{library.version} loads, in {library.seconds:.1f} s")


def _configuration(settings: Settings) -> Iterator[Finding]:
    accounts = settings.accounts.values()
    enabled = sum(account.enabled for account in accounts)
    yield Finding(
        OK, "configuration", f"{settings.config_file}: {len(accounts)} accounts, {enabled} of them enabled"
    )
    secret = any(account.proxy and "@" in account.proxy for account in accounts)
    mode = stat.S_IMODE(settings.config_file.stat().st_mode)
    if secret and mode & 0o007:
        yield Finding(
            WARN,
            "configuration",
            f"{settings.config_file} has proxy passwords, and everybody can read it (mode {mode:04o})",
            f"chmod o= {settings.config_file}",
        )
    if settings.qr_group is not None:
        try:
            group_id(settings.qr_group)
        except StateError:
            yield Finding(
                FAIL,
                "configuration",
                f"there is no group {settings.qr_group}",
                "mend qr_group, or add the group",
            )


def _folders(paths: StatePaths, settings: Settings | None) -> Iterator[Finding]:
    if not paths.root.exists():
        parent = next(folder for folder in paths.root.parents if folder.exists())
        if os.access(parent, os.W_OK | os.X_OK):
            yield Finding(OK, "state folder", f"{paths.root} will be made when the service starts")
        else:
            yield Finding(
                FAIL,
                "state folder",
                f"{paths.root} is not there, and may not be made in {parent}",
                "make it and give it to this user, or choose another with --state-dir",
            )
        return
    wrong = list(_wrong_modes(paths))
    yield from wrong
    if not wrong:
        yield Finding(OK, "state folder", f"{paths.root}: owner and modes are right")
    qr_dir = paths.qr if settings is None else settings.qr_dir
    closed = None if settings is None else _closed_to_group(settings)
    if qr_dir.exists() and not os.access(qr_dir, os.W_OK | os.X_OK):
        yield Finding(
            FAIL, "QR folder", f"{qr_dir} cannot be written", "give it to this user, or mend qr_dir"
        )
    elif closed is not None:
        yield closed
    else:
        yield Finding(OK, "QR folder", str(qr_dir))


def _closed_to_group(settings: Settings) -> Finding | None:
    """Find a folder on the way to the codes that their group cannot enter."""
    if settings.qr_group is None:
        return None
    try:
        closed = first_closed(settings.qr_dir, -1, (group_id(settings.qr_group),))
    except StateError:
        return None  # that is said elsewhere
    except PermissionError:
        raise
    except OSError:
        return None  # the service makes the folder, and lets the group in
    if closed is None:
        return None
    place, mode = closed
    return Finding(
        FAIL,
        "QR folder",
        f"the group {settings.qr_group} cannot enter {place} (mode {mode:04o})",
        f"chgrp {settings.qr_group} {place}; chmod g+{'rx' if place == settings.qr_dir else 'x'} {place}",
    )


def _wrong_modes(paths: StatePaths) -> Iterator[Finding]:
    """Find what is somebody else's, or open to others: sessions are as good as passwords."""
    folders = (paths.root, paths.sessions, paths.quarantine, paths.timeline, paths.tracebacks)
    for folder in folders:
        if not folder.exists():
            continue
        status = folder.stat()
        if status.st_uid != os.geteuid():
            yield Finding(
                FAIL,
                "state folder",
                f"{folder} belongs to {user_name(status.st_uid)}, this is {user_name(os.geteuid())}",
                advice_on_owner(status.st_uid, inside_ours=folder != paths.root),
            )
            return
        if status.st_mode & 0o077:
            mode = stat.S_IMODE(status.st_mode)
            yield Finding(
                WARN, "state folder", f"{folder} is open to others (mode {mode:04o})", f"chmod 700 {folder}"
            )
    opened = [path for path in _files(paths.sessions) if path.stat().st_mode & 0o077]
    if opened:
        yield Finding(
            WARN,
            "sessions",
            f"{len(opened)} session files can be read by others, such as {opened[0]}",
            f"chmod 600 {paths.sessions}/*",
        )


def _sessions(paths: StatePaths, settings: Settings | None) -> Iterator[Finding]:
    """Find sessions that several accounts have, and those that none has."""
    if settings is None or not paths.sessions.exists():
        return
    try:
        kept = status.load(paths.status)
    except StateError as error:
        yield Finding(FAIL, "sessions", str(error))
        kept = {}
    marks = {name: device.look(paths.session(name)).marks for name in settings.accounts}
    for group in duplicates.groups(marks):
        run = [n for n in group if settings.accounts[n].enabled and not kept.get(n, status.Kept()).stopped]
        first = run[0] if run else group[0]
        other = next(name for name in reversed(group) if name != first)
        yield Finding(
            FAIL if len(run) > 1 else WARN,
            "sessions",
            f"the accounts {' and '.join(group)} have the session of one device, which one of them can use",
            duplicates.advice(other),
        )
    for sentence in moving.about_strays(paths, moving.strays(paths, settings.accounts), settings.accounts):
        text, _, advice = sentence.partition(": ")
        yield Finding(WARN, "sessions", text, advice)


def _files(folder: Path) -> Iterator[Path]:
    if folder.exists():
        yield from (path for path in folder.iterdir() if path.is_file())


def _service(paths: StatePaths, find_service: Callable[[], Client]) -> Iterator[Finding]:
    try:
        service = find_service()
        about = service.call("ping")
    except NotRunning:
        yield from _lock(paths, service.start_command)
    except OrchestratorError as error:
        yield Finding(FAIL, "service", str(error))
    else:
        yield Finding(
            OK,
            "service",
            f"runs as process {about['pid']} with {about['accounts']} accounts, since {about['started_at']}",
        )
        yield from _starting(service)
        if about["version"] != __version__:
            yield Finding(
                WARN,
                "service",
                f"it is version {about['version']}, this command is {__version__}",
                "restart the service",
            )


def _starting(service: Client) -> Iterator[Finding]:
    """Have the service start a process that does nothing: it may run well and start no account any more."""
    try:
        service.call("trial")
    except OrchestratorError as error:
        if "no such command" not in str(error):  # which is what an older service says
            advice = "the service's log says more; if it does not mend, restart the service"
            yield Finding(FAIL, "starting", str(error), advice)
    else:
        yield Finding(OK, "starting", "the service can start processes")


def _lock(paths: StatePaths, start_command: Callable[[], str]) -> Iterator[Finding]:
    start = f"`{start_command()}` starts it"
    if not paths.lock.exists():
        yield Finding(OK, "service", NOT_RUNNING, start)
        return
    holder = read_holder(paths.lock)
    try:
        InstanceLock(paths.lock, what="looks whether this is locked").release()
    except AlreadyRunning as error:
        advice = f"if it hangs: kill {holder.pid}" if holder else ""
        yield Finding(WARN, "service", f"nobody answers on the control socket, but {error}", advice)
    except OrchestratorError as error:
        yield Finding(FAIL, "service", str(error))
    else:
        yield Finding(OK, "service", f"{NOT_RUNNING}, and the state folder is free", start)


def _disk(paths: StatePaths) -> Iterator[Finding]:
    folder = next(place for place in (paths.root, *paths.root.parents) if place.exists())
    free = shutil.disk_usage(folder).free
    inodes = os.statvfs(folder)
    text = f"{free / 1e9:.1f} GB free for {paths.root}"
    advice = "make room: sessions that cannot be written are accounts that fail"
    if free < SPACE_FAIL:
        yield Finding(FAIL, "disk space", text, advice)
    elif free < SPACE_WARN:
        yield Finding(WARN, "disk space", text, advice)
    elif inodes.f_files and inodes.f_favail < INODES_WARN:
        yield Finding(WARN, "disk space", f"{text}, but only {inodes.f_favail} more files", advice)
    else:
        yield Finding(OK, "disk space", text)


def _clock() -> Iterator[Finding]:
    shown = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    if time.time() < RELEASED:
        yield Finding(
            FAIL, "clock", f"it is not {shown}", "set the clock: nothing with certificates works without it"
        )
        return
    # Room for struct timex on any system; no modes are set in it, so this only reads.
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))
    except (OSError, AttributeError):
        state = 0
    if state == _TIME_ERROR:
        yield Finding(
            WARN,
            "clock",
            f"{shown}; nothing keeps it right, as far as this system knows",
            "turn on time synchronisation, such as `timedatectl set-ntp true`",
        )
    else:
        yield Finding(OK, "clock", shown)


def _needs(settings: Settings | None, paths: StatePaths | None) -> Iterator[Finding]:
    """Look for what `run` refuses to start without.

    Args:
        settings: The configuration, None if it cannot be read.
        paths: The state folder, None if it is not there or a service runs on it.
    """
    accounts = sum(account.enabled for account in settings.accounts.values()) if settings else 0
    for need in (*needs.of_machine(accounts), *(needs.of_folder(paths) if paths else ())):
        yield Finding(FAIL if need.lacks else OK, need.name, need.text, need.advice)
    if paths is not None and (now := needs.available_memory(accounts)).lacks:
        yield Finding(WARN, now.name, now.text, now.advice)


def _network(settings: Settings | None) -> Iterator[Finding]:
    """Try every way to WhatsApp that an account takes, each once."""
    ways: dict[Proxy | None, list[str]] = {}
    unusable: dict[str, list[str]] = {}
    enabled = [account for account in settings.accounts.values() if account.enabled] if settings else []
    named = environment_proxy(os.environ)
    users: list[tuple[str | None, list[str]]] = [(one.proxy, [one.name]) for one in enabled]
    for url, names in users or [(None, [])]:
        try:
            way = parse(url) if url is not None else None if named is None else parse_environment(named)
        except ProxyError as error:
            unusable.setdefault(str(error), []).extend(names)
        else:
            ways.setdefault(way, []).extend(names)
    for text, names in unusable.items():
        yield Finding(FAIL, "WhatsApp", f"cannot be reached{_whose(names)}: {text}")
    with ThreadPoolExecutor(max_workers=16) as pool:
        yield from pool.map(_way, ways.items())


def _way(way: tuple[Proxy | None, list[str]]) -> Finding:
    proxy, names = way
    try:
        seconds = reach(proxy)
    except Unreachable as error:
        return Finding(FAIL, "WhatsApp", f"cannot be reached{_whose(names)}: {error}")
    except Exception as error:  # noqa: BLE001 - the other ways are worth their while
        return _uncheckable("WhatsApp", error)
    how = "directly" if proxy is None else f"through {proxy}"
    return Finding(OK, "WhatsApp", f"can be reached {how}{_whose(names)}, in {seconds:.2f} s")


def _whose(names: list[str]) -> str:
    return f" for {', '.join(names[:3])}{' and others' if len(names) > 3 else ''}" if names else ""
