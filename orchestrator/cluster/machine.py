"""The machine of one shard: what happens → what to do. Pure: no I/O, no clock, no randomness of its own.

The database decides who owns an account. The machine asks it one question at a time, and believes only
answers: what was asked without an answer may have been done, and the next renewal shows it, because its
answer names all that the shard owns. From a claim to a process there are two steps. The database gives the
account to the shard, in a higher epoch. Then the fence shuts everybody else out of the account's session, and
can be repeated as often as it takes. Only then a process starts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.cluster import deadlines, moving, share
from orchestrator.cluster.actions import (
    Action,
    Adopt,
    Claim,
    Drop,
    Extend,
    Fence,
    How,
    Leave,
    Own,
    Parcel,
    Probe,
    Question,
    Register,
    Release,
    Renew,
    Tell,
)
from orchestrator.cluster.board import Board, Condition, Peer, Report
from orchestrator.cluster.events import (
    Claimed,
    Doubted,
    Event,
    Fenced,
    Gone,
    Granted,
    Hinted,
    HungUp,
    Leaving,
    Left,
    Reached,
    Refused,
    Released,
    Seen,
    Taken,
    Ticked,
    Unanswered,
)
from orchestrator.cluster.figures import Figures
from orchestrator.cluster.holdings import Held, Holdings, Stage
from orchestrator.cluster.lease import Lease
from orchestrator.cluster.reach import Reach

LOST = "the lease of this shard has ended: its accounts run elsewhere from now on, and it begins anew"
SILENT = "the database does not answer: all accounts are disconnected until it does"
ALONE = (
    "a process on {host} has all accounts of the database ({what}), and is no part of a cluster: this shard"
    " waits for its end; if it is a service, end it, or add `cluster:` to its configuration and restart it"
)
HELD_BY = "another process runs as shard {name} on {host}: end one of them, or give it another name"


@dataclass(frozen=True, slots=True)
class Limits:
    """What the configuration says of a shard.

    Attributes:
        name: The shard.
        parallel: How many accounts are fenced, or handed on, side by side.
    """

    name: str
    parallel: int = 8


class Shard:
    """The machine of one shard.

    Args:
        limits: What the configuration says.
        draw: Returns a new incarnation, which no other start of any shard has.

    Attributes:
        limits: What the configuration says; may be replaced.
        holdings: Its accounts.
        board: The cluster as the last good renewal has shown it, None while the shard has no lease.
        lease: Its lease.
    """

    def __init__(self, limits: Limits, draw: Callable[[], str]) -> None:
        self.limits = limits
        self.holdings = Holdings()
        self.board: Board | None = None
        self.lease = Lease()
        self._draw = draw
        self._reach = Reach()
        self._asked: Question | None = None
        self._next: str | None = None
        self._ask_at = 0.0
        self._sent_at = 0.0
        self._not_before = 0.0
        self._claim = 0
        self._here_since = 0.0
        self._rebalance_at = 0.0
        self._doubted: dict[str, float] = {}
        self._leaving = False
        self._left = False
        self._suspended = False
        self._told: str | None = None
        self._missed = 0
        self._lost = 0
        self._actions: list[Action] = []

    @property
    def has_left(self) -> bool:
        """Whether the shard has stopped, and owns nothing any more."""
        return self._left

    @property
    def willing(self) -> bool:
        """Whether it takes accounts."""
        drained = self.board is not None and self.board.drained
        return not (self._leaving or self._reach.is_doubtful or drained)

    def handle(self, event: Event, now: float) -> list[Action]:
        """Take an event in and return what is to be done about it, in this order.

        Args:
            event: What has happened.
            now: Seconds of a clock that goes on while the machine sleeps.
        """
        self._actions = []
        self._hear(event, now)
        self._mind(now)
        self._follow(now)
        return self._actions

    def figures(self, now: float) -> Figures:
        """Return how the shard is, in numbers."""
        board = self.board or Board(())
        return Figures(
            shard=self.limits.name,
            lease_age=self.lease.age(now),
            accounts=len(self.holdings.by_account),
            shards=len(board.peers),
            waiting=board.free + sum(peer.coming for peer in board.peers),
            waiting_seconds=board.free_seconds,
            claimed=self.holdings.claimed,
            taken_over=self.holdings.taken_over,
            renewals_missed=self._missed,
            leases_lost=self._lost,
        )

    def wakes_at(self, now: float) -> float | None:
        """Return when the machine wants a `Ticked`, None if only another event changes anything."""
        if self._left:
            return None
        times = [] if self._suspended or self.lease.kill_at is None else [self.lease.kill_at]
        if self._asked is None and not (self._leaving and self.lease.incarnation is None):
            times.append(max(self._ask_at, self._not_before))
        times += [held.retry_at for held in self.holdings.at(Stage.CLAIMED) if held.retry_at > now]
        return min(times, default=None)

    # What happens

    def _hear(self, event: Event, now: float) -> None:
        match event:
            case Granted(incarnation, begun, board):
                if incarnation != self.lease.incarnation:
                    self._here_since = now
                self._asked = None
                self._granted(incarnation, begun, board, now)
            case Refused():
                self._asked = None
                self._lose()
                self._ask_at = now
            case Taken(host, alone):
                self._asked = self._next = None
                self._ask_at = now + deadlines.TAKEN_SECONDS
                words = HELD_BY if alone is None else ALONE
                self._say(words.format(name=self.limits.name, host=host, what=alone))
            case Unanswered():
                if isinstance(self._asked, Register | Renew):
                    self._ask_at = now
                    self._missed += isinstance(self._asked, Renew)
                self._asked = None
                self._not_before = max(now, self._sent_at + deadlines.RETRY_SECONDS)
            case Claimed(holdings):
                self._asked = None
                self.holdings.take(holdings, now)
            case Released(kept):
                asked, self._asked = self._asked, None
                if isinstance(asked, Release):
                    self.holdings.released(asked.parcels, kept)
            case Left():
                self._asked = None
                self.lease.ended()
                self._left = True
            case Fenced(account, epoch, done):
                self._fenced(account, epoch, now, done=done)
            case Gone(account):
                self.holdings.gone(account)
            case Seen(account, condition):
                if held := self.holdings.by_account.get(account):
                    held.condition = condition
            case Doubted(account):
                self._doubt(account, now)
            case HungUp():
                # Only a takeover does that, or the end of the database: either way nothing may go on.
                self._suspend(None)
                self._ask_at = now
            case Reached(reached):
                self._reach.told(reached=reached, now=now)
            case Hinted():
                self._ask_at = min(self._ask_at, max(now, self._sent_at + deadlines.HINT_SECONDS))
            case Leaving():
                self._leave(now)
            case Ticked():
                pass

    def _granted(self, incarnation: str, begun: float, board: Board, now: float) -> None:
        self.lease.granted(incarnation, begun)
        self._next = None
        self.board = board
        for account in self.holdings.compare(board.mine, now):
            self._do(Drop(account, How.KILL))
        if not self.lease.is_good(now):
            self._suspend()  # the answer was on its way for too long
            return
        self._suspended, self._told = False, None
        if self.lease.children_until is not None:
            self._do(Extend(self.lease.children_until))
        for account, since in list(self._doubted.items()):
            if since <= begun:
                del self._doubted[account]
                if account in self.holdings.by_account:
                    self._do(Own(account))
        me = self._me(board)
        self._look_out(board, now)
        self._hand_on(board, me, now)
        self._claim = share.to_claim(board, me, now - self._here_since) if self.willing else 0
        if board.free and now < (at := self._here_since + deadlines.GATHER_SECONDS):
            self._ask_at = min(self._ask_at, at)

    def _fenced(self, account: str, epoch: int, now: float, *, done: bool) -> None:
        held = self.holdings.by_account.get(account)
        if held is None or held.holding.epoch != epoch or held.stage is not Stage.FENCING:
            return
        held.stage = Stage.READY if done else Stage.CLAIMED
        held.retry_at = 0.0 if done else now + deadlines.RETRY_SECONDS

    def _doubt(self, account: str, now: float) -> None:
        if account in self.holdings.by_account:
            self._doubted.setdefault(account, now)
            self._ask_at = now

    def _leave(self, now: float) -> None:
        self._leaving = True
        self._ask_at = now
        for held in list(self.holdings.by_account.values()):
            self._give_up(held, None)

    # What follows

    def _mind(self, now: float) -> None:
        """Let nothing go on without a lease that is good."""
        if not self._suspended and self.lease.incarnation is not None and not self.lease.is_good(now):
            self._suspend()

    def _follow(self, now: float) -> None:
        if self._left:
            return
        if self.lease.is_good(now) and not self._suspended:
            self._run(now)
        if self._asked is not None or now < self._not_before:
            return
        question = self._question(now)
        if question is None:
            return
        self._asked, self._sent_at = question, now
        self._do(question)
        if isinstance(question, Register | Renew):
            self._ask_at = now + deadlines.RENEW_SECONDS

    def _run(self, now: float) -> None:
        """Bring the shard's accounts a step further."""
        fencing = len(self.holdings.at(Stage.FENCING))
        # Those that were running a moment ago come first: somebody waits for them.
        for held in sorted(self.holdings.at(Stage.CLAIMED), key=lambda held: not held.holding.urgent):
            if self._leaving:
                self._give_up(held, None)
            elif fencing < self.limits.parallel and now >= held.retry_at:
                held.stage = Stage.FENCING
                fencing += 1
                self._do(Fence(held.holding.account, held.holding.epoch))
        for held in self.holdings.at(Stage.READY):
            if self._leaving:
                self._give_up(held, None)
            elif held.holding.account not in self.holdings.dying:
                held.stage, held.condition = Stage.ADOPTED, Condition.TRYING
                self._do(Adopt(held.holding.account, held.holding.name, held.holding.urgent))

    def _question(self, now: float) -> Question | None:
        """Return what to ask the database now. A renewal that is due comes before all else."""
        incarnation = self.lease.incarnation
        if incarnation is None:
            if self._leaving:
                self._left = not self.holdings.dying
            if self._leaving or now < self._ask_at:
                return None
            # An unanswered registration may have been carried out: asking again for the same one is safe.
            self._next = self._next or self._draw()
            return Register(self._next, self._report(now))
        if now >= self._ask_at:
            return Renew(incarnation, self._report(now))
        if parcels := self._parcels():
            return Release(incarnation, parcels)
        if self._claim:
            count, self._claim = self._claim, 0
            return Claim(incarnation, count)
        if self._leaving and not self.holdings.by_account and not self.holdings.dying:
            return Leave(incarnation)
        return None

    def _parcels(self) -> tuple[Parcel, ...]:
        return tuple(
            Parcel(held.holding.account, held.holding.epoch, held.target)
            for held in self.holdings.at(Stage.RELEASING)
            if held.holding.account not in self.holdings.dying
        )

    def _look_out(self, board: Board, now: float) -> None:
        conditions = [held.condition for held in self.holdings.at(Stage.ADOPTED)]
        others = any(peer.report.connected for peer in board.peers if peer.name != self.limits.name)
        self._reach.look(conditions, others=others, now=now)
        if self._reach.asks(now):
            self._do(Probe())

    def _hand_on(self, board: Board, me: Peer, now: float) -> None:
        """Hand accounts to other shards: those that an operator moves, all of them, or one too many."""
        if self._leaving:
            return
        away = board.drained or self._reach.is_cut
        parcels = moving.plan(
            self.holdings,
            board,
            me,
            all_of_them=away,
            one=now >= self._rebalance_at,
            limit=self.limits.parallel,
        )
        for held, target in parcels:
            self._rebalance_at = now + deadlines.REBALANCE_SECONDS
            self._give_up(held, target)

    def _give_up(self, held: Held, target: str | None) -> None:
        """Run an account no more, and release it."""
        held.target = target
        if held.stage is Stage.ADOPTED:
            held.stage = Stage.DROPPING
            self._do(Drop(held.holding.account, How.STOP))
        elif held.stage is not Stage.DROPPING:
            held.stage = Stage.RELEASING

    def _suspend(self, why: str | None = SILENT) -> None:
        """Let nothing run, because the lease may end unseen; the accounts stay the shard's for now."""
        if self._suspended:
            return
        self._suspended = True
        for account in self.holdings.suspend():
            self._do(Drop(account, How.CUT))
        self._claim = 0
        if why is not None:
            self._say(why)

    def _lose(self) -> None:
        """Give everything up: the database says that the lease has ended."""
        if self.lease.incarnation is not None:
            self._lost += 1
            self._say(LOST)
        self.lease.ended()
        self.board, self._next, self._claim = None, None, 0
        self._suspended = False
        self._doubted.clear()
        for account in self.holdings.end():
            self._do(Drop(account, How.KILL))

    # Small ones

    def _report(self, now: float) -> Report:
        running = self.holdings.at(Stage.ADOPTED)
        return Report(
            connected=sum(held.condition in (Condition.CONNECTED, Condition.BUSY) for held in running),
            willing=self.willing,
            failing_over=any(held.fails_over(now) for held in self.holdings.by_account.values()),
        )

    def _me(self, board: Board) -> Peer:
        for peer in board.peers:
            if peer.name == self.limits.name:
                return peer
        return Peer(self.limits.name, len(board.mine), len(board.mine))

    def _say(self, text: str) -> None:
        if text != self._told:
            self._told = text
            self._do(Tell(text))

    def _do(self, action: Action) -> None:
        self._actions.append(action)
