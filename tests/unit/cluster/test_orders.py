"""The life of an order: thousands of days on which owners change and freeze, and answers come late."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

import pytest

from orchestrator.accounts import deadlines
from orchestrator.cluster import orders
from orchestrator.cluster.orders import DONE_SECONDS, TAKE_SECONDS, Order, Owner, Verdict

ONE, TWO = Owner("one", 3), Owner("two", 4)


def test_the_owner_takes_an_order_once_and_answers_it() -> None:
    order = orders.take(Order(10.0), ONE, "one", 11.0)
    assert order == Order(10.0, ONE, 11.0)
    assert orders.take(order, ONE, "one", 11.5) is None
    assert orders.judge(order, ONE, 12.0, is_good=True) is Verdict.WAIT
    done = orders.answer(order, ONE, "one", "done", 12.0, is_good=True)
    assert done is not None
    assert orders.judge(done, TWO, 99.0, is_good=False) is Verdict.ANSWERED, "an answer stays one"
    assert orders.answer(done, ONE, "one", "again", 12.0, is_good=True) is None


@pytest.mark.parametrize(
    ("owner", "who", "now"),
    [
        (None, "one", 11.0),
        (TWO, "one", 11.0),
        (replace(ONE, is_good=False), "one", 11.0),
        (ONE, "one", 10.0 + TAKE_SECONDS),
    ],
    ids=["nobody's", "another's", "lease over", "too late"],
)
def test_nobody_else_takes_it(owner: Owner | None, who: str, now: float) -> None:
    assert orders.take(Order(10.0), owner, who, now) is None


@pytest.mark.parametrize(
    ("owner", "who", "now", "is_good"),
    [
        (ONE, "two", 12.0, True),
        (TWO, "one", 12.0, True),
        (replace(ONE, epoch=5), "one", 12.0, True),
        (ONE, "one", 12.0, False),
        (ONE, "one", 11.0 + DONE_SECONDS, True),
    ],
    ids=["not who took it", "lost the account", "lost it in between", "lease over", "too late"],
)
def test_nobody_else_answers_it(owner: Owner, who: str, now: float, is_good: bool) -> None:
    order = orders.take(Order(10.0), ONE, "one", 11.0)
    assert order is not None
    assert orders.answer(order, owner, who, "done", now, is_good=is_good) is None
    if who == "one":
        assert orders.judge(order, owner, now, is_good=is_good) is Verdict.LOST


def test_an_order_by_which_the_account_goes_is_answered_all_the_same() -> None:
    order = orders.take(Order(10.0), ONE, "one", 11.0)
    assert order is not None
    assert orders.judge(order, None, 12.0, is_good=True) is Verdict.WAIT
    assert orders.answer(order, None, "one", "done", 12.0, is_good=True) is not None


def test_whoever_asks_gives_up_before_the_client_does() -> None:
    assert deadlines.ANSWER.outer > TAKE_SECONDS + DONE_SECONDS
    assert deadlines.STOP_COMMAND.outer < DONE_SECONDS


@dataclass
class Day:
    """One order, two machines, one account, and a database whose clock is the only one."""

    chance: random.Random
    now: float = 100.0
    row: Order | None = None
    owner: Owner | None = ONE
    epoch: int = 3
    leases: dict[str, float] = field(default_factory=lambda: {"one": 112.0, "two": 112.0})
    todo: list[tuple[str, float]] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    told: str | None = None

    def present(self) -> Owner | None:
        if self.owner is None:
            return None
        return replace(self.owner, is_good=self.leases[self.owner.incarnation] > self.now)

    def step(self) -> None:
        """Let one thing happen, and time pass."""
        self.now += self.chance.choice([0.0, 0.1, 0.5, 2.0, 7.0])
        who = self.chance.choice(["one", "two"])
        match self.chance.randrange(9):
            case 0 | 1:
                if self.leases[who] > self.now:
                    self.leases[who] = self.now + 12.0
            case 2:
                self.change(self.chance.choice([who, None]))
            case 3 | 4:
                self.take(who)
            case 5:
                self.carry_out(who)
            case _:
                self.look()

    def change(self, to: str | None) -> None:
        if self.owner is not None and self.leases[self.owner.incarnation] > self.now:
            self.owner = None  # it hands the account on
        if to is not None and self.leases[to] > self.now:
            self.epoch += 1
            self.owner = Owner(to, self.epoch)

    def take(self, who: str) -> None:
        row = None if self.row is None else orders.take(self.row, self.present(), who, self.now)
        if row is not None:
            self.row = row
            self.todo.append((who, self.now))

    def carry_out(self, who: str) -> None:
        mine = [one for one in self.todo if one[0] == who]
        if not mine:
            return
        self.todo.remove(mine[0])
        self.done.append(who)
        if self.row is not None:
            is_good = self.leases[who] > self.now
            answered = orders.answer(self.row, self.present(), who, who, self.now, is_good=is_good)
            self.row = answered or self.row

    def look(self) -> None:
        """Whoever has asked looks."""
        if self.told is not None:
            return
        taken = None if self.row is None else self.row.taken_by
        is_good = taken is not None and self.leases[taken.incarnation] > self.now
        match orders.judge(self.row, self.present(), self.now, is_good=is_good):
            case Verdict.ANSWERED:
                assert self.row is not None
                self.told, self.row = self.row.answer, None
            case Verdict.LOST:
                self.told, self.row = "lost", None
            case Verdict.WITHDRAW:
                assert self.row is not None
                if orders.may_withdraw(self.row):
                    self.told, self.row = "not done", None


@pytest.mark.parametrize("block", range(8))
def test_thousands_of_days(block: int) -> None:
    ends = set()
    for seed in range(block * 1000, block * 1000 + 1000):
        day = Day(random.Random(seed))
        day.row = Order(day.now)
        for _ in range(60):
            day.step()
            assert len(day.done) <= 1, f"{seed}: done twice"
            if day.told == "not done":
                assert (day.todo, day.done) == ([], []), f"{seed}: what was not done is done"
            if day.told in ("one", "two"):
                assert day.done == [day.told], f"{seed}: an answer of somebody who has not done it"
        day.now = max(day.now, 100.0) + TAKE_SECONDS + DONE_SECONDS
        day.look()
        assert day.told is not None, f"{seed}: somebody waits for ever"
        ends.add(day.told)
    assert ends == {"one", "two", "lost", "not done"}
