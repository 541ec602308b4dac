"""What is shown of an account's sending."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orchestrator.accounts.settings import Sending
from orchestrator.control.view import AccountView
from orchestrator.gateway.page.sending import shown
from orchestrator.messages.outbox_reader import Tally
from orchestrator.sending.pacing import Flow
from orchestrator.sending.restrictions import NOT_TO_STRANGERS, Stretch
from orchestrator.sending.row import Pace, State
from orchestrator.sending.turns import CLOSED

NOW = 1_800_000_000.0
VIEW = AccountView("a", "connected")
EMPTY = Tally({}, {}, None, None, None)


def memory(new: Stretch) -> str:
    return json.dumps({"flow": Flow().as_json(), "new": new.as_json(), "all": Stretch().as_json()})


def test_everything_has_its_place() -> None:
    tally = Tally(
        {State.QUEUED: 6, State.SENT: 9}, {Pace.NEW: 4, None: 2}, NOW - 60.5, NOW + 9.9, None,
    )  # fmt: skip
    assert shown(VIEW, Sending(), tally, NOW) == {
        "states": {"queued": 6, "sending": 0, "sent": 9, "failed": 0, "unknown": 0, "expired": 0,
                   "taken_back": 0},
        "waiting": {"reply": 0, "known": 0, "new": 4, "unknown": 2},
        "oldest": int(NOW) - 61,
        "next_at": int(NOW) + 9,
        "most": 10_000,
        "paced": True,
        "paces": [
            {"pace": "reply", "left": None, "most": None, "every": None, "next_at": int(NOW)},
            {"pace": "known", "left": 5, "most": 5, "every": 4.0, "next_at": int(NOW)},
            {"pace": "new", "left": 20, "most": 20, "every": 45.0, "next_at": int(NOW)},
        ],
        "locks": [],
        "typing": 8.0,
        "gap": 1.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "typing", "gap"),
    [
        ({"typing": False}, None, 1.0),
        ({"pacing": "off"}, None, 0),
        ({"typing_most": 3.0, "chat_gap": 9.0}, 3.0, 9.0),
    ],
)
def test_how_long_it_types(settings: dict[str, Any], typing: float | None, gap: float) -> None:
    found = shown(VIEW, Sending(**settings), EMPTY, NOW)
    assert (found["typing"], found["gap"]) == (typing, gap)


CLOSED_NEW = {"what": "new", "until": int(NOW) + 100, "code": 463, "why": CLOSED[NOT_TO_STRANGERS]}


@pytest.mark.parametrize(
    ("restricted", "until", "known", "locks"),
    [
        (None, None, True, [CLOSED_NEW]),
        ("new", "2027-01-15T09:00:00Z", True, [CLOSED_NEW]),
        ("new", None, False, [{"what": "new", "until": None, "code": None, "why": None}]),
        (
            "all", "2027-01-15T08:00:30Z", True,
            [{"what": "all", "until": int(NOW) + 30, "code": None, "why": None}, CLOSED_NEW],
        ),
        ("word of a later version", None, True, [CLOSED_NEW]),
    ],
)  # fmt: skip
def test_what_the_process_says_counts_beside_what_is_remembered(
    restricted: str | None, until: str | None, *, known: bool, locks: list[dict[str, Any]]
) -> None:
    view = VIEW._replace(restricted=restricted, restricted_until=until)
    text = memory(Stretch(NOW - 1, NOW + 100, 101.0, NOT_TO_STRANGERS)) if known else None
    assert shown(view, Sending(), Tally({}, {}, None, None, text), NOW)["locks"] == locks
