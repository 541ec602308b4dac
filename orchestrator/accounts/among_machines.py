"""The accounts of this machine among those of others, as far as the client's version is concerned. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from orchestrator.accounts.fleet import ACCEPTED, OUTDATED, Fleet
from orchestrator.accounts.refusal import Refusal, Word
from orchestrator.accounts.standing import Standing
from orchestrator.accounts.states import State


class AmongMachines:
    """What this machine tells the others of the client's version, and what it hears.

    Args:
        fleet: The accounts as a whole.
        accounts: The same by name.
        tell: Takes news for the log.
    """

    def __init__(self, fleet: Fleet, accounts: Mapping[str, Standing], tell: Callable[[str], object]) -> None:
        fleet.version.shared = True
        self._fleet = fleet
        self._accounts = accounts
        self._tell = tell

    def word(self) -> Word:
        """Return what the others are to hear; see `ClientVersion.word`."""
        fleet = self._fleet
        may = fleet.version.tripped and not (fleet.maintenance.is_on or fleet.store.is_away)
        return fleet.version.word(wants=may and any(map(_could_try, self._accounts.values())))

    def unheard(self, word: Word) -> None:
        """Take a word back that nobody has heard."""
        self._fleet.version.unheard(word)

    def heard(self, known: Refusal | None, who: str, at: float, now: float) -> None:
        """Take in what all machines know; see `ClientVersion.heard`. Then somebody may have a turn."""
        version = self._fleet.version
        held = version.tripped
        if version.heard(known, who, at, now):
            self._tell(ACCEPTED)
        elif version.tripped and not held:
            self._tell(f"{OUTDATED}: no account connects until neonize is updated")


def _could_try(account: Standing) -> bool:
    return account.held and account.child is None and account.state is State.OUTDATED
