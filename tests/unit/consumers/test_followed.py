"""The rows in which what is known of consumers goes from one machine to the next."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.consumers import followed
from orchestrator.consumers.followed import DeadLetter, Gone, Row, Stand
from orchestrator.consumers.writes import Head, LaneRow, Moved, Place, Standing

numbers = st.integers(0, 2**53 - 1)
times = st.floats(0, 1e10)
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=256)
places = st.builds(Place, st.sampled_from(["a", "b-1"]), st.sampled_from(["messages", "account"]))
heads = st.builds(Head, texts, texts, numbers, times)
whats = st.one_of(
    st.builds(Moved, places, st.none() | numbers, times),
    st.builds(
        LaneRow, places, texts, numbers, numbers, numbers, st.none() | heads, numbers, times, texts,
        st.none(),
    ),
    st.builds(DeadLetter, places, texts, heads, numbers, texts, times, st.none() | times, numbers),
    st.builds(Gone, st.just("position"), places, st.just("")),
    st.builds(Gone, st.just("chat"), places, texts),
    st.builds(Gone, st.just("letter"), places, numbers),
)  # fmt: skip
rows = st.builds(Row, st.sampled_from(["crm", "erp"]), whats)
stands = st.builds(
    Stand,
    st.sampled_from(["crm", "erp"]),
    st.sampled_from(["webhook", "bot"]),
    st.builds(Standing, times, st.booleans(), st.booleans(), why=texts, changed_at=times),
    numbers,
)


@given(rows)
def test_a_row_arrives_as_it_was(row: Row) -> None:
    assert followed.load(json.loads(json.dumps(followed.dump(row)))) == row


@given(stands)
def test_how_a_consumer_stands_arrives_as_it_was(stand: Stand) -> None:
    assert followed.load_stand(json.loads(json.dumps(followed.dump_stand(stand)))) == stand


junk = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text() | st.just("a") | st.just("messages"),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=20,
)


@given(rows, st.data())
def test_what_is_no_row_is_refused(row: Row, data: st.DataObject) -> None:
    """Nothing of a row may be something else: every part of it is replaced, one at a time."""
    plain = followed.dump(row)
    at = data.draw(st.integers(0, len(plain) - 1))
    plain[at] = data.draw(junk)
    try:
        read = followed.load(plain)
    except ValueError:
        return
    assert followed.load(followed.dump(read)) == read


@given(junk)
def test_junk_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="no row"):
        followed.load(value)
    with pytest.raises(ValueError, match="no standing"):
        followed.load_stand(value)


@pytest.mark.parametrize(
    "plain",
    [
        ["position", "crm", "a", "messages", -1, 0.0],
        ["position", "crm", "a", "messages", 2**53, 0.0],
        ["position", "crm", "a", "messages", True, 0.0],
        ["position", "crm", "a", "messages", 1, float("nan")],
        ["position", "crm", "a", "messages", 1, float("inf")],
        ["position", "crm", "a", "messages", 1, -1.0],
        ["position", "crm", "a", "messages", 1],
        ["position", "crm", "a", "messages", 1, 0.0, 0],
        ["position", "crm", "a", "elsewhere", 1, 0.0],
        ["position", "crm", "../a", "messages", 1, 0.0],
        ["position", "C R M", "a", "messages", 1, 0.0],
        ["gone", "crm", "a", "messages", "position", "x"],
        ["gone", "crm", "a", "messages", "chat", "x" * 257],
        ["gone", "crm", "a", "messages", "chat", "x\0"],
        ["gone", "crm", "a", "messages", "chat", "\ud800"],
        ["gone", "crm", "a", "messages", "letter", "1"],
        ["gone", "crm", "a", "messages", "account", 1],
        ["letter", "crm", "a", "messages", "x", [1, "e", "t"], 1, "", 0.0, None, 0],
    ],
)
def test_what_is_out_of_bounds_is_refused(plain: object) -> None:
    with pytest.raises(ValueError, match="no "):
        followed.load(plain)


@given(st.lists(rows, max_size=30))
def test_positions_come_last(given_rows: list[Row]) -> None:
    """Whoever has a position has all rows that were made before it."""
    pieces = followed.order(given_rows)
    flat = [row for piece in pieces for row in piece]
    kinds = [row.is_position for row in flat]
    assert sorted(kinds) == kinds
    assert sorted(map(repr, flat)) == sorted(map(repr, given_rows))
