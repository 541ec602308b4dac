"""Says what happens next to an account and what an operator can do. Pure; used with and without a service."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from orchestrator.accounts.failure import Kind
from orchestrator.accounts.looking import UNSEEN
from orchestrator.accounts.phone_watch import PHONE_MISSING
from orchestrator.accounts.states import MAINTENANCE, WAITS_FOR_SHARD, WAITS_FOR_TURN, State
from orchestrator.accounts.words import counted
from orchestrator.control.view import AccountView


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is ahead of an account.

    Attributes:
        next: What happens without an operator, a sentence.
        at: When, in UTC and ISO form; None if no time is set.
        advice: What the operator can do, a sentence each, the most useful first.
    """

    next: str
    at: str | None
    advice: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return {**asdict(self), "advice": list(self.advice)}


HOW_TO_SCAN = "on the phone: Settings, Linked devices, Link a device"
"""How a code is used."""
OPEN_PHONE = "open WhatsApp on the phone, and send a message: then the phone is seen here"
"""What helps an account whose phone is missing."""
NOT_RUNNING = "the service is not running"
"""The reason shown for accounts whose service does not run."""


def outlook(view: AccountView) -> Outlook:
    """Say what is ahead of an account."""
    found = _of_state(view)
    if view.lost:
        found = replace(
            found,
            advice=(
                *found.advice,
                f"{about_lost(view)}; `orchestrator messages {view.name}` shows in which chats",
            ),
        )
    if view.refused and view.stored is None:
        return replace(found, advice=(*found.advice, how_to_allow(view.name)))
    return found


def about_lost(view: AccountView) -> str:
    """Say what to do about the messages that an account has lost."""
    what = counted(view.lost, "message was", "messages were")
    return f"{what} lost, and WhatsApp does not send them again: somebody has to ask for them"


def already_linked(name: str) -> str:
    """Say of an account that it is linked, so that no code is needed."""
    return (
        f"{name} is linked to a phone already: `orchestrator explain {name}` says how the account is,"
        f" `orchestrator repair {name}` pairs the account again, with a new code"
    )


def how_to_allow(name: str) -> str:
    """Say how an account comes to keep messages."""
    return (
        "messages came in, and none is kept, because the account allows nobody: to keep them, set `allow:`"
        f' under `messages:` of `{name}:`, such as "*" or a list of numbers, and run `orchestrator reload`'
    )


def _of_state(view: AccountView) -> Outlook:
    name, at = view.name, view.next_retry_at
    if view.held and (view.reason or "").startswith(MAINTENANCE):
        return Outlook(
            "nothing until maintenance is turned off; then the account starts in its turn",
            None,
            (
                "when the maintenance is done: `orchestrator maintenance off`",
                f"start this account all the same: `orchestrator start {name}`",
            ),
        )
    match State(view.state):
        case State.DISABLED if view.disabled_until is not None:
            return Outlook(
                "the account is enabled by itself at that time, and starts in its turn",
                view.disabled_until,
                (f"enable the account at once: `orchestrator enable {name}`",),
            )
        case State.DISABLED:
            return Outlook(
                "nothing: the account is disabled in the configuration",
                None,
                (f"`orchestrator enable {name}` enables the account and starts it",),
            )
        case State.STOPPED:
            return Outlook("nothing until an operator starts the account", None, (_start(name),))
        case State.STARTING if view.pid is None:
            return Outlook("the process starts when it is this account's turn", None)
        case State.STARTING:
            return Outlook("the process loads the WhatsApp library and connects", None)
        case State.CONNECTING:
            return Outlook(
                "within a minute, the account connects or a new process tries again",
                None,
            )
        case State.PAIRING if view.reason == UNSEEN:
            return Outlook(
                "the account starts and shows a code as soon as somebody looks; until then, nothing runs",
                None,
                (f"`orchestrator qr {name}` shows the code; the page shows it under Codes",),
            )
        case State.PAIRING:
            shown = f"scan {view.qr_path}" if view.qr_path else f"`orchestrator qr {name}` shows the code"
            return Outlook(
                "a new code replaces this one when it expires, until the round is over",
                view.qr_expires_at,
                (f"{HOW_TO_SCAN}; {shown}",),
            )
        case State.CONNECTED if (view.reason or "").startswith(WAITS_FOR_TURN):
            return Outlook("a new process replaces the present one when it is this account's turn", None)
        case State.CONNECTED if view.phone_unlinks_at:
            others = () if (view.reason or "").startswith(PHONE_MISSING) else (view.reason or "",)
            return Outlook(
                "WhatsApp unlinks the account if its phone stays offline",
                view.phone_unlinks_at,
                (OPEN_PHONE, *(restricted(view).advice if view.restricted else ()), *filter(None, others)),
            )
        case State.CONNECTED if view.restricted:
            return restricted(view)
        case State.CONNECTED if view.reason:
            return Outlook("the account stays connected with its present process", None, (view.reason,))
        case State.CONNECTED:
            return Outlook("the account stays connected", None)
        case State.RECONNECTING:
            return Outlook(
                "the process keeps trying to reconnect; after two minutes without success, a new process"
                " takes over",
                None,
                _doctor(),
            )
        case State.BACKOFF if view.held and view.kind == Kind.STORE:
            return Outlook("the account starts in its turn when the database is back", at, _doctor())
        case State.BACKOFF if view.held:
            return Outlook(
                "another account tests the network for all accounts that lost it together; when that account"
                " connects, this one follows",
                at,
                (f"test the network with this account now: `orchestrator start {name}`", *_doctor()),
            )
        case State.BACKOFF if (view.reason or "").startswith(WAITS_FOR_SHARD):
            return Outlook(
                "a machine of the cluster takes the account as soon as one has room",
                None,
                ("`orchestrator cluster status` shows the machines, and how many accounts each takes",),
            )
        case State.BACKOFF:
            return Outlook(
                "a new process tries again",
                at,
                (f"try now: `orchestrator start {name}`", *_about_kind(view)),
            )
        case State.REPLACED:
            then = (
                "the account tries once more to take the session back"
                if at
                else "nothing until an operator acts"
            )
            return Outlook(
                then,
                at,
                (
                    "stop the other program that uses this session: two programs cannot share one",
                    f"take the session back: `orchestrator start {name}`",
                ),
            )
        case State.BANNED if at:
            return Outlook(
                "the account tries once, just after the ban ends",
                at,
                (
                    "wait: an earlier try makes a ban longer",
                    "send less, and only to people who know you",
                ),
            )
        case State.BANNED:
            return Outlook(
                "nothing until an operator acts",
                None,
                (
                    "open WhatsApp on the phone: it shows the reason, and whether you can request a review",
                    f"when the phone works again: `orchestrator repair {name}`",
                ),
            )
        case State.OUTDATED:
            then = (
                "one account tests from time to time; when WhatsApp accepts it, all others follow"
                if view.held
                else "the account tries again by itself: no other account was refused so far"
            )
            return Outlook(
                then,
                at,
                (
                    "upgrade neonize, which the service then uses by itself: `pip install --upgrade neonize`",
                    f"try now: `orchestrator start {name}`",
                ),
            )
        case State.FAILED if view.kind == Kind.DUPLICATE:
            return Outlook("nothing until an operator acts", None, _about_kind(view))
        case State.FAILED:
            return Outlook("nothing until an operator acts", None, (*_about_kind(view), _start(name)))


def restricted(view: AccountView) -> Outlook:
    """Say what is ahead of a connected account that may not send everything."""
    if view.restricted == "all":
        return Outlook(
            "nothing is sent until then; what waits is sent afterwards, in its order",
            view.restricted_until,
            ("wait: the account sends again by itself, and a restart makes nothing faster",),
        )
    return Outlook(
        "replies go on, and messages to new chats wait until then",
        view.restricted_until,
        (
            "wait: the account stays linked, and neither a restart nor pairing makes this shorter",
            "write first only to people who expect it: WhatsApp restricts accounts that strangers block",
            f"`orchestrator outbox {view.name}` shows what waits",
        ),
    )


def without_service(view: AccountView, start: str) -> Outlook:
    """Say what is ahead of an account whose service does not run: nothing, whatever its state.

    Args:
        view: The account.
        start: The command that starts the service.
    """
    at = view.next_retry_at
    then = "; with a service, just after the ban ends" if at and view.state == State.BANNED else ""
    return Outlook(
        f"nothing while {NOT_RUNNING}{then}", at if then else None, (f"start the service: `{start}`",)
    )


def _about_kind(view: AccountView) -> tuple[str, ...]:
    name = view.name
    match view.kind:
        case Kind.NETWORK:
            return _doctor()
        case Kind.LOGGED_OUT | Kind.PAIRING_EXPIRED | Kind.DAMAGED:
            return (f"link the account again by a new code: `orchestrator qr {name}`",)
        case Kind.WRONG_PHONE:
            return (
                f"pair the account again, and scan with the right phone: `orchestrator repair {name}`",
                (
                    "if the account has another phone now: change `phone:` in the configuration, or, if there"
                    f" is none, run `orchestrator repair {name} --any-phone`"
                ),
                "if you do not know that phone: find out who could see the code",
            )
        case Kind.DUPLICATE:
            return (
                f"link this account as a device of its own: `orchestrator repair {name}`",
                f"or remove one of the two accounts and start the other one: `orchestrator start {name}`",
            )
        case Kind.CONFIG:
            return ("correct the configuration, then run `orchestrator reload`",)
        case Kind.MACHINE:
            return ("give this machine what the reason names; the account keeps trying until then",)
        case Kind.STORE:
            return ("see that the database of `store:` runs and can be reached from here", *_doctor())
        case Kind.DISOWNED:
            return ("see which machine has the account: `orchestrator cluster status`",)
        case Kind.CRASH:
            return ("read the service's log", *_doctor())
        case Kind.REFUSED:
            return (f"if this happens again and again, pair the account again: `orchestrator repair {name}`",)
        case _:
            return ()


def _start(name: str) -> str:
    return f"start the account: `orchestrator start {name}`"


def _doctor() -> tuple[str, ...]:
    return ("test the connection to WhatsApp: `orchestrator doctor`",)
