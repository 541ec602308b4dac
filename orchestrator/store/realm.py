"""Where sessions were paired: with WhatsApp, or with a sandbox; it is kept beside each session.

A service that starts in the wrong environment would have every session refused, and would put them all away
as logged out. So a session is only used where it was paired. The file is a hint against slips: the account's
own process can write it, and who controls the environment runs code anyway.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from orchestrator.store.layout import REALM
from orchestrator.system.files import open_file, open_folder, read_file, replacing, temporary_name
from orchestrator.system.os_errors import shortage

VARIABLE: Final = "ORCHESTRATOR_SANDBOX_ROOT_KEY"
"""The variable by which the sandbox is taken for WhatsApp; `orchestrator.sandbox.environment` has it, too."""
WHATSAPP: Final = "whatsapp"
WARNING: Final = (
    f"{VARIABLE} is set, so this is the sandbox's environment: a service that starts here connects to a"
    " sandbox and not to WhatsApp"
)
LEAVE: Final = '`eval "$(orchestrator sandbox env --unset)"`'
"""How a shell leaves the sandbox's environment."""
ADVICE: Final = f"if real accounts are to run here: {LEAVE}, or open a new shell"

_NOT: Final = "not "
_REALM = re.compile(rf"{WHATSAPP}|(?:{_NOT})?sandbox [0-9a-f]{{16}}", re.ASCII)
_MAX_SIZE: Final = 64


def current(environ: Mapping[str, str] = os.environ) -> str:
    """Return where accounts connect to: ``whatsapp``, or ``sandbox`` and a word for the sandbox's key."""
    key = environ.get(VARIABLE)
    if key is None:
        return WHATSAPP
    import hashlib  # which a command that only warns does not need

    return f"sandbox {hashlib.sha256(key.strip().lower().encode(errors='replace')).hexdigest()[:16]}"


def is_sandbox(environ: Mapping[str, str] = os.environ) -> bool:
    """Tell whether accounts connect to a sandbox in an environment."""
    return VARIABLE in environ


def read(home: Path) -> str | None:
    """Return where a session was paired, or ``not`` and where it was not; None if that is not known.

    Args:
        home: The account's folder, in which no link is followed.

    Raises:
        OSError: The machine lacks what it takes to read that.
    """
    try:
        folder = open_folder(home)
        try:
            text = read_file(REALM, _MAX_SIZE, dir_fd=folder).decode("ascii", "replace").strip()
        finally:
            os.close(folder)
    except OSError as error:
        if shortage(error) is not None:
            raise
        return None
    return text if _REALM.fullmatch(text) else None


def note(home: Path, realm: str) -> None:
    """Write down where a session is paired, in the place of whatever is there.

    Raises:
        OSError: It cannot be written.
    """
    folder = open_folder(home)
    try:
        name = temporary_name(REALM)
        with os.fdopen(open_file(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, dir_fd=folder), "wb") as file:
            file.write(f"{realm}\n".encode())
        try:
            os.replace(name, REALM, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=folder)
            raise
    finally:
        os.close(folder)


def other_than(realm: str) -> str:
    """Return what is noted of a session that was not paired there."""
    return f"{_NOT}{realm}"


def is_unknown(kept: str | None, here: str) -> bool:
    """Tell whether a session may have been paired here, as far as is known."""
    return kept is None or (kept.startswith(_NOT) and kept != other_than(here))


def refusal(name: str, kept: str, here: str) -> str:
    """Say why a session is not used here, and what to do.

    Args:
        name: The account.
        kept: What is noted of the session.
        here: Where accounts connect to in this environment.
    """
    anew = f"or pair the account anew here with `orchestrator repair {name}`"
    if here == WHATSAPP:
        return (
            "the session was paired with a sandbox, and this is not a sandbox's environment: start the"
            f' service after `eval "$(orchestrator sandbox env)"`, {anew}'
        )
    leave = f"unset {VARIABLE} or open a new shell, and start the service there"
    if kept == WHATSAPP:
        return f"the session was paired with WhatsApp, and this is the sandbox's environment: {leave}"
    if kept == other_than(here):
        return (
            "the session was not paired with this sandbox, perhaps with WhatsApp, and this is the sandbox's"
            f" environment: {leave}"
        )
    return (
        "the session was paired with another sandbox: start the service in the environment of that sandbox,"
        f" {anew}"
    )


def read_world(path: Path) -> str | None:
    """Return where the last service of a state folder connected to, None if that is not known.

    Args:
        path: The file that says so.
    """
    try:
        text = read_file(path, _MAX_SIZE).decode("ascii", "replace").strip()
    except OSError:
        return None
    return text if _REALM.fullmatch(text) and not text.startswith(_NOT) else None


def note_world(path: Path, realm: str) -> None:
    """Write down where a service connects to, in the place of whatever is there.

    Raises:
        OSError: It cannot be written.
    """
    with replacing(path) as file:
        file.write(f"{realm}\n".encode())


def about_world(path: Path, environ: Mapping[str, str] = os.environ) -> str | None:
    """Say that this is the sandbox's environment, or that the state folder is a sandbox's; else None.

    Args:
        path: The file that says where the last service of the folder connected to.
        environ: The environment of this process.
    """
    here, there = current(environ), read_world(path)
    if here == WHATSAPP:
        if there is None or there == WHATSAPP:
            return None
        return (
            f"the last service on {path.parent} was started in a sandbox's environment: its accounts are a"
            " sandbox's, not WhatsApp's; real accounts need a state folder of their own (--state-dir)"
        )
    if there == WHATSAPP:
        return (
            f"{VARIABLE} is set, so this is the sandbox's environment, but {path.parent} has accounts of"
            f" WhatsApp, which do not connect from here: {LEAVE} leaves the environment, and"
            " `orchestrator sandbox run -- orchestrator …` uses a state folder of the sandbox's own"
        )
    return WARNING
