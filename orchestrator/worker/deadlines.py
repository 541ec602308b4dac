"""How long each phase of a run may last: always less than the parent allows for the same."""

from __future__ import annotations

DIAL_SECONDS = 50.0
"""Seconds from dialling, or from being linked, to the log-in; the parent allows 60."""
LOST_SECONDS = 90.0
"""Seconds without a link. The library itself would go on: for ever, or 211 s with a peer that is silent."""
FIRST_CODE_SECONDS = 60.0
"""Seconds that the first code of a round is valid, as whatsmeow has it."""
NEXT_CODE_SECONDS = 20.0
"""The same for each of the five that follow."""
CODE_GRACE = 5.0
"""Seconds by which the next code may be late before the connection behind it is taken for dead."""
ROUND_SECONDS = 160.0
"""Seconds of a round of codes, after which WhatsApp closes the connection."""
ROUND_GRACE = 3.0
"""Seconds by which the end of a round may be late."""
LINK_CODE_SECONDS = 30.0
"""Seconds for WhatsApp to take note of an eight-character code; the parent waits 60 for it to be shown."""
UNLINK_SECONDS = 8.0
"""Seconds for unlinking the device; with `DIAL_SECONDS` less than what the parent allows for connecting."""
CLOSE_SECONDS = 5.0
"""Seconds for closing the link in good order; neonize's stop() takes as long if WhatsApp does not answer."""
SETTLE_SECONDS = 0.5
"""Seconds for which a verdict waits for lines that come another way; they differ by milliseconds."""
CALLBACK_SECONDS = 30.0
"""Seconds for one call of the library's into this process, from the heartbeat that first finds it running."""
CALLBACK_BEATS = 3
"""Heartbeats that have to find it running after that one: a process that was held up as a whole, and its
callbacks with it, is not ended for that."""
MAX_UNSURE = 2
"""Heartbeats in a row that may find the library logged out before the link is taken for lost."""
