"""Says whether an account, or a consumer, needs a person, and which one thing that person can do. Pure.

What mends itself is no need: a lost network, and a try that is planned. What an operator wanted is none,
either: an account that is stopped, a consumer that is paused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from orchestrator.accounts.failure import Kind
from orchestrator.accounts.states import State
from orchestrator.accounts.words import counted
from orchestrator.control.outlook import (
    HOW_TO_SCAN,
    OPEN_PHONE,
    about_lost,
    outlook,
    restricted,
)
from orchestrator.control.view import AccountView

NeedKind: TypeAlias = Literal[
    "banned", "logged_out", "failed", "outdated", "replaced", "code", "restricted", "phone_offline", "lost",
    "disabled", "failing", "dead_letters",
]  # fmt: skip
"""What is wrong."""
KINDS: Final[tuple[NeedKind, ...]] = (
    "banned", "logged_out", "failed", "outdated", "replaced", "code", "restricted", "phone_offline", "lost",
)  # fmt: skip
"""What can be wrong with an account, the worst first."""
KINDS_OF_CONSUMERS: Final[tuple[NeedKind, ...]] = ("disabled", "failing", "dead_letters")
"""What can be wrong with a webhook or a bot, the worst first."""
Act: TypeAlias = Literal["repair", "start", "scan", "wait", "look", "resume", "replay", "test"]
"""What a person can do: a word for each button. ``look``: see the details; ``wait``: nothing else helps."""
NOBODY_NEEDED: Final = "no account needs a person"
_UNTIL_SOMEBODY_ACTS: Final = ("banned", "logged_out", "failed", "replaced", "code")


class Need(NamedTuple):
    """What a person has to do.

    Attributes:
        kind: What is wrong: one of `KINDS`, or of `KINDS_OF_CONSUMERS`.
        sentence: What to do, as `explain` says it, for people. It does not repeat the command.
        action: The one thing to do.
        command: The command that does it, or that shows more where no command does it.
    """

    kind: NeedKind
    sentence: str
    action: Act
    command: str

    @property
    def waits(self) -> bool:
        """Whether the person can do nothing but wait, and write less meanwhile."""
        return self.action == "wait"


def need(view: AccountView) -> Need | None:
    """Return the worst thing about an account that needs a person, None if nothing does."""
    name = view.name
    match view.state:
        case State.STOPPED | State.DISABLED:
            return None
        case State.BANNED if view.next_retry_at:
            return _as_explained(view, "banned", "wait", f"orchestrator explain {name}")
        case State.BANNED:
            return _as_explained(view, "banned", "repair", f"orchestrator repair {name}")
        case State.FAILED:
            return _failed(view)
        case State.OUTDATED:
            return _as_explained(view, "outdated", "look", "pip install --upgrade neonize")
        case State.REPLACED if not view.next_retry_at:
            return _as_explained(view, "replaced", "start", f"orchestrator start {name}")
        case State.PAIRING:
            return Need("code", HOW_TO_SCAN, "scan", f"orchestrator qr {name}")
    if view.restricted:
        said = restricted(view).advice[0]
        return Need("restricted", said, "wait", f"orchestrator outbox {name}")
    if view.phone_unlinks_at:
        return Need("phone_offline", OPEN_PHONE, "look", f"orchestrator explain {name}")
    if view.lost:
        return Need("lost", about_lost(view), "look", f"orchestrator messages {name}")
    return None


def with_need(view: AccountView, found: Need | None) -> dict[str, Any]:
    """Return what programs read of an account and of what it needs a person for."""
    return {**view.as_json(), "need": None if found is None else found._asdict()}


def stays(view: AccountView) -> bool:
    """Tell whether an account stays as it is until somebody acts: scans a code, repairs or starts it."""
    found = need(view)
    return found is not None and found.kind in _UNTIL_SOMEBODY_ACTS and not found.waits


def _failed(view: AccountView) -> Need:
    """Say what an account needs that was given up."""
    name = view.name
    match view.kind:
        case Kind.LOGGED_OUT:
            return _as_explained(view, "logged_out", "repair", f"orchestrator qr {name}")
        case Kind.PAIRING_EXPIRED if view.cause is not None and view.cause.kind == Kind.LOGGED_OUT:
            return _as_explained(view, "logged_out", "repair", f"orchestrator qr {name}")
        case Kind.PAIRING_EXPIRED | Kind.DAMAGED:
            return _as_explained(view, "failed", "repair", f"orchestrator qr {name}")
        case Kind.WRONG_PHONE | Kind.DUPLICATE | Kind.REFUSED:
            return _as_explained(view, "failed", "repair", f"orchestrator repair {name}")
        case Kind.CONFIG | Kind.CRASH:
            return _as_explained(view, "failed", "look", f"orchestrator explain {name}")
        case _:
            return _as_explained(view, "failed", "start", f"orchestrator start {name}")


def _as_explained(view: AccountView, kind: NeedKind, action: Act, command: str) -> Need:
    """Return a need with the first advice of `explain` as its sentence."""
    return Need(kind, outlook(view).advice[0].removesuffix(f": `{command}`"), action, command)


def of_consumer(status: Mapping[str, Any]) -> Need | None:
    """Return the worst thing about a webhook or a bot that needs a person, None if nothing does.

    Args:
        status: What the gateway tells of it, see `gateway.dispatch.describing.status`. What is missing, or of
            another type than it should be, is taken as not known.
    """
    name, kind, dead = status.get("name"), status.get("kind"), status.get("dead")
    is_webhook = kind == "webhook"
    group = "webhook" if is_webhook else "consumer"
    match status.get("state"):
        case "disabled":
            return Need(
                "disabled",
                "its receiver wants nothing more, so that events wait: let it go on when the receiver does",
                "resume",
                f"orchestrator {group} resume {name}",
            )
        case "failing" if is_webhook:
            return Need(
                "failing",
                "its receiver takes nothing: one event at a time is tried until one is taken",
                "test",
                f"orchestrator webhook test {name}",
            )
        case "failing":
            return Need(
                "failing",
                "its handlers fail again and again: one event at a time is tried until one is taken",
                "look",
                f"orchestrator consumer list {name}",
            )
    if type(dead) is int and dead > 0:
        return Need(
            "dead_letters",
            f"{counted(dead, 'event')} failed for about three days: send again what is still wanted",
            "replay",
            f"orchestrator {group} replay {name}",
        )
    return None
