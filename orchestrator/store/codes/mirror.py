"""Which codes a folder is to show that mirrors those of a whole fleet. Pure.

What is known of the codes may be old: while the database is away, nobody says that a code was used. So each
code has its end with it, and goes then, whatever is known.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from orchestrator.accounts.names import is_name
from orchestrator.accounts.picture import LONGEST, is_picture


@dataclass(frozen=True, slots=True)
class Code:
    """A code that an account of the fleet shows.

    Attributes:
        account: The account's name.
        png: Its picture.
        until: When the code is over, by the clock of whoever mirrors it.
    """

    account: str
    png: bytes = field(repr=False)
    until: float


@dataclass(frozen=True, slots=True)
class Change:
    """Something that the folder does not have as it should.

    Attributes:
        account: The account whose picture it is.
        png: The picture to be shown, None if the one that is there has to go.
    """

    account: str
    png: bytes | None = field(repr=False)


def is_sound(account: str, png: bytes) -> bool:
    """Tell whether a row may become a file: others open it, and its name is a part of a path."""
    return is_name(account) and len(png) <= LONGEST and is_picture(png)


class Mirror:
    """What is to be shown, and what is.

    A picture that somebody has removed or replaced is not shown again: the account's next code gets one.
    """

    def __init__(self) -> None:
        self._wanted: dict[str, Code] = {}
        self._shown: dict[str, bytes] = {}
        self._given_up: dict[str, bytes] = {}

    @property
    def shown(self) -> list[str]:
        """The accounts that have a picture, by name."""
        return sorted(self._shown)

    def found(self, codes: Iterable[Code]) -> None:
        """Note which codes there are; any other is over. What is no sound code must not be among them."""
        self._wanted = {code.account: code for code in codes}
        self._given_up = {
            account: png
            for account, png in self._given_up.items()
            if account in self._wanted and self._wanted[account].png == png
        }

    def plan(self, now: float) -> list[Change]:
        """Return what has to change: first what has to go. What is not `done` comes again."""
        wanted = {
            account: code.png
            for account, code in self._wanted.items()
            if code.until > now and self._given_up.get(account) != code.png
        }
        gone = [Change(account, None) for account in self.shown if account not in wanted]
        new = [Change(name, wanted[name]) for name in sorted(wanted) if self._shown.get(name) != wanted[name]]
        return gone + new

    def done(self, change: Change) -> None:
        """Note that the folder has what was planned."""
        if change.png is None:
            self._shown.pop(change.account, None)
        else:
            self._shown[change.account] = change.png

    def failed(self, change: Change) -> None:
        """Note that a picture could not be written, so that the one before is gone, too."""
        if change.png is not None:
            self._shown.pop(change.account, None)

    def lost(self, account: str) -> None:
        """Note that somebody has removed or replaced a picture."""
        self._given_up[account] = self._shown.pop(account)

    def ends_at(self) -> float | None:
        """Return when the first code is over that is shown, None without one."""
        return min((self._wanted[name].until for name in self._shown if name in self._wanted), default=None)
