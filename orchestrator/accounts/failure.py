"""The kinds of end that an account's process can come to. What follows from each is in `account`."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """Why a process ended. The kind decides what happens next; no kind shares another's counter."""

    STOPPED = "stopped"
    """It was asked to."""
    NETWORK = "network"
    """WhatsApp could not be reached, or the link was lost and did not come back."""
    CRASH = "crash"
    """It died by a signal or an unknown exit code, or stopped answering."""
    LOGGED_OUT = "logged_out"
    """WhatsApp logged the account out: its phone unlinked this device."""
    LOCKED = "locked"
    """WhatsApp locked the account, or its main device is gone."""
    PAIRING_EXPIRED = "pairing_expired"
    """A whole round of codes passed without anybody using one."""
    PASSKEY = "passkey"
    """WhatsApp asked for a passkey while pairing, which this client cannot give."""
    WRONG_PHONE = "wrong_phone"
    """It was paired with another number than the configuration names."""
    REPLACED = "replaced"
    """Another client took the session over."""
    TEMPORARY_BAN = "temporary_ban"
    """WhatsApp refuses the account for some time."""
    OUTDATED = "outdated"
    """WhatsApp refuses this version of the client."""
    REFUSED = "refused"
    """WhatsApp refused the log-in for another reason."""
    DAMAGED = "damaged"
    """The session file is no sound database."""
    MACHINE = "machine"
    """This machine lacks what a run needs: room on the disk, memory, a process, a file descriptor."""
    DUPLICATE = "duplicate"
    """Its session is a copy of another account's; it is told before there is a process."""
    CONFIG = "config"
    """What the account is configured with cannot work."""


EXIT_CODES: dict[Kind, int] = {
    Kind.STOPPED: 10,
    Kind.NETWORK: 20,
    Kind.LOGGED_OUT: 21,
    Kind.LOCKED: 22,
    Kind.PAIRING_EXPIRED: 23,
    Kind.WRONG_PHONE: 24,
    Kind.REPLACED: 25,
    Kind.TEMPORARY_BAN: 26,
    Kind.OUTDATED: 27,
    Kind.REFUSED: 28,
    Kind.CONFIG: 29,
    Kind.PASSKEY: 30,
    Kind.DAMAGED: 31,
    Kind.CRASH: 32,
    Kind.MACHINE: 33,
    Kind.DUPLICATE: 34,
}
"""How a child's process says its kind. They start at 10: 1 is Python's own, 2 is Go's and typer's."""

_KINDS = {code: kind for kind, code in EXIT_CODES.items()}

HAS_ENDED_SESSION = frozenset({Kind.LOGGED_OUT, Kind.LOCKED, Kind.WRONG_PHONE, Kind.DAMAGED})
"""The kinds after which the session file is put into quarantine; after every other it stays as it is."""

OUT_OF_MEMORY = (
    "the kernel killed the process because memory ran out: raise the memory limit, or end other programs"
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended.

    Attributes:
        kind: What decides.
        text: For people: what was seen, without secrets and without unmasked numbers.
        code: WhatsApp's reason code, if it gave one.
        expire: Seconds until a temporary ban ends.
    """

    kind: Kind
    text: str
    code: int | None = None
    expire: float | None = None


def from_exit(
    status: int | None,
    reported: Outcome | None,
    *,
    killed_because: str | None = None,
    out_of_memory: bool = False,
    loading: bool = False,
) -> Outcome:
    """Tell how a run ended from the exit status and from what the child reported last.

    Args:
        status: Exit code, or minus the signal's number, or None if it is not known.
        reported: The child's own word, if it came.
        killed_because: Why the parent killed it, if it did.
        out_of_memory: Whether the kernel has of late ended processes because memory ran out.
        loading: Whether it was still loading the library: then it is the machine's trouble, or the library's,
            and nothing that the account could be given up for.

    Returns:
        The child's word where the exit status bears it out; otherwise what the status says.
    """
    crash = Kind.MACHINE if loading else Kind.CRASH
    where = " while loading neonize: run `orchestrator doctor`" if loading else ""
    if killed_because is not None:
        return Outcome(crash, killed_because + where)
    kind = _KINDS.get(status) if status is not None else None
    if reported is not None and kind is reported.kind:
        return reported
    if kind is not None and kind not in (Kind.TEMPORARY_BAN, *HAS_ENDED_SESSION):
        return Outcome(kind, "the process gave no reason except its exit code")
    if reported is not None and (status is None or (status < 0 and reported.kind is not Kind.STOPPED)):
        # It reported its end and was then killed on its way out, or nobody is left who could know more: its
        # word counts. A ban would be broken otherwise.
        return reported
    if out_of_memory and status in (None, -signal.SIGKILL):
        return Outcome(Kind.MACHINE, OUT_OF_MEMORY)
    return Outcome(crash, describe_exit(status) + where)


def describe_exit(status: int | None) -> str:
    """Say an exit status in words."""
    if status is None:
        return "the process is gone, and its exit status is unknown"
    if status < 0:
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = f"signal {-status}"
        return f"the process was ended by {name}"
    return f"the process ended with exit code {status}"
