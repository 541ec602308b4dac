"""Does what the desk decides about the rows of an outbox; used by one thread, which waits for nothing here.

Each change is in the outbox before anything else is done, and whoever runs the account is told of it.
"""

from __future__ import annotations

import functools
import logging
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, TypeAlias

from orchestrator.accounts import outgoing, pipe
from orchestrator.accounts.acts import BadAct
from orchestrator.accounts.settings import Sending
from orchestrator.messages.outbox_form import NotWaiting, OutboxError
from orchestrator.messages.protocols import UNUSABLE, OutboxStore
from orchestrator.sending import telling
from orchestrator.sending.desk import Desk
from orchestrator.sending.forms import Outgoing
from orchestrator.sending.row import Row, State
from orchestrator.sending.steps import (
    CheckNumber,
    End,
    EndKind,
    Expire,
    Fail,
    Hand,
    PutBack,
    Restriction,
    Schedule,
    ShowTyping,
    Step,
)
from orchestrator.worker.intake import Intake
from orchestrator.worker.sending.beginning import Past
from orchestrator.worker.sending.courier import Carried, Courier
from orchestrator.worker.sending.files import OutgoingFiles
from orchestrator.worker.sending.later import RETRY_SECONDS, Later
from orchestrator.worker.sending.notes import Notes
from orchestrator.worker.sending.orders import Orders
from orchestrator.worker.sending.people import People
from orchestrator.worker.sending.settling import Settling

log = logging.getLogger(__name__)

Say: TypeAlias = Callable[[pipe.FromChild], object]

NOTE_SECONDS: Final = 10.0
"""Seconds after which it is written down who has written, if nothing is sent before."""

NEVER_LEFT: Final = "an earlier try was cut off before anything was sent"
CUT: Final = "the process ended while it was being sent, and nobody knows whether it was"
MAY_HAVE_LEFT: Final = "it may have been sent, and a receipt will tell"
ONCE_MORE: Final = "it is done once more, which changes nothing if it was done before"
NOT_WRITTEN: Final = "the outbox could not be written"
OTHER_PHONE: Final = "the account was linked to another phone meanwhile"
GONE: Final = "the outbox does not have its content any more"
NO_THREAD: Final = "the system gave no thread"


class Spawn(Protocol):
    """Has something done in a thread of its own."""

    def __call__(self, call: Callable[[], Any], then: Callable[[Any], object]) -> bool:
        """Have it done; what it returned is told in the thread of the clerk. Return whether it has begun.

        Args:
            call: What is done; it raises nothing.
            then: Told what it returned.
        """


@dataclass(frozen=True, slots=True)
class Place:
    """Where a clerk works.

    Attributes:
        outbox: The outbox, which nobody else writes to.
        settings: How the account sends.
        intake: Where what becomes of messages is stored.
        files: The files that wait to be sent.
        courier: Carries messages to the library.
        past: What the session says of what an earlier process has handed over.
        say: Tells whoever runs the account.
        spawn: Has something done in a thread.
        wall: Returns Unix seconds.
    """

    outbox: OutboxStore
    settings: Sending
    intake: Intake
    files: OutgoingFiles
    courier: Courier
    past: Past
    say: Say
    spawn: Spawn
    wall: Callable[[], float]


class Clerk:
    """Works off an outbox.

    Args:
        place: Where.

    Attributes:
        stops: Whether nothing new is handed over any more.
    """

    def __init__(self, place: Place) -> None:
        self.stops = False
        self._place = place
        self._outbox = place.outbox
        self._notes = Notes(place.outbox)
        self._desk = Desk(place.settings, self._notes.desk, random.random)
        self._settling = Settling()
        self._people = People(place.courier)
        self._orders = Orders(place.outbox, place.files, place.settings.most_waiting, place.say)
        self._under_way: set[int] = set()
        self._unproven: set[int] = set()
        self._open: dict[int, Carried] = {}
        self._later = Later()
        self._flush_at: float | None = None
        self._restriction: Restriction | None = None

    @property
    def is_idle(self) -> bool:
        """Whether the library has nothing of it at the moment."""
        return not self._under_way

    def due(self, now: float) -> float | None:
        """Return when `turn` is to be called again if nothing else happens, None if it need not be."""
        times = [self._flush_at, self._settling.due()]
        if self._later:
            times.append(now + RETRY_SECONDS)
        elif not self.stops:
            times.append(self._desk.due(now))
        return min((time for time in times if time is not None), default=None)

    # At the start

    def begin(self) -> None:
        """Take in the rows that wait, and settle those that an earlier process was sending.

        Raises:
            UNUSABLE: The outbox cannot be used at the moment; then the next call does it. Nothing may be
                sent before, or a row could go before an earlier one to the same chat.
        """
        inbox = self._place.intake.inbox
        if self._notes.desk is None and inbox is not None:
            self._notes.look_back(inbox, self._desk, self._place.wall())
        self.received(self._outbox.receipts())
        signs = {number: sign for sign, number in self._outbox.unsettled().items()}
        for row in self._outbox.waiting():
            if row.state is not State.QUEUED:
                row = self._resume(row, signs.get(row.number))
            if not row.state.is_over:
                self._seat(row)
        self._place.files.sweep(self._outbox.files())

    def _resume(self, row: Row, sign: bytes | None) -> Row:
        """Settle a row that was handed over, as far as that is possible."""
        past, number = self._place.past, row.number
        if row.kind.is_repeatable:
            return self._told(self._outbox.put_back(number, ONCE_MORE))
        if row.message is not None:
            return self._recognized(number, sign, row.message)
        if sign is not None and (id_ := past.found.get(sign)) is not None:
            return self._identified(number, sign, id_)
        if sign is not None and past.is_certain:
            return self._told(self._outbox.put_back(number, NEVER_LEFT))
        if sign is not None and past.is_ours:
            self._settling.doubt(number, sign)
        return self._told(self._outbox.unknown(number, CUT))

    def _seat(self, row: Row) -> None:
        """Have the desk take a row in, unless it was to be sent from another number."""
        if self._notes.is_of_another(row.number):
            if row.state is State.QUEUED:
                self._over(self._outbox.failed(row.number, OTHER_PHONE))
            return
        if (message := self._orders.message_of(row.number)) is None:
            if row.state is State.QUEUED:  # of one that may have been sent, the text is deleted in time
                self._over(self._outbox.failed(row.number, GONE))
            return
        chat = self._people.enter(row)
        contact = self._notes.contact({row.to, *self._people.names_of(row.to)})
        self._desk.add(replace(row, to=chat), message, contact)

    # What whoever runs the account wants

    def add(self, order: pipe.Send) -> None:
        """Write a message into the outbox, and say what became of that."""
        if (row := self._orders.add(order)) is not None:
            self._later.do(functools.partial(self._seat, row))
            if self._people.goes_by_another(row):
                self._later.do(self._rename)

    def take_back(self, order: pipe.TakeBack) -> None:
        """Take a row back, and say what became of that."""
        if (row := self._orders.take_back(order)) is not None:
            self._desk.drop(row.number)
            self._told(row)  # somebody else may wait for what becomes of the row
            self._forget(row.number, self._orders.message_of(row.number))

    def answered(self, order: pipe.Secrets) -> None:
        """Take in which of the messages that were in doubt the session knows."""
        pairs = (one.partition(":") for one in order.found.split())
        asked = map(bytes.fromhex, order.asked.split())
        answer = self._settling.answer(asked, {bytes.fromhex(sign): id_ for sign, _, id_ in pairs})
        for number in answer.never_left:
            self._end(number, End(EndKind.BEFORE, why=NEVER_LEFT))
        for one in answer.identified:
            self._later.do(functools.partial(self._identified, one.number, one.digest, one.id))

    # What is observed

    def connected(self, device: str, number: str) -> None:
        """Take note that the account is connected; see `Sender.online`."""
        self._people.can_ask = True
        self._later.do(functools.partial(self._linked, number))
        self._notes.device(device)
        self._desk.online(self._place.wall())
        self._later.do(self._rename)

    def _linked(self, number: str) -> None:
        """Let nothing go from a number that was to go from another; what is in doubt stays in doubt."""
        waiting = self._outbox.waiting()
        self._notes.number(number, max((row.number for row in waiting), default=0))
        for row in waiting:
            if self._notes.is_of_another(row.number) and row.number not in self._under_way:
                self._desk.drop(row.number)
                self._let_go(row.number)
                self._seat(row)

    def _rename(self) -> None:
        """Let rows to one person wait in one line, whatever address they were given."""
        for row in self._people.outdated(self._outbox.waiting()):
            self._desk.drop(row.number)
            self._seat(row)

    def disconnected(self) -> None:
        """Take note that the account is not connected."""
        self._desk.offline(self._place.wall())

    def heard(self, names: Iterable[str], at: float, *, from_me: bool) -> None:
        """Take note that somebody has written in a chat; see `Sender.heard`."""
        now = self._place.wall()
        self._notes.heard(self._desk, names, at, now, from_me=from_me)
        if self._flush_at is None:
            self._flush_at = now + NOTE_SECONDS

    def secret_missing(self) -> None:
        """Take note that the session may not have the secrets of what is being sent: they prove nothing."""
        for number in {*self._under_way, *self._open}:  # the word of it may come after the end of the call
            self._unproven.add(number)
            self._settling.distrust(number)
            self._later.do(functools.partial(self._outbox.unprovable, number))

    def received(self, ids: Iterable[str]) -> None:
        """Take note of messages that a receipt is about."""
        for number in self._settling.heard(ids):
            self._later.do(functools.partial(self._settled, number))

    # What is to be done

    def turn(self) -> None:
        """Do what is due."""
        now = self._place.wall()
        self._later.again()
        # Nothing new is begun before what became of the old is written: a row that could not be put back
        # would be handed over a second time, and put back then, while the library has it.
        if not (self.stops or self._later):
            self._do(self._desk.next(now))
        if self._flush_at is not None and now >= self._flush_at:
            self.remember()
        if wanted := self._settling.ask(now):
            self._place.say(pipe.Unsettled(" ".join(one.hex() for one in wanted)))
        restriction = self._desk.restriction(now)
        if restriction != self._restriction:
            self._restriction = restriction
            what, until, code = outgoing.Restriction(restriction.what), restriction.until, restriction.code
            self._place.say(pipe.Restricted(what, until, code))

    def remember(self) -> None:
        """Write down what must outlast a restart.

        Raises:
            UNUSABLE: It cannot be written; then the next call does it.
        """
        self._notes.write(self._desk)
        self._flush_at = None

    def _do(self, wanted: list[Step]) -> None:
        if not wanted:
            return
        if any(isinstance(step, Hand) for step in wanted):
            try:
                self.remember()
            except UNUSABLE as error:
                log.warning("nothing is sent, because the outbox cannot be written: %s", error)
                for step in wanted:
                    if isinstance(step, Hand):
                        self._end(step.number, End(EndKind.BEFORE, why=NOT_WRITTEN))
                wanted = [step for step in wanted if not isinstance(step, Hand)]
        for step in wanted:
            self._later.do(functools.partial(self._take, step))

    def _take(self, step: Step) -> None:
        match step:
            case Hand():
                self._hand(step)
            case Schedule(number, pace, until, why):
                self._told(self._outbox.schedule(number, pace, until, why))
            case Expire(number):
                self._over(self._outbox.expire(number))
            case Fail(number, why, code):
                self._over(self._outbox.failed(number, why, code))
            case PutBack(number, why, until):
                self._told(self._outbox.put_back(number, why, until))
                self._people.let_go(number)
                self._let_go(number)
            case CheckNumber(number, phone):
                self._check(number, phone)
            case ShowTyping(number, recording):
                chat, courier = self._people.at(number), self._place.courier
                if chat is not None:
                    self._place.spawn(lambda: courier.show_typing(chat, records=recording), lambda _: None)

    def _hand(self, step: Hand) -> None:
        number, courier = step.number, self._place.courier
        if self._later:  # what the row has become may be among it
            self._end(number, End(EndKind.BEFORE, why=NOT_WRITTEN))
            return
        try:
            message = self._outbox.outgoing(number)
            secret = self._outbox.hand_over(number, step.pace)
        except NotWaiting:
            self._desk.drop(number)
            raise
        except (OutboxError, BadAct):
            self._desk.drop(number)
            self._over(self._outbox.failed(number, GONE))
            return
        except UNUSABLE as error:
            log.warning("a message is not sent, because the outbox cannot be written: %s", error)
            self._end(number, End(EndKind.BEFORE, why=NOT_WRITTEN))
            return
        self._under_way.add(number)
        self._people.hold(number)
        self._unproven.discard(number)
        then = functools.partial(self._carried, message)
        self._later.do(lambda: self._told(self._outbox.row(number)))  # before it can be sent already
        if not self._place.spawn(lambda: courier.carry(number, message, secret), then):
            then(Carried(number, End(EndKind.BEFORE, why=NO_THREAD)))

    def _check(self, number: int, phone: str) -> None:
        def told(exists: bool | None) -> None:
            self._do(self._desk.checked(number, exists, self._place.wall()))

        if not self._place.spawn(lambda: self._place.courier.is_on_whatsapp(phone), told):
            told(None)

    # How it ended

    def _carried(self, message: Outgoing, carried: Carried) -> None:
        """Take in how the try to send a row ended."""
        number, end = carried.number, carried.end
        self._under_way.discard(number)
        if end.kind is not EndKind.UNKNOWN:
            self._unproven.discard(number)
        if end.kind is EndKind.UNKNOWN and message.kind.is_repeatable:
            self._place.courier.let_go(carried)
            end = End(EndKind.BEFORE, why=ONCE_MORE)
        if end.kind is EndKind.UNKNOWN:
            self._open[number] = carried
            self._settling.doubt(number, carried.secret)
            if number in self._unproven:
                self._settling.distrust(number)
            self._later.do(lambda: self._told(self._outbox.unknown(number, end.why)))
        elif end.kind is EndKind.SENT:
            if carried.row is not None:
                self._told(carried.row)
            self._later.do(lambda: self._forget(number, message))
        self._end(number, end)

    def _end(self, number: int, end: End) -> None:
        self._do(self._desk.ended(number, end, self._place.wall()))

    def _identified(self, number: int, sign: bytes, id_: str) -> Row:
        """Take in the identifier of a message that may have been sent; return its row as it is then."""
        self._told(self._outbox.unknown(number, MAY_HAVE_LEFT, id_))
        return self._recognized(number, sign, id_)

    def _recognized(self, number: int, sign: bytes | None, id_: str) -> Row:
        """Wait for a receipt of a message, unless one has come already."""
        if sign is not None:
            self._place.intake.tidings.identified(sign, id_)
        if (carried := self._open.pop(number, None)) is not None:
            self._place.courier.let_go(carried)
        if self._settling.identify(number, id_):
            self._later.do(functools.partial(self._settled, number))
        return self._outbox.row(number)

    def _settled(self, number: int) -> None:
        """Take in that a receipt has named the message of a row that was in doubt."""
        row = self._outbox.row(number)
        if row.message is None:
            return
        self._told(self._outbox.sent(number, row.message))
        for entry in self._place.intake.tidings.settled(row.message, self._place.wall()):
            self._place.intake.store(entry)
        self._forget(number, self._orders.message_of(number))
        self._end(number, End(EndKind.SENT))

    def _over(self, row: Row) -> None:
        """Tell everybody of a row that is over without having been sent."""
        self._told(row)
        chat = self._people.chat_of(row)
        for entry in self._place.intake.tidings.not_sent(chat, row, self._place.wall()):
            self._place.intake.store(entry)
        self._forget(row.number, self._orders.message_of(row.number))

    def _told(self, row: Row) -> Row:
        self._place.say(telling.moved(row))
        return row

    def _let_go(self, number: int) -> None:
        """Let nothing wait any more for what a row has become: it is sent anew, or over."""
        self._settling.drop(number)
        if (carried := self._open.pop(number, None)) is not None:
            self._place.courier.let_go(carried)

    def _forget(self, number: int, message: Outgoing | None) -> None:
        self._let_go(number)
        self._people.leave(number)
        self._orders.delete_file(message)
