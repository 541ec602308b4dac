"""Where the configuration and the state folder are."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
from collections.abc import Mapping
from pathlib import Path

from orchestrator.accounts import characters
from orchestrator.accounts.names import shorten
from orchestrator.errors import ConfigError, NoConfiguration, Untrusted
from orchestrator.store.layout import first_folder
from orchestrator.system import trust
from orchestrator.system.folders import user_name

CONFIG_NAME = "accounts.yaml"
SYSTEM_CONFIG = Path("/etc/orchestrator") / CONFIG_NAME
_VARIABLE = re.compile(r"\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([^{}]*)\})")
_PLACES = re.compile(r"HOME|USER|XDG_[A-Z0-9_]+|[A-Z][A-Z0-9_]*_DIRECTORY")
"""Variables that name places or a user: they may stand in a path by themselves."""
_ANY_VARIABLE = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def expand(text: str, *, base: Path, environ: Mapping[str, str]) -> Path:
    """Return an absolute path for what an operator wrote.

    ``~``, ``~user``, ``$NAME`` and ``${NAME}`` are replaced once: what comes out of them is taken as it is.
    NAME is HOME, USER, XDG_… or …_DIRECTORY: a slip must not write a password of the environment into the
    name of a folder. ``${env:NAME}`` stands for any variable.

    Args:
        text: What was written.
        base: What a relative path starts from; absolute.
        environ: The environment; ``~`` is its ``$HOME``, else the home of the process's user.

    Raises:
        ValueError: It is no path, or names a user or a variable that does not exist or may not stand there.
    """
    if not text:
        raise ValueError("an empty path")
    if (unseen := characters.find_unseen(text)) is not None and not text[unseen].isascii():
        raise ValueError(f"a path with {characters.at(text, unseen)}, which nobody can see")
    head, rest = "", text
    if text.startswith("~"):
        user, slash, rest = text.partition("/")
        head, rest = _home(user[1:], environ), slash + rest

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if explicit := _ANY_VARIABLE.fullmatch(name):
            name = explicit[1]
        elif not _PLACES.fullmatch(name):
            raise ValueError(_not_a_place(name))
        if not environ.get(name):
            raise ValueError(f"${name or '{}'}, which is not set")
        return environ[name]

    path = head + _VARIABLE.sub(value, rest)
    if _CONTROL.search(path):
        raise ValueError("a path with control characters")
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        raise ValueError("a path with characters that file names cannot have") from None
    return Path(os.path.normpath(base / path))


def _not_a_place(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        return "${" + shorten(name) + "}, which is no variable: write ${env:NAME}"
    return (
        f"${name}; a path may have $HOME, $USER, $XDG_… and $…_DIRECTORY: for another variable write"
        f" ${{env:{name}}}"
    )


def find_config(
    option: str | Path | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    cwd: Path | None = None,
    create: bool = False,
) -> Path:
    """Return where the configuration is, as an absolute path.

    A file that is named, by the option or by ``$ORCHESTRATOR_CONFIG``, counts whether it exists or not.
    Otherwise it is the first of ``./accounts.yaml``, ``~/.config/orchestrator/accounts.yaml`` and
    ``/etc/orchestrator/accounts.yaml`` that exists. Nobody named that one, and the current folder may be
    anybody's. So the file counts only if nobody but root and this user can change it.

    Args:
        option: What ``--config`` says; an absolute `Path` is taken as it is, all else is expanded.
        environ: The environment.
        cwd: The current folder, if it is not the process's.
        create: If there is none, return where a new one belongs: in ``/etc`` for root, else below the home.

    Raises:
        NoConfiguration: There is none.
        Untrusted: The file that was found can be changed by others.
        ConfigError: What names it cannot be expanded, or this user may not look for it.
    """
    for source, text in (("--config", option), ("$ORCHESTRATOR_CONFIG", environ.get("ORCHESTRATOR_CONFIG"))):
        if text:
            try:
                return _given(text, cwd, environ)
            except ValueError as error:
                raise ConfigError(
                    f"{source}: expected the path of the configuration, found {error}"
                ) from None
    places = []
    with contextlib.suppress(OSError):  # a folder that was removed under us
        places.append((cwd or Path.cwd()) / CONFIG_NAME)
    with contextlib.suppress(ValueError):  # a service's user may have no home
        places.append(Path(_home("", environ)) / ".config/orchestrator" / CONFIG_NAME)
    places.append(SYSTEM_CONFIG)
    for place in places:
        if os.path.lexists(place):  # a link that leads nowhere is found, and then complained about
            _check_unnamed(place)
            return place
    if create:
        return SYSTEM_CONFIG if os.geteuid() == 0 or len(places) == 1 else places[-2]
    for place in places:
        if place.parent.exists() and not os.access(place.parent, os.X_OK):
            raise ConfigError(
                f"{place}: this user may not look there: try again with sudo", key="permission_denied"
            )
    looked = ", ".join(str(place) for place in places)
    raise NoConfiguration(
        f"no configuration found, looked for {looked}: make one with `orchestrator add NAME`,"
        " or name it with --config"
    )


def _check_unnamed(file: Path) -> None:
    """See that nobody but root and this user decides what is in a file.

    Raises:
        Untrusted: Others do.
    """
    weak = trust.weak_for_us(trust.read_way(file))
    if weak is None:
        return
    us = os.geteuid()
    raise Untrusted(
        f"{file} is not used, because {weak.text}, and this user is {user_name(us)}: if this is the right"
        f" configuration, name the file with `--config {file}`, or make the place this user's alone with"
        f" {weak.advice(us)}"
    )


def find_state_dir(
    option: str | Path | None = None,
    configured: Path | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    cwd: Path | None = None,
) -> Path:
    """Return where the state folder is, as an absolute path; it need not exist.

    Args:
        option: What ``--state-dir`` says; an absolute `Path` is taken as it is, all else is expanded.
        configured: What ``state_dir:`` says, expanded.
        environ: The environment; of several folders in ``$STATE_DIRECTORY`` the first is taken.
        cwd: The current folder, if it is not the process's.

    Raises:
        ConfigError: What names it cannot be expanded, or there is no home to put it into.
    """
    source = "the state folder"
    try:
        if option:
            source = "--state-dir"
            path = _given(option, cwd, environ)
        elif configured is not None:
            source = "state_dir"
            path = configured
        elif given := first_folder(environ.get("STATE_DIRECTORY")):
            source = "$STATE_DIRECTORY"
            path = _given(Path(given), cwd, environ)
        else:
            path = Path(_home("", environ)) / ".local/state/orchestrator"
        check_state_path(path)
    except ValueError as error:
        raise ConfigError(f"{source}: expected a folder, found {error}; name one with --state-dir") from None
    return path


def check_state_path(path: Path) -> None:
    """See that session files can be kept under a path.

    The WhatsApp library opens ``file:PATH?_foreign_keys=on``, in which some characters end or change the
    path: the session would silently go elsewhere.

    Raises:
        ValueError: They cannot.
    """
    if found := re.search(r"[?#%]", str(path)):
        raise ValueError(f"a path with {found[0]}, which session files cannot have in theirs")


def _given(option: str | Path, cwd: Path | None, environ: Mapping[str, str]) -> Path:
    if isinstance(option, Path) and option.is_absolute():
        return option
    try:
        base = cwd or Path.cwd()
    except OSError:
        raise ValueError("a relative path, and the current folder is gone") from None
    return expand(str(option), base=base, environ=environ)


def _home(user: str, environ: Mapping[str, str]) -> str:
    if not user and environ.get("HOME", "").startswith("/"):
        return environ["HOME"]
    try:
        return (pwd.getpwnam(user) if user else pwd.getpwuid(os.getuid())).pw_dir
    except (KeyError, ValueError):
        raise ValueError(
            f"a path of the user {shorten(user)}, who does not exist"
            if user
            else "none, and $HOME is not set"
        ) from None
