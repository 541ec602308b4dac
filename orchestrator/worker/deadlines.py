"""How long each phase of a run may last. The deadlines that the parent has, too, are pairs in `accounts`."""

from __future__ import annotations

from orchestrator.accounts import deadlines

DIAL_SECONDS = deadlines.CONNECTING.inner
"""Seconds from dialing, or from being linked, to the log-in."""
LOST_SECONDS = deadlines.RECONNECTING.inner
"""Seconds without a link."""
FIRST_CODE_SECONDS = 60.0
"""Seconds that the first code of a round is valid, as whatsmeow has it."""
NEXT_CODE_SECONDS = 20.0
"""The same for each of the five that follow."""
CODE_GRACE = 5.0
"""Seconds by which the next code may be late before the connection behind it is taken for dead."""
ROUND_SECONDS = deadlines.ROUND_SECONDS
"""Seconds of a round of codes, after which WhatsApp closes the connection."""
ROUND_GRACE = deadlines.ROUND_GRACE
"""Seconds by which the end of a round may be late."""
LINK_CODE_SECONDS = deadlines.LINK_CODE.inner
"""Seconds for WhatsApp to take note of an eight-character code."""
UNLINK_SECONDS = deadlines.UNLINK_SECONDS
"""Seconds for unlinking the device."""
FINISH_SECONDS = deadlines.FINISH_SECONDS
"""Seconds for what is being sent when the run is asked to end."""
CLOSE_SECONDS = deadlines.CLOSE_SECONDS
"""Seconds for closing the link in good order."""
SETTLE_SECONDS = 0.5
"""Seconds for which a verdict waits for lines that come another way; they differ by milliseconds."""
CALLBACK_SECONDS = 30.0
"""Seconds for one call from the library into this process, from the heartbeat that first finds it running."""
CALLBACK_BEATS = 3
"""Heartbeats that have to find the same call running after that one. So a process that stood still as a
whole, and its callbacks with it, is not ended."""
MAX_UNSURE = 2
"""Heartbeats in a row that may find the library logged out before the link is taken for lost."""
