"""Answers the questions of many sockets from one store: a thread that commits for all who ask.

    account's process ── socket ──►┐
    account's process ── socket ──►├─ groups ─► one transaction ─► answers
    account's process ── socket ──►┘

Neither the event loop nor the pipe of an account has to do with messages: a large one holds up no heartbeat.
What cannot be stored is not answered, so the library's callback does not return, and WhatsApp keeps the rest.
`messages.group_commit` decides what goes together, and `messages.storing` has the words.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from orchestrator.errors import OrchestratorError, StoreAway, StoreUnusable
from orchestrator.messages import storing
from orchestrator.messages.entry import UnfitError
from orchestrator.messages.group_commit import Groups
from orchestrator.messages.storing import AWAY, IN_DOUBT, OK, Question, StoringError

log = logging.getLogger(__name__)

_READ: Final = 256 << 10


@dataclass(slots=True, eq=False)
class _Asker:
    """Somebody at the other end of a socket: an account's process, if `account` is the account's name."""

    sock: socket.socket
    account: str | None
    buffer: bytearray = field(default_factory=bytearray)
    unsent: bytearray = field(default_factory=bytearray)


class Keeper(Protocol):
    """Does what a group of questions wants; see `postgres.messages.writer` and `reading`."""

    def store(self, group: Sequence[tuple[str, Question]]) -> list[Any]:
        """Do what a group wants, all or nothing; return the answers."""

    def forget(self, account: str) -> None:
        """Remember nothing of an account: its messages may be others by now."""

    def close(self) -> None:
        """Let go of what was used."""


class Serving:
    """Answers the questions of accounts' processes, and of others who read.

    Args:
        keeper: Does what a group wants.
        lost: Told, in this thread, that the store cannot be reached.
    """

    def __init__(self, keeper: Keeper, lost: Callable[[], object] = lambda: None) -> None:
        self._keeper = keeper
        self._lost = lost
        self._groups: Groups[_Asker, Question] = Groups()
        self._selector = selectors.DefaultSelector()
        self._wake, self._waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._new: list[_Asker] = []
        self._lock = threading.Lock()
        self._stops = False
        self._thread = threading.Thread(target=self._run, name="storing", daemon=True)

    def start(self) -> None:
        """Begin.

        Raises:
            RuntimeError: There is no thread to be had.
        """
        self._thread.start()

    def open(self, account: str | None = None) -> socket.socket:
        """Return the end of a new socket by which somebody asks.

        Args:
            account: The name of the account that all questions are about; None: each question says it.

        Raises:
            OSError: There is no socket to be had.
        """
        ours, theirs = socket.socketpair()
        self.adopt(ours, account)
        return theirs

    def adopt(self, sock: socket.socket, account: str | None = None) -> None:
        """Answer what is asked over a socket whose other end somebody has.

        Args:
            sock: The socket, which is closed in the end.
            account: As for `open`.
        """
        sock.setblocking(False)
        with self._lock:
            self._new.append(_Asker(sock, account))
        self._nudge()

    def close(self) -> None:
        """End: what is asked from now on is not answered."""
        self._stops = True
        self._nudge()
        if self._thread.is_alive():
            self._thread.join()
        self._selector.close()
        os.close(self._wake)
        os.close(self._waker)

    def _nudge(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._waker, b"x")

    # The thread

    def _run(self) -> None:
        while not self._stops:
            try:
                self._turn()
            except Exception:
                log.exception("a bug where messages are stored")
                time.sleep(1.0)
        for key in list(self._selector.get_map().values()):
            if isinstance(key.data, _Asker):
                self._hang_up(key.data)
        self._keeper.close()

    def _turn(self) -> None:
        due = self._groups.due()
        patience = None if due is None else max(0.0, due - time.monotonic())
        for key, events in self._selector.select(patience):
            if key.data is None:
                os.read(self._wake, 4096)
                continue
            if events & selectors.EVENT_WRITE:
                self._send(key.data)
            if events & selectors.EVENT_READ:
                self._read(key.data)
        with self._lock:
            new, self._new = self._new, []
        for asker in new:
            if asker.account is not None:
                self._keeper.forget(asker.account)
            self._selector.register(asker.sock, selectors.EVENT_READ, asker)
        if group := self._groups.take(time.monotonic()):
            self._store(group)

    def _read(self, asker: _Asker) -> None:
        try:
            data = asker.sock.recv(_READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._hang_up(asker)
            return
        asker.buffer += data
        try:
            end = storing.whole(asker.buffer)
            if end is not None:
                question = storing.read_question(bytes(asker.buffer[:end]))
                del asker.buffer[:end]
                if (asker.account is None) is (question.account is None):
                    raise StoringError("of no account, or of two")
                self._groups.put(asker, question, end)
        except ValueError as error:
            log.error("%s: something was asked that is no question: %s", asker.account or "a reader", error)
            self._hang_up(asker)

    def _answer(self, asker: _Asker, answer: list[Any]) -> None:
        if asker.sock.fileno() < 0:
            return
        try:
            asker.unsent += storing.write(answer)
        except StoringError as error:
            asker.unsent += storing.write(["OutboxError", f"the answer cannot be given: {error}"])
        self._send(asker)

    def _send(self, asker: _Asker) -> None:
        try:
            del asker.unsent[: asker.sock.send(asker.unsent)]
        except BlockingIOError:
            pass
        except OSError:
            self._hang_up(asker)
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if asker.unsent else 0)
        self._selector.modify(asker.sock, events, asker)

    def _hang_up(self, asker: _Asker) -> None:
        self._groups.drop(asker)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(asker.sock)
        asker.sock.close()

    # A group

    def _store(self, group: list[tuple[_Asker, Question]]) -> None:
        askers = [asker for asker, _ in group]
        try:
            answers = self._keeper.store(
                [(asker.account or question.account or "", question) for asker, question in group]
            )
        except StoreAway as error:
            self._lost()
            writers = [asker for asker, question in group if question.word not in storing.READS]
            doubted = writers if error.in_doubt else ()
            for asker, in_doubt in self._groups.away(time.monotonic(), doubted).items():
                self._answer(asker, [IN_DOUBT if in_doubt else AWAY, str(error)])
            return
        except (OrchestratorError, UnfitError) as error:
            if self._groups.refused(askers):
                away = IN_DOUBT if any(map(self._groups.is_in_doubt, askers)) else AWAY
                self._groups.done(askers)
                is_ours = isinstance(error, StoreUnusable)  # and not about what was asked
                self._answer(askers[0], [away, str(error)] if is_ours else storing.refusal(error))
            return
        self._groups.done(askers)
        for asker, answer in zip(askers, answers, strict=True):
            self._answer(asker, [OK, answer])
