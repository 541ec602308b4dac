"""Says what happens next to an account and what an operator can do. Pure; used with and without a service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from orchestrator.accounts.failure import Kind
from orchestrator.accounts.states import WAITS_FOR_TURN, State


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is ahead of an account.

    Attributes:
        next: What happens by itself, a sentence.
        at: When, in UTC and ISO form; None if no time is set.
        advice: What can be done about it, a sentence each, the most useful first.
    """

    next: str
    at: str | None
    advice: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return {**asdict(self), "advice": list(self.advice)}


NOT_RUNNING = "the service is not running"
"""The reason shown for accounts whose service does not run."""


def outlook(about: Mapping[str, Any]) -> Outlook:
    """Say what is ahead of an account.

    Args:
        about: The account as `status.describe` shows it.
    """
    name, at = about["name"], about["next_retry_at"]
    match State(about["state"]):
        case State.DISABLED:
            return Outlook(
                "nothing: it is disabled in the configuration",
                None,
                (f"set `enabled: true` under `{name}:` and run `orchestrator reload`",),
            )
        case State.STOPPED:
            return Outlook("nothing until an operator starts it", None, (_start(name),))
        case State.STARTING if about["pid"] is None:
            return Outlook("its process is started as soon as it is its turn", None)
        case State.STARTING:
            return Outlook("its process loads the WhatsApp library and dials", None)
        case State.CONNECTING:
            return Outlook("it is connected, or tried again with a new process, within a minute", None)
        case State.PAIRING:
            shown = (
                f"scan {about['qr_path']}" if about["qr_path"] else f"`orchestrator qr {name}` shows the code"
            )
            return Outlook(
                "a new code replaces this one when it expires, until the round is over",
                about["qr_expires_at"],
                (f"on the phone: Settings, Linked devices, Link a device; {shown}",),
            )
        case State.CONNECTED if str(about["reason"] or "").startswith(WAITS_FOR_TURN):
            return Outlook("a new process takes its place, as soon as it is its turn", None)
        case State.CONNECTED if about["reason"]:
            return Outlook("it stays connected with the process it has", None, (about["reason"],))
        case State.CONNECTED:
            return Outlook("it stays connected", None)
        case State.RECONNECTING:
            return Outlook(
                "its process dials again and again; after two minutes without success a new one takes over",
                None,
                _doctor(),
            )
        case State.BACKOFF if about["held"]:
            return Outlook(
                "one account tries for all that lost this way; when it gets through, this one follows",
                at,
                (f"have this one try at once, for all of these: `orchestrator start {name}`", *_doctor()),
            )
        case State.BACKOFF:
            return Outlook(
                "a new process tries again",
                at,
                (f"try at once: `orchestrator start {name}`", *_about_kind(about)),
            )
        case State.REPLACED:
            then = "it tries once more to take its session back" if at else "nothing until an operator acts"
            return Outlook(
                then,
                at,
                (
                    "end the other program that uses this session; two cannot share one",
                    f"take the session back: `orchestrator start {name}`",
                ),
            )
        case State.BANNED if at:
            return Outlook(
                "it tries once, just after the ban ends",
                at,
                (
                    "leave it alone: trying earlier makes a ban longer",
                    "send less, and to people who know you",
                ),
            )
        case State.BANNED:
            return Outlook(
                "nothing until an operator acts",
                None,
                (
                    "open WhatsApp on the phone: it says why, and whether a review can be asked for",
                    f"once the phone works again: `orchestrator repair {name}`",
                ),
            )
        case State.OUTDATED:
            return Outlook(
                "one account probes from time to time; when it is let in, all others follow",
                at,
                ("update the library, which the service soon finds: `pip install --upgrade neonize`",),
            )
        case State.FAILED if about.get("kind") == Kind.DUPLICATE:
            return Outlook("nothing until an operator acts", None, _about_kind(about))
        case State.FAILED:
            return Outlook("nothing until an operator acts", None, (*_about_kind(about), _start(name)))


def without_service(about: Mapping[str, Any], start: str) -> Outlook:
    """Say what is ahead of an account whose service does not run: nothing, whatever its state.

    Args:
        about: The account as `offline.describe` shows it.
        start: The command that starts the service.
    """
    at = about["next_retry_at"]
    then = "; then it is tried just after its ban ends" if at and about["state"] == State.BANNED else ""
    return Outlook(
        f"nothing while {NOT_RUNNING}{then}", at if then else None, (f"start the service: `{start}`",)
    )


def _about_kind(about: Mapping[str, Any]) -> tuple[str, ...]:
    name = about["name"]
    match about.get("kind"):
        case Kind.NETWORK:
            return _doctor()
        case Kind.LOGGED_OUT | Kind.PAIRING_EXPIRED | Kind.WRONG_PHONE | Kind.DAMAGED:
            return (f"pair it again: `orchestrator repair {name}`",)
        case Kind.DUPLICATE:
            return (
                f"link it as a device of its own: `orchestrator repair {name}`",
                f"or remove one of the two accounts; if it is the other: `orchestrator start {name}`",
            )
        case Kind.CONFIG:
            return ("mend the configuration, then `orchestrator reload`",)
        case Kind.MACHINE:
            return ("give this machine what it lacks: the account is tried again and again until then",)
        case Kind.CRASH:
            return ("the service's log says more", *_doctor())
        case Kind.REFUSED:
            return (f"if it goes on, pair it again: `orchestrator repair {name}`",)
        case _:
            return ()


def _start(name: str) -> str:
    return f"start it: `orchestrator start {name}`"


def _doctor() -> tuple[str, ...]:
    return ("check this machine's way to WhatsApp: `orchestrator doctor`",)
