"""Which of the library's calls into Python have not returned."""

import threading

import pytest

from orchestrator.worker.library.callbacks import Callbacks


def test_the_oldest_call_that_runs_is_known_in_whatever_thread() -> None:
    callbacks = Callbacks()
    goes_on = {1: threading.Event(), 2: threading.Event()}
    is_in = threading.Event()

    def call(number: int) -> int:
        is_in.set()
        assert goes_on[number].wait(10)
        return number

    watched = callbacks.watch(call)
    assert callbacks.oldest is None
    threads: list[threading.Thread] = []
    oldest: list[int | None] = []
    for number in goes_on:
        threads.append(threading.Thread(target=watched, args=(number,)))
        threads[-1].start()
        assert is_in.wait(10)
        is_in.clear()
        oldest.append(callbacks.oldest)
    assert oldest[0] is not None
    assert oldest[0] == oldest[1]
    for number, thread in zip(goes_on, threads, strict=True):
        goes_on[number].set()
        thread.join()
        oldest.append(callbacks.oldest)
    assert oldest[2] not in (None, oldest[0])
    assert oldest[3] is None
    assert watched(1) == 1


def test_a_call_that_raises_is_over() -> None:
    callbacks = Callbacks()
    with pytest.raises(ZeroDivisionError):
        callbacks.watch(lambda: 1 / 0)()
    assert callbacks.oldest is None
