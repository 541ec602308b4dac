"""Rows on their way over the pipe."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.messages import MESSAGE_IDS, REASONS, ROWS, SENTENCES, TIMES

from orchestrator.accounts import acts, pipe
from orchestrator.accounts.outgoing import Fault
from orchestrator.accounts.pipe import MessageError, decode, encode
from orchestrator.sending import telling
from orchestrator.sending.forms import Kind
from orchestrator.sending.row import Pace, Row, State

ROW: st.SearchStrategy[Row] = st.builds(
    Row,
    number=ROWS,
    kind=st.sampled_from(Kind),
    to=st.from_regex(acts.CHAT, fullmatch=True),
    state=st.sampled_from(State),
    created_at=TIMES,
    expires_at=TIMES,
    changed_at=TIMES,
    message=st.none() | MESSAGE_IDS,
    pace=st.none() | st.sampled_from(Pace),
    queued_until=st.none() | TIMES,
    code=REASONS,
    why=st.none() | SENTENCES,
    tag=st.none() | st.text(st.characters(codec="utf-8"), max_size=100),
)


@given(ROW, st.booleans())
def test_a_row_arrives_as_it_is(row: Row, again: bool) -> None:
    told = decode(encode(telling.queued(7, row, again=again)))
    assert isinstance(told, pipe.Queued)
    assert (told.id, told.again, telling.row_of(told)) == (7, again, row)


@given(ROW, ROW)
def test_a_change_makes_the_row_what_it_is_now(before: Row, now: Row) -> None:
    told = decode(encode(telling.moved(replace(now, number=before.number))))
    assert isinstance(told, pipe.Moved)
    same = {
        name: getattr(before, name) for name in ("number", "kind", "to", "created_at", "expires_at", "tag")
    }
    assert telling.after(before, told) == replace(now, **same)


@given(st.sampled_from(Fault))
def test_what_was_not_done_has_no_row(fault: Fault) -> None:
    told = decode(encode(telling.refused(7, fault)))
    assert isinstance(told, pipe.Queued)
    assert told.fault is fault
    with pytest.raises(MessageError):
        telling.row_of(told)
