"""The machine of one account with a clock, for telling stories: `Driver`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from orchestrator.accounts import pipe
from orchestrator.accounts.actions import Action
from orchestrator.accounts.child import Parked
from orchestrator.accounts.events import Configured, Event, Exited, Moment, Said
from orchestrator.accounts.failure import EXIT_CODES, Kind
from orchestrator.accounts.machine import Account
from orchestrator.accounts.past import Past
from orchestrator.accounts.settings import AccountSettings
from orchestrator.accounts.states import State


class Driver:
    """An account with a clock: seconds since boot are seconds since 1970.

    Args:
        parked: The state it was in when an earlier service ended.
        stopped: An operator has stopped it earlier.
        past: What an earlier service knew of it.
        **values: Its settings.
    """

    def __init__(
        self,
        *,
        parked: Parked | None = None,
        stopped: bool = False,
        past: Past | None = None,
        **values: Any,  # noqa: ANN401 - whatever the settings hold
    ) -> None:
        self.now = 1000.0
        self.settings = AccountSettings("support", **values)
        self.account = self.made(parked, past, stopped=stopped)

    def made(self, parked: Parked | None, past: Past | None, *, stopped: bool) -> Account:
        """Return the account as a service begins with it."""
        moment = Moment(self.now, self.now)
        return Account(self.settings, moment, random=lambda: 0.5, stopped=stopped, parked=parked, past=past)

    def __call__(self, event: Event, after: float = 0.0) -> list[Action]:
        """Let something happen, so many seconds later, and return what is to be done."""
        self.now += after
        return self.account.handle(event, Moment(self.now, self.now))

    def configure(self, **values: Any) -> list[Action]:  # noqa: ANN401 - whatever the settings hold
        self.settings = replace(self.settings, **values)
        return self(Configured(self.settings))

    def end(self, kind: Kind, *, code: int | None = None, expire: float | None = None) -> list[Action]:
        """Let its process say why it ends, and end."""
        self(Said(pipe.Ended(kind, f"ended by {kind}", code, expire)))
        return self(Exited(EXIT_CODES[kind]))

    def state(self) -> State:
        return self.account.state
