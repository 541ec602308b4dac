"""Looks for lost messages and says so in the inbox; `messages.loss` says what counts as one.

    before the library is loaded            while it runs
    session's secrets, older suspicions ─┐      the log's "Ignoring message" ─┐
                                         └─ once all that waited has come ────┴─► quiet ─► not seen: lost

Suspicions are on the disk at once, so that a kill does not end them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol

from orchestrator.accounts.settings import Messages
from orchestrator.messages import loss
from orchestrator.messages.allow import Allow
from orchestrator.messages.entry import Entry, UnfitError
from orchestrator.messages.loss import Mark, Session, Suspect
from orchestrator.messages.protocols import UNUSABLE, InboxStore
from orchestrator.worker.intake import Intake
from orchestrator.worker.sending import beginning

log = logging.getLogger(__name__)

BEHIND: Final = 128
"""Events that the library holds at most between taking a message and handing it over; its channel has 100."""
QUIET_SECONDS: Final = 1.0
"""Seconds without a call from the library after which it holds nothing."""
OLD_SECONDS: Final = 30 * 86_400.0
"""Seconds after which an inbox begins to forget what it had."""
CAUGHT_UP_BEATS: Final = 6
"""Heartbeats of a connected account after which all has come that waited for it."""
MAX_PASSED: Final = 5000
"""Notes of what was passed over that may wait to be written."""
_NAP_SECONDS = 0.05
_NAPS = round(QUIET_SECONDS / _NAP_SECONDS)


class Library(Protocol):
    """What has to be known of the library."""

    @property
    def calls(self) -> int:
        """How many calls into Python have begun or ended."""

    @property
    def oldest_callback(self) -> int | None:
        """The number of the oldest call that has not returned, None if all have."""

    def own_addresses(self) -> list[str]:
        """Return the addresses of the linked device: the one with the number first, then the hidden one."""


class Losses:
    """Looks for lost messages of one account.

    Args:
        intake: Has the inbox, and knows who is allowed.
        keeps: Whose messages are kept.
        nap: Lets a moment pass.
        wall: Returns Unix seconds.
    """

    def __init__(
        self,
        intake: Intake,
        keeps: Messages,
        nap: Callable[[float], object] = time.sleep,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._intake = intake
        self._keeps = keeps
        self._nap = nap
        self._wall = wall
        self._library: Library | None = None
        self._lock = threading.Lock()
        self._waits: list[Suspect] = []
        self._found: dict[Suspect, int] = {}
        self._passed: dict[bytes, None] = {}
        self._proven: set[Suspect] = set()
        self._own: frozenset[str] = frozenset()
        self._before: Messages | None = None
        self._fresh_since: float | None = None
        self._works = False
        self._beats = 0

    # Before the library is loaded

    def look(self, read: Callable[[Mark | None], Session | None]) -> None:
        """Look through a session that the library does not use yet; never raises.

        Args:
            read: Returns what the session tells since a mark; see `session_secrets.read`.
        """
        inbox = self._intake.inbox
        if inbox is None:
            return
        try:
            self._look(inbox, read)
        except UNUSABLE as error:
            log.warning("nobody can say whether messages were lost: the session cannot be read: %s", error)
        except Exception:
            log.exception("nobody can say whether messages were lost")

    def _look(self, inbox: InboxStore, read: Callable[[Mark | None], Session | None]) -> None:
        mark, now = Mark.load(inbox.meta("mark")), self._wall()
        session = read(mark)
        found = loss.load_suspects(inbox.meta("suspects"))
        if session is None:
            self._fresh_since = now
            new = Mark("", 0, "", now, self._keeps)
        else:
            self._own = session.own
            new = session.mark(now, self._keeps)
            if mark is not None:
                self._before = mark.keeps
                self._settle_sends(inbox, session)
                missing = self._missing(inbox, session, mark, now)
                self._proven.update(missing)
                found += missing
        self._waits = list(dict.fromkeys(found))[-loss.MAX_SUSPECTS :]
        inbox.set_meta(mark=new.dump(), suspects=loss.dump_suspects(self._waits) if self._waits else None)

    def _missing(self, inbox: InboxStore, session: Session, mark: Mark, now: float) -> list[Suspect]:
        """Return what the session has and the inbox has not."""
        secrets = session.secrets
        copied = _number(inbox.meta("copied_at"))
        if copied >= mark.at:
            stored = {Suspect(*one) for one in inbox.ledger.stored_since(copied + loss.COPY_SECONDS)}
            rows = [one.row for one in secrets if one.suspect in stored]
        elif now - mark.at > OLD_SECONDS:
            keys = {_key(one.suspect): one.row for one in reversed(secrets)}
            rows = [keys[key] for key in inbox.ledger.known(keys)]
        else:
            rows = [mark.row]
        if not rows:
            return []
        found = loss.suspects(session, mark, sent=inbox.ledger.sent_digests(), since=min(rows))
        known = inbox.ledger.known(map(_key, found))
        return _unknown(inbox, [one for one in found if _key(one) not in known], session.people)

    def settle(self, session: beginning.Look) -> None:
        """Note the identifiers of what was being sent when an earlier process ended, and no more.

        Args:
            session: Looks into a session that the library does not use yet.
        """
        inbox = self._intake.inbox
        if inbox is None:
            return
        try:
            if open_ := inbox.ledger.sent_digests(settled=False):
                for digest, id_ in (session(open_)[1] or {}).items():
                    inbox.ledger.sent(digest, id_)
        except UNUSABLE as error:
            log.warning("what an earlier process was sending cannot be noted: %s", error)
        except Exception:
            log.exception("what an earlier process was sending cannot be noted")

    def _settle_sends(self, inbox: InboxStore, session: Session) -> None:
        """Note the identifiers of what was being sent when an earlier process ended."""
        open_ = inbox.ledger.sent_digests(settled=False)
        for secret in session.secrets:
            if secret.digest in open_:
                inbox.ledger.sent(secret.digest, secret.suspect.id)

    # While the library runs

    def listen(self, library: Library) -> None:
        """Watch this library from now on."""
        self._library = library

    def repeated(self, chat: str, sender: str, id_: str) -> None:
        """Take note of a message that the library has ignored because it came before."""
        if self._intake.inbox is None or Allow.of(self._keeps).nobody:
            return
        try:
            suspect = loss.suspect(chat, sender, id_)
        except UnfitError:
            return
        with self._lock:
            if suspect in self._found or len(self._found) >= loss.MAX_SUSPECTS:
                return
            self._found[suspect] = self._calls()
        self._work()

    def caught_up(self) -> None:
        """Take note that all that waited for the account has come, as far as WhatsApp had it."""
        if self._intake.inbox is None:
            return
        if self._fresh_since is not None:
            since, self._fresh_since = self._fresh_since, None
            self._aside(lambda: self._mark_new_device(since))
        with self._lock:
            waits, self._waits = self._waits, []
            self._found |= dict.fromkeys(waits, self._calls())
        if waits:
            self._work()

    def copied(self) -> None:
        """Take note that secrets come into the session that are not of messages to this device."""
        inbox = self._intake.inbox
        if inbox is not None:
            self._aside(lambda: self._note_copy(inbox))

    def _note_copy(self, inbox: InboxStore) -> None:
        try:
            inbox.set_meta(copied_at=str(self._wall()))
        except UNUSABLE as error:
            log.warning("the inbox cannot be written: %s", error)

    def passed(self, chat: str, sender: str, id_: str) -> None:
        """Take note of something that was handed over and is not stored; from the library's callback."""
        key = loss.passed(chat, sender, id_)
        with self._lock:
            if len(self._passed) < MAX_PASSED:
                self._passed[key] = None

    def taken(self, chat: str, sender: str, id_: str) -> None:
        """Take note of something that is stored: what came of it before was only a part."""
        if self._passed:
            key = loss.passed(chat, sender, id_)
            with self._lock:
                self._passed.pop(key, None)

    def beat(self, *, online: bool) -> None:
        """Go on; called with every heartbeat.

        Args:
            online: Whether the account is connected.
        """
        self._beats = self._beats + 1 if online else 0
        if self._beats == CAUGHT_UP_BEATS:
            self.caught_up()  # whatever WhatsApp has said of it
        if (self._passed or self._found) and self._intake.inbox is not None:
            self._work()

    def end(self) -> None:
        """Write down what must not be forgotten; called once the library has handed everything over."""
        inbox = self._intake.inbox
        if inbox is not None:
            try:
                self._write_passed(inbox)
            except (*UNUSABLE, MemoryError) as error:
                log.warning("the inbox cannot be written: %s", error)

    # How it is decided

    def _aside(self, call: Callable[[], object]) -> None:
        """Do something here and now if that takes a moment, else in a thread: the loop waits for nothing."""
        if self._intake.messages is None or self._intake.messages.is_local:
            call()
            return
        try:
            threading.Thread(target=call, name="losses", daemon=True).start()
        except RuntimeError:  # there is no thread to be had
            log.warning("lost messages cannot be told from others: the system gives no thread")

    def _calls(self) -> int:
        return 0 if self._library is None else self._library.calls

    def _mark_new_device(self, since: float) -> None:
        """Begin to look at the secrets of a device that was linked while this process runs.

        Args:
            since: When this process began: the phone copies its history as soon as the device is linked.
        """
        inbox, library = self._intake.inbox, self._library
        if inbox is None or library is None:
            return
        try:
            own = library.own_addresses()
            if own:
                self._own = frozenset(map(loss.bare, own))
                mark = Mark(loss.device_of(own[0]), 0, "", since, self._keeps)
                inbox.set_meta(mark=mark.dump())
        except Exception as error:  # noqa: BLE001 - then looking begins with the next start
            log.warning("lost messages are looked for only after the next start: %s", type(error).__name__)

    def _work(self) -> None:
        with self._lock:
            if self._works:
                return
            self._works = True
        try:
            threading.Thread(target=self._run, name="losses", daemon=True).start()
        except RuntimeError:  # there is no thread to be had
            self._works = False

    def _run(self) -> None:
        try:
            inbox = self._intake.inbox
            assert inbox is not None
            self._write(inbox)
            while self._decide(inbox):
                pass
        except UNUSABLE as error:
            log.warning("lost messages cannot be told: the inbox cannot be written: %s", error)
        except Exception:
            log.exception("lost messages cannot be told")
        finally:
            self._works = False

    def _decide(self, inbox: InboxStore) -> bool:
        """Wait for a moment in which something can be decided, and do that; return whether there is more."""
        quiet = self._wait()
        calls = self._calls()
        with self._lock:
            ready = [one for one, at in self._found.items() if quiet or calls - at >= 2 * BEHIND]
            writes = quiet or len(self._passed) > MAX_PASSED // 2
        if writes:
            self._write_passed(inbox)
        people: dict[str, str] = {}
        for one in ready:
            people |= self._intake.other_address(one.chat) | self._intake.other_address(one.sender)
        lost = [one for one in _unknown(inbox, ready, people) if self._would_be_stored(one, people)]
        for one in lost:
            notes = self._intake.notes((one.chat, one.sender))
            inbox.append(Entry("lost", one.chat, one.sender, one.id, self._wall(), notes=notes))
        if lost:
            count = len(lost)
            log.warning(
                "%s lost that WhatsApp had delivered: the process ended before anything was stored, or the"
                " sender had used a key of encryption twice",
                "a message was" if count == 1 else f"{count} messages were",
            )
        with self._lock:
            for one in ready:
                self._found.pop(one, None)
            more = bool(self._found)
        self._write(inbox)
        return more

    def _wait(self) -> bool:
        """Return once the library is quiet; False if it is not, and has handed over much."""
        begun = count = self._calls()
        naps = 0
        while naps < _NAPS:
            self._nap(_NAP_SECONDS)
            now = self._calls()
            if now - begun >= 2 * BEHIND:
                return False
            busy = self._library is not None and self._library.oldest_callback is not None
            naps, count = (naps + 1 if now == count and not busy else 0), now
        return True

    def _would_be_stored(self, one: Suspect, people: dict[str, str]) -> bool:
        """Tell whether a message would be stored, by what was allowed before this process and by now."""
        policies = [Allow.of(keeps) for keeps in (self._keeps, self._before) if keeps is not None]
        if one in self._proven:
            return True
        return all(loss.is_admitted(one, policy, self._own, people) for policy in policies)

    def _write_passed(self, inbox: InboxStore) -> None:
        """Write down what was passed over: in the next process, it would seem to be lost."""
        with self._lock:
            passed, self._passed = self._passed, {}
        if not passed:
            return
        try:
            inbox.ledger.pass_over(passed, self._wall())
        except BaseException:
            with self._lock:
                self._passed = passed | self._passed
            raise

    def _write(self, inbox: InboxStore) -> None:
        """Write the suspicions down that are still open."""
        with self._lock:
            rest = [*self._waits, *self._found]
        inbox.set_meta(suspects=loss.dump_suspects(rest) if rest else None)


def _key(one: Suspect) -> bytes:
    return Entry("message", one.chat, one.sender, one.id, 0.0).key


def _unknown(inbox: InboxStore, found: Iterable[Suspect], people: Mapping[str, str]) -> list[Suspect]:
    """Return those of which the inbox never had anything."""
    keys = {one: one.keys(people) for one in found}
    known = inbox.ledger.known(key for some in keys.values() for key in some)
    return [one for one, some in keys.items() if known.isdisjoint(some)]


def _number(text: str | None) -> float:
    try:
        return float(text or 0)
    except ValueError:
        return 0.0
