"""A library that logs without pause."""

from __future__ import annotations

import logging
import threading

from orchestrator.worker.output import LineLimit


class Written(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def log(handler: Written, count: int, level: int = logging.INFO) -> None:
    for number in range(count):
        handler.handle(logging.LogRecord("whatsmeow", level, "", 0, "line %d", (number,), None))


def test_what_is_too_much_is_left_out_and_counted() -> None:
    now = [0.0]
    handler = Written()
    limit = LineLimit(handler, logging.INFO, clock=lambda: now[0])
    log(handler, 1000)
    limit.tell()
    assert handler.lines == [*(f"line {number}" for number in range(200)), "… 800 more lines were left out"]
    limit.tell()
    assert len(handler.lines) == 201, "told once"
    for second in range(1, 11):
        now[0] = float(second)
        log(handler, 100)
        limit.tell()
    assert len(handler.lines) == 201 + 10 * 51
    now[0] = 100.0
    log(handler, 3)
    limit.tell()
    assert handler.lines[-1] == "line 2"


def test_the_last_words_of_go_have_room_of_their_own() -> None:
    handler = Written()
    LineLimit(handler, logging.INFO, clock=lambda: 0.0)
    log(handler, 1000)
    log(handler, 900, logging.ERROR)
    assert handler.lines[-900:] == [f"line {number}" for number in range(900)]


def test_it_is_told_by_itself() -> None:
    said = threading.Event()

    class Telling(Written):
        def emit(self, record: logging.LogRecord) -> None:
            super().emit(record)
            if "left out" in self.lines[-1]:
                said.set()

    handler = Telling()
    LineLimit(handler, logging.INFO)
    log(handler, 5000)
    assert said.wait(60)


def test_whoever_wants_everything_gets_more() -> None:
    handler = Written()
    LineLimit(handler, logging.DEBUG, clock=lambda: 0.0)
    log(handler, 2000, logging.DEBUG)
    assert len(handler.lines) == 2000
