"""The systemd unit of an installation, and whether the installation can have one. `install` writes the unit.

The written units are the shipped units of ``systemd/``, with the program, the configuration and the user put
in. Their first line shows whether a file was edited by hand.
"""

from __future__ import annotations

import grp
import hashlib
import os
import pwd
import re
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from orchestrator import __version__
from orchestrator.accounts.names import check_name
from orchestrator.cli.unit import owners
from orchestrator.config import reader
from orchestrator.config.edit import NEW_FILE
from orchestrator.config.locate import CONFIG_NAME
from orchestrator.errors import ConfigError, OrchestratorError
from orchestrator.system import trust
from orchestrator.system.files import first_closed
from orchestrator.system.units import MARK, UNITS

_INSTALLED = Path(__file__).resolve().parent / "systemd"
SHIPPED = _INSTALLED if _INSTALLED.is_dir() else _INSTALLED.parents[3] / "systemd"
"""The folder of the files as they are shipped: part of the installed package, or the checkout's own."""
SYSUSERS = Path("/etc/sysusers.d")
QR_GROUP = "orchestrator-qr"
"""The group that may see the codes, in a configuration that `install` makes."""
PROGRAM = "/opt/orchestrator/bin/orchestrator"
"""The program in the files as shipped."""
HIDDEN = tuple(map(Path, ("/root", "/home", "/run/user", "/tmp", "/var/tmp")))
"""Folders that ProtectHome= and PrivateTmp= hide from the service."""

_USER = re.compile(r"[a-z_][a-z0-9_-]{0,30}")
"""A user name that every tool accepts."""
_PLAIN = re.compile(r"/[A-Za-z0-9/._@+,:=-]*")
"""A path that means the same in a unit, where blanks, %, $, quotes and backslashes mean something."""


class UnitError(OrchestratorError):
    """The unit cannot be written or removed; the message says why and what to do."""

    key = "unit_failed"


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit: the installation's only unit, or one of several instances.

    Attributes:
        instance: The instance's name, if there are several.
        own_user: The user that runs the service, if install-unit makes no user.
        config: The configuration; None for the usual place.
        program: The command ``orchestrator``.
    """

    instance: str | None = None
    own_user: str | None = None
    config: Path | None = None
    program: Path = Path(PROGRAM)

    @property
    def name(self) -> str:
        """The unit's name for systemctl."""
        return f"orchestrator@{self.instance}" if self.instance else "orchestrator"

    @property
    def folder(self) -> str:
        """The name of the unit's folders in /etc, /var/lib and /run."""
        return f"orchestrator-{self.instance}" if self.instance else "orchestrator"

    @property
    def user(self) -> str:
        """The user that runs the service."""
        return self.own_user or self.folder

    @property
    def config_file(self) -> Path:
        """The service's configuration."""
        return self.config or Path("/etc") / self.folder / CONFIG_NAME

    @property
    def example_file(self) -> Path:
        """The file beside the configuration that shows every key."""
        return self.config_file.with_name("accounts.example.yaml")

    @property
    def state(self) -> Path:
        """The service's state folder."""
        return Path("/var/lib") / self.folder

    @property
    def runtime(self) -> Path:
        """The folder of the control socket."""
        return Path("/run") / self.folder

    @property
    def path(self) -> Path:
        """Where the unit's file is."""
        return UNITS / f"{self.name}.service"

    @property
    def sysusers(self) -> Path:
        """Where the file is by which systemd makes the user."""
        return SYSUSERS / f"{self.name}.conf"

    def files(self) -> dict[Path, str]:
        """Return the unit's files, each with its text."""
        shipped = (SHIPPED / f"orchestrator{'@' if self.instance else ''}.service").read_text()
        said = f"/etc/orchestrator{'-%i' if self.instance else ''}/{CONFIG_NAME}"
        lines = []
        for line in shipped.splitlines(keepends=True):
            if line.startswith(("ExecStart=", "ExecReload=")):
                line = line.replace(PROGRAM, str(self.program))
                if self.config:
                    line = line.replace(said, str(self.config))
            elif line.startswith("User=") and self.own_user:
                line = f"User={self.own_user}\n"
            lines.append(line)
        users = (SHIPPED / "orchestrator.sysusers.conf").read_text()
        users = re.sub(r"^([um]) orchestrator ", rf"\1 {self.user} ", users, flags=re.MULTILINE)
        users = users.replace("/var/lib/orchestrator\n", f"{self.state}\n")
        return {self.path: marked("".join(lines)), self.sysusers: marked(users)}

    def first_config(self) -> str:
        """Return the first text of the configuration."""
        start, accounts, rest = NEW_FILE.partition("accounts:\n")
        return (
            f"{start}state_dir: {self.state}\n\n"
            f"# The codes to scan: members of the group {QR_GROUP} may see them.\n"
            f"qr_dir: {self.runtime}/qr\n"
            f"qr_group: {QR_GROUP}\n\n{accounts}{rest}"
        )


def plan(instance: str | None, user: str | None, file: Path | None) -> Unit:
    """Check that this installation can have a unit, and return the unit.

    Args:
        instance: The name of one of several instances.
        user: The user that runs the service; by default a new user.
        file: The configuration, which must exist; by default a file in /etc, created if missing.

    Raises:
        UnitError: The installation cannot have this unit.
        ConfigError: The configuration is not valid, or does not fit the unit.
    """
    unit = replace(unit_of(instance, file), own_user=user, program=_program())
    _check_user(unit)
    _check_installation(unit)
    _check_config(unit)
    return unit


def unit_of(instance: str | None, file: Path | None) -> Unit:
    """Return the unit of a name, with the default user.

    Args:
        instance: The name of one of several instances.
        file: The configuration, if it is not in the usual place.

    Raises:
        ConfigError: The name is not valid.
    """
    if instance is not None:
        check_name(instance)
    unit = Unit(instance)
    return unit if file is None or file == unit.config_file else replace(unit, config=file)


def _program() -> Path:
    """Return the path of this installation's command.

    Raises:
        UnitError: The command is not installed.
    """
    beside = Path(sys.executable).parent / "orchestrator"
    for program in (beside, Path(sysconfig.get_path("scripts")) / "orchestrator"):
        if program.is_file():
            return program
    raise UnitError(
        f"the unit would start {beside}, which does not exist: install the package with pip, into the"
        " environment of this Python"
    )


def _check_installation(unit: Unit) -> None:
    """Check that the service would find the program, its Python and its packages."""
    spec = find_spec("neonize")
    here = Path(__file__).resolve().parents[2]
    places = {
        unit.program: "this program",
        here: "this program",
        Path(spec.origin).parent if spec and spec.origin else here: "neonize",
        Path(sys.executable): "the Python of this program",
        Path(sys.executable).resolve(): "the Python of this program",
        Path(sysconfig.get_path("stdlib")).resolve(): "the Python of this program",
    }
    for path, what in places.items():
        if hidden := _hider(path):
            raise UnitError(
                f"{what} is below {hidden} ({path}), which systemd hides from the service. Use a Python from"
                " another folder, and install into /opt: `/usr/bin/python3 -m venv /opt/orchestrator`,"
                " `/opt/orchestrator/bin/pip install …`, `/opt/orchestrator/bin/orchestrator install-unit`"
            )
    if not _PLAIN.fullmatch(str(unit.program)):
        raise UnitError(f"{unit.program}: a unit cannot have all characters of this path: install into /opt")
    for path in places:
        check_open(path, unit.user, "install the package with `umask 022`")
    check_owner(*places)


def check_owner(*places: Path) -> None:
    """Check that nobody but root can change what the unit would run.

    Args:
        places: Files and folders of the installation.

    Raises:
        UnitError: Somebody else can change a place, a folder above it, or a package.
    """
    if found := owners.find(*places):
        raise UnitError(
            f"{found.weak.text}, so others than root decide what the unit runs: if you trust what is there"
            f" now, use {found.advice}; else install anew as root: `/usr/bin/python3 -m venv"
            " /opt/orchestrator`, `/opt/orchestrator/bin/pip install …`,"
            " `/opt/orchestrator/bin/orchestrator install-unit`"
        )


def check_config_owner(file: Path) -> None:
    """Check that nobody but root can change the configuration, or the folders above it.

    Args:
        file: The configuration, which may be missing.

    Raises:
        UnitError: Somebody else can.
    """
    if weak := trust.weak_for_root(trust.read_way(file)):
        raise UnitError(
            f"{weak.text}, so others than root decide what the service does (its configuration is {file}):"
            f" {weak.advice()}, or move the configuration to /etc"
        )


def _hider(path: Path) -> Path | None:
    return next((folder for folder in HIDDEN if path.is_relative_to(folder)), None)


def _check_user(unit: Unit) -> None:
    """Check that the user exists or can be made."""
    if unit.own_user is None:
        if not _USER.fullmatch(unit.user) or unit.user == QR_GROUP:
            raise UnitError(
                f"{unit.user} is not a valid user name: choose an instance name of at most 18 characters of"
                " a-z, 0-9, dash and underscore, or name a user with --user"
            )
        return
    try:
        uid = pwd.getpwnam(unit.user).pw_uid
    except KeyError:
        raise UnitError(
            f"the user {unit.user} does not exist: make the user with `useradd --system {unit.user}`, or"
            " leave out --user to have a user made"
        ) from None
    if uid == 0:
        raise UnitError("the service needs no root privileges: leave out --user, or name another user")


def _check_config(unit: Unit) -> None:
    """Check that an existing configuration fits the unit, and that the service may read the file."""
    file = unit.config_file
    if hidden := _hider(file):
        raise UnitError(f"{file}: systemd hides {hidden} from the service: move the configuration to /etc")
    if not _PLAIN.fullmatch(str(file)):
        raise UnitError(
            f"{file}: a unit cannot have all characters of this path: move the configuration to /etc"
        )
    check_config_owner(file)
    try:
        file.stat()
    except PermissionError:
        raise ConfigError(
            f"{file}: this user may not look there: try again with sudo", key="permission_denied"
        ) from None
    except OSError:
        if unit.config is None:
            return
    if unit.config is not None:
        check_open(file, unit.user, f"`chgrp {_group(unit.user)} {file}`, `chmod g+r {file}`")
    # A file that names no state folder is read with this one.
    found = reader.load(file, environ={**os.environ, "STATE_DIRECTORY": "/not/named"})
    if found.state_dir != unit.state:
        raise ConfigError(
            f"{file}: the unit's state folder is {unit.state}: write `state_dir: {unit.state}` into this"
            " file, so that commands find the service"
            + ("" if found.state_dir == Path("/not/named") else f", and move {found.state_dir} there")
        )


def check_open(path: Path, user: str, advice: str) -> None:
    """Check that a user may read a file or folder.

    Raises:
        UnitError: The path or a folder above it is closed to the user.
    """
    uid, groups = _ids(user)
    try:
        closed = first_closed(path, uid, groups)
    except OSError as error:
        raise UnitError(f"{error.filename}: {error.strerror}") from None
    if closed:
        place, mode = closed
        raise UnitError(f"{place} is closed to the user {user} (mode {mode:04o}): {advice}")


def _ids(user: str) -> tuple[int, list[int]]:
    try:
        about = pwd.getpwnam(user)
    except KeyError:
        return -1, []  # a user that is still to be made owns nothing
    return about.pw_uid, os.getgrouplist(user, about.pw_gid)


def _group(user: str) -> str:
    try:
        return grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name
    except KeyError:
        return user


def notes(unit: Unit) -> Iterator[str]:
    """Yield what the configuration needs and the unit does not allow, and what to do.

    Raises:
        ConfigError: The configuration is not valid.
    """
    found = reader.load(unit.config_file)
    if not any(found.qr_dir.is_relative_to(folder) for folder in (unit.state, unit.runtime)):
        yield (
            f"the unit may not write to {found.qr_dir}: set `qr_dir: {unit.runtime}/qr`; or give the folder"
            f" to {unit.user}, and add `[Service]` and `ReadWritePaths={found.qr_dir}` with"
            f" `systemctl edit {unit.name}`"
        )


def marked(text: str) -> str:
    """Return a file's text below a line that shows whether the file was edited by hand."""
    return f"{MARK} {__version__}; {digest(text)}\n{text}"


def digest(text: str) -> str:
    """Return a checksum that shows whether a text was changed."""
    return f"sha256 {hashlib.sha256(text.encode()).hexdigest()}"
