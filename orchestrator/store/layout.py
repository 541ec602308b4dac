"""Where everything is: the configuration, and the state folder with all that is kept in it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.accounts.names import check_name
from orchestrator.errors import StateError
from orchestrator.system.folders import Folder, make_folder

DATABASE = "session.sqlite3"
"""The name of a session's database in its account's folder; SQLite's other files lie beside it."""
LOCK = "session.lock"
"""The name of the file whose lock says that a process uses the session."""
REALM = "realm"
"""The name of the file that says what a session was paired with."""
MESSAGES = "messages"
"""The name of the folder of the messages, and of an account's messages in quarantine."""
INBOX = "inbox.sqlite3"
"""The name of an inbox in the folder of its account's messages; SQLite's other files lie beside it."""
OUTBOX = "outbox.sqlite3"
"""The name of an outbox, in the folder of its account's messages; SQLite's other files lie beside it."""
OUTGOING = "outgoing"
"""The name of the folder of the files that wait to be sent, beside the outbox."""
RESERVE = "reserve"
"""The name of the file that keeps room for messages, in the folder of an account's messages."""
BEGIN = "begin"
"""The name of the file that says how far the inboxes of an account have counted before the present one."""
QR_FOLDER = "qr"
MEETING_PLACE = "processes"
"""The folder in which the service and its fork server meet."""
MAX_SOCKET_PATH = 107
"""Bytes of a UNIX socket's path: sockaddr_un has 108 on Linux, and the last is a zero."""


@dataclass(frozen=True, slots=True)
class StatePaths:
    """The state folder and everything in it.

    Attributes:
        root: The folder itself, absolute.
        control_socket: Where the service listens for commands.
    """

    root: Path
    control_socket: Path

    @classmethod
    def of(cls, root: Path, *, environ: Mapping[str, str] = os.environ) -> StatePaths:
        """Make the paths for a state folder.

        Args:
            root: The state folder.
            environ: The environment; of several folders in ``$RUNTIME_DIRECTORY`` the first is taken.

        Raises:
            StateError: The control socket's path would be longer than the system allows.
        """
        runtime = first_folder(environ.get("RUNTIME_DIRECTORY"))
        socket = (Path(runtime).absolute() if runtime else root) / "control.sock"
        length = len(os.fsencode(socket))
        if length > MAX_SOCKET_PATH:
            raise StateError(
                f"{socket}: a socket's path may have {MAX_SOCKET_PATH} bytes, this one has {length}: choose"
                " a shorter state folder, or name a short one for the socket in $RUNTIME_DIRECTORY"
                " (under systemd: RuntimeDirectory=orchestrator)"
            )
        return cls(root, socket)

    @property
    def sessions(self) -> Path:
        """The folder of the sessions, with a folder for each account."""
        return self.root / "sessions"

    @property
    def messages(self) -> Path:
        """The folder of the messages, with a folder for each account."""
        return self.root / MESSAGES

    @property
    def quarantine(self) -> Path:
        """The folder of sessions put aside."""
        return self.root / "quarantine"

    @property
    def timeline(self) -> Path:
        """The folder of the accounts' histories."""
        return self.root / "timeline"

    @property
    def tracebacks(self) -> Path:
        """The folder of what the accounts' processes did when they hung or crashed."""
        return self.root / "tracebacks"

    @property
    def qr(self) -> Path:
        """The folder of the QR codes, unless the configuration names another."""
        return self.root / QR_FOLDER

    @property
    def gateway(self) -> Path:
        """The folder of the gateway: how far who takes events has come, and what is tried again."""
        return self.root / "gateway"

    @property
    def tokens(self) -> Path:
        """The folder with the file of the tokens, as hashes."""
        return self.root / "tokens"

    @property
    def bots(self) -> Path:
        """The folder of the bots, with a folder for each, which only the bot writes in."""
        return self.root / "bots"

    @property
    def lock(self) -> Path:
        """The file whose lock says that a service runs on this folder."""
        return self.root / "orchestrator.lock"

    @property
    def status(self) -> Path:
        """The file with the operators' wishes and what was last known of the accounts."""
        return self.root / "status.json"

    @property
    def summary(self) -> Path:
        """The file with what commands show of the configuration while no service runs."""
        return self.root / "configuration.json"

    @property
    def maintenance(self) -> Path:
        """The file that is there while maintenance is on."""
        return self.root / "maintenance.json"

    @property
    def world(self) -> Path:
        """The file that says where the last service of this folder connected to: see `store.realm`."""
        return self.root / "world"

    @property
    def on_change(self) -> Path:
        """The file with what the program of `on_change` was told, and how its last call ended."""
        return self.root / "on_change.json"

    @property
    def alive(self) -> Path:
        """The file that says when a service was there last."""
        return self.root / "alive.json"

    @property
    def moving(self) -> Path:
        """The file that says what is being moved, while it is."""
        return self.root / "moving.json"

    @property
    def meeting_places(self) -> tuple[Path, ...]:
        """The folders in which the fork server may listen, the best first."""
        return tuple(
            dict.fromkeys(folder / MEETING_PLACE for folder in (self.control_socket.parent, self.root))
        )

    @property
    def private(self) -> tuple[Path, ...]:
        """The folders that nobody else may enter, inside the state folder."""
        return (
            self.sessions, self.messages, self.quarantine, self.timeline, self.tracebacks, self.gateway,
            self.tokens, self.bots,
        )  # fmt: skip

    def home(self, name: str) -> Path:
        """Return the folder of an account's session, which only the account's process writes in."""
        return self.sessions / check_name(name)

    def message_folder(self, name: str) -> Path:
        """Return the folder of an account's messages, which only the account's process writes in."""
        return self.messages / check_name(name)

    def session(self, name: str) -> Path:
        """Return an account's session file; SQLite's others lie beside it."""
        return self.home(name) / DATABASE

    def session_lock(self, name: str) -> Path:
        """Return the file whose lock says that a process uses the session."""
        return self.home(name) / LOCK

    def prepare(self) -> list[str]:
        """Make the folders that are missing, and close those that are open to others.

        The QR folder may stay open to a group (0750); a folder that the configuration names for the codes is
        not looked at here.

        Returns:
            What was repaired, a sentence each, for the log.

        Raises:
            StateError: A folder cannot be made or is not fit for secrets: it belongs to somebody else, is a
                symbolic link, or is a folder that others use, too.
        """
        with Folder.open(self.root) as root:
            names = {path.name for path in (*self.private, self.qr)}
            files = {
                self.lock.name, self.status.name, self.summary.name, self.maintenance.name, self.moving.name,
                self.alive.name, self.on_change.name, self.world.name, "control.sock", MEETING_PLACE,
            }  # fmt: skip
            # A volume of its own has lost+found from the start.
            repaired = root.close_to_others(known=frozenset(names | files | {"lost+found"}))
            for path in self.private:
                with root.child(path) as folder:
                    repaired += folder.close_to_others()
            with root.child(self.qr) as folder:
                repaired += folder.close_to_others(tolerated=0o050)
        if self.control_socket.parent != self.root:
            make_folder(self.control_socket.parent)
        return repaired


def is_of_service(folder: Path, root: Path) -> bool:
    """Tell whether a folder is the state folder, or lies where only the service and accounts may write.

    The process of an account reads and writes all that lies in the account's folders.

    Args:
        folder: The folder, which need not exist.
        root: The state folder.
    """
    real, state = Path(os.path.realpath(folder)), Path(os.path.realpath(root))
    own = (*StatePaths(root=state, control_socket=state).private, state / MEETING_PLACE)
    return real == state or any(map(real.is_relative_to, own))


def first_folder(folders: str | None) -> str:
    """Return the first folder of a list such as systemd's ``$STATE_DIRECTORY``; empty if there is none."""
    return (folders or "").partition(":")[0]
