"""What the service needs of a store. Files are behind it today (`files`); another store implements the same.

    SessionStore   the accounts' credentials: where they are, quarantine, whose device they are
    Moves          what moves everything of an account at once, and survives being interrupted
    Record         what is written down of accounts: operators' wishes, last known state, history
    Codes          the QR codes, shown to those who watch
    Ownership      who may run the accounts

``tests/unit/store/test_contract.py`` says what every implementation has to do, and runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from orchestrator.errors import StateError
from orchestrator.store.configured import Configured
from orchestrator.store.layout import StatePaths

if TYPE_CHECKING:
    from orchestrator.accounts.failure import Outcome
    from orchestrator.consumers.followed import Page, Row, Stand
    from orchestrator.consumers.pulling import Batch, Known, Reach
    from orchestrator.consumers.writes import Place as Stream
    from orchestrator.errors import StoreAway
    from orchestrator.store.device import Device
    from orchestrator.store.moving import Rename, Restore, Restored
    from orchestrator.store.put_away import Entry, Purged
    from orchestrator.store.status import Kept
    from orchestrator.store.summary import Summary
    from orchestrator.store.timeline import TimelineEntry
    from orchestrator.store.told import Kept as Told


@dataclass(frozen=True, slots=True)
class Place:
    """Where an account's process finds its session.

    Attributes:
        database: What the library opens.
        lock: The file whose lock says that a process uses the session.
        home: The account's folder for its session; nobody but the account's process writes in it.
        messages: The account's folder for its messages, likewise.
        dsn: The database that has the session instead, with a password; None for the file.
        stored: Whose session is there: digits of the number, empty if it is not known, None for nobody's.
        reads: What the library has to read for that.
    """

    database: Path
    lock: Path
    home: Path
    messages: Path
    dsn: str | None = field(default=None, repr=False)
    stored: str | None = field(default=None, repr=False)
    reads: tuple[Path, ...] = ()
    consumers: ConsumerStore | None = None
    pulls: PullRows | None = None


class SessionStore(Protocol):
    """The sessions. No process may use a session that is moved or put into quarantine."""

    def place(self, name: str) -> Place:
        """Return where an account's session is, or will be."""

    def admit(self, name: str) -> Outcome | None:
        """Make an account's place ready for a process of the account; may take a moment, and never raises.

        Returns:
            Why no process may start, with what to do; None if one may.
        """

    def settle(self, name: str) -> None:
        """Note that an account has connected, so its session is of where it connects to; never raises."""

    def exists(self, name: str) -> bool:
        """Tell whether anything is in the place of an account's session, linked or not."""

    def device(self, name: str) -> Device:
        """Tell which linked device an account's session is of; never raises."""

    def sent(
        self, name: str, wanted: Collection[bytes], digest: Callable[[bytes], bytes]
    ) -> Mapping[bytes, str] | None:
        """Tell which messages of an account have left, by its session; never raises.

        Args:
            name: The account.
            wanted: What stands for the secrets of the messages.
            digest: Returns what stands for a secret.

        Returns:
            Identifiers of those that have left, or may have, by what stands for their secrets. None if
            nothing is certain, also of the others.
        """

    def signature(self, name: str) -> Hashable:
        """Return a value that changes whenever the session does; cheap, while `device` reads."""

    def names(self) -> list[str]:
        """Return the names of all sessions, in alphabetical order."""

    def close_to_others(self) -> list[str]:
        """Make the sessions unreadable for other users of this machine, if they are not.

        Returns:
            What was repaired, or could not be, a sentence each, for the log.
        """

    def make_room(self) -> None:
        """Let new sessions be made where the place of all sessions is gone; never raises."""

    def quarantine(self, name: str, reason: str, now: float, *, messages: bool = False) -> str | None:
        """Put an account's session away, whole or not at all.

        Args:
            name: The account.
            reason: A word that says why.
            now: Unix seconds.
            messages: Put the account's messages away with the session, also if there is no session. A later
                inbox of the same name goes on counting where this one ended.

        Returns:
            Where the session is now, for people; None if there was neither a session nor messages to move.

        Raises:
            StateError: The session cannot be moved, or a process uses it; all of it stays where it is.
        """

    def prune(self, days: float, now: float) -> list[str]:
        """Delete what has been in quarantine for longer than that; never raises.

        Args:
            days: How long sessions are kept.
            now: Unix seconds.

        Returns:
            The names of what was deleted.
        """

    def in_quarantine(self) -> list[Entry]:
        """Return what lies in quarantine, the newest first.

        Raises:
            StateError: The quarantine cannot be read.
        """

    @property
    def quarantine_place(self) -> str:
        """Where the quarantine is, for people."""

    def former(self, folder: str) -> Device:
        """Tell which linked device a session in quarantine is of; never raises.

        Args:
            folder: Its name there.
        """

    def purge(self, folders: Iterable[str]) -> Purged:
        """Delete what is in quarantine under these names, for good; nobody may restore anything meanwhile.

        Whatever is being moved stays, and so does what is not wholly of an account.

        Args:
            folders: The names.

        Raises:
            StateError: It cannot be told what is being moved, or the quarantine cannot be used.
        """


class Moves(Protocol):
    """Moves a session with everything that belongs to it. What is to be done is written down first."""

    def pending(self) -> Rename | Restore | None:
        """Return what was begun and not brought to an end.

        Raises:
            StateError: What is written down cannot be read.
        """

    def begin(self, task: Rename | Restore) -> None:
        """Write down what is to be done.

        Raises:
            StateError: It cannot be written.
        """

    def give_up(self) -> None:
        """Forget what was written down, of which nothing has been done yet; never raises."""

    def finish(self, settings: Configured) -> str | None:
        """Bring to an end what was begun, or take it back, as the configuration says.

        Returns:
            What was done, for the log; None if nothing was.

        Raises:
            StateError: Something cannot be moved. What is left to do stays written down.
        """

    def clear_up(self, settings: Configured | None = None) -> list[str]:
        """Clear up what a service or a command that was killed has left half done.

        Whoever calls this owns the accounts. What was begun is brought to an end first, as `finish` does.

        Args:
            settings: The configuration; without it, what was being renamed is let alone.

        Returns:
            What was done to sessions, a sentence each, for the log.

        Raises:
            StateError: What was begun cannot be brought to an end.
        """

    def check_rename(self, settings: Configured, old: str, new: str, known: Container[str]) -> bool:
        """See that an account can be renamed; ``known`` are the accounts that run.

        Returns:
            Whether the configuration still has the old name.

        Raises:
            NoSuchAccount: There is nothing of that name.
            OrchestratorError: The new name is taken.
        """

    def check_restore(self, settings: Configured, name: str, wanted: str | None) -> tuple[Restore, Restored]:
        """Find a session in quarantine, and see that it can be put back.

        Args:
            settings: The configuration.
            name: The account that gets it.
            wanted: Which one: its name in quarantine; None for the newest of the account.

        Returns:
            What is to be done, for `begin`, and what is to be known of it.

        Raises:
            NoSuchAccount: There is neither an account of that name nor a session of one.
            OrchestratorError: There is no such session, the account has one, or another account uses it.
        """

    def has_session(self, name: str) -> bool:
        """Tell whether there is a session, and not only the file that is made before a code is used."""

    def strays(self, accounts: Container[str]) -> list[str]:
        """Return the names of linked sessions that none of these accounts has."""

    def about_strays(self, names: list[str], accounts: Iterable[str]) -> list[str]:
        """Say what to do about sessions without an account, a sentence each.

        Args:
            names: The sessions' names.
            accounts: The accounts that such a session may belong to under its new name.
        """


class Record(Protocol):
    """What is written down of accounts."""

    @property
    def place(self) -> str:
        """Where the wishes and the last known states are kept, for people."""

    def load(self, damaged: dict[str, StateError] | None = None) -> dict[str, Kept]:
        """Return what was kept, by account.

        Args:
            damaged: Takes the accounts of which it cannot be understood, each with why, where accounts are
                kept one by one; None: one such account is an error.

        Raises:
            StateError: What was kept is there and cannot be understood.
        """

    def save(self, kept: Mapping[str, Kept]) -> None:
        """Replace everything that is kept, whole or not at all.

        Raises:
            StateError: It cannot be written; what was kept before stays.
        """

    def disown(self, name: str) -> None:
        """Write nothing more of an account, not even what waits: another machine does, from now on."""

    def flush(self, seconds: float) -> bool:
        """Wait until all that was written down is kept, also when this machine is lost; never raises.

        Args:
            seconds: How long.

        Returns:
            Whether it is.
        """

    def summarize(self, digest: str, accounts: Mapping[str, Summary]) -> None:
        """Note what commands show of the configuration while no service runs; never raises.

        Args:
            digest: By what the text of the configuration is known.
            accounts: The accounts, in the configuration's order.
        """

    def summary(self, digest: str) -> dict[str, Summary] | None:
        """Return what was noted of a configuration; None if that is of another text, or is not there.

        Args:
            digest: By what the text of the configuration is known.
        """

    def told(self) -> Told:
        """Return what the program of `on_change` was told, and how its last call ended.

        Raises:
            StateError: It cannot be read.
        """

    def keep_told(self, kept: Told, accounts: Collection[str]) -> None:
        """Write down what the program of `on_change` was told, and how its last call ended.

        Args:
            kept: What is so.
            accounts: The accounts of which it says all. What was told of others is for those who have them.

        Raises:
            StateError: It cannot be written; what was written before stays.
        """

    def maintenance(self) -> float | None:
        """Return since when maintenance is on, in Unix seconds; None if it is off.

        Raises:
            StateError: Nobody can tell.
        """

    def keep_maintenance(self, since: float | None) -> None:
        """Write down since when maintenance is on, None if it is off.

        Raises:
            StateError: It cannot be written; what was written before stays.
        """

    def alive(self) -> float | None:
        """Return when a service was there last, in Unix seconds; None if nobody knows. Never raises."""

    def keep_alive(self, at: float) -> None:
        """Write down that a service is there at that Unix time; never raises."""

    def append(self, name: str, entry: TimelineEntry) -> bool:
        """Add an entry to an account's history; never raises.

        Returns:
            Whether the entry is there; that it is not has been logged.
        """

    def tail(self, name: str, count: int) -> list[dict[str, Any]]:
        """Return the last entries of an account's history, oldest first; never raises."""

    def after(self, name: str, number: int, limit: int) -> list[dict[str, Any]]:
        """Return the first entries of a history with a higher number `n`, oldest first.

        A number comes once for each account, and rises. Entries of earlier versions have none, and are left
        out. The call may take some hundredths of a second.

        Raises:
            StateError: Nobody can tell: who goes by the numbers must not take that for nothing.
        """

    def newest(self, name: str) -> int:
        """Return the highest number of an entry of an account's history, 0 without one.

        Raises:
            StateError: Nobody can tell, likewise.
        """

    def backwards(self, name: str) -> Iterator[dict[str, Any]]:
        """Yield an account's entries from the newest to the oldest, reading no more than is asked for."""

    def histories(self) -> list[str]:
        """Return the names of all accounts that have a history, also of those that are gone, in order.

        Raises:
            StateError: This user may not look.
        """


class Codes(Protocol):
    """The QR codes of the accounts, where others watch them."""

    def path(self, name: str) -> Path:
        """Return where an account's picture is, or would be."""

    def prepare(self, names: Iterable[str]) -> None:
        """Make the place ready, and remove what is out of date.

        Raises:
            StateError: The place cannot be used.
        """

    def show(self, name: str, png: bytes, issued_at: float) -> None:
        """Show an account's code in place of the one before, complete from the first moment.

        Raises:
            OSError: It could not be shown; nothing of the account is shown any more.
            StateError: The same, and the message says what to do.
        """

    def hide(self, name: str) -> None:
        """Show no code of an account any more; no harm if none is shown.

        Raises:
            OSError: It could not be removed.
        """

    def guard(self, name: str) -> bool:
        """Remove what others have put in the place of the code that an account shows.

        Returns:
            Whether something was there.

        Raises:
            OSError: It could not be removed.
        """


class Ownership(Protocol):
    """The right to run the accounts of a store, which one service has at a time."""

    def take(
        self, what: str, socket: Path | None = None, wait: Callable[[StoreAway], None] | None = None
    ) -> AbstractContextManager[object]:
        """Take it until the end of the context, or of the process.

        Args:
            what: What it is wanted for, for those who find it taken.
            socket: Where commands come in, if they do.
            wait: Is called with the reason while the store is away, and returns when it may be back; without
                it, that is an error.

        Raises:
            AlreadyRunning: Another process has it; the message says which.
            StateError: It cannot be taken.
            StoreAway: The store is away, and nobody waits for it.
        """


class ConsumerStore(Protocol):
    """What is known of consumers, where it follows accounts from one machine to another."""

    def read(self, account: str, after: int, most: int) -> Page:
        """Return rows of an account, in an order that stays while nobody writes them.

        Args:
            account: The account's name.
            after: How many to leave out.
            most: How many to return at the most.

        Raises:
            StateError: They cannot be read now.
        """

    def follow(self, rows: Sequence[Row]) -> frozenset[str]:
        """Write rows; return the accounts that are not this machine's, of which nothing was written.

        Raises:
            StateError: They cannot be written now.
        """

    def standings(self) -> list[Stand]:
        """Return how all webhooks and bots stand.

        Raises:
            StateError: That cannot be read now.
        """

    def stand(self, standings: Iterable[Stand], seen: Iterable[str]) -> list[Stand]:
        """Write how consumers stand, and that consumers are configured; return how the former stand then.

        What comes after no revision counts only if nothing is known of the consumer.
        What no machine has had in its configuration for 30 days is forgotten.

        Raises:
            StateError: It cannot be written now.
        """


class PullRows(Protocol):
    """How far pulls are, where a pull is one for all machines. Nothing is noted of a pull that nobody uses.

    Each call raises `StateError` if it cannot be done now.
    """

    def known(self, accounts: Collection[str] | None) -> dict[str, Known]:
        """Return the pulls by name, with their positions in some accounts; None: in all."""

    def use(self, name: str, maker: str, since: float) -> Known:
        """Note that a pull is used, and make it if there is none. It is returned without positions."""

    def begin(self, name: str, positions: Mapping[Stream, int]) -> None:
        """Note where a pull begins; where it is further already, it stays there."""

    def outstanding(self, name: str, scope: str) -> Batch | None:
        """Return the batch that was not acknowledged, of those accounts that ``scope`` stands for."""

    def hand_out(self, name: str, scope: str, batch: Batch, instead: str | None) -> bool:
        """Note a batch; return whether there was no other one than the one that it comes instead of."""

    def acknowledge(self, name: str, cursor: str) -> list[Reach] | None:
        """Move positions behind a batch, and return it: empty if that was done, None if there is none."""

    def reset(self, name: str, positions: Mapping[Stream, int]) -> None:
        """Move positions, and forget all batches."""

    def remove(self, name: str) -> None:
        """Forget a pull."""


class Presence(Protocol):
    """Whether the store is there, for one that is not on this machine."""

    def watch(self) -> AbstractContextManager[Callable[[float], object]]:
        """Return a context with what is called again and again: it takes seconds, and returns within them.

        Raises:
            StateError: The store is away; the call says so, too.
        """

    def stop_watching(self) -> None:
        """Have what `watch` gave end at once, as if the store was away; from any thread."""

    def suspend(self, why: str | None) -> None:
        """Refuse at once all that is asked of the store, for that reason; None: take it up again."""


@dataclass(frozen=True, slots=True)
class Store:
    """A store with all its parts.

    Attributes:
        paths: The state folder on this machine, for what belongs to its processes.
        sessions: The sessions.
        moves: What moves them.
        record: What is written down.
        codes: The QR codes.
        ownership: Who may run the accounts.
        presence: Whether the store is there; None for one that is on this machine.
        reads: What the library has to read for any of the sessions: see `Place`.
        consumers: What is known of consumers; None where the gateway keeps it in files of its own.
        pulls: How far pulls are; None in the same case.
    """

    paths: StatePaths
    sessions: SessionStore
    moves: Moves
    record: Record
    codes: Codes
    ownership: Ownership
    presence: Presence | None = None
    reads: tuple[Path, ...] = ()
    consumers: ConsumerStore | None = None
    pulls: PullRows | None = None
