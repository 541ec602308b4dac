"""What a child is started with: plain, small, and pickled on its way to the fork server."""

from __future__ import annotations

import json
import signal
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from orchestrator.accounts.pipe import Pairing
from orchestrator.accounts.settings import Confine, Messages, Sending
from orchestrator.worker.seal import Seal

VARIABLE: Final = "ORCHESTRATOR_CONFINEMENT"
"""By which the service tells the process that makes the others how to confine itself, see `MakerSpec`."""

LAST_CALL_SIGNAL: Final = signal.SIGUSR2
"""Has a child that hangs take what its library holds, write where its threads are, and end: `last_call`."""


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """One run of one account.

    Attributes:
        name: The account's name.
        database: The session's SQLite file, absolute; it need not exist.
        dsn: The database that has the session instead, with a password; None for the file.
        stored: Whose session is there: digits of the number, empty if it is not known, None for nobody's.
        reads: What the library reads besides, such as the certificate of who vouches for the database.
        lock: The file whose lock says that a process uses the session, absolute.
        home: The account's folder for its session, absolute; None if it has none of its own.
        messages: The account's folder for its messages, likewise.
        keeps: Which messages are kept.
        sending: How it sends.
        taken: The number up to which every consumer has had the entries of the inbox, as far as it is known;
            None: there is no consumer.
        phone: Digits of the number it must be linked to, or None.
        remembered: Whether that is the number it had before, and not one that the configuration names.
        proxy: URL of its proxy, password and all, or None for what the environment says.
        device_name: What the phone shows under linked devices.
        pairing: How to link it if it is not linked yet; "code" needs a phone.
        log_level: What of the library's log is passed on: DEBUG, INFO, WARNING or ERROR.
        log_format: How: "text", a line each, or "json", an object each.
        library: Which library of neonize's was checked; None: the child checks it by itself.
        trace: The file for the traceback, should it hang or crash; absolute, or None for none.
        confine: Whether it gives up all files and system calls that it does not need.
        closed: Folders that it never reads as a whole, such as the state folder.
        until: When it ends by itself unless `Extend` says more, in seconds since the machine has booted;
            None where no other machine may run the account.
        storing: Where it has its messages stored, by `messages.remote`; None: in the files of its folder.
    """

    name: str
    database: Path
    lock: Path
    dsn: str | None = field(default=None, repr=False)
    stored: str | None = field(default=None, repr=False)
    reads: tuple[Path, ...] = ()
    home: Path | None = None
    messages: Path | None = None
    keeps: Messages = field(default_factory=Messages)
    sending: Sending = field(default_factory=Sending)
    taken: int | None = None
    phone: str | None = field(default=None, repr=False)
    remembered: bool = False
    proxy: str | None = field(default=None, repr=False)
    device_name: str = "Orchestrator"
    pairing: Pairing = "qr"
    log_level: str = "WARNING"
    log_format: str = "text"
    trace: Path | None = None
    library: Seal | None = None
    confine: Confine = "auto"
    closed: tuple[Path, ...] = ()
    until: float | None = None
    storing: socket.socket | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class MakerSpec:
    """How the process that makes the others confines itself.

    Attributes:
        confine: Whether it does.
        folders: In which the accounts have folders of their own, or write to at their start.
        closed: Folders that are never read as a whole.
        modules: Where the service finds modules of Python.
        merge: Whether the kernel may merge their memory.
        reads: Files that the accounts' processes read to open their sessions.
    """

    confine: Confine
    folders: tuple[Path, ...]
    closed: tuple[Path, ...]
    modules: tuple[str, ...]
    merge: bool = False
    reads: tuple[Path, ...] = ()

    def as_text(self) -> str:
        """Return it as a text, for a variable of the environment."""
        folders, closed, reads = (
            [str(path) for path in paths] for paths in (self.folders, self.closed, self.reads)
        )
        return json.dumps([self.confine, folders, closed, list(self.modules), self.merge, reads])

    @classmethod
    def from_text(cls, text: str) -> MakerSpec:
        """Read what `as_text` returns."""
        mode, folders, closed, modules, merge, reads = json.loads(text)
        folders, closed, reads = (tuple(map(Path, paths)) for paths in (folders, closed, reads))
        return cls(mode, folders, closed, tuple(modules), merge, reads)
