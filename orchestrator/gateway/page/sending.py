"""How an account stands with its sending, as the page shows it, without an address or a text. Pure."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from orchestrator.accounts.settings import Sending
from orchestrator.control.view import AccountView
from orchestrator.gateway.page.rows import seconds
from orchestrator.messages.outbox_reader import Tally
from orchestrator.sending.row import Pace, State
from orchestrator.sending.standing import Allowance, Lock, standing
from orchestrator.sending.steps import Closed

Json: TypeAlias = dict[str, Any]

UNLOOKED: Final = "unknown"
"""Under which name rows are counted whose chats nobody has looked at."""


def shown(view: AccountView, settings: Sending, tally: Tally, now: float) -> Json:
    """Return how an account stands with its sending.

    Args:
        view: The account.
        settings: How it sends.
        tally: How much is in its outbox.
        now: Unix seconds.

    Returns:
        ``states``: rows by state. ``waiting``: those that wait, by pace. ``oldest`` and ``next_at`` of these,
        and how many there may be at ``most``. ``paced``: whether the account takes its time. ``paces``: what
        may go of each pace. ``locks``: what WhatsApp takes nothing of, the wider one first. ``typing``: for
        how many seconds it types at most, null if it does not; ``gap``: seconds between two messages to one
        chat. Times are whole Unix seconds, null for what nobody knows.
    """
    found = standing(settings, tally.memory, now)
    is_paced = settings.pacing == "on"
    return {
        "states": {state.value: tally.states.get(state, 0) for state in State},
        "waiting": {
            **{pace.value: tally.paces.get(pace, 0) for pace in Pace},
            UNLOOKED: tally.paces.get(None, 0),
        },
        "oldest": _whole(tally.oldest),
        "next_at": _whole(tally.soonest),
        "most": settings.most_waiting,
        "paced": is_paced,
        "paces": [_pace(one, settings) for one in found.allowances],
        "locks": [_lock(one) for one in locks(view, found.locks)],
        "typing": settings.typing_most if is_paced and settings.typing else None,
        "gap": settings.chat_gap if is_paced else 0,
    }


def locks(view: AccountView, known: tuple[Lock, ...]) -> tuple[Lock, ...]:
    """Return what is locked, by what the outbox remembers and by what the account's process has said.

    What the process says is newer, and tells the widest lock only.
    """
    if view.restricted not in (Closed.NEW, Closed.ALL):
        return known
    what = Closed(view.restricted)
    if any(one.what is what for one in known):
        return known
    until = seconds(view.restricted_until)
    told = Lock(what, None if until is None else float(until), None, None)
    return (told, *known) if what is Closed.ALL else (*known, told)


def _pace(one: Allowance, settings: Sending) -> Json:
    every = {Pace.KNOWN: settings.known_every, Pace.NEW: settings.new_every}.get(one.pace)
    return {
        "pace": one.pace.value,
        "left": one.left,
        "most": one.most,
        "every": every if one.most is not None else None,
        "next_at": _whole(one.next_at),
    }


def _lock(one: Lock) -> Json:
    return {"what": one.what.value, "until": _whole(one.until), "code": one.code, "why": one.why}


def _whole(moment: float | None) -> int | None:
    return None if moment is None else int(moment)
