"""What is seen of the service and of WhatsApp at one moment, and the clock by which it is judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

MAX_STEP = 1.0
"""Seconds that count at most between two looks."""


class Attention:
    """A clock that runs only while somebody looks: whoever was kept from looking cannot say what was late.

    On a busy machine the soak itself is held up, and then the service is, too.

    Args:
        clock: Returns monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last = clock()
        self.now = 0.0

    def look(self) -> float:
        """Note that somebody looks; return the seconds that count so far."""
        now = self._clock()
        self.now += min(now - self._last, MAX_STEP)
        self._last = now
        return self.now


@dataclass(frozen=True, slots=True)
class Account:
    """An account as the service shows it.

    Attributes:
        state: Its state.
        since: When the state began, as the service writes it.
        pid: Its process, None if it has none.
        next_retry_at: Unix time of the next try, None if none is planned.
    """

    state: str
    since: str
    pid: int | None = None
    next_retry_at: float | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """A logged-in connection as WhatsApp has it: the sandbox's life it belongs to, and its number in that."""

    life: int
    connection: int


@dataclass(frozen=True, slots=True)
class Dial:
    """A connection that an account's process has opened, whatever came of it; Unix time."""

    account: str
    at: float


@dataclass(frozen=True, slots=True)
class Process:
    """A process that the service, or an earlier one, has started.

    Attributes:
        pid: Its id.
        sessions: The accounts whose database it has open.
        helper: Whether it is a direct child of the service: the fork server, or its helper.
    """

    pid: int
    sessions: frozenset[str] = frozenset()
    helper: bool = False


@dataclass(frozen=True, slots=True)
class Parent:
    """What the service's own process holds.

    Attributes:
        pid: Its id, which tells one life of the service from the next.
        children: How many accounts have a process.
        files: Open file descriptors.
        threads: Threads.
        memory: Bytes of memory that it has alone.
    """

    pid: int
    children: int
    files: int
    threads: int
    memory: int


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything that is looked at, at one moment.

    Attributes:
        at: Seconds by `Attention`.
        wall: Unix time.
        accounts: The accounts by name, None while the service does not answer.
        up: Whether it should answer.
        links: The accounts' logged-in connections, None while the sandbox does not answer.
        dials: What was dialled since the last look.
        pictures: The accounts of which a code is in the folder.
        processes: All that belong to the service, but for its own, None if nobody has looked.
        parent: Its own process, None if nobody has looked.
        quarantined: For how many sessions of an account there is a folder, by name and reason.
        identities: Whom the sessions are of that could be read now; None for one without a device.
        files: What tells whether a session's files were written to, by account.
        excused: Accounts whose connection may be interrupted now, because of a fault.
        silent: Accounts to whom WhatsApp answers nothing.
        parting: For how many times each account's session may have been given up so far, by name and reason.
        wishes: ``run``, ``stopped``, ``disabled`` or ``removed``, by account; what is being changed is left
            out.
        bans: When the present ban of an account began and ends, in Unix time.
    """

    at: float
    wall: float
    accounts: Mapping[str, Account] | None = None
    up: bool = True
    links: Mapping[str, frozenset[Link]] | None = None
    dials: tuple[Dial, ...] = ()
    pictures: frozenset[str] = frozenset()
    processes: tuple[Process, ...] | None = None
    parent: Parent | None = None
    quarantined: Mapping[tuple[str, str], int] = field(default_factory=dict)
    identities: Mapping[str, str | None] = field(default_factory=dict)
    files: Mapping[str, tuple[object, ...]] = field(default_factory=dict)
    excused: frozenset[str] = frozenset()
    silent: frozenset[str] = frozenset()
    parting: Mapping[tuple[str, str], int] = field(default_factory=dict)
    wishes: Mapping[str, str] = field(default_factory=dict)
    bans: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def partings(self, name: str) -> int:
        """Return how often an account's session may have been given up so far, for any reason."""
        return sum(count for (of, _), count in self.parting.items() if of == name)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that must not be.

    Attributes:
        check: The name of the check.
        account: Which account it is about, None for the service.
        what: What was seen.
    """

    check: str
    account: str | None
    what: str
