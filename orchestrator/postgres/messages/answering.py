"""Answers the questions of `messages.storing` from the database, within the transaction of whoever calls."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import astuple
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg

from orchestrator.accounts.deadlines import SECRETS_SECONDS
from orchestrator.messages import storing
from orchestrator.messages.entry import Stored
from orchestrator.messages.outbox_form import New, values
from orchestrator.messages.retention import Retention
from orchestrator.postgres import heard, sent
from orchestrator.postgres.messages.box import Box
from orchestrator.postgres.messages.boxes import names
from orchestrator.postgres.messages.inbox import InboxTables
from orchestrator.postgres.messages.outbox import OutboxTables
from orchestrator.postgres.messages.views import InboxRows, OutboxRows
from orchestrator.sending import wire
from orchestrator.sending.contacts import Contact
from orchestrator.sending.row import Row

if TYPE_CHECKING:
    from orchestrator.postgres.database import Connection

log = logging.getLogger(__name__)

T = TypeVar("T")


def read(connection: Connection, box: Box, word: str, arguments: tuple[Any, ...], now: float) -> Any:  # noqa: ANN401
    """Return the answer to a question that changes nothing.

    Args:
        connection: The database.
        box: The account's box.
        word: The question.
        arguments: What it needs, checked.
        now: Unix seconds.

    Raises:
        OutboxError: What is asked for is not there.
    """
    inbox, outbox = InboxTables(connection, box, now), OutboxTables(connection, box, now)
    seen, rows = InboxRows(connection, box), OutboxRows(connection, box)
    match word, arguments:
        case "inbox", ():
            return list(inbox.begun())
        case "outbox", ():
            return [outbox.begun(), outbox.count]
        case "meta", (key,):
            return inbox.meta(key)
        case "known", (keys,):
            return list(inbox.known(keys))
        case "stored_since", (at, limit):
            return [list(one) for one in inbox.stored_since(at, limit)]
        case "last_heard", ():
            return _pairs(inbox.last_heard().items())
        case "first_stored", ():
            return inbox.first_stored()
        case "sent_chats", (ids,):
            return _pairs(inbox.sent_chats(ids).items())
        case "sent_digests", (settled,):
            return list(inbox.sent_digests(settled=settled))
        case "waiting", ():
            return _rows(outbox.waiting())
        case "row", (number,):
            return values(outbox.row(number))
        case "by_message", (message,):
            row = outbox.by_message(message)
            return None if row is None else values(row)
        case "body", (number,):
            return outbox.body(number)
        case "unsettled", ():
            return _pairs(outbox.unsettled().items())
        case "files", ():
            return sorted(outbox.files())
        case "contact", (chat,):
            return list(astuple(outbox.contact(chat)))
        case "memory", ():
            return outbox.memory()
        case "receipts", ():
            return outbox.receipts()
        case "left", (wanted,):
            return _left(connection, box, wanted)
        case "heard", (device, row, print_):
            return _of_session(
                connection, box, lambda: heard.look(connection, box.account, device, row, print_)
            )
        case "after", (seq, limit, chat, size):
            skipped: list[object] = []
            found = InboxRows(connection, box, skipped.append).after(seq, limit, chat=chat, size=size)
            return [[storing.as_values(one) for one in found], skipped]
        case "before_last", (count,):
            return list(seen.before_last(count))
        case "chats_of", (message, limit):
            return seen.chats_of(message, limit)
        case "message", (chat, message):
            return _entry(seen.message(chat, message))
        case "latest", (chat,):
            return _entry(seen.latest(chat))
        case "find", (message, limit):
            return [storing.as_values(one) for one in seen.find(message, limit)]
        case "find_media", (media,):
            return _entry(seen.find_media(media))
        case "with_media", (seq, since, limit):
            return [list(one) for one in seen.with_media(seq, since, limit)]
        case "newest", ():
            return seen.newest()
        case "accounts", ():
            return names(connection)
        case "rows", (after, limit, states):
            return _rows(rows.rows(after, limit, states))
        case "last", (limit, states):
            return _rows(rows.last(limit, states))
        case "count_states", (states,):
            return rows.count(states)
        case "tally", ():
            tally = rows.tally()
            return [
                _pairs(tally.states.items()), _pairs(tally.paces.items()), tally.oldest, tally.soonest,
                tally.memory,
            ]  # fmt: skip
    raise AssertionError(word)


def write(connection: Connection, box: Box, word: str, arguments: tuple[Any, ...], now: float) -> Any:  # noqa: ANN401
    """Do what a question other than `append` wants to be written, and return its answer.

    Args:
        connection: The database.
        box: The account's box, locked.
        word: The question.
        arguments: What it needs, checked, without the token.
        now: Unix seconds.

    Raises:
        OutboxError: It is refused; nothing was written.
    """
    inbox, outbox = InboxTables(connection, box, now), OutboxTables(connection, box, now)
    match word, arguments:
        case "set_meta", (pairs,):
            return inbox.set_meta(dict(pairs))
        case "clear_inbox", (seconds, taken):
            deleted, entries = inbox.clear_batch(Retention(*seconds), taken)
            return [bool(deleted), entries]
        case "pass_over", (keys, at):
            return inbox.pass_over(keys, at)
        case "sending", (digest, chat, at):
            return inbox.sending(digest, chat, at)
        case "ledger_sent", (digest, id_):
            return inbox.ledger_sent(digest, id_)
        case "add", (body, key, key_until, expires_at, most):
            added = outbox.add(New(wire.from_text(body), body, key, key_until, expires_at, most))
            return [values(added.row), outbox.count, added.again]
        case "move", (number, state, origins, columns):
            return [values(outbox.move(number, state, origins, **columns)), outbox.count]
        case "sent", (number, message, at):
            return [values(outbox.sent(number, message, at)), outbox.count]
        case "clear_outbox", (seconds,):
            return list(outbox.clear_batch(Retention(*seconds)))
        case "note_contacts", (contacts,):
            return outbox.note_contacts({chat: Contact(*times) for chat, *times in contacts})
        case "remember", (text,):
            return outbox.remember(text)
        case "note_receipt", (ids,):
            return outbox.note_receipt(ids)
    raise AssertionError(word)


def _rows(found: Iterable[Row]) -> list[list[Any]]:
    return [values(row) for row in found]


def _left(connection: Connection, box: Box, wanted: list[bytes]) -> list[Any]:
    """Return which messages have left."""
    left = _of_session(connection, box, lambda: sent.look(connection, box.account, wanted)) or sent.Left()
    return [left.device, None if left.found is None else _pairs(left.found.items())]


def _of_session(connection: Connection, box: Box, look: Callable[[], T]) -> T | None:
    """Return what a session tells; None, if it cannot be read in time: others wait, too."""
    (before,) = connection.execute("SELECT current_setting('statement_timeout')").fetchone() or ("",)
    try:
        with connection.transaction():
            _limit(connection, f"{int(SECRETS_SECONDS * 1000)}ms")
            found = look()
            _limit(connection, before)
    except psycopg.Error as error:
        if connection.broken:
            raise
        log.info("%s: the session tells nothing of its messages: %s", box.account, type(error).__name__)
        return None
    return found


def _limit(connection: Connection, time: str) -> None:
    connection.execute("SELECT set_config('statement_timeout', %s, true)", [time])


def _pairs(found: Iterable[tuple[Any, Any]]) -> list[list[Any]]:
    return [list(one) for one in found]


def _entry(found: Stored | None) -> list[Any] | None:
    return None if found is None else storing.as_values(found)
