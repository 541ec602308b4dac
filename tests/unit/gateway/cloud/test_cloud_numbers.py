"""The accounts' numbers: asked for when they are needed, and again when an account has changed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from orchestrator.control.view import AccountView
from orchestrator.errors import NoSuchAccount, OrchestratorError
from orchestrator.gateway.cloud.numbers import PAUSE_SECONDS, Numbers

Json = dict[str, Any]


class Service:
    """The service, as far as it knows numbers."""

    def __init__(self, **phones: str | None) -> None:
        self.phones = phones
        self.asked: list[Json] = []
        self.since = "2026-11-28T10:00:00Z"
        self.now = 100.0

    def views(self) -> dict[str, AccountView]:
        return {name: AccountView(name, "connected", self.since, phone="+1…") for name in self.phones}

    async def ask(self, asker: Json, command: str, /, **arguments: Any) -> Json:  # noqa: ANN401
        assert asker == {"gateway": True}
        assert command == "list"
        assert arguments["reveal"] is True
        self.asked.append(arguments)
        names = arguments.get("names", list(self.phones))
        if missing := set(names) - set(self.phones):
            raise NoSuchAccount(f"there is no account {missing}")
        return {
            "accounts": [AccountView(one, "connected", phone=self.phones[one]).as_json() for one in names]
        }

    def numbers(self) -> Numbers:
        return Numbers(self, self.views, lambda: self.now)


def test_a_number_is_asked_for_once() -> None:
    service = Service(support="+15550100")
    numbers = service.numbers()

    async def ask() -> list[str | None]:
        return [await numbers.of("support"), await numbers.of("support")]

    assert asyncio.run(ask()) == ["15550100", "15550100"]
    assert service.asked == [{"names": ["support"], "reveal": True}]


def test_a_number_is_asked_for_again_when_the_account_has_changed() -> None:
    service = Service(support="+15550100")
    numbers = service.numbers()

    async def ask() -> list[str | None]:
        found = [await numbers.of("support")]
        service.phones["support"], service.since = "+15550101", "2026-11-28T10:00:01Z"
        return [*found, await numbers.of("support")]

    assert asyncio.run(ask()) == ["15550100", "15550101"]


def test_an_account_without_a_number_has_none() -> None:
    numbers = Service(support=None).numbers()

    assert asyncio.run(numbers.of("support")) is None
    assert asyncio.run(numbers.of("nobody")) is None


def test_an_account_is_found_by_name_and_by_number() -> None:
    service = Service(support="+15550100", sales="+15550101")
    numbers = service.numbers()

    async def ask() -> list[str | None]:
        return [await numbers.account(one) for one in ("support", "15550100", "15550101")]

    assert asyncio.run(ask()) == ["support", "support", "sales"]
    assert service.asked == [{"reveal": True}]


def test_whoever_tries_numbers_has_the_service_asked_rarely() -> None:
    service = Service(support="+15550100")
    numbers = service.numbers()

    async def ask() -> list[str | None]:
        found = [await numbers.account(str(15550200 + one)) for one in range(50)]
        service.now += PAUSE_SECONDS
        return [*found, await numbers.account("15550200")]

    assert not any(asyncio.run(ask()))
    assert len(service.asked) == 2


@pytest.mark.parametrize(
    "name", ["", "..", "+15550100", "1" * 16, "155501x0", "\N{ARABIC-INDIC DIGIT ONE}" * 8]
)
def test_what_can_be_neither_is_asked_of_nobody(name: str) -> None:
    service = Service(support="+15550100")

    assert asyncio.run(service.numbers().account(name)) is None
    assert not service.asked


def test_a_service_that_does_not_answer_is_said() -> None:
    class Gone(Service):
        async def ask(self, asker: Json, command: str, /, **arguments: Any) -> Json:  # noqa: ANN401, ARG002
            raise OrchestratorError("gone", key="not_running")

    with pytest.raises(OrchestratorError, match="gone"):
        asyncio.run(Gone(support=None).numbers().of("support"))
