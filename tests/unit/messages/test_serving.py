"""What whoever asks is told while the store is away, and whether it may have done what was asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from orchestrator.errors import OrchestratorError, StoreAway, StoreUnusable
from orchestrator.messages.outbox_form import OutboxFull
from orchestrator.messages.remote import Channel
from orchestrator.messages.serving import Serving
from orchestrator.messages.storing import Question

LOST = StoreAway("the connection was lost", in_doubt=True)
AWAY = StoreAway("nobody answers")


class Scripted:
    """A store that fails as a test says, and then does all."""

    def __init__(self, *errors: OrchestratorError) -> None:
        self._errors = [*errors]

    def store(self, group: Sequence[tuple[str, Question]]) -> list[Any]:
        if self._errors:
            raise self._errors.pop(0)
        return [None] * len(group)

    def forget(self, account: str) -> None:
        pass

    def close(self) -> None:
        pass


@contextmanager
def asking(*errors: OrchestratorError, patience: float = 60.0) -> Iterator[Channel]:
    serving = Serving(Scripted(*errors))
    serving._groups._patience = patience
    serving.start()
    channel = Channel(serving.open("support"))
    try:
        yield channel
    finally:
        channel.close()
        serving.close()


@pytest.mark.parametrize(("error", "in_doubt"), [(LOST, True), (AWAY, False)])
def test_a_write_is_in_doubt_if_the_store_was_lost_during_it(error: StoreAway, in_doubt: bool) -> None:
    with asking(error, patience=0.0) as channel:
        with pytest.raises(StoreAway) as caught:
            channel.tell("remember", "{}")
        assert caught.value.in_doubt == in_doubt
        assert channel.tell("remember", "{}") is None, "the store is back"


def test_who_only_asked_is_in_no_doubt() -> None:
    with asking(LOST, patience=0.0) as channel, pytest.raises(StoreAway) as caught:
        channel.ask("waiting")
    assert not caught.value.in_doubt


@pytest.mark.parametrize("before", [(), (AWAY,), (LOST,), (LOST, AWAY)])
def test_a_doubt_outlasts_a_later_refusal(before: tuple[StoreAway, ...]) -> None:
    refusal = StoreUnusable("the account belongs to another machine by now")
    with asking(*before, refusal) as channel, pytest.raises(StoreAway, match="another machine") as caught:
        channel.tell("remember", "{}")
    assert caught.value.in_doubt == (LOST in before)


def test_a_refusal_of_what_was_asked_is_certain() -> None:
    with asking(LOST, OutboxFull("as many wait as may")) as channel, pytest.raises(OutboxFull):
        channel.tell("remember", "{}")
