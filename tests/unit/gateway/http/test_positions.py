from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.gateway.http import positions
from orchestrator.gateway.http.head import MAX_HEAD
from orchestrator.gateway.http.positions import Positions, write

STREAMS = st.tuples(st.from_regex("[a-z]{1,10}", fullmatch=True), st.sampled_from(["messages", "account"]))


@given(st.dictionaries(STREAMS, st.integers(0, 2**62), max_size=30))
def test_positions_come_back(wanted: dict[tuple[str, str], int]) -> None:
    found = Positions(write(wanted))
    assert {stream: found.of(stream) for stream in wanted} == wanted
    assert found.of(("another one", "messages")) is None


@given(st.text(max_size=200) | st.text(alphabet="AZaz09-_", max_size=200).map("p1.".__add__))
def test_what_is_no_word_of_ours_is_refused(word: str) -> None:
    try:
        Positions(word)
    except ValueError:
        return
    assert word.startswith("p1.")


def test_a_bomb_is_refused() -> None:
    import base64
    import zlib

    bomb = base64.urlsafe_b64encode(zlib.compress(b"\x00" * 10_000_000)).decode().rstrip("=")
    with pytest.raises(ValueError, match="no word"):
        Positions("p1." + bomb)


def test_the_longest_word_fits_into_a_head() -> None:
    rest = 4096  # for everything else in a head
    largest = {
        (f"account-{number}", "messages"): 2**63 - 1 - number * 7919**3 for number in range(positions.MOST)
    }
    word = write(largest)
    assert len(word) <= min(positions.LONGEST, MAX_HEAD - rest)
    assert Positions(word).of(("account-7", "messages")) == largest["account-7", "messages"]
