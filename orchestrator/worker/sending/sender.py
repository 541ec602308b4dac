"""Works off the outbox of an account, in a thread of its own.

    service ─► orders ─► outbox ─► desk ─► courier (a thread a message) ─► library ─► WhatsApp
                                    ▲         └─► sent, refused, put back, or in doubt
    what comes in ─► heard ─────────┘                                          │
    receipts, secrets ────────────────────────────────────► settling ◄─────────┘

Everybody hands over and returns; the thread does one thing after the other, as `clerk` has it.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeAlias

from orchestrator.accounts import pipe
from orchestrator.accounts.outgoing import Fault
from orchestrator.accounts.settings import Sending
from orchestrator.messages.files import FileMessages
from orchestrator.messages.outbox_form import OutboxError
from orchestrator.messages.protocols import UNUSABLE, OutboxStore
from orchestrator.messages.retention import Retention
from orchestrator.sending import telling
from orchestrator.sending.memory import Memory
from orchestrator.worker.composing.composer import Composer
from orchestrator.worker.intake import Intake, unusable
from orchestrator.worker.sending import beginning
from orchestrator.worker.sending.beginning import Past
from orchestrator.worker.sending.clerk import Clerk, Place, Say
from orchestrator.worker.sending.courier import Courier, Library
from orchestrator.worker.sending.files import OutgoingFiles

log = logging.getLogger(__name__)

Task: TypeAlias = Callable[[], object]
Order: TypeAlias = pipe.Send | pipe.TakeBack | pipe.Secrets

PATIENCE: Final = 30.0
"""Seconds after which the thread looks at the clock at the latest: clocks are put forward, too."""
TROUBLE_SECONDS: Final = 1.0
"""Seconds until the thread goes on after an error, which may come again at once."""
NAP_SECONDS: Final = 0.01
"""Seconds between two batches of what is deleted."""


class Sender:
    """Sends what is in an outbox. Its methods may be called from any thread.

    Args:
        folder: The folder of the account's messages; None if it has none, and sends nothing.
        settings: How the account sends.
        intake: Where what becomes of messages is stored.
        say: Tells whoever runs the account.
        wall: Returns Unix seconds.
    """

    def __init__(
        self,
        folder: Path | None,
        settings: Sending,
        intake: Intake,
        say: Say,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._intake = intake
        self._say = say
        self._outbox: OutboxStore | None = None
        self._waiting = 0
        self._past = Past()
        self._wall = wall
        self._tasks: SimpleQueue[Callable[[Clerk], object]] = SimpleQueue()
        self._clerk: Clerk | None = None
        self._courier: Courier | None = None
        self._idle = threading.Event()
        self._ended = threading.Event()

    @property
    def waiting(self) -> int:
        """Number of rows that wait or are being sent; after the end, as many as there were then."""
        if self._outbox is not None:
            # The last heartbeat comes after the end: what waits must not look sent then.
            with contextlib.suppress(*UNUSABLE):
                self._waiting = self._outbox.count
        return self._waiting

    @property
    def last_out_at(self) -> float | None:
        """When WhatsApp took a message of the outbox last, in Unix seconds; None if none is known."""
        return None if self._outbox is None else self._outbox.last_sent_at

    def open(self, session: beginning.Look) -> None:
        """Open the outbox, and look into the session for what an earlier process was sending.

        Args:
            session: Looks into the session, which the library does not use yet.

        Raises:
            SessionUnusable: The outbox cannot be used as things are.
        """
        if self._folder is None:
            return
        try:
            kept = self._intake.messages or FileMessages(self._folder)
            self._outbox = kept.outbox(self._wall)
            device = Memory.load(self._outbox.memory()).device
            self._past = beginning.look(session, self._outbox.unsettled(), device)
        except (OutboxError, *UNUSABLE, OSError) as error:
            raise unusable(error, "outbox", self._folder) from None

    def start(self, library: Library) -> None:
        """Begin to send by this library. What the sender was told before is not lost.

        Raises:
            RuntimeError: There is no thread to be had.
        """
        if self._folder is None or self._outbox is None:
            return
        composer = Composer(library, self._intake, self._folder, self._outbox)
        self._courier = courier = Courier(library, composer, self._intake, self._outbox, self._wall)
        files = OutgoingFiles(self._folder, self._wall)
        place = Place(
            self._outbox, self._settings, self._intake, files, courier, self._past, self._say, self._spawn,
            self._wall,
        )  # fmt: skip
        self._clerk = clerk = Clerk(place)
        self._intake.tidings.rows = self._outbox
        self._intake.tidings.on_receipt = self.received
        self._intake.on_heard = self.heard
        threading.Thread(target=self._run, args=(clerk,), name="sender", daemon=True).start()

    # What it is told

    def order(self, order: Order) -> None:
        """Take what whoever runs the account wants, or has found out. The answer is told."""
        match order:
            case pipe.Send(id) | pipe.TakeBack(id) if self._folder is None:
                self._say(telling.refused(id, Fault.UNUSABLE))
            case pipe.Send():
                self._tasks.put(lambda clerk: clerk.add(order))
            case pipe.TakeBack():
                self._tasks.put(lambda clerk: clerk.take_back(order))
            case pipe.Secrets():
                self._tasks.put(lambda clerk: clerk.answered(order))

    def online(self, device: str, number: str = "") -> None:
        """Take note that the account is connected and may send: see `worker.catching_up`.

        Args:
            device: Stands for the linked device.
            number: Stands for the number of its phone, empty if that cannot be told.
        """
        self._tasks.put(lambda clerk: clerk.connected(device, number))

    def offline(self) -> None:
        """Take note that the account may not send: the account is not connected any more."""
        self._tasks.put(lambda clerk: clerk.disconnected())

    def heard(self, names: Iterable[str], at: float, *, from_me: bool = False) -> None:
        """Take note that somebody has written in a chat.

        Args:
            names: Its addresses, as far as they are known.
            at: When, in Unix seconds.
            from_me: Whether that was the account's own phone.
        """
        known = tuple(names)
        self._tasks.put(lambda clerk: clerk.heard(known, at, from_me=from_me))

    def secret_missing(self) -> None:
        """Take note that the session does not have the secret of a message that is being sent."""
        self._tasks.put(lambda clerk: clerk.secret_missing())

    def received(self, ids: Iterable[str]) -> None:
        """Take note of messages that a receipt is about.

        If a row in doubt may be among them, that is on the disk when the call returns: WhatsApp, which hears
        then that the receipt has come, gives it once. If the disk does not take it, this process knows it.
        """
        known = tuple(ids)
        try:
            if self._outbox is not None:
                self._outbox.note_receipt(known)
        except UNUSABLE as error:
            log.warning("a receipt could not be written down: %s", error)
        self._tasks.put(lambda clerk: clerk.received(known))

    # The end

    def stop(self) -> None:
        """Hand nothing over any more."""
        if self._clerk is not None:
            self._clerk.stops = True
        if self._courier is not None:
            self._courier.halt()
        self._tasks.put(lambda _: None)

    def finish(self, seconds: float) -> bool:
        """Hand nothing over any more, and wait for what the library has; return whether all of that ended.

        Args:
            seconds: How long it may take.
        """
        self._idle.clear()
        self.stop()
        return self._clerk is None or self._idle.wait(seconds)

    def close(self, seconds: float) -> bool:
        """End, once what must outlast a restart is written down; return whether it is.

        Args:
            seconds: How long it may take.
        """
        self.stop()
        if self._clerk is None or self._outbox is None:
            return True  # it may be about to be opened, and nothing was written
        self._tasks.put(self._end)
        if not self._ended.wait(seconds):
            return False
        self._waiting = self.waiting
        self._outbox.close()
        return True

    def _end(self, clerk: Clerk) -> None:
        try:
            clerk.remember()
        finally:
            self._ended.set()

    # What is kept

    def clear(self, keep: Retention) -> None:
        """Delete the texts of what is over for long enough, and files that nobody needs. Takes its time."""
        if self._outbox is None or self._folder is None:
            return
        files = OutgoingFiles(self._folder, self._wall)
        try:
            files.delete(self._outbox.clear(keep, pause=lambda: time.sleep(NAP_SECONDS)))
            files.sweep(self._outbox.files())
        except UNUSABLE as error:
            log.warning("the outbox could not be cleared of old messages: %s", error)
            return
        if not self._outbox.is_clean:
            log.warning(
                "deleted messages may still be on the disk, because another program reads the outbox all the"
                " time: end the program"
            )

    # The thread

    def _run(self, clerk: Clerk) -> None:
        has_begun = False
        while not self._ended.is_set():
            has_begun = has_begun or self._guard(clerk.begin)
            for task in self._next_tasks(clerk):
                self._guard(lambda task=task: task(clerk))  # type: ignore[misc]
            if self._ended.is_set():
                return
            if not (has_begun and self._guard(clerk.turn)):
                self._ended.wait(TROUBLE_SECONDS)
            if clerk.stops and clerk.is_idle:
                self._idle.set()

    def _next_tasks(self, clerk: Clerk) -> list[Callable[[Clerk], object]]:
        """Wait for something to do; return all that there is."""
        now = self._wall()
        due = clerk.due(now)
        patience = PATIENCE if due is None else min(PATIENCE, max(0.0, due - now))
        found: list[Callable[[Clerk], object]] = []
        try:
            # With zero as its time, it would raise if there is nothing, as is right.
            found.append(self._tasks.get(block=patience > 0, timeout=patience))
            while True:
                found.append(self._tasks.get_nowait())
        except Empty:
            return found

    def _guard(self, task: Task) -> bool:
        """Do something; an error in it does not end all sending. Return whether there was none."""
        try:
            task()
            return True
        except UNUSABLE as error:
            log.warning("the outbox cannot be used: %s", error)
        except Exception as error:  # noqa: BLE001 - what it quotes may be what somebody wrote
            log.error("an error while sending: %s", type(error).__name__)
        return False

    def _spawn(self, call: Callable[[], Any], then: Callable[[Any], object]) -> bool:
        """See `clerk.Spawn`."""

        def work() -> None:
            result = call()
            self._tasks.put(lambda _: then(result))

        try:
            threading.Thread(target=work, name="send", daemon=True).start()
        except RuntimeError:  # there is no thread to be had
            return False
        return True
