"""What whoever asks is told of a message, and what becomes of its file, where the store cannot be used."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.accounts import pipe
from orchestrator.accounts.outgoing import Fault
from orchestrator.errors import StoreAway
from orchestrator.sending import telling, wire
from orchestrator.sending.forms import File, Kind, Media, Outgoing
from orchestrator.worker.sending.orders import Orders

FILE = File("17", "cd" * 32, 5, "image/png")
MESSAGE = Outgoing("269139479534551@lid", Media(Kind.IMAGE, file=FILE))
ORDER = pipe.Send(7, wire.as_text(MESSAGE), "ab" * 32, 1_800_000_000.0, 1_800_000_000.0)


class Store:
    """An outbox, and the files beside it, that nobody can reach."""

    def __init__(self, *, in_doubt: bool) -> None:
        self._in_doubt = in_doubt
        self.deleted: list[set[str]] = []

    def add(self, _new: object) -> Any:  # noqa: ANN401 - it never returns
        raise StoreAway("the database is away", in_doubt=self._in_doubt)

    def files(self) -> set[str]:
        return set()

    def delete(self, names: set[str]) -> None:
        self.deleted.append(names)


@pytest.mark.parametrize("in_doubt", [True, False])
def test_nobody_is_told_that_a_message_was_refused_which_may_be_written(*, in_doubt: bool) -> None:
    store, said = Store(in_doubt=in_doubt), list[object]()
    orders = Orders(store, store, 100, said.append)  # type: ignore[arg-type]
    if in_doubt:
        with pytest.raises(StoreAway):
            orders.add(ORDER)
        assert (said, store.deleted) == ([], [])
    else:
        assert orders.add(ORDER) is None
        assert said == [telling.refused(7, Fault.UNUSABLE)]
        assert store.deleted == [{FILE.id}]
