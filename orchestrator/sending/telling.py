"""A row of an outbox as an account's process tells the service of it, and back. Pure."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.accounts import pipe
from orchestrator.accounts.outgoing import Fault
from orchestrator.accounts.pipe import MessageError
from orchestrator.sending.forms import Kind
from orchestrator.sending.row import Pace, Row, State


def queued(id_: int, row: Row, *, again: bool = False) -> pipe.Queued:
    """Return the answer to a `Send` or a `TakeBack` that led to a row.

    Args:
        id_: The number of what it answers.
        row: The row.
        again: Whether the key belonged to this row before.
    """
    return pipe.Queued(
        id_,
        row.number,
        str(row.state),
        None if row.pace is None else str(row.pace),
        row.message,
        row.queued_until,
        row.code,
        row.why,
        None,
        again,
        str(row.kind),
        row.to,
        row.tag,
        row.created_at,
        row.changed_at,
        row.expires_at,
    )


def refused(id_: int, fault: Fault) -> pipe.Queued:
    """Return the answer to a `Send` or a `TakeBack` that did not succeed."""
    return pipe.Queued(id_, fault=fault)


def moved(row: Row) -> pipe.Moved:
    """Return what is told of a row that has changed."""
    pace = None if row.pace is None else str(row.pace)
    return pipe.Moved(
        row.number, str(row.state), pace, row.message, row.queued_until, row.code, row.why, row.changed_at
    )


def row_of(told: pipe.Queued) -> Row:
    """Return the row that an answer is about.

    Raises:
        MessageError: The answer names a row and not all of it, or no row.
    """
    if (
        told.row is None
        or told.state is None
        or told.kind is None
        or told.to is None
        or told.created_at is None
        or told.changed_at is None
        or told.expires_at is None
    ):
        raise MessageError("a Queued without a whole row")
    return Row(
        told.row,
        Kind(told.kind),
        told.to,
        State(told.state),
        told.created_at,
        told.expires_at,
        told.changed_at,
        told.message,
        None if told.pace is None else Pace(told.pace),
        told.queued_until,
        told.code,
        told.why,
        told.tag,
    )


def after(row: Row, told: pipe.Moved) -> Row:
    """Return a row as it is after a change."""
    return replace(
        row,
        state=State(told.state),
        pace=None if told.pace is None else Pace(told.pace),
        message=told.message,
        queued_until=told.queued_until,
        code=told.code,
        why=told.why,
        changed_at=told.changed_at,
    )
