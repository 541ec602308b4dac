"""What a companion prints, cut into lines and bounded."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.service.companions import output
from orchestrator.service.companions.output import LINES_AT_ONCE, LONGEST, Lines, level_of


def lines_of(*pieces: bytes, now: float = 0.0) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    lines = Lines(lambda level, text: found.append((level, text)))
    for piece in pieces:
        lines.feed(piece, now)
    lines.end(now)
    return found


def test_a_line_may_begin_with_its_priority() -> None:
    assert level_of("<3>it is broken") == (logging.ERROR, "it is broken")
    assert level_of("<7>x") == (logging.DEBUG, "x")
    for plain in ("<9>x", "<x>", "3>x", "", "<3", "x"):
        assert level_of(plain) == (logging.INFO, plain)


@given(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zs", "Zl", "Zp"]), min_size=1),
    st.integers(1, 9),
)
def test_lines_are_the_same_however_they_come(text: str, step: int) -> None:
    data = f"{text}\n<4>{text}\n{text}".encode()
    pieces = [data[at : at + step] for at in range(0, len(data), step)]
    assert lines_of(*pieces) == lines_of(data)
    assert len(lines_of(data)) == 3


@given(st.lists(st.binary(max_size=3 * LONGEST), max_size=6))
def test_no_line_is_longer_than_it_may_be_and_no_memory_grows(pieces: list[bytes]) -> None:
    found: list[str] = []
    lines = Lines(lambda _, text: found.append(text))
    for piece in pieces:
        lines.feed(piece, 0.0)
        assert len(lines._rest) <= LONGEST
    lines.end(0.0)
    assert all(len(text) <= LONGEST + 2 for text in found)


def test_the_rest_of_a_line_that_is_too_long_is_left_out() -> None:
    found = lines_of(b"x" * (3 * LONGEST), b"y" * LONGEST, b"z\nshort\n")
    assert [text[:5] for _, text in found] == ["xxxxx", "short"]
    assert found[0][1].endswith(" …")


def test_whoever_prints_without_end_has_to_wait() -> None:
    async def run() -> None:
        read, write = os.pipe()
        os.set_blocking(write, False)
        found = output.Output("flooder", read)
        written = 0
        for _ in range(2000):
            with contextlib.suppress(BlockingIOError):
                written += os.write(write, b"x" * 4096)
            await asyncio.sleep(0)
        most = (output.READS_AT_ONCE + 2 * output.READS_A_SECOND) * 64 * 1024
        assert 0 < written <= most
        os.close(write)
        found.close()

    asyncio.run(run())


def test_a_flood_is_counted() -> None:
    found: list[tuple[int, str]] = []
    lines = Lines(lambda level, text: found.append((level, text)))
    lines.feed(b"flood\n" * 10_000, 0.0)
    assert len(found) == LINES_AT_ONCE
    lines.feed(b"later\n", 1.0)
    assert found[-1] == (logging.INFO, "later")
    left_out = 10_000 - int(LINES_AT_ONCE)
    assert found[-2] == (logging.WARNING, f"… {left_out} more lines were left out")
    assert output.LINES_A_SECOND < LINES_AT_ONCE
