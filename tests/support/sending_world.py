"""An account that sends, under a virtual clock: the real desk, and whoever does what it says."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from orchestrator.accounts.settings import Sending
from orchestrator.sending import wire
from orchestrator.sending.contacts import Contact
from orchestrator.sending.desk import Desk
from orchestrator.sending.forms import Kind, Outgoing
from orchestrator.sending.row import Pace, Row, State
from orchestrator.sending.steps import (
    CheckNumber,
    Closed,
    End,
    EndKind,
    Expire,
    Fail,
    Hand,
    PutBack,
    Schedule,
    ShowTyping,
    Step,
)

START = 1_800_000_000.0
"""When the virtual clock begins, in Unix seconds."""
SENT = End(EndKind.SENT)
PATIENCE = 200_000
"""Turns of the loop after which it is taken for one without end."""


@dataclass(frozen=True)
class Handed:
    """A row that was handed over: when, when its call ends, and how."""

    at: float
    number: int
    chat: str
    pace: Pace
    until: float
    end: EndKind
    process: int


@dataclass
class SendingWorld:
    """One account.

    Attributes:
        answer: Says of a row that is handed over, by its number and the time, how many seconds that takes and
            how it ends.
        exists: Says whether a number is on WhatsApp.
    """

    settings: Sending = field(default_factory=Sending)
    answer: Callable[[int, float], tuple[float, End]] = lambda _number, _now: (0.3, SENT)
    exists: Callable[[str], bool | None] = lambda _phone: True
    seed: int = 0
    now: float = START
    memory: str | None = None
    rows: dict[int, Row] = field(default_factory=dict)
    asked: dict[int, Outgoing] = field(default_factory=dict)
    contacts: dict[str, Contact] = field(default_factory=dict)
    handed: list[Handed] = field(default_factory=list)
    typed: list[tuple[float, int]] = field(default_factory=list)
    checked: list[tuple[float, str]] = field(default_factory=list)
    steps: list[tuple[float, Step]] = field(default_factory=list)
    busy: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Start the account's process for the first time."""
        self.agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._counter = 0
        self.restart()

    # What people do

    def send(self, to: str, *, expires: float = 86_400.0, **asked: object) -> int:
        """Have something sent to a number with +, or an address."""
        outgoing = wire.parse({"to": to, "kind": "text", **(asked or {"text": "hello"})})
        number = len(self.rows) + 1
        self.rows[number] = Row(
            number, outgoing.kind, outgoing.to, State.QUEUED, self.now, self.now + expires, self.now
        )
        self.asked[number] = outgoing
        self._add(number)
        return number

    def at(self, when: float, act: Callable[[], None]) -> None:
        """Do something later."""
        self._counter += 1
        heapq.heappush(self.agenda, (when, self._counter, act))

    def hear(self, chat: str) -> None:
        """Have a chat write to the account."""
        self.desk.heard(chat, self.now)
        self._note_contacts()

    def restart(self) -> None:
        """End the account's process by force, and start another."""
        self.agenda.clear()
        for number in self.busy:
            self.rows[number] = replace(self.rows[number], state=State.UNKNOWN, changed_at=self.now)
        self.busy.clear()
        self.desk = Desk(self.settings, self.memory, random.Random(self.seed).random)
        self.seed += 1
        for number, row in self.rows.items():
            if not row.state.is_over:
                self._add(number)

    def take_back(self, number: int) -> None:
        """Take a row back, as somebody may do who no longer wants it to be sent."""
        self._set(number, State.TAKEN_BACK)
        self.desk.drop(number)

    def jump(self, seconds: float) -> None:
        """Set the clock; what is under way takes as long as before."""
        self.agenda = [(at + seconds, count, act) for at, count, act in self.agenda]
        self.now += seconds

    # What the loop does

    def run(self, until: float) -> None:
        """Let the time pass until a moment."""
        for _ in range(PATIENCE):
            due = self.desk.due(self.now)
            moments = [at for at in (due, self.agenda[0][0] if self.agenda else None) if at is not None]
            if not moments or min(moments) > until:
                self.now = max(self.now, until)
                return
            self.now = max(self.now, min(moments))
            if self.agenda and self.agenda[0][0] <= self.now:
                heapq.heappop(self.agenda)[2]()
            else:
                self._carry_out(self.desk.next(self.now))
        raise AssertionError("the desk wants to be asked again and again")

    def end(self, number: int, end: End) -> None:
        """Tell the desk how a row has ended."""
        self.busy.pop(number, None)
        state = {EndKind.SENT: State.SENT, EndKind.UNKNOWN: State.UNKNOWN}.get(end.kind, State.QUEUED)
        self._set(number, state)
        last = max(index for index, one in enumerate(self.handed) if one.number == number)
        self.handed[last] = replace(self.handed[last], end=end.kind)
        self._carry_out(self.desk.ended(number, end, self.now))

    def state(self, number: int) -> State:
        """Return where a row is."""
        return self.rows[number].state

    def sent(self) -> list[int]:
        """Return the rows that were sent, in the order in which they were handed over."""
        numbers = dict.fromkeys(one.number for one in self.handed)
        return [number for number in numbers if self.state(number) is State.SENT]

    def said(self, number: int) -> list[Schedule]:
        """Return what was said of how long a row waits."""
        return [one for _, one in self.steps if isinstance(one, Schedule) and one.number == number]

    def moments(self, pace: Pace) -> list[float]:
        """Return when rows of a pace were handed over."""
        return [one.at for one in self.handed if one.pace is pace]

    def _add(self, number: int) -> None:
        row = self.rows[number]
        self.desk.add(row, self.asked[number], self.contacts.get(row.to, Contact()))

    def _carry_out(self, steps: list[Step]) -> None:
        self.memory = self.desk.memory
        self._note_contacts()
        for step in steps:
            self.steps.append((self.now, step))
            assert not self.rows[step.number].state.is_over, step
            match step:
                case Expire(number):
                    self._set(number, State.EXPIRED)
                case Fail(number):
                    self._set(number, State.FAILED)
                case PutBack(number):
                    self._set(number, State.QUEUED)
                case CheckNumber(number, phone):
                    self.checked.append((self.now, phone))
                    self.at(self.now + 0.2, lambda number=number, phone=phone: self._look(number, phone))  # type: ignore[misc]
                case ShowTyping(number):
                    self.typed.append((self.now, number))
                case Hand(number, pace):
                    self._hand(number, pace)

    def _hand(self, number: int, pace: Pace) -> None:
        row = self.rows[number]
        assert row.state is State.QUEUED, f"row {number} is {row.state} and handed over again"
        assert row.to not in {self.rows[other].to for other in self.busy}, "two at once to a chat"
        before = [self.rows[other] for other in range(1, number) if self.rows[other].to == row.to]
        assert all(one.state not in (State.QUEUED, State.SENDING) for one in before), "out of order"
        assert self.now < row.expires_at
        self._check_restriction(row)
        self._set(number, State.SENDING)
        takes, end = self.answer(number, self.now)
        self.busy[number] = self.now
        assert len(self.busy) <= 4
        self.handed.append(Handed(self.now, number, row.to, pace, self.now + takes, end.kind, self.seed))
        self.at(self.now + takes, lambda: self.end(number, end))

    def _check_restriction(self, row: Row) -> None:
        closed = self.desk.restriction(self.now).what
        assert closed is not Closed.ALL
        is_warm = self.contacts.get(row.to, Contact()).is_warm(row.to) or row.kind is Kind.READ
        assert closed is Closed.NOTHING or is_warm

    def _look(self, number: int, phone: str) -> None:
        self._carry_out(self.desk.checked(number, self.exists(phone), self.now))

    def _set(self, number: int, state: State) -> None:
        self.rows[number] = replace(self.rows[number], state=state, changed_at=self.now)

    def _note_contacts(self) -> None:
        for chat, contact in self.desk.take_contacts().items():
            self.contacts[chat] = contact.merged(self.contacts.get(chat, contact))


def most_within(moments: list[float], seconds: float) -> int:
    """Return how many moments there are at most in any stretch of so many seconds, without its end."""
    return max((_within(moments[index:], seconds) for index in range(len(moments))), default=0)


def _within(moments: list[float], seconds: float) -> int:
    return sum(1 for at in moments if at < moments[0] + seconds)


def gaps(moments: list[float]) -> Iterator[float]:
    """Yield the seconds between each two."""
    return (later - earlier for earlier, later in itertools.pairwise(moments))


def person(index: int) -> str:
    """Return the number of somebody."""
    return f"+1555{index:07d}"


def address(index: int) -> str:
    """Return the address of that number."""
    return f"1555{index:07d}@s.whatsapp.net"


def knowing(*indexes: int, since: float = 30 * 86_400.0) -> Mapping[str, Contact]:
    """Return what is known of people with whom there was an exchange so many seconds ago."""
    return {address(index): Contact(heard_at=START - since, sent_at=START - since) for index in indexes}
