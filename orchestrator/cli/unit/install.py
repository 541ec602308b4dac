"""Writes a systemd unit with its user and its folders, and removes the unit; correct files stay unchanged."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from orchestrator.cli.unit.plan import Unit, UnitError, check_open, digest, marked
from orchestrator.config import reference
from orchestrator.system.files import replacing, sweep, sync
from orchestrator.system.units import BOOTED, MARK, UNITS

COMMAND_SECONDS = 90.0
"""How long a systemd command may take; stopping a service takes up to 30 s."""


def install(unit: Unit) -> Iterator[str]:
    """Write a unit's files and make its folders; correct files and folders stay unchanged.

    Yields:
        What was done, a sentence each.

    Raises:
        UnitError: A file was edited by hand, or systemd refused the unit.
        OSError: A file cannot be written.
    """
    files = unit.files()
    changed = [path for path, text in files.items() if _differs(path, text)]
    for path in changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, files[path], 0o644)
        yield f"wrote {path}"
    _run("systemd-sysusers", str(unit.sysusers))
    about = pwd.getpwnam(unit.user)
    yield from _folder(unit.state, about.pw_uid, about.pw_gid, 0o700)
    if unit.config is None:
        yield from _folder(unit.config_file.parent, 0, about.pw_gid, 0o2750)
        yield from _own_config(unit, about.pw_gid)
        yield from _example(unit.example_file)
    _run("systemctl", "daemon-reload")
    if not changed:
        yield f"{unit.path} is up to date"


def _own_config(unit: Unit, group: int) -> Iterator[str]:
    """Make the configuration, or let the service read an existing configuration."""
    file = unit.config_file
    if not file.exists():
        _write(file, unit.first_config(), 0o640, group)
        yield f"wrote {file}, for `orchestrator add`"
        return
    about = file.stat()
    try:
        check_open(file, unit.user, "")
    except UnitError:
        os.chown(file, -1, group)
        file.chmod(about.st_mode & 0o7777 | 0o040)
        yield f"{file}: now readable by the service's group"


def _example(file: Path) -> Iterator[str]:
    """Write the file that shows every key of the configuration; one that somebody has edited stays."""
    text = marked(reference.example())
    try:
        if _differs(file, text):
            _write(file, text, 0o644)
            yield f"wrote {file}, which shows every key of the configuration"
    except UnitError:
        yield f"kept {file}, which was edited; `orchestrator config example` prints the present one"


def _folder(path: Path, uid: int, gid: int, mode: int) -> Iterator[str]:
    if path.is_dir():
        about = path.stat()
        if (about.st_uid, about.st_gid, about.st_mode & 0o7777) == (uid, gid, mode):
            return
        if about.st_uid != uid and uid != 0:
            return  # systemd gives the folder and its files to the user when the service starts
    else:
        path.mkdir(parents=True)
    os.chown(path, uid, gid)
    path.chmod(mode)
    yield f"{path}: belongs to {pwd.getpwuid(uid).pw_name}, mode {mode:04o}"


def uninstall(unit: Unit, *, dry_run: bool = False) -> Iterator[str]:
    """Stop a unit and remove its files. State, configuration and user stay.

    Args:
        unit: The unit.
        dry_run: Change nothing.

    Yields:
        What was done, or would be, a sentence each.

    Raises:
        UnitError: A file was edited by hand, or a systemd command failed.
        OSError: A file cannot be removed.
    """
    there = [path for path in (unit.path, unit.sysusers) if path.exists()]
    for path in there:
        _read_ours(path)
    if unit.path in there:
        if not dry_run:
            _run("systemctl", "disable", "--now", unit.path.name)
        yield f"{'would stop and disable' if dry_run else 'stopped and disabled'} {unit.name}"
    for path in there:
        if not dry_run:
            path.unlink()
        yield f"{'would remove' if dry_run else 'removed'} {path}"
    if not there:
        yield f"{unit.path} is not installed"
    elif not dry_run:
        _run("systemctl", "daemon-reload")
    stays = (unit.state, unit.config_file, unit.path.with_suffix(".service.d"))
    if kept := [place for path in stays if (place := _found(path))]:
        yield f"{'would keep' if dry_run else 'kept'}: {', '.join(map(str, kept))}"


def _found(path: Path) -> Path | None:
    """Return a path if something is there, or the folder that this user may not look into."""
    try:
        path.stat()
    except PermissionError:
        return path.parent
    except OSError:
        return None
    return path


def check_machine() -> None:
    """Check that this user can install a unit on this machine.

    Raises:
        UnitError: The user is not root, or systemd does not run.
    """
    if os.geteuid() != 0:
        raise UnitError(
            "only root can install a unit: use sudo, or add --dry-run to see what would be done",
            key="needs_root",
        )
    if not BOOTED.is_dir():
        raise UnitError(
            "systemd does not run on this machine: use `orchestrator run`, or see the unit with --dry-run",
            key="no_systemd",
        )


def _differs(path: Path, text: str) -> bool:
    return not path.exists() or _read_ours(path) != text


def _read_ours(path: Path) -> str:
    """Return the text of a file that install-unit wrote, in this version or another.

    Raises:
        UnitError: The file was written by hand, or edited.
    """
    text = path.read_text(errors="replace")
    mark, _, rest = text.partition("\n")
    if not mark.startswith(MARK) or not mark.endswith(digest(rest)):
        edit = f"`systemctl edit {path.stem}`" if path.parent == UNITS else "another file"
        raise UnitError(
            f"{path} was not written by install-unit, or was edited: move your changes to {edit}, remove the"
            f" file with `rm {path}`, and try again"
        )
    return text


def _write(path: Path, text: str, mode: int, group: int = 0) -> None:
    """Write a file atomically, with its mode."""
    sweep(path.parent, of=path.name)
    with replacing(path) as file:
        os.fchown(file.fileno(), 0, group)
        os.fchmod(file.fileno(), mode)
        file.write(text.encode())
        sync(file)


def _run(*command: str) -> None:
    """Run a systemd command.

    Raises:
        UnitError: The command fails, or is not installed.
    """
    if shutil.which(command[0]) is None:
        raise UnitError(f"{command[0]} is not installed: install systemd", key="no_systemd")
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UnitError(f"`{' '.join(command)}` did not end within {COMMAND_SECONDS:.0f} s") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise UnitError(f"`{' '.join(command)}` failed: {said or f'exit code {done.returncode}'}")
