"""Holds the accounts of a machine while WhatsApp refuses the version of the client. Pure.

The version counts as refused when two accounts were refused. Where several machines share the accounts, these
two need not be of one machine: each tells the others what its accounts have heard (`word`), and hears what
is known by then (`heard`). Then one account in all tries again, on the machine whose turn it is.
"""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.accounts import breaker
from orchestrator.accounts.breaker import Breaker
from orchestrator.accounts.refusal import Probe, Refusal, Word
from orchestrator.accounts.standing import Standing
from orchestrator.accounts.states import State

_SAME_SECONDS = 5.0
"""By so much the time of the next try may differ from one word of the others to the next: clocks do."""


class ClientVersion(Breaker):
    """Holds the fleet while WhatsApp refuses the version of the client: from the second account on.

    Attributes:
        retry: The accounts that are to try at once, because there is another version.
        shared: Whether other machines run accounts, too, so that it is not for this one to say who tries.
    """

    def __init__(self) -> None:
        super().__init__(breaker.PROBE_FIRST, breaker.PROBE_LAST)
        self.retry: set[str] = set()
        self.shared = False
        self._ours = False
        self._elsewhere = False
        self._refused: set[str] = set()
        self._news = Word()

    @property
    def tripped(self) -> bool:
        """Whether the fleet is held."""
        return self._elsewhere or super().tripped

    @property
    def wakes_at(self) -> float | None:
        """Monotonic time of the next try here, None if none is planned or it is not this machine's turn."""
        return self.probe_at if self._ours or not self.shared else None

    def refused(self, name: str, now: float) -> bool:
        """Note that an account was refused; return True if that holds the others from now on."""
        self._refused.add(name)
        self._tell(Word(refused=frozenset({name})))
        if self.canary == name:
            self._over(Probe.REFUSED)
        return (self.tripped or len(self._refused) > 1) and super().refused(name, now)

    def probe(self, now: float, candidates: Iterable[str], *, early: bool = False) -> str | None:
        """See `Breaker.probe`: nobody probes here while it is the turn of another machine."""
        return None if self.shared and not self._ours else super().probe(now, candidates, early=early)

    def connected(self) -> bool:
        """Note that an account was let in; return True if that sets the fleet free."""
        self._tell(Word(accepted=True))
        return self._free()

    def renewed(self) -> bool:
        """Note that there is another version; return True if that sets the fleet free."""
        self._news = Word()
        return self._free()

    def forget(self, name: str, now: float) -> None:
        """Note that an account was removed."""
        self._refused.discard(name)
        self.retry.discard(name)
        self.canary_ended(name, now)

    def canary_ended(self, name: str, now: float, *, soon: float | None = None) -> None:
        """See `Breaker.canary_ended`."""
        if self.canary == name:
            self._over(Probe.UNTOLD, soon)
        super().canary_ended(name, now, soon=soon)

    def may_try(self, account: Standing) -> bool:
        """Tell whether an account waits for WhatsApp to accept the client, and does not have to any more."""
        waits = account.child is None and account.state is State.OUTDATED
        return waits and (account.held or account.settings.name in self.retry)

    # Beside other machines

    def word(self, *, wants: bool) -> Word:
        """Return what the others are to hear, which is told once; see `unheard`.

        Args:
            wants: Whether an account here could try.
        """
        news, self._news = self._news, Word()
        return news.before(Word(wants=wants, canary=self.canary if self._ours else None))

    def unheard(self, word: Word) -> None:
        """Take a word back that nobody has heard: it is told again."""
        self._news = word.before(self._news)

    def heard(self, known: Refusal | None, who: str, at: float, now: float) -> bool:
        """Take in what all machines know by now; return True if that sets the fleet free.

        Args:
            known: What is known of the version.
            who: This machine, by its incarnation.
            at: The time, by the clock of the database.
            now: Monotonic seconds.
        """
        if known is None or not known.holds:
            self._ours = False
            # The word of accounts that were refused meanwhile has not been heard yet.
            return not self._news.refused and self.tripped and self._free()
        self._ours, self._elsewhere = known.canary == who, True
        if self.canary is not None:
            return False
        if self._ours:
            self.probe_at = now
        elif known.canary is not None or known.probe_at is None or known.probe_at <= at:
            self.probe_at = None
        elif self.probe_at is None or abs(self.probe_at - now - known.probe_at + at) > _SAME_SECONDS:
            self.probe_at = now + known.probe_at - at
        return False

    def _free(self) -> bool:
        was = self.tripped
        self._refused.clear()
        self._ours = self._elsewhere = False
        super().connected()
        return was

    def _over(self, probe: Probe, soon: float | None = None) -> None:
        if self._ours:
            self._tell(Word(probe=probe, soon=soon))
            self._ours = False

    def _tell(self, word: Word) -> None:
        if self.shared:
            self._news = self._news.before(word)
