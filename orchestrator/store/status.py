"""What is kept of the accounts on disk, for when the service does not run."""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from orchestrator.accounts import characters
from orchestrator.accounts.child import Parked
from orchestrator.accounts.failure import Kind
from orchestrator.accounts.guard import Guard, is_number
from orchestrator.accounts.names import is_name
from orchestrator.accounts.past import CAUSES, RESTS, Cause, Past, Rest
from orchestrator.accounts.phone_watch import WARN_DAYS, PhoneWatch
from orchestrator.accounts.states import State
from orchestrator.errors import StateError
from orchestrator.store import plain
from orchestrator.system.clock import Reading, was_set
from orchestrator.system.files import read_file, replacing, sync
from orchestrator.system.os_errors import trouble

MAX_SIZE = 16 * 1024 * 1024
"""Bytes of the kept file; 1,000 accounts need about 400,000."""
MAX_REASON = 1000
"""Characters of a reason that are read again."""

W = TypeVar("W", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of an account.

    Attributes:
        stopped: An operator has stopped it.
        parked: The state it must stay in across a restart of the service, if it must.
        shown: What was last shown of it, masked, in the JSON form of `control.view`.
        guard: Says which phone it may be linked to. The number is there in full, to be compared.
        watch: When its phone was last seen.
        past: Why it has no session any more, and since when it is at rest.
    """

    stopped: bool = False
    parked: Parked | None = None
    shown: Mapping[str, Any] | None = None
    guard: Guard = field(default_factory=Guard)
    watch: PhoneWatch = field(default_factory=PhoneWatch)
    past: Past = field(default_factory=Past)


def load(path: Path) -> dict[str, Kept]:
    """Read what was kept, by account. A missing file means that nothing was kept.

    If the clock was set since the times were written, they are corrected.

    Raises:
        StateError: The file cannot be read, or is damaged.
    """
    try:
        document = plain.loads(read_file(path, MAX_SIZE))
        shift = _shift(document)
        accounts = document["accounts"].items()
        return {name: _read(entry, shift) for name, entry in accounts if is_name(name)}
    except FileNotFoundError:
        return {}
    except OSError as error:
        advice = ": move it away" if error.errno == errno.EINVAL else ""  # it is not a regular file
        raise StateError(f"{path}: cannot be read: {trouble(error)}{advice}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise StateError(
            f"{path}: is damaged. The file records which accounts an operator stopped; move the file away to "
            "start with all accounts that the configuration enables"
        ) from None


def as_text(name: str, entry: Kept) -> str:
    """Return what is written of one account, as JSON; after a bug, no more than an operator's wish.

    Args:
        name: The account, for the log.
        entry: What is kept of it.
    """
    values = _written(entry)
    if not _is_json(values):
        values = _without_bug(name, entry)
    return json.dumps(values, allow_nan=False)


def of_text(text: str, clock: str) -> Kept:
    """Return what `as_text` has written. If the clock was set since then, times are corrected.

    Args:
        text: What was written.
        clock: What `Reading` said when it was, as JSON.

    Raises:
        ValueError: The text is damaged.
    """
    try:
        return _read(plain.loads(text), _shift({"clock": plain.loads(clock)}))
    except (KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError("it is damaged") from None


def renamed(kept: Kept, old: str, new: str) -> Kept:
    """Return what was kept of an account under its new name, which the commands in its reasons get, too."""

    def reworded(reason: object) -> str | None:
        return re.sub(rf" {re.escape(old)}(?=[` ])", f" {new}", reason) if isinstance(reason, str) else None

    parked, shown, past = kept.parked, kept.shown, kept.past
    if parked is not None:
        parked = replace(parked, reason=reworded(parked.reason))
    if past.cause is not None:
        past = replace(past, cause=replace(past.cause, reason=reworded(past.cause.reason)))
    if shown is not None:
        shown = {**shown, "name": new, "reason": reworded(shown.get("reason"))}
    return replace(kept, parked=parked, shown=shown, past=past)


def _read(entry: Mapping[str, Any], shift: float) -> Kept:
    parked, shown = entry.get("parked"), entry.get("shown")
    if parked is not None:
        reason = parked["reason"]
        parked = Parked(
            State(parked["state"]),
            characters.one_line(reason, MAX_REASON) if isinstance(reason, str) else None,
            # Without a time that makes sense, it waits until an operator acts: a ban is never broken.
            plain.unix_time(parked["until"], shift),
            plain.count(parked.get("count")),
        )
    return Kept(
        bool(entry["stopped"]),
        parked,
        shown if isinstance(shown, Mapping) else None,
        _guard(entry),
        _watch(entry.get("phone_watch"), shift),
        Past(_cause(entry.get("cause"), shift), _rest(entry.get("rest"), shift)),
    )


def _guard(entry: Mapping[str, Any]) -> Guard:
    number = entry.get("linked_phone")  # versions before 0.2 did not write it
    return Guard(
        number if isinstance(number, str) and is_number(number) else None, entry.get("any_phone") is True
    )


def _watch(values: object, shift: float) -> PhoneWatch:
    """Return when a phone was last seen; earlier versions did not write that."""
    if not isinstance(values, Mapping):
        return PhoneWatch()
    told = plain.count(values.get("told"))
    return PhoneWatch(
        plain.unix_time(values.get("seen_at"), shift),
        plain.unix_time(values.get("since"), shift),
        told if told in WARN_DAYS else 0,
    )


def _cause(values: object, shift: float) -> Cause | None:
    """Return why an account has no session; what is no cause counts for none, as does one without a time."""
    if not isinstance(values, Mapping):
        return None
    kind, at = _word(Kind, values.get("kind")), plain.unix_time(values.get("at"), shift)
    if kind not in CAUSES or kind is None or at is None:
        return None
    reason = values.get("reason")
    return Cause(kind, characters.one_line(reason, MAX_REASON) if isinstance(reason, str) else None, at)


def _rest(values: object, shift: float) -> Rest | None:
    """Return where an account was at rest, and since when; likewise."""
    if not isinstance(values, Mapping):
        return None
    state, since = _word(State, values.get("state")), plain.unix_time(values.get("since"), shift)
    if state not in RESTS or state is None or since is None:
        return None
    return Rest(state, _word(Kind, values.get("kind")), since)


def _word(words: type[W], value: object) -> W | None:
    """Return the word that a text stands for, None if it is none that this version knows."""
    return words(value) if isinstance(value, str) and value in {*words} else None


def _shift(document: Mapping[str, Any]) -> float:
    """Return by how many seconds the clock was set since the document was written, if that is known."""
    try:
        return was_set(Reading.of(document["clock"]), Reading.take())
    except (KeyError, TypeError, ValueError):
        return 0.0


def save(path: Path, kept: Mapping[str, Kept]) -> None:
    """Write the file atomically, readable only by its owner.

    Raises:
        OSError: The disk is full, the folder is read-only, …; the file stays as it was.
    """
    accounts = {name: _written(entry) for name, entry in kept.items()}
    document = {"clock": Reading.take().as_json(), "accounts": accounts}
    try:
        text = json.dumps(document, indent=1, allow_nan=False)
    except (TypeError, ValueError):
        # A bug, which is one account's: the others are kept, and of this one what an operator wishes.
        for name, entry in kept.items():
            if not _is_json(accounts[name]):
                accounts[name] = _without_bug(name, entry)
        text = json.dumps(document, indent=1, allow_nan=False)
    with replacing(path) as file:
        file.write(text.encode())
        sync(file)


def _without_bug(name: str, entry: Kept) -> dict[str, Any]:
    """Say that what is known of an account is no JSON, and return what an operator wishes of it."""
    import logging  # commands that only look read this file, and log nothing

    logging.getLogger(__name__).error(
        "%s: a bug in the service: what is known of the account cannot be written", name
    )
    return _written(Kept(entry.stopped, guard=entry.guard, watch=entry.watch))


def _written(entry: Kept) -> dict[str, Any]:
    """Return what is written of an account."""
    cause, rest = entry.past.cause, entry.past.rest
    return {
        "stopped": entry.stopped,
        "parked": entry.parked
        and {
            "state": entry.parked.state,
            "reason": entry.parked.reason,
            "until": entry.parked.until,
            "count": entry.parked.count,
        },
        "shown": entry.shown,
        "linked_phone": entry.guard.number,
        "any_phone": entry.guard.any_phone,
        "phone_watch": {
            "seen_at": entry.watch.seen_at,
            "since": entry.watch.since,
            "told": entry.watch.told,
        },
        "cause": cause and {"kind": cause.kind, "reason": cause.reason, "at": cause.at},
        "rest": rest and {"state": rest.state, "kind": rest.kind, "since": rest.since},
    }


def _is_json(value: object) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True
