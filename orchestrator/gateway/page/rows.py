"""An account as the page's stream has it: a short row, and which change of it is worth telling. Pure.

500 rows are what a browser loads first, so a row is a list in the order of `FIELDS`, and no object.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from orchestrator.control import causes
from orchestrator.control.attention import Need, need
from orchestrator.control.view import AccountView
from orchestrator.system.clock import unix

Row: TypeAlias = list[Any]

FIELDS: Final = (
    "name", "state", "since", "reason", "kind", "phone", "attempt", "next_at", "held", "memory", "cpu",
    "proxy", "tags", "last_in", "last_out", "waiting", "queued", "stored", "restricted", "restricted_until",
    "code_until", "unlinks_at", "lost", "need",
)  # fmt: skip
"""What is where in a row. Times are whole Unix seconds, `memory` is bytes, `cpu` percent of a core, `need`
null or its kind, sentence, action and command. The number is masked, and no text of a message is there."""

_MEMORY: Final = FIELDS.index("memory")
_CPU: Final = FIELDS.index("cpu")
_QUIET: Final = frozenset({_MEMORY, _CPU, FIELDS.index("last_in"), FIELDS.index("last_out")})
"""Fields that change without anything having happened that somebody waits for."""
MEMORY_STEP: Final = 100_000
"""Bytes to which memory is rounded."""
MEMORY_PART: Final = 0.03
"""By which part of itself memory must differ to be worth a new row."""
CPU_STEP: Final = 0.5
"""By how much of a percent of a core the CPU time must differ to be worth a new row."""


def row(view: AccountView, cpu: float | None) -> Row:
    """Return the row of an account.

    Args:
        view: The account as it was last described.
        cpu: Percent of a core that its process takes, None if nobody knows.
    """
    memory = view.memory_bytes
    wanted = need(view)
    return [
        view.name,
        view.state,
        seconds(view.since),
        causes.reason(view),
        view.kind,
        view.phone,
        view.attempt,
        seconds(view.next_retry_at),
        view.held,
        None if memory is None else round(memory / MEMORY_STEP) * MEMORY_STEP,
        None if cpu is None else round(cpu, 1),
        view.proxy,
        list(view.tags),
        seconds(view.last_in_at),
        seconds(view.last_out_at),
        view.waiting,
        view.queued,
        view.stored,
        view.restricted,
        seconds(view.restricted_until),
        seconds(view.qr_expires_at),
        seconds(view.phone_unlinks_at),
        view.lost,
        None if wanted is None else _need(wanted),
    ]


def _need(wanted: Need) -> Row:
    return [wanted.kind, wanted.sentence, wanted.action, wanted.command]


def changes(before: Sequence[Any], after: Sequence[Any]) -> bool:
    """Tell whether something has happened to an account that somebody may wait for."""
    pairs = zip(before, after, strict=True)
    return any(old != new for at, (old, new) in enumerate(pairs) if at not in _QUIET)


def drifts(before: Sequence[Any], after: Sequence[Any]) -> bool:
    """Tell whether what changes by itself differs by so much that it is worth a new row."""
    for at in _QUIET:
        old, new = before[at], after[at]
        if old == new:
            continue
        if old is None or new is None:
            return True
        least = old * MEMORY_PART if at == _MEMORY else CPU_STEP if at == _CPU else 0
        if abs(new - old) >= least:
            return True
    return False


def written(found: Sequence[Any]) -> bytes:
    """Return a row as JSON, in ASCII and one line."""
    return json.dumps(found, separators=(",", ":")).encode("ascii")


def seconds(moment: str | None) -> int | None:
    """Return a moment in ISO form as whole Unix seconds, None if it is none."""
    found = unix(moment)
    return None if found is None else int(found)
