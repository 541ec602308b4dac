"""A link is closed once, and what the library still holds is waited for, as long as it may take."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from orchestrator.worker.library.callbacks import Callbacks
from orchestrator.worker.library.farewell import TALK_SECONDS, Farewell

PATIENCE = 60.0


class Library:
    """Hands events over, one after the other, as fast as they are taken; may wait with its answer."""

    def __init__(self) -> None:
        self.callbacks = Callbacks()
        self.is_there = True
        self.closed = 0
        self.answers = threading.Event()
        self.answers.set()
        self.taken: list[int] = []
        self.farewell = Farewell(self.disconnect, self.callbacks, lambda: self.is_there)

    def disconnect(self) -> None:
        self.closed += 1
        assert self.answers.wait(PATIENCE)

    def hand_over(self, count: int, take: Callable[[int], None]) -> threading.Thread:
        watched = self.callbacks.watch(take)
        thread = threading.Thread(target=lambda: [watched(number) for number in range(count)], daemon=True)
        thread.start()
        return thread

    def drain(self, seconds: float = PATIENCE, *, closes: bool = True) -> bool:
        return self.farewell.drain(time.monotonic() + seconds, closes=closes)


@pytest.fixture
def library() -> Iterator[Library]:
    library = Library()
    yield library
    library.answers.set()


def test_all_that_waits_is_taken_before_the_end(library: Library) -> None:
    def take(number: int) -> None:
        threading.Event().wait(0.02)
        library.taken.append(number)

    library.hand_over(40, take)
    assert library.drain()
    assert library.taken == list(range(40))
    assert library.closed == 1


def test_a_link_is_closed_once_whoever_asks(library: Library) -> None:
    asking = [threading.Thread(target=library.drain) for _ in range(4)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join(PATIENCE)
    assert library.drain()
    assert library.closed == 1


def test_a_link_that_is_not_closed_may_bring_more(library: Library) -> None:
    library.answers.clear()
    ended: list[bool] = []
    waiting = threading.Thread(target=lambda: ended.append(library.drain()))
    waiting.start()
    assert not library.farewell.drain(time.monotonic() + PATIENCE, closes=False) or not ended
    library.answers.set()
    waiting.join(PATIENCE)
    assert ended == [True]


def test_without_a_link_its_end_is_not_waited_for(library: Library) -> None:
    library.answers.clear()
    assert library.drain(closes=False)


def test_a_library_that_dials_is_left_alone_until_it_is_there(library: Library) -> None:
    library.is_there = False
    assert library.drain(closes=False)
    assert library.closed == 0

    library = Library()
    library.is_there = False

    def take(_: int) -> None:
        library.is_there = True

    library.hand_over(1, take).join(PATIENCE)
    assert library.drain()
    assert library.closed == 1


def test_a_callback_that_does_not_return_holds_nobody_up(library: Library) -> None:
    returns = threading.Event()
    library.hand_over(1, lambda _: assert_(returns.wait(PATIENCE)))
    assert not library.drain(0.5)
    # The time that was given first is all there is.
    assert not library.drain()
    returns.set()


def test_a_library_that_talks_with_the_database_has_something(library: Library) -> None:
    since = [0.0, 0.2, 0.99] * 4
    silent: list[float] = []

    def silence() -> float:
        silent.append(since.pop() if since else TALK_SECONDS)
        if len(silent) == 12:  # it has decrypted what it had begun with
            library.hand_over(1, library.taken.append)
        return silent[-1]

    library.farewell = Farewell(library.disconnect, library.callbacks, lambda: True, silence)
    assert library.drain()
    assert library.taken == [0]


def test_a_database_that_never_gets_silent_is_not_waited_for(library: Library) -> None:
    library.farewell = Farewell(library.disconnect, library.callbacks, lambda: True, lambda: 0.0)
    assert not library.drain(0.5)


def test_a_link_that_cannot_be_closed_is_over(library: Library) -> None:
    def disconnect() -> None:
        raise OSError("no")

    farewell = Farewell(disconnect, library.callbacks, lambda: True)
    assert farewell.drain(time.monotonic() + PATIENCE, closes=True)


def assert_(true: bool) -> None:
    assert true
