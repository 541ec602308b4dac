"""The systemd unit of an installation, and whether the installation is fit for one. `unit_install` writes it.

The units that are written are those that are shipped, in ``systemd/``, with three things put in their place:
the program, the configuration and the user; and a first line by which a change by hand is noticed.
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
from orchestrator.config import reader
from orchestrator.config.edit import NEW_FILE
from orchestrator.config.locate import CONFIG_NAME
from orchestrator.errors import ConfigError, OrchestratorError
from orchestrator.system.files import first_closed
from orchestrator.system.units import MARK, UNITS

_INSTALLED = Path(__file__).resolve().parent / "systemd"
SHIPPED = _INSTALLED if _INSTALLED.is_dir() else _INSTALLED.parents[3] / "systemd"
"""The folder of the files as they are shipped: part of the installed package, or the checkout's own."""
SYSUSERS = Path("/etc/sysusers.d")
QR_GROUP = "orchestrator-qr"
"""The group that may see the codes in a configuration that is made here."""
PROGRAM = "/opt/orchestrator/bin/orchestrator"
"""The program in the files as shipped."""
HIDDEN = tuple(map(Path, ("/root", "/home", "/run/user", "/tmp", "/var/tmp")))
"""Where the service sees nothing, by ProtectHome= and PrivateTmp=."""

_USER = re.compile(r"[a-z_][a-z0-9_-]{0,30}")
"""A user's name that every tool takes."""
_PLAIN = re.compile(r"/[A-Za-z0-9/._@+,:=-]*")
"""A path that means the same in a unit, where blanks, %, $, quotes and backslashes mean something."""


class UnitError(OrchestratorError):
    """The unit cannot be written or removed. The message says why and what to do."""

    key = "unit_failed"


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit: that of this installation, or one of its instances.

    Attributes:
        instance: Its name, if it is one of several.
        own_user: Whom it runs as, if not as the user who is made for it.
        config: The configuration; None for the usual place.
        program: The command ``orchestrator``.
    """

    instance: str | None = None
    own_user: str | None = None
    config: Path | None = None
    program: Path = Path(PROGRAM)

    @property
    def name(self) -> str:
        """What systemctl calls it."""
        return f"orchestrator@{self.instance}" if self.instance else "orchestrator"

    @property
    def folder(self) -> str:
        """The name of its folders in /etc, /var/lib and /run."""
        return f"orchestrator-{self.instance}" if self.instance else "orchestrator"

    @property
    def user(self) -> str:
        """Whom it runs as."""
        return self.own_user or self.folder

    @property
    def config_file(self) -> Path:
        """Its configuration."""
        return self.config or Path("/etc") / self.folder / CONFIG_NAME

    @property
    def state(self) -> Path:
        """Its state folder."""
        return Path("/var/lib") / self.folder

    @property
    def runtime(self) -> Path:
        """The folder of its control socket."""
        return Path("/run") / self.folder

    @property
    def path(self) -> Path:
        """Where its file is."""
        return UNITS / f"{self.name}.service"

    @property
    def sysusers(self) -> Path:
        """Where the file is that makes its user."""
        return SYSUSERS / f"{self.name}.conf"

    def files(self) -> dict[Path, str]:
        """Return its files and what is to be in them."""
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
        """Return what its configuration starts as."""
        start, accounts, rest = NEW_FILE.partition("accounts:\n")
        return (
            f"{start}state_dir: {self.state}\n\n"
            f"# The codes to scan: members of the group {QR_GROUP} may see them.\n"
            f"qr_dir: {self.runtime}/qr\n"
            f"qr_group: {QR_GROUP}\n\n{accounts}{rest}"
        )


def plan(instance: str | None, user: str | None, file: Path | None) -> Unit:
    """Return the unit for the installation that this is a part of, once it is checked to be fit for one.

    Args:
        instance: The name of one of several.
        user: Whom it is to run as; by default a user who is made for it.
        file: The configuration, which must exist; by default that in /etc, which is made.

    Raises:
        UnitError: It is not fit, or what is asked for is not.
        ConfigError: The configuration is not valid, or not fit for the unit.
    """
    unit = replace(unit_of(instance, file), own_user=user, program=_program())
    _check_user(unit)
    _check_installation(unit)
    _check_config(unit)
    return unit


def unit_of(instance: str | None, file: Path | None) -> Unit:
    """Return the unit of a name, as it would be without a user of its own.

    Args:
        instance: The name of one of several.
        file: The configuration, if it is not in the usual place.

    Raises:
        ConfigError: It can have no such name.
    """
    if instance is not None:
        check_name(instance)
    unit = Unit(instance)
    return unit if file is None or file == unit.config_file else replace(unit, config=file)


def _program() -> Path:
    """Return the command of this installation.

    Raises:
        UnitError: There is none.
    """
    beside = Path(sys.executable).parent / "orchestrator"
    for program in (beside, Path(sysconfig.get_path("scripts")) / "orchestrator"):
        if program.is_file():
            return program
    raise UnitError(
        f"{beside} is not there, and the unit would start it: install the package with pip, into the"
        " environment of this Python"
    )


def _check_installation(unit: Unit) -> None:
    """See that the service would find the program, its Python and its packages."""
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
                f"{what} is below {hidden} ({path}), where the unit, which is locked down, sees nothing. Use"
                " a Python that is not, and install into /opt: `/usr/bin/python3 -m venv /opt/orchestrator`,"
                " `/opt/orchestrator/bin/pip install …`, `/opt/orchestrator/bin/orchestrator install-unit`"
            )
    if not _PLAIN.fullmatch(str(unit.program)):
        raise UnitError(f"{unit.program}: a unit cannot name this path plainly; install into /opt")
    for path in places:
        check_open(path, unit.user, "install it under an umask of 022")


def _hider(path: Path) -> Path | None:
    return next((folder for folder in HIDDEN if path.is_relative_to(folder)), None)


def _check_user(unit: Unit) -> None:
    """See that there is such a user, or that one can be made."""
    if unit.own_user is None:
        if not _USER.fullmatch(unit.user) or unit.user == QR_GROUP:
            raise UnitError(
                f"no user can be called {unit.user}: choose a name for the instance of up to 18 of a-z, 0-9,"
                " dash and underscore, or name a user with --user"
            )
        return
    try:
        uid = pwd.getpwnam(unit.user).pw_uid
    except KeyError:
        raise UnitError(
            f"there is no user {unit.user}: make it with `useradd --system {unit.user}`, or leave --user out,"
            " and one is made"
        ) from None
    if uid == 0:
        raise UnitError("the service needs no rights of root's: leave --user out, or name another user")


def _check_config(unit: Unit) -> None:
    """See that a configuration that exists fits the unit, and that the service may read it."""
    file = unit.config_file
    if hidden := _hider(file):
        raise UnitError(f"{file}: the unit sees nothing below {hidden}; move the configuration to /etc")
    if not _PLAIN.fullmatch(str(file)):
        raise UnitError(f"{file}: a unit cannot name this path plainly; move the configuration to /etc")
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
    # What a file does not say shows in what it is read as.
    found = reader.load(file, environ={**os.environ, "STATE_DIRECTORY": "/not/named"})
    if found.state_dir != unit.state:
        raise ConfigError(
            f"{file}: the unit's state folder is {unit.state}: write `state_dir: {unit.state}` into this"
            " file, by which commands find the service, too"
            + ("" if found.state_dir == Path("/not/named") else f", and move {found.state_dir} there")
        )


def check_open(path: Path, user: str, advice: str) -> None:
    """See that a user may read what is at a path.

    Raises:
        UnitError: A folder above it, or it itself, is closed to the user.
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
        return -1, []  # one who is still to be made is nobody's owner
    return about.pw_uid, os.getgrouplist(user, about.pw_gid)


def _group(user: str) -> str:
    try:
        return grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name
    except KeyError:
        return user


def notes(unit: Unit) -> Iterator[str]:
    """Yield what the configuration asks for that the unit does not allow by itself, and what to do about it.

    Raises:
        ConfigError: It is not valid.
    """
    found = reader.load(unit.config_file)
    if not any(found.qr_dir.is_relative_to(folder) for folder in (unit.state, unit.runtime)):
        yield (
            f"the unit may not write to {found.qr_dir}: give the folder to {unit.user} and allow it, by"
            f" `[Service]` and `ReadWritePaths={found.qr_dir}` in `systemctl edit {unit.name}`; or set"
            f" `qr_dir: {unit.runtime}/qr`"
        )


def marked(text: str) -> str:
    """Return a file's text below a line by which a change by hand is noticed."""
    return f"{MARK} {__version__}; {digest(text)}\n{text}"


def digest(text: str) -> str:
    """Return what tells that a text was not changed."""
    return f"sha256 {hashlib.sha256(text.encode()).hexdigest()}"
