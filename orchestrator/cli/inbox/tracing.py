"""What became of one message, as far as inboxes and outboxes know. No text, name or number is in it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, TypeAlias

from orchestrator.accounts.names import NAME_PATTERN
from orchestrator.cli.formatting import ahead, local
from orchestrator.cli.inbox.kept import Kept
from orchestrator.cli.inbox.reading import Events
from orchestrator.control.consumers import MOST_TRACED
from orchestrator.messages.database import InboxError
from orchestrator.messages.outbox import NoOutbox, OutboxError
from orchestrator.messages.rendering import Event

_EVENT: Final = re.compile(rf"evt_({NAME_PATTERN})_([0-9]{{1,18}})")
_WORDS: Final = {
    "message.edited": "edited",
    "message.revoked": "revoked",
    "message.reaction": "somebody reacted",
    "message.poll_vote": "somebody voted",
    "message.lost": "lost: WhatsApp took the message for delivered, and it was not stored",
    "message.undecryptable": "arrived, and could not be decrypted",
}


Handed: TypeAlias = dict[str, Any]
"""What became of an event at one consumer, as the gateway tells it."""


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happened to a message.

    Attributes:
        event: The event's id.
        seq: Its number.
        type: Its type.
        timestamp: When it was stored.
        sent_at: WhatsApp's time.
        what: What happened, for people.
        consumers: What became of the event at those who get it, None if nobody could say.
    """

    event: str
    seq: int
    type: str
    timestamp: str
    sent_at: str
    what: str
    consumers: tuple[Handed, ...] | None = None


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a message, as one account knows.

    Attributes:
        account: The account.
        message: WhatsApp's id of the message.
        steps: What happened, in order.
        row: What its outbox knows of a message that this service has sent, None if it knows nothing.
    """

    account: str
    message: str
    steps: tuple[Step, ...]
    row: Mapping[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return asdict(self)

    def lines(self) -> Iterator[str]:
        """Yield what people read."""
        yield f"{self.message} in the {'inbox' if self.steps else 'outbox'} of {self.account}:"
        if (row := self.row) is not None:
            yield f"  {local(row['created_at'])}  row {row['row']}  written into the outbox: {row['kind']}"
            yield f"  {local(row['changed_at'])}  row {row['row']}  {_state(row)}"
        for step in self.steps:
            yield f"  {local(step.timestamp)}  {step.event}  {step.what}"
            for one in step.consumers or ():
                if one.get("state") != "not_wanted":
                    yield f"      {one.get('kind')} {one.get('consumer')}: {_handed(one, step.event)}"
        if not self.steps:
            return
        first = self.steps[0].seq
        yield (
            f"`orchestrator messages {self.account} --after {max(0, first - 1)} --limit 1` shows the first of"
            " these with its text"
        )


def trace(
    kept: Kept, wanted: str, name: str | None = None, tell: Callable[[str], None] = lambda _: None
) -> list[Fate]:
    """Find a message.

    Args:
        kept: Where messages are kept.
        wanted: WhatsApp's id of the message, or the id of an event that is about the message.
        name: The account; None for all.
        tell: Takes a sentence for people about an inbox that cannot be read, where all are looked through.

    Raises:
        StateError: The inbox cannot be read, or this user may read none.
        OrchestratorError: neonize's definitions cannot be loaded.
    """
    try:
        wanted.encode()
    except UnicodeEncodeError:
        return []  # bytes that are no text: no inbox has such an id
    match = _EVENT.fullmatch(wanted)
    if match and name in (None, match[1]):
        name = match[1]
    found = []
    for one in [name] if name is not None else kept.names():
        try:
            with Events(kept, one, lambda _: None) as events:
                has_inbox = events.open()
                messages = _messages_of(events, int(match[2])) if match else [wanted]
                for message in messages:
                    steps = _steps(events, message) if has_inbox else ()
                    row = _row(kept, one, message)
                    if steps or row is not None:
                        found.append(Fate(one, message, steps, row))
        except (InboxError, OutboxError) as error:
            if name is not None:
                raise
            tell(str(error))  # the process of one account cannot hide what became of others' messages
    return found


def _messages_of(events: Events, seq: int) -> list[str]:
    """Return the message that an event is about."""
    event = next(events.after(seq - 1, 1), None)
    if event is None or event["seq"] != seq:
        return []
    target = _target(event)
    return [] if target is None else [target]


def _steps(events: Events, message: str) -> tuple[Step, ...]:
    chats = events.chats_of(message)
    return tuple(
        Step(event["id"], event["seq"], event["type"], event["timestamp"], _sent_at(event), _what(event))
        for event in events.in_chats(chats)
        if _target(event) == message
    )


def _row(kept: Kept, name: str, message: str) -> dict[str, Any] | None:
    """Return what the outbox of an account knows of a message, without where it goes.

    Raises:
        OutboxError: The outbox cannot be read.
    """
    try:
        with closing(kept.rows(name)) as reader:
            row = reader.by_message(message)
    except NoOutbox:
        return None
    return None if row is None else {**row.as_json(), "to": None, "tag": None}


def _state(row: Mapping[str, Any]) -> str:
    state = str(row["state"]).replace("_", " ")
    return f"{state}: {row['why']}" if row.get("why") else state


def _sent_at(event: Event) -> str:
    return str(event["data"].get("timestamp") or event["timestamp"])


def _target(event: Event) -> str | None:
    """Return the message that an event is about."""
    data = event["data"]
    about: dict[str, Callable[[], Any]] = {
        "message.reaction": lambda: data["reaction"]["message_id"],
        "message.poll_vote": lambda: data["vote"]["message_id"],
    }
    found = about.get(event["type"], lambda: data.get("id"))()
    return found if isinstance(found, str) else None


def _what(event: Event) -> str:
    data, kind = event["data"], event["type"]
    if kind == "message.received":
        whose = "sent by the account's own phone" if data["from_me"] else "received"
        where = "in a group" if (data["chat"] or {}).get("type") == "group" else "in a direct chat"
        return f"stored: {data['kind']}, {whose} {where}, sent {local(data['timestamp'])}"
    if kind == "message.status":
        return str(data["status"])
    return _WORDS.get(kind, str(kind))


def with_consumers(
    fates: Sequence[Fate], ask: Callable[[list[str]], Mapping[str, list[Handed]]]
) -> list[Fate]:
    """Add what became of events at webhooks, bots and pulls.

    Args:
        fates: What `trace` found.
        ask: Asks the service about some events.
    """
    events = [step.event for fate in fates for step in fate.steps]
    known: dict[str, list[Handed]] = {}
    for first in range(0, len(events), MOST_TRACED):
        known.update(ask(events[first : first + MOST_TRACED]))
    return [
        replace(
            fate,
            steps=tuple(
                replace(step, consumers=tuple(known[step.event])) if step.event in known else step
                for step in fate.steps
            ),
        )
        for fate in fates
    ]


def _handed(one: Handed, event: str) -> str:
    tries = one.get("tries") or 0
    after = f" after {tries} tries" if tries > 1 else ""
    why = f": {one['why']}" if one.get("why") else ""
    match one.get("state"):
        case "delivered":
            return f"delivered{after}"
        case "retrying":
            return f"failed{after}{why}; the next try is {ahead(one.get('next_try_at'), time.time())}"
        case "waiting":
            return "waits for its turn"
        case "dead":
            return (
                f"given up{after}{why}; `orchestrator consumer replay {one.get('consumer')} {event}`"
                " sends it again"
            )
        case other:
            return str(other)


def unknown(name: str | None) -> str:
    """Say what it can mean that no inbox has a message."""
    where = f"the inbox of {name}" if name else "no inbox"
    return (
        f"{where} {'does not know' if name else 'knows'} this message. It may have aged out"
        " (`messages.keep`), or be of somebody whom `messages.allow` does not name; its account may have been"
        " removed; or it never reached this machine. `orchestrator explain NAME` counts what was received and"
        " not allowed"
    )
