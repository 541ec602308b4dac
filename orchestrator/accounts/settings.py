"""What the configuration says of one account, checked and complete."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Literal

Confine = Literal["auto", "required", "off"]
"""Whether the accounts' processes are isolated: as far as the kernel can, not without all of it, or not."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before the next try.

    Attributes:
        base: Seconds before the second try.
        factor: By how much each wait is longer than the one before.
        max: Seconds the wait never exceeds.
        jitter: By which part of itself a wait may be shorter, at random: 0 to 1.
        reset_after: Seconds of being connected after which the count starts again.
    """

    base: float = 3.0
    factor: float = 2.0
    max: float = 300.0
    jitter: float = 0.2
    reset_after: float = 30.0

    def delay(self, attempt: int, random: float) -> float:
        """Return the seconds to wait after that many failed tries (from 1 on).

        The wait is clamped to `max` first and then made shorter by the jitter, so accounts that have
        reached the maximum do not move in step, and none ever waits longer than it.

        Args:
            attempt: How many tries in a row have failed.
            random: A number from 0 up to 1.
        """
        exponent = min(attempt - 1, 64)  # 2**64 s is beyond every maximum, and floats have an end
        return min(self.max, self.base * self.factor**exponent) * (1 - self.jitter * random)


Fetch = Literal["on_demand", "always", "never"]
"""When attachments are fetched: when somebody asks for one, at once, or not at all."""
Calls = Literal["ignore", "reject"]
"""What happens to calls that come in."""


@dataclass(frozen=True, slots=True)
class Messages:
    """Which messages an account keeps, and for how long.

    Attributes:
        allow: Whose messages are kept: ``*`` for everybody, the digits of numbers, and addresses such as
            ``120363000000000001@g.us``. Nobody's by default.
        groups: Whether ``*`` means groups, too.
        from_me: Whether messages are kept that the account's own phone sends.
        keep: Seconds for which a message is kept after every consumer has had it.
        keep_at_most: Seconds for which a message is kept in any case.
        media: When attachments are fetched.
        media_limit: Bytes of the largest attachment that is fetched.
        calls: What happens to calls.
    """

    allow: tuple[str, ...] = field(default=(), repr=False)
    groups: bool = False
    from_me: bool = False
    keep: float = 7 * 86_400.0
    keep_at_most: float = 30 * 86_400.0
    media: Fetch = "on_demand"
    media_limit: int = 64 << 20
    calls: Calls = "ignore"


Pacing = Literal["on", "off"]
"""Whether an account takes its time, as a person would."""
OnUnknown = Literal["report", "resend"]
"""What happens to a message of which nobody knows whether it was sent, once that cannot be found out."""


@dataclass(frozen=True, slots=True)
class Sending:
    """How an account sends. Times are in seconds.

    Attributes:
        pacing: Whether it takes its time. "off": everything at once, in order within each chat.
        typing: Whether "typing" is shown before a message.
        typing_most: How long that is shown at most.
        chat_gap: Between two messages to a chat.
        known_every: Between two messages to chats that there was an exchange with before, on average.
        known_burst: How many of these may go at once.
        new_every: Between two messages to chats that there was none with.
        new_spread: By which part of itself that time is longer or shorter, at random: 0 to 1.
        new_a_day: Messages to such chats a day, when the account is linked.
        new_a_day_later: The same, once `warm_up` is over.
        warm_up: How long the number of these grows, from when the account was linked.
        expires: How long a message may wait. Whoever sends it may say less.
        on_unknown: What happens to a message whose fate cannot be found out.
        check_numbers: Whether a number is looked up before the first message to it.
        strip_metadata: Whether pictures lose what they say of place, time and camera.
        media_limit: Bytes of the largest file that is sent.
        most_waiting: Messages that may wait in the outbox.
    """

    pacing: Pacing = "on"
    typing: bool = True
    typing_most: float = 8.0
    chat_gap: float = 1.0
    known_every: float = 4.0
    known_burst: int = 5
    new_every: float = 45.0
    new_spread: float = 0.5
    new_a_day: int = 20
    new_a_day_later: int = 200
    warm_up: float = 14 * 86_400.0
    expires: float = 86_400.0
    on_unknown: OnUnknown = "report"
    check_numbers: bool = True
    strip_metadata: bool = False
    media_limit: int = 64 << 20
    most_waiting: int = 10_000


ShowCodes = Literal["always", "on_demand"]
"""When an account that is not linked shows codes: all the time, or only while somebody looks at them."""

MOST_TAGS = 20
"""Tags that an account may have."""
LONGEST_NOTE = 200
"""Characters of an account's note."""

_NEW_PROCESS = {"new_process": True}
_SAME_PROCESS = {"new_process": False}


@dataclass(frozen=True, slots=True)
class AccountSettings:
    """One account. Each field says whether its change needs a new process.

    Attributes:
        name: Its name.
        phone: Digits of the number it must be linked to, or None.
        enabled: Whether it runs at all. False, too, until the time of `disabled_until`.
        proxy: URL of its proxy, password and all, or None.
        device_name: What the phone shows under linked devices.
        backoff: How long to wait before a next try.
        max_retries: Tries without a stable connection before it is given up, for kinds that give up.
        pairing_rounds: Rounds of codes that may pass unused before it is given up.
        memory_limit: Bytes its process may use, or None.
        messages: Which messages it keeps.
        sending: How it sends.
        pairing: When it shows codes, as long as it is not linked.
        tags: Words by which people find it among others.
        note: What people want to remember of it, on one line; None if nothing.
        disabled_until: Unix time before which it does not run, None for none. It may have passed.
    """

    name: str = field(metadata=_NEW_PROCESS)
    phone: str | None = field(default=None, metadata=_NEW_PROCESS)
    enabled: bool = field(default=True, metadata=_SAME_PROCESS)
    proxy: str | None = field(default=None, repr=False, metadata=_NEW_PROCESS)
    device_name: str = field(default="Orchestrator", metadata=_NEW_PROCESS)
    backoff: Backoff = field(default_factory=Backoff, metadata=_SAME_PROCESS)
    max_retries: int = field(default=10, metadata=_SAME_PROCESS)
    pairing_rounds: int = field(default=10, metadata=_SAME_PROCESS)
    memory_limit: int | None = field(default=None, metadata=_SAME_PROCESS)
    messages: Messages = field(default_factory=Messages, metadata=_NEW_PROCESS)
    sending: Sending = field(default_factory=Sending, metadata=_NEW_PROCESS)
    pairing: ShowCodes = field(default="always", metadata=_SAME_PROCESS)
    tags: tuple[str, ...] = field(default=(), metadata=_SAME_PROCESS)
    note: str | None = field(default=None, metadata=_SAME_PROCESS)
    disabled_until: float | None = field(default=None, metadata=_SAME_PROCESS)

    def at(self, now: float) -> AccountSettings:
        """Return the settings as they are in force at a Unix time: `disabled_until` is a part of `enabled`.

        Args:
            now: The time.
        """
        if self.disabled_until is None:
            return self
        return replace(self, enabled=self.disabled_until <= now)

    def needs_new_process(self, before: AccountSettings) -> bool:
        """Tell whether a running process must be replaced for these settings to take effect.

        Args:
            before: The settings that the process was started with.
        """
        return any(
            getattr(self, one.name) != getattr(before, one.name)
            for one in fields(self)
            if one.metadata["new_process"]
        )
