"""The kinds of end that an account's process can come to. `policy` decides what follows each of them."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """Why a process ended. The kind decides what happens next; no kind shares another's counter."""

    STOPPED = "stopped"
    """The process was asked to stop."""
    NETWORK = "network"
    """WhatsApp could not be reached, or the link was lost and did not come back."""
    CRASH = "crash"
    """The process died by a signal or with an unknown exit code, or stopped answering."""
    LOGGED_OUT = "logged_out"
    """WhatsApp logged the account out: its phone unlinked this device."""
    LOCKED = "locked"
    """WhatsApp locked the account, or its main device is gone."""
    PAIRING_EXPIRED = "pairing_expired"
    """A whole round of codes passed unused."""
    PASSKEY = "passkey"
    """WhatsApp asked for a passkey while pairing, which this client cannot give."""
    WRONG_PHONE = "wrong_phone"
    """A phone with another number than the configuration names was linked."""
    REPLACED = "replaced"
    """Another client uses the session."""
    TEMPORARY_BAN = "temporary_ban"
    """WhatsApp refuses the account for some time."""
    OUTDATED = "outdated"
    """WhatsApp refuses this version of the client."""
    REFUSED = "refused"
    """WhatsApp refused the log-in for another reason."""
    DAMAGED = "damaged"
    """The session file is not a sound database."""
    MACHINE = "machine"
    """This machine lacks what a run needs: room on the disk, memory, a process, a file descriptor."""
    STORE = "store"
    """The database that has the session cannot be reached."""
    DUPLICATE = "duplicate"
    """The session is a copy of another account's. No process is started for it."""
    CONFIG = "config"
    """What the account is configured with cannot work."""
    DISOWNED = "disowned"
    """The account may run on another machine of the cluster by now: the process has ended at once."""


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
    Kind.STORE: 35,
    Kind.DISOWNED: 36,
}
"""The exit code of each kind. They start at 10: Python itself uses 1, Go and typer use 2."""

_KINDS = {code: kind for kind, code in EXIT_CODES.items()}

HAS_ENDED_SESSION = frozenset({Kind.LOGGED_OUT, Kind.LOCKED, Kind.WRONG_PHONE, Kind.DAMAGED})
"""The kinds after which the session file moves to quarantine. After all others it stays as it is."""

OUT_OF_MEMORY = (
    "the kernel killed the process because memory ran out: raise the memory limit, or end other programs"
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended.

    Attributes:
        kind: The kind, which decides what follows.
        text: What was seen, for people, without secrets and without unmasked numbers.
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
        reported: The child's last word, if it arrived.
        killed_because: Why the parent killed the child, if it did.
        out_of_memory: Whether the kernel has recently killed processes because memory ran out.
        loading: Whether the child was still loading the library. Then the machine or the library is at fault,
            and the account is not given up.

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
        # The child reported its end and was then killed on its way out, or nobody knows the exit status: the
        # report counts. A ban would be broken otherwise.
        return reported
    if out_of_memory and status in (None, -signal.SIGKILL):
        return Outcome(Kind.MACHINE, OUT_OF_MEMORY)
    return Outcome(crash, describe_exit(status) + where)


def describe_exit(status: int | None) -> str:
    """Describe an exit status in words."""
    if status is None:
        return "the process is gone, and its exit status is unknown"
    if status < 0:
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = f"signal {-status}"
        return f"the process was ended by {name}"
    return f"the process ended with exit code {status}"
