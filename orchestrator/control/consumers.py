"""What operators can do with consumers: the service hands these commands on to the gateway."""

# Without dataclasses: commands load this before they ask.

from collections.abc import Mapping
from typing import Final

COMMANDS: Final[Mapping[str, tuple[str, ...]]] = {
    "consumers": ("name", "kind"),
    "webhook_test": ("name",),
    "webhook_pause": ("name",),
    "webhook_resume": ("name",),
    "webhook_replay": ("name", "event"),
    "webhook_dead": ("name", "limit", "after"),
    "consumer_pause": ("name",),
    "consumer_resume": ("name",),
    "consumer_replay": ("name", "event"),
    "consumer_dead": ("name", "limit", "after"),
    "consumer_reset": ("name", "to", "account"),
    "consumer_remove": ("name",),
    "consumer_trace": ("events",),
}
"""The commands, each with the arguments that it takes. The gateway checks the values."""

MOST_TRACED: Final = 100
"""Events that one `consumer_trace` asks about."""
MOST_DEAD: Final = 200
"""Dead letters that one answer names: with them, it has less than a line of the protocol may have."""
