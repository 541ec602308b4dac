"""Characters that steer a terminal, or that nobody sees."""

from __future__ import annotations

import json
import logging

import pytest

from orchestrator.system import logs
from orchestrator.system.hidden import HIDDEN, write_out

WANTED = [
    *range(0x20),
    *range(0x7F, 0xA0),
    *(0x061C, 0x2028, 0x2029, 0x2060, 0xFEFF),
    *range(0x200B, 0x2010),
    *range(0x202A, 0x202F),
    *range(0x2066, 0x206A),
]


def test_all_that_must_not_reach_a_terminal_is_there() -> None:
    assert not set(WANTED) - HIDDEN.keys()


def test_python_calls_none_of_them_printable() -> None:
    assert not [number for number in HIDDEN if chr(number).isprintable()]


def test_tabs_and_lines_stay() -> None:
    assert write_out("a\tb\nc\x1b[31m \u202ed \U000e0041") == "a\tb\nc\\u001b[31m \\u202ed \\udb40\\udc41"
    assert write_out("plain") == "plain"


@pytest.mark.parametrize("number", [n for n in HIDDEN if chr(n) not in "\t\n"])
def test_no_form_of_the_log_lets_one_through(number: int) -> None:
    record = logging.LogRecord("a", logging.INFO, "", 0, "x%sx", (chr(number),), None)
    for form in (logs.TextFormatter(None), logs.JournalFormatter(None), logs.JsonFormatter(None)):
        assert chr(number) not in form.format(record)
    assert json.loads(logs.JsonFormatter(None).format(record))["message"] == f"x{chr(number)}x"
