"""The deadlines that two processes have for one thing, as pairs. Pure.

The process that is nearer to the work gives up first and says why. The one that waits for it would only see
that nothing comes, and blame the wrong one.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Pair(NamedTuple):
    """How long two processes give one thing.

    Attributes:
        inner: Seconds of the process that is nearer to the work.
        outer: Seconds of the process that waits for it. They leave room for what comes after `inner`.
    """

    inner: float
    outer: float


# An account's process, and the service that has started it

LOCK_SECONDS: Final = 10.0
"""How long another process on its way out may hold the session's lock: an orphan ends within 2 s, a slow stop
within 5."""
BUSY_SECONDS: Final = 8.0
"""How long another program, such as a backup, may hold the session's database."""
CHECK_SECONDS: Final = 5.0
"""How long the check of a session may take: 0.02 s for a usual one. One of some GB has to go unchecked."""
INBOX_SECONDS: Final = 3.0
"""How long it may take to open an inbox: 1 s of them for another program that holds the file."""
SECRETS_SECONDS: Final = 2.0
"""How long a session may be looked through for messages that were lost: milliseconds for a usual one."""
STARTING: Final = Pair(
    inner=LOCK_SECONDS + BUSY_SECONDS + CHECK_SECONDS + INBOX_SECONDS + SECRETS_SECONDS, outer=30.0
)
"""From the start of a process to its first word; loading neonize takes about one second more."""
SPAWNING: Final = Pair(inner=20.0, outer=STARTING.outer)
"""For the fork server to make a process, at worst with its own imports before, which take one second."""

UNLINK_SECONDS: Final = 8.0
"""For unlinking a device that may not stay linked; this may come after dialing."""
CONNECTING: Final = Pair(inner=50.0, outer=60.0)
"""From dialing, or from being linked, to the log-in."""
LINK_CODE: Final = Pair(inner=30.0, outer=CONNECTING.outer)
"""For WhatsApp to take note of an eight-character code, so that it can be shown: a part of `CONNECTING`."""

ROUND_SECONDS: Final = 160.0
"""A round of codes, after which WhatsApp closes the connection."""
ROUND_GRACE: Final = 3.0
"""How late the end of a round may be."""
PAIRING: Final = Pair(inner=ROUND_SECONDS + ROUND_GRACE, outer=180.0)
"""A round of codes."""
RECONNECTING: Final = Pair(inner=90.0, outer=120.0)
"""Without a link. The library itself would go on forever, or for 211 s with a peer that is silent."""
HEARTBEAT: Final = Pair(inner=10.0, outer=30.0)
"""Between two signs of life, and of silence that is taken for a hang."""

FINISH_SECONDS: Final = 1.5
"""For WhatsApp to take what is being sent when the process is asked to stop; mostly it takes a tenth of that.
What takes longer is settled by the next process."""
OUTBOX_SECONDS: Final = 0.5
"""For the outbox to be closed in good order."""
CLOSE_SECONDS: Final = 5.0
"""For closing the link in good order, and for the library to hand over what it still holds; neonize's
disconnect() takes as long if WhatsApp does not answer. A run that ends by itself takes that time, too."""
FLUSH_SECONDS: Final = 2.0
"""For the service to take the last word."""
OUTPUT_SECONDS: Final = 0.3
"""For the last lines of the log to be written."""
EXITING: Final = Pair(inner=FLUSH_SECONDS + OUTPUT_SECONDS, outer=10.0)
"""From the last word of a process to its exit."""
STOPPING: Final = Pair(inner=FINISH_SECONDS + CLOSE_SECONDS + OUTBOX_SECONDS + EXITING.inner, outer=10.0)
"""From being asked to stop to the exit, and to SIGKILL."""
UNLINKING: Final = Pair(inner=UNLINK_SECONDS + CLOSE_SECONDS + OUTBOX_SECONDS + EXITING.inner, outer=17.0)
"""From being asked to unlink the device of an account that is removed to the exit, and to SIGKILL."""

LAST_CALL: Final = Pair(inner=3.0, outer=4.0)
"""For a process that hangs to close its link and take what its library still holds, before it is killed."""
TRACEBACK_SECONDS: Final = 1.0
"""For a process that hangs to write its traceback and to end; it takes milliseconds."""

# Bots and the gateway, which stop before the accounts do

BOT_STOPPING: Final = Pair(inner=2.0, outer=3.0)
"""From asking a bot to stop to its exit, and to SIGKILL. An event that it has not handled comes again."""
DRAINING: Final = Pair(inner=4.0, outer=5.0)
"""For the gateway to finish requests and deliveries that are on their way, and to SIGKILL."""
COMPANIONS_STOPPING: Final = BOT_STOPPING.outer + DRAINING.outer
"""For bots and the gateway, one after the other."""

# The service, and those who wait for it

REAP_SECONDS: Final = 5.0
"""For the exit status of a process that is known to be gone to arrive."""
SHUTDOWN: Final = Pair(inner=STOPPING.outer, outer=15.0)
"""For all accounts together to stop when the service ends; those that have not by then are killed."""
STOP_COMMAND: Final = Pair(
    inner=max(STOPPING.outer, UNLINKING.outer) + LAST_CALL.outer + TRACEBACK_SECONDS + REAP_SECONDS,
    outer=30.0,
)
"""For a process to stop or to be killed, and for the command that waits for its end."""
ANSWER: Final = Pair(inner=STOP_COMMAND.outer, outer=45.0)
"""For the slowest command to be answered, and for a client to wait for an answer."""
NEONIZE_SENDS_SECONDS: Final = 75.0
"""For neonize to send a text; it was measured, and is not set here."""
SENDING: Final = Pair(inner=NEONIZE_SENDS_SECONDS, outer=85.0)
"""For a process to say what became of a text."""
SEND_ANSWER: Final = Pair(inner=SENDING.outer, outer=95.0)
"""For `send` to be answered, and for a client to wait for that answer."""
