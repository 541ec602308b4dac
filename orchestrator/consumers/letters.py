"""Dead letters that are delivered again, one at a time. Pure."""

from __future__ import annotations

from orchestrator.consumers.writes import Letter


class Letters:
    """What is wanted of the dead letters of one consumer.

    Args:
        any_wanted: Whether some are to be delivered again.
    """

    def __init__(self, *, any_wanted: bool) -> None:
        self._at: float | None = 0.0 if any_wanted else None
        self._letter: Letter | None = None
        self._is_busy = self._is_asked_again = False

    @property
    def is_ready(self) -> bool:
        """Whether there is one to send."""
        return self._letter is not None

    def want(self) -> None:
        """Note that some are to be delivered again."""
        if self._is_busy:
            self._is_asked_again = True
        else:
            self._at = 0.0

    def ask(self, now: float) -> bool:
        """Tell whether one is to be looked up; then the next question is only put once that is answered."""
        if self._is_busy or self._at is None or self._at > now:
            return False
        self._is_busy = True
        return True

    def got(self, letter: Letter | None, next_due: float | None) -> None:
        """Take in what was looked up.

        Args:
            letter: A letter that is to be delivered now, None if there is none.
            next_due: When there is one, None if there is none at all.
        """
        self._letter = letter
        if letter is None:
            self._is_busy = False
            self._at = 0.0 if self._is_asked_again else next_due
            self._is_asked_again = False

    def take(self) -> Letter | None:
        """Return the letter that is to be sent."""
        letter, self._letter = self._letter, None
        return letter

    def let_go(self, account: str) -> None:
        """Note that those of an account are delivered elsewhere; one that is on its way is not waited for."""
        if self._letter is not None and self._letter.place.account == account:
            self._letter = None
            self.ended()

    def ended(self) -> None:
        """Note that the letter was tried."""
        self._is_busy = self._is_asked_again = False
        self._at = 0.0

    def wake_at(self) -> float | None:
        """Return when one is to be looked up, None if that is not known."""
        return None if self._is_busy else self._at
