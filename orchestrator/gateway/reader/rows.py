"""What a reader reads of outboxes. They are closed again at once: the service may need them for itself."""

from __future__ import annotations

import time
from contextlib import closing

from orchestrator.gateway.reader import wire
from orchestrator.gateway.reader.wire import Answer, Ask, fitting
from orchestrator.messages.outbox_form import NoOutbox, NoRow, OutboxError, OutboxStirred
from orchestrator.messages.protocols import AccountMessages, OutboxView
from orchestrator.sending.row import Row, State


def answer(messages: AccountMessages, ask: Ask, patience: float, seconds: float) -> Answer:
    """Return rows of an account's outbox or how many there are, or why there are none.

    Args:
        messages: Where the account's messages are kept.
        ask: Which rows.
        patience: Seconds to wait for whoever holds the outbox.
        seconds: How long it may take.
    """
    try:
        try:
            return _answer(messages, ask, patience, seconds)
        except OutboxStirred:  # somebody writes to it for the first time since it was closed
            return _answer(messages, ask, patience, seconds)
    except NoOutbox:
        return Answer(last=ask.seq)
    except OutboxError as error:
        return Answer(last=ask.seq, fault=error.key)


def _answer(messages: AccountMessages, ask: Ask, patience: float, seconds: float) -> Answer:
    with closing(messages.rows(patience)) as reader:
        reader.stop_at(time.monotonic() + seconds)
        if ask.task == "tally":
            return Answer(last=ask.seq, about=wire.tally_as_json(reader.tally()))
        if ask.task == "row":
            return Answer(last=ask.seq, rows=_one(reader, ask.seq))
        states = [State(one) for one in ask.states.split()] or None
        found = reader.rows(ask.seq, ask.limit, states)
        rows = tuple(fitting(found))
        more = len(rows) < len(found) or len(found) == ask.limit
        return Answer(last=rows[-1].number if rows else ask.seq, more=more, rows=rows)


def _one(reader: OutboxView, number: int) -> tuple[Row, ...]:
    try:
        return (reader.row(number),)
    except NoRow:
        return ()
