"""What all unit tests have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from orchestrator.messages.inbox import Inbox, Reader


@pytest.fixture(autouse=True)
def inboxes_are_closed() -> Iterator[None]:
    """Close the inboxes that a test has opened: Python 3.13 complains of databases that nobody closes."""
    opened: list[Inbox | Reader] = []

    def noting(make: Callable[..., None]) -> Callable[..., None]:
        def make_and_note(self: Inbox | Reader, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
            make(self, *args, **kwargs)
            opened.append(self)

        return make_and_note

    # A patch of its own: the one of the test's must end before the test's folder is removed.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Inbox, "__init__", noting(Inbox.__init__))
        patch.setattr(Reader, "__init__", noting(Reader.__init__))
        yield
    for one in opened:
        one.close()
