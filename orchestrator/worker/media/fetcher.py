"""Fetches the attachments of one account, one after the other, in a thread that lives while there are any.

Whoever asks for one comes first. With ``media: always``, all others follow, in the order in which they came:
the inbox says which there are, so nothing has to be remembered across a restart. The thread holds nobody up:
when the process ends, it ends in the middle, and what it left is removed by the next process.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, Protocol

from orchestrator.accounts.attachments import PERMANENT, Fault, MissingError
from orchestrator.accounts.proxy import ProxyError
from orchestrator.errors import OrchestratorError
from orchestrator.messages import media
from orchestrator.messages.media import Reference
from orchestrator.messages.media_files import MediaFiles
from orchestrator.system import memory
from orchestrator.system.dialing import Proxy
from orchestrator.worker.media.fetch import fetch

log = logging.getLogger(__name__)

MOST_ASKED: Final = 32
"""Attachments that may be asked for at once."""
RETRY_SECONDS: Final = (60.0, 300.0, 1800.0, 3600.0)
"""After how long those are tried again that the network did not let through; the last holds from then on."""
MOST_FAILURES: Final = 3
"""After so many in a row that the network did not let through, the others wait as well."""

When = Literal["on_demand", "always", "never"]


class Waiting(NamedTuple):
    """An entry of the inbox that has an attachment: its number, and the attachment's identifier."""

    seq: int
    media: str


class Attachments(Protocol):
    """What the inbox says about attachments; it is asked from the thread that fetches."""

    def find(self, media: str) -> Reference:
        """Return what the message says about an attachment.

        Raises:
            MissingError: No entry has one of that identifier, or it cannot be fetched.
        """

    def has(self, media: str) -> bool:
        """Tell whether an entry has an attachment of that identifier."""

    def after(self, seq: int, since: float) -> Sequence[Waiting]:
        """Return the next entries with attachments after an entry, a page of them; none at the end.

        Args:
            seq: The number of the entry.
            since: Unix seconds: entries that were stored before are left out.
        """

    def close(self) -> None:
        """Ask no more: what is asked after that begins anew."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What the configuration says about attachments.

    Attributes:
        when: When they are fetched.
        limit: Bytes that one may have.
        keep: Seconds for which one is kept.
    """

    when: When
    limit: int
    keep: float


class Fetcher:
    """Fetches the attachments of an account.

    Args:
        files: Where they are kept.
        inbox: What the inbox says about them.
        policy: What the configuration says.
        way: Returns the proxy to go through, None for none.
        answer: Takes what became of one that was asked for: the number of the question, why it is not there
            (None if it is), and what happened.
    """

    def __init__(
        self,
        files: MediaFiles,
        inbox: Attachments,
        policy: Policy,
        way: Callable[[], Proxy | None],
        answer: Callable[[int, Fault | None, str], None],
    ) -> None:
        self._files = files
        self._inbox = inbox
        self._policy = policy
        self._way = way
        self._answer = answer
        self._changed = threading.Condition()
        self._is_running = False
        self._is_clean = False
        self._sweeps = False
        self._asked: dict[str, list[int]] = {}
        self._more = policy.when == "always"
        self._page: deque[Waiting] = deque()
        self._seq = 0
        self._again_from: int | None = None
        self._again_at: float | None = None
        self._passes = 0
        self._failures = 0

    def tidy(self) -> None:
        """Remove what is not wanted any more, and look for what is missing: now and then, from any thread."""
        if self._policy.when != "always" and not self._files.folder.exists():
            return  # an account that fetches nothing needs no thread for that
        with self._changed:
            self._sweeps = True
            self._more = self._more or self._policy.when == "always"
            self._wake()

    def ask(self, number: int, name: str) -> None:
        """Have an attachment fetched; what becomes of it is an answer.

        Args:
            number: The number of the question.
            name: The attachment's identifier.
        """
        if self._policy.when == "never":
            self._answer(number, Fault.NEVER, "")
            return
        with self._changed:
            has_room = sum(map(len, self._asked.values())) < MOST_ASKED
            if has_room:
                self._asked.setdefault(name, []).append(number)
                self._wake()
        if not has_room:
            self._answer(number, Fault.BUSY, "")

    def arrived(self) -> None:
        """Take note that the inbox has another entry with an attachment; it may be called from any thread."""
        if self._policy.when == "always":
            with self._changed:
                self._more = True
                self._wake()

    def _wake(self) -> None:
        if self._is_running:
            self._changed.notify_all()
            return
        self._is_running = True
        try:
            threading.Thread(target=self._run, name="media", daemon=True).start()
        except RuntimeError:  # there is no thread to be had: the next to ask tries again
            self._is_running = False
            log.error("no attachment can be fetched: the system gives no thread")

    # In the thread

    def _run(self) -> None:
        try:
            while self._step():
                pass
        except Exception as error:  # noqa: BLE001 - or nobody would ever get an answer again
            # Not more than the name: what the error quotes may be what somebody wrote.
            log.error("a bug in what fetches attachments: %s", type(error).__name__)
            with self._changed:
                self._is_running = False
                numbers = [number for waiting in self._asked.values() for number in waiting]
                self._asked.clear()
                self._more = False
            for number in numbers:
                self._answer(number, Fault.UNREACHABLE, "a bug in the account's process; see the log")
        else:
            memory.give_back()

    def _step(self) -> bool:
        """Do one thing; return False if there is nothing left to do, now or later."""
        if not self._is_clean:
            self._is_clean = True
            self._clean()
        with self._changed:
            sweeps, self._sweeps = self._sweeps, False
        if sweeps:
            self._sweep()
        with self._changed:
            name = next(iter(self._asked), None)
            looks = name is None and (self._more or bool(self._page))
            if name is None and not looks:
                if self._sweeps:
                    return True
                if self._again_at is None:
                    self._inbox.close()
                    self._is_running = False
                    return False
                left = self._again_at - time.monotonic()
                if left > 0:
                    self._changed.wait(left)
                    return True
                self._begin_again()
            if looks and not self._page:
                self._more = False  # until the inbox has said that there is one
        if name is not None:
            self._serve(name)
        elif looks:
            self._look()
        return True

    def _serve(self, name: str) -> None:
        """Fetch what somebody has asked for; whoever asks for it meanwhile gets the same answer."""
        fault, about = self._have(name)
        with self._changed:
            numbers = self._asked.pop(name)
        for number in numbers:
            self._answer(number, fault, about)

    def _look(self) -> None:
        """Fetch the next one that nobody has asked for."""
        if not self._page:
            self._page.extend(self._after())
            if not self._page:
                self._end_of_pass()
                return
            with self._changed:
                self._more = True
        seq, name = self._page.popleft()
        self._seq = seq
        if self._files.is_there(name) or self._files.fault(name) is not None:
            return
        fault, _ = self._have(name)
        if fault in (Fault.UNREACHABLE, Fault.NO_ROOM):
            self._again_from = min(seq, self._again_from or seq)
            self._failures += 1
        else:
            self._failures = 0
        if self._failures >= MOST_FAILURES:
            with self._changed:
                self._page.clear()
                self._more = False
            self._end_of_pass()

    def _end_of_pass(self) -> None:
        self._failures = 0
        if self._again_from is None:
            self._passes = 0
        elif self._again_at is None:
            self._again_at = time.monotonic() + RETRY_SECONDS[min(self._passes, len(RETRY_SECONDS) - 1)]
            self._passes += 1

    def _begin_again(self) -> None:
        if self._again_from is not None:
            self._seq = min(self._seq, self._again_from - 1)
        self._again_from = self._again_at = None
        self._more = True

    def _have(self, name: str) -> tuple[Fault | None, str]:
        """See that an attachment is there; return why it is not, and what happened."""
        try:
            if self._files.is_there(name):
                return None, ""
            reference = self._inbox.find(name)
            media.check(reference, self._policy.limit)
            return self._fetch(name, reference)
        except MissingError as error:
            return error.fault, error.about
        except ProxyError as error:
            return Fault.UNREACHABLE, str(error)
        except (OSError, OrchestratorError) as error:
            log.warning("attachments: the inbox or the folder cannot be used: %s", type(error).__name__)
            return Fault.NO_ROOM, f"the inbox or the folder cannot be used ({type(error).__name__})"

    def _fetch(self, name: str, reference: Reference) -> tuple[Fault | None, str]:
        try:
            fetch(self._files, name, reference, limit=self._policy.limit, proxy=self._way(), wait=time.sleep)
        except MissingError as error:
            log.info("an attachment cannot be fetched: %s", error)
            if error.fault in PERMANENT:
                self._files.note_fault(name, error.fault)
            return error.fault, error.about
        return None, ""

    def _clean(self) -> None:
        try:
            self._files.clean()
        except OSError as error:
            log.warning("what an earlier process left of attachments cannot be removed: %s", error.strerror)

    def _sweep(self) -> None:
        """Remove what no entry names any more, and what was kept long enough."""
        try:
            removed = self._files.sweep(self._inbox.has, time.time() - self._policy.keep)
        except (OSError, OrchestratorError) as error:
            log.warning("old attachments cannot be removed: %s", type(error).__name__)
        else:
            if removed:
                log.info("%d old attachments were deleted", removed)

    def _after(self) -> Sequence[Waiting]:
        try:
            # What is older than that would be deleted again.
            return self._inbox.after(self._seq, time.time() - self._policy.keep)
        except OrchestratorError:
            return ()
