"""The accounts' numbers, by which the Cloud API names accounts. The gateway knows them masked otherwise."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, TypeAlias

from orchestrator.accounts.names import is_name
from orchestrator.control.view import AccountView
from orchestrator.errors import OrchestratorError
from orchestrator.gateway.cloud import ids
from orchestrator.gateway.parent import GATEWAY, Who

Json: TypeAlias = dict[str, Any]

PAUSE_SECONDS: Final = 2.0
"""How soon the service is asked again after a client has named a number that nobody has."""


class Asks(Protocol):
    """What is needed of the service: see `gateway.parent.Parent`."""

    async def ask(self, asker: Who, command: str, /, **arguments: Any) -> Json:  # noqa: ANN401 - JSON
        """Ask for something and return the answer."""


class Numbers:
    """Finds accounts by number, and numbers by account.

    Args:
        service: Knows the numbers.
        views: Returns the accounts by name, as the service last described them. A number is asked for again
            when its account has changed.
        clock: Returns monotonic seconds.
    """

    def __init__(
        self,
        service: Asks,
        views: Callable[[], Mapping[str, AccountView]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._service = service
        self._views = views
        self._clock = clock
        self._known: dict[str, tuple[object, str | None]] = {}
        self._looked_at = -PAUSE_SECONDS

    async def of(self, account: str) -> str | None:
        """Return the digits of an account's number, None if it has none, or there is no such account.

        Raises:
            OrchestratorError: The service does not answer.
        """
        state = self._state(account)
        known = self._known.get(account)
        if state is not None and known is not None and known[0] == state and known[1] is not None:
            return known[1]
        await self._look(account)
        return self._known.get(account, (None, None))[1]

    async def account(self, name: str) -> str | None:
        """Return the account that a client means by a name or by the digits of a number, None without one.

        Raises:
            OrchestratorError: The service does not answer.
        """
        if is_name(name) and name in self._views():
            return name
        if not ids.is_number(name):
            return None
        found = self._with(name)
        if found is None and self._clock() - self._looked_at >= PAUSE_SECONDS:
            await self._look()
            found = self._with(name)
        return found

    def _with(self, number: str) -> str | None:
        """Return the account that has a number, as far as what is known still holds."""
        for name, (state, known) in self._known.items():
            if known == number and state == self._state(name):
                return name
        return None

    def _state(self, account: str) -> object:
        """Return what changes when the account may have another number; None if there is no account."""
        view = self._views().get(account)
        return None if view is None else (view.phone, view.state, view.since)

    async def _look(self, *accounts: str) -> None:
        """Ask the service for the numbers of some accounts, or of all."""
        asked = self._clock()
        states = {name: self._state(name) for name in accounts or self._views()}
        arguments = {"names": [*accounts]} if accounts else {}
        try:
            answer = await self._service.ask(GATEWAY, "list", reveal=True, **arguments)
        except OrchestratorError as error:
            if error.key != "no_such_account":
                raise
            answer = {}
        for name in accounts or [*self._known]:
            self._known.pop(name, None)
        for one in answer.get("accounts", ()):
            view = AccountView.from_json(one)
            self._known[view.name] = (states.get(view.name), ids.wa_id(view.phone))
        if not accounts:
            self._looked_at = asked
