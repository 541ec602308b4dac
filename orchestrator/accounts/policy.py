"""The failure policy as one table: what follows the end of a process, by its kind. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.accounts import breaker, duplicates
from orchestrator.accounts.failure import Kind, Outcome
from orchestrator.accounts.settings import AccountSettings
from orchestrator.accounts.states import State
from orchestrator.accounts.words import counted

REPLACED_WAITS = (60.0, 300.0, 1800.0)
"""Seconds before each of the tries to take a session back from another client."""
DISOWNED_WAIT = 2.0
"""Seconds until an account that is this machine's after all gets its next process."""
STORE_WAIT = 2.0
"""Seconds before the next try where the database was away, which counts for nothing."""
BAN_MARGIN = 5.0
"""Seconds added to a ban's end, at least: WhatsApp counts in whole seconds, and clocks differ."""
BAN_SPREAD = 40.0
"""Seconds, at most, that are added at random, so that accounts that were banned together return apart."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of an account.

    Attributes:
        state: The account's next state.
        reason: Why, for people, and what an operator has to do, if anything.
        wait: Seconds until the next try, None if no try is planned.
    """

    state: State
    reason: str
    wait: float | None = None


def judge(outcome: Outcome, count: int, settings: AccountSettings, random: float) -> Verdict:
    """Decide what follows the end of a process that nobody asked to stop.

    Args:
        outcome: How the run ended.
        count: How many runs in a row have ended with this kind, this run included, without a stable
            connection in between.
        settings: The settings of the account.
        random: A number from 0 up to 1, for the jitter.
    """
    delay = settings.backoff.delay(count, random)
    again = count <= settings.max_retries
    match outcome.kind:
        case Kind.NETWORK | Kind.MACHINE:  # those who repair a network do not know of the accounts
            return Verdict(State.BACKOFF, outcome.text, delay)
        case Kind.STORE:  # the fleet holds it until the database is back; this is for one that was late
            return Verdict(State.BACKOFF, outcome.text, STORE_WAIT)
        case Kind.CRASH | Kind.REFUSED | Kind.LOGGED_OUT | Kind.DAMAGED | Kind.STOPPED if again:
            return Verdict(State.BACKOFF, outcome.text, delay)
        case Kind.PAIRING_EXPIRED if count < settings.pairing_rounds:
            return Verdict(State.BACKOFF, outcome.text, delay)
        case Kind.REPLACED:
            wait = REPLACED_WAITS[count - 1] if count <= len(REPLACED_WAITS) else None
            text = outcome.text if wait else f"{outcome.text}; run `orchestrator start {settings.name}`"
            return Verdict(State.REPLACED, text, wait)
        case Kind.TEMPORARY_BAN:
            # A ban without a length, or one that is over at once, must not become a tight loop.
            wait = max(outcome.expire or 0.0, delay) + BAN_MARGIN + BAN_SPREAD * random
            return Verdict(State.BANNED, outcome.text, wait)
        case Kind.DISOWNED:
            return Verdict(State.BACKOFF, outcome.text, DISOWNED_WAIT)
        case Kind.LOCKED:
            text = f"{outcome.text}; when the phone works again, run `orchestrator repair {settings.name}`"
            return Verdict(State.BANNED, text)
        case Kind.OUTDATED:
            # Alone, until a second account is refused as well: then the fleet holds both.
            wait = min(breaker.PROBE_LAST, breaker.PROBE_FIRST * 2 ** min(count - 1, 64))
            return Verdict(State.OUTDATED, outcome.text, wait)
    return Verdict(State.FAILED, _what_to_do(outcome, count, settings))


def _what_to_do(outcome: Outcome, count: int, settings: AccountSettings) -> str:
    name = settings.name
    match outcome.kind:
        case Kind.PAIRING_EXPIRED:
            rounds = f"nobody used a code in {counted(count, 'round')}"
            return f"{rounds}; run `orchestrator qr {name}` when somebody can scan a code"
        case Kind.WRONG_PHONE:
            right = f"{outcome.text}; run `orchestrator repair {name}` and scan with the right phone"
            if settings.phone is not None:
                return right
            return f"{right}, or add `--any-phone` if the account has another phone now"
        case Kind.CONFIG:
            return f"{outcome.text}; correct the configuration, then run `orchestrator reload`"
        case Kind.DUPLICATE:
            return f"{outcome.text}: {duplicates.advice(name)}"
        case Kind.PASSKEY:
            return f"{outcome.text}; this account cannot be linked with this version of neonize"
        case _:
            return f"{outcome.text} ({count} times in a row); run `orchestrator start {name}` to try again"
