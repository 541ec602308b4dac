"""What must be true at any time. Each check is fed with every observation, and says what is wrong with it.

A check looks at facts alone, does nothing, and reports a thing once as long as it goes on. What takes time by
its nature has a limit: what is promised, and `SLACK` for a machine that has other things to do as well.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Protocol

from benchmarks.soak.observation import Finding, Observation

SLACK = 20.0
"""Seconds added to every deadline."""
STATE_SECONDS = {"starting": 60.0, "connecting": 60.0, "pairing": 180.0, "reconnecting": 120.0}
"""The deadlines of states with a process. One that is not linked dials while it is `starting`."""
QUEUE_SECONDS = 3.0
"""Seconds for each account that may be in front in the queue of those that wait for their turn to start."""
LATE_SECONDS = 5.0
"""Seconds after its time within which the next try begins."""
SILENT_SECONDS = 45.0
"""Seconds within which `connected` must not be said any more of a link that is none."""
PICTURE_SECONDS = 1.0
PICTURE_SLACK = 3.0
"""Seconds after which a code that is of no use must be gone, and what is added for a busy machine."""
BAN_SECONDS = 60.0
"""Seconds after a ban's end within which the account is tried."""
STOP_SECONDS = 20.0
"""Seconds for a process to stop: 10 until it is killed, 5 for its last words, 5 to be reaped."""
STRAY_SECONDS = 10.0
"""Seconds in which a process that is just starting, or ending, need not be the service's by its own word."""
TWO_LINKS_SECONDS = 5.0
MUTE_SECONDS = 5.0
"""Seconds, at most one for each question, in which the service may leave all questions unanswered."""
LOST_SECONDS = 10.0
"""Seconds in which a session may lack a device without being lost: the library deletes and writes."""
LATE_DIAL_SECONDS = 5.0
"""Seconds after the end of a process in which the sandbox may still take notice of its last connection."""
RESTING = frozenset({"banned", "replaced", "stopped", "disabled", "backoff", "failed", "outdated"})
"""The states in which an account has no process, and nobody dials."""


class Check(Protocol):
    """Looks at one observation after the other."""

    def look(self, seen: Observation) -> Iterator[Finding]:
        """Yield what is newly wrong."""


class Lasting:
    """Tells what has been true for too long; of each thing once."""

    def __init__(self) -> None:
        self._since: dict[Hashable, float] = {}
        self._told: set[Hashable] = set()

    def over(self, key: Hashable, at: float, limit: float, *, true: bool = True) -> bool:
        """Take in whether something is true now; return True once it has been for longer than the limit."""
        if not true:
            self._since.pop(key, None)
            self._told.discard(key)
            return False
        if at - self._since.setdefault(key, at) <= limit or key in self._told:
            return False
        self._told.add(key)
        return True

    def keep(self, keys: set[Hashable]) -> None:
        """Forget all others: they are not true any more."""
        for key in self._since.keys() - keys:
            del self._since[key]
        self._told &= keys


class Stuck:
    """No account stays in a state beyond its deadline, or beyond the time of its next try."""

    def __init__(self) -> None:
        self._lasting = Lasting()

    def look(self, seen: Observation) -> Iterator[Finding]:
        """Yield accounts that are stuck."""
        if seen.accounts is None:
            self._lasting.keep(set())
            return
        keys: set[Hashable] = set()
        for name, account in seen.accounts.items():
            if account.state == "starting" and account.pid is None:
                limit = STATE_SECONDS["starting"] + QUEUE_SECONDS * len(seen.accounts)
            elif account.state in STATE_SECONDS:
                limit = STATE_SECONDS[account.state]
            elif account.next_retry_at is not None and account.pid is None:
                if seen.wall < account.next_retry_at:
                    continue
                limit = LATE_SECONDS
            elif account.state == "backoff":
                limit = 0.0  # there must be a next try
            else:
                continue
            key = (name, account.state, account.since, account.pid)
            keys.add(key)
            if self._lasting.over(key, seen.at, limit + SLACK):
                yield Finding(
                    "stuck", name, f"{account.state} for more than {limit:.0f} s (and {SLACK:.0f} s)"
                )
        self._lasting.keep(keys)


class Honest:
    """``connected`` is said only of accounts that WhatsApp has logged in, and that it answers."""

    def __init__(self) -> None:
        self._lasting = Lasting()

    def look(self, seen: Observation) -> Iterator[Finding]:
        """Yield accounts that are not as connected as the service says."""
        if seen.accounts is None:
            self._lasting.keep(set())
            return
        for name, account in seen.accounts.items():
            dead = name in seen.silent or seen.links is None or not seen.links.get(name)
            true = account.state == "connected" and dead
            if self._lasting.over(name, seen.at, SILENT_SECONDS + SLACK, true=true):
                yield Finding("honest", name, f"connected, without a link, for {SILENT_SECONDS:.0f} s")


class Answers:
    """The service always answers, as long as nobody has ended it."""

    def __init__(self) -> None:
        self._lasting = Lasting()

    def look(self, seen: Observation) -> Iterator[Finding]:
        """Yield that it does not."""
        if self._lasting.over("", seen.at, MUTE_SECONDS, true=seen.up and seen.accounts is None):
            yield Finding("mute", None, f"no answer for more than {MUTE_SECONDS:.0f} s")


class NotFailed:
    """No account gives up: there is nothing in a soak for which it may."""

    def __init__(self) -> None:
        self._lasting = Lasting()

    def look(self, seen: Observation) -> Iterator[Finding]:
        """Yield accounts that have failed."""
        for name, account in (seen.accounts or {}).items():
            true = account.state in ("failed", "outdated")
            if self._lasting.over(name, seen.at, -1.0, true=true):
                yield Finding("gave up", name, f"is {account.state}")


class OneProcess:
    """Never do two processes have one session open."""

    def __init__(self) -> None:
        self._lasting = Lasting()

    def look(self, seen: Observation) -> Iterator[Finding]:
        """Yield accounts with two processes."""
        if seen.processes is None:
            return
        users: dict[str, list[int]] = {}
        for process in seen.processes:
            for name in process.sessions:
                users.setdefault(name, []).append(process.pid)
        found = {(name, tuple(pids)) for name, pids in users.items() if len(pids) > 1}
        self._lasting.keep(set(found))
        for name, pids in sorted(found):
            if self._lasting.over((name, pids), seen.at, -1.0):
                yield Finding("two processes", name, f"have its session open: {pids}")


class OneLink:
    """Never does an account have two live connections; one that is silent takes its time to go."""

    def __init__(self) -> None:
        self._lasting = Lasting()

    def look(self, seen: Observation) -> Iterator[Finding]:
        """Yield accounts with two connections."""
        for name, links in (seen.links or {}).items():
            true = len(links) > 1 and name not in seen.silent
            if self._lasting.over(name, seen.at, TWO_LINKS_SECONDS, true=true):
                numbers = sorted(link.connection for link in links)
                yield Finding("two connections", name, f"are logged in at the same time: {numbers}")


class NoStrays:
    """Every process is one that the service knows."""

    def __init__(self) -> None:
        self._lasting = Lasting()

    def look(self, seen: Observation) -> Iterator[Finding]:
        """Yield processes that nobody knows."""
        if not seen.up:  # what is ending, or was ended, knows nobody any more
            self._lasting.keep(set())
        if seen.processes is None or seen.accounts is None or not seen.up:
            return
        known = {account.pid for account in seen.accounts.values()}
        strays = {one.pid: one for one in seen.processes if not one.helper and one.pid not in known}
        self._lasting.keep(set(strays))
        for pid, one in strays.items():
            if self._lasting.over(pid, seen.at, STRAY_SECONDS):
                whose = ", ".join(sorted(one.sessions)) or "no session"
                yield Finding("stray", None, f"process {pid} ({whose}) is not the service's by its own word")


class NoPictureLeft:
    """A code is in the folder only while its account waits for it to be used."""

    def __init__(self) -> None:
        self._lasting = Lasting()

    def look(self, seen: Observation) -> Iterator[Finding]:
        """Yield codes that are left."""
        if seen.accounts is None:  # a service that was killed leaves them until it is started again
            self._lasting.keep(set())
            return
        pairing = {name for name, account in seen.accounts.items() if account.state == "pairing"}
        left: set[Hashable] = set(seen.pictures - pairing)
        self._lasting.keep(left)
        for name in sorted(seen.pictures - pairing):
            if self._lasting.over(name, seen.at, PICTURE_SECONDS + PICTURE_SLACK):
                yield Finding("picture left", name, "its code is in the folder, and it does not pair")


class Undisturbed:
    """Nobody loses the connection, or the process, by a fault that is meant for others."""

    def __init__(self) -> None:
        self._before: Observation | None = None
        self._lasting = Lasting()

    def look(self, seen: Observation) -> Iterator[Finding]:
        """Yield accounts that something has happened to."""
        before, self._before = self._before, seen
        if before is None or before.accounts is None or seen.accounts is None:
            return
        for name, account in seen.accounts.items():
            earlier = before.accounts.get(name)
            if earlier is None or name in seen.excused | before.excused:
                self._lasting.over(name, seen.at, 0, true=False)
                continue
            what = None
            if account.state != "connected":
                what = f"is {account.state} without a fault"
            elif (account.pid, account.since) != (earlier.pid, earlier.since):
                what = f"its process was {earlier.pid} and is {account.pid}, without a fault"
            elif (
                before.links is not None
                and seen.links is not None
                and before.links.get(name)
                and seen.links.get(name) != before.links.get(name)
            ):
                what = "its connection is another, without a fault"
            if self._lasting.over(name, seen.at, -1.0, true=what is not None) and what:
                yield Finding("disturbed", name, what)


class KeepsSession:
    """No session is lost, put away or replaced without a log-out or an operator's word."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, int]] = {}
        self._lasting = Lasting()
        self._told: set[Hashable] = set()

    def look(self, seen: Observation) -> Iterator[Finding]:
        """Yield sessions that are gone, or are another's."""
        for name, identity in seen.identities.items():
            partings = seen.partings(name)
            known = self._known.get(name)
            lost = identity is None and known is not None and known[1] == partings
            if self._lasting.over(name, seen.at, LOST_SECONDS, true=lost):
                yield Finding("session lost", name, "has no device any more, and nobody logged it out")
            if identity is None:
                continue
            if known is not None and known[0] != identity and known[1] == partings:
                yield Finding("session lost", name, "is of another device, and nobody logged it out")
            if known is None or known[0] != identity:
                self._known[name] = (identity, partings)
        for (name, reason), count in seen.quarantined.items():
            allowed = seen.parting.get((name, reason), 0)
            if count > allowed and (name, reason, count) not in self._told:
                self._told.add((name, reason, count))
                yield Finding(
                    "session lost", name, f"{count} in quarantine as {reason!r}, for {allowed} such events"
                )


class Untouched:
    """Nothing writes to the session of an account without a process: no ban, no stop, no back-off."""

    def __init__(self) -> None:
        self._rest: dict[str, tuple[Hashable, object]] = {}

    def look(self, seen: Observation) -> Iterator[Finding]:
        """Yield accounts whose files have changed."""
        for name, files in seen.files.items():
            account = (seen.accounts or {}).get(name)
            if account is None or account.pid is not None or account.state not in RESTING:
                self._rest.pop(name, None)
                continue
            rest = (account.state, account.since, seen.partings(name))
            before = self._rest.get(name)
            if before is None or before[0] != rest:
                self._rest[name] = (
                    rest,
                    None,
                )  # the files were looked at before the state, so maybe before it
                continue
            if before[1] is not None and before[1] != files:
                yield Finding("written to", name, f"its session, while it was {account.state}")
            self._rest[name] = (rest, files)


class NobodyDials:
    """An account without a process does not dial: nobody goes round a ban, a stop, or a back-off."""

    def __init__(self) -> None:
        self._rest: dict[str, tuple[Hashable, float]] = {}

    def look(self, seen: Observation) -> Iterator[Finding]:
        """Yield accounts that have dialled."""
        rest: dict[str, tuple[Hashable, float]] = {}
        for name, account in (seen.accounts or {}).items():
            if account.pid is not None or account.state not in RESTING:
                continue
            key = (account.state, account.since)
            before = self._rest.get(name)
            rest[name] = before if before is not None and before[0] == key else (key, seen.wall)
            if before is None or before[0] != key:
                continue
            # What was underway when the process ended may come in a moment later.
            if any(dial.account == name and dial.at > before[1] + LATE_DIAL_SECONDS for dial in seen.dials):
                yield Finding("dialled", name, f"while it was {account.state}")
        self._rest = rest


class Bans:
    """A banned account is not tried before the ban's end, and is within a minute after it."""

    def __init__(self) -> None:
        self._tried: dict[tuple[str, float], bool] = {}
        self._lasting = Lasting()

    def look(self, seen: Observation) -> Iterator[Finding]:
        """Yield accounts that were tried too early, or not at all."""
        keys: set[Hashable] = set()
        for name, (begin, end) in seen.bans.items():
            key = (name, begin)
            # The connection that brought the ban was opened before it began.
            tries = [dial.at for dial in seen.dials if dial.account == name and dial.at > begin]
            if [at for at in tries if at < end]:
                yield Finding("ban", name, f"tried {end - min(tries):.1f} s before the ban's end")
            self._tried[key] = self._tried.get(key, False) or bool(tries)
            keys.add(key)
            waits = seen.accounts is not None and seen.wall > end and not self._tried[key]
            if waits and self._lasting.over(key, seen.at, BAN_SECONDS + SLACK):
                yield Finding("ban", name, f"not tried within {BAN_SECONDS:.0f} s after the ban's end")
        self._lasting.keep(keys)


class Wishes:
    """What an operator has stopped, disabled or removed is so, soon and for as long as that is wanted."""

    def __init__(self) -> None:
        self._lasting = Lasting()

    def look(self, seen: Observation) -> Iterator[Finding]:
        """Yield accounts that run although they should not."""
        if seen.accounts is None:
            self._lasting.keep(set())
            return
        keys: set[Hashable] = set()
        for name, wish in seen.wishes.items():
            account = seen.accounts.get(name)
            wanted = None if wish == "removed" else wish
            if wish == "run" or (account.state if account else None) == wanted:
                continue
            keys.add((name, wish))
            if self._lasting.over((name, wish), seen.at, STOP_SECONDS + SLACK):
                yield Finding("not obeyed", name, f"is {account and account.state}, and should be {wish}")
        self._lasting.keep(keys)


def all_checks() -> list[Check]:
    """Return one of each."""
    return [
        Stuck(),
        Honest(),
        Answers(),
        NotFailed(),
        OneProcess(),
        OneLink(),
        NoStrays(),
        NoPictureLeft(),
        Undisturbed(),
        KeepsSession(),
        Untouched(),
        NobodyDials(),
        Bans(),
        Wishes(),
    ]
