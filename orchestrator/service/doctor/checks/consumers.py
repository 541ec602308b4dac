"""Whether webhooks and bots wait for messages that no account keeps."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.accounts.words import counted
from orchestrator.config.settings import Settings
from orchestrator.consumers.event_types import EVENT_TYPES, chosen
from orchestrator.consumers.settings import BotSettings, Webhook
from orchestrator.service.doctor.check import Check, Finding, ok, warn
from orchestrator.service.doctor.context import Context

_MESSAGES = [one for one in EVENT_TYPES if one.startswith("message.")]


def find(context: Context) -> Iterator[Finding]:
    """Look for consumers of messages whose accounts all allow nobody."""
    settings = context.settings.or_none()
    if settings is None:
        return
    consumers: dict[str, Webhook | BotSettings] = {
        **{f"the webhook {name}": one for name, one in settings.webhooks.items()},
        **{f"the bot {name}": one for name, one in settings.bots.items()},
    }
    deaf = [who for who, one in consumers.items() if _gets_nothing(settings, one)]
    for who in deaf:
        yield warn(
            f"{who} gets no messages, because none of its accounts allows anybody",
            'set `allow:` under `messages:` of an account or of `defaults:`, such as "*" or a list of'
            " numbers, and run `orchestrator reload`",
        )
    if consumers and not deaf:
        number = counted(len(consumers), "webhook or bot", "webhooks and bots, each")
        yield ok(f"{number} with an account that keeps messages")


def _gets_nothing(settings: Settings, consumer: Webhook | BotSettings) -> bool:
    if not any(chosen(consumer.events, one) for one in _MESSAGES):
        return False
    accounts = [
        one
        for name, one in settings.accounts.items()
        if one.enabled and (consumer.accounts is None or name in consumer.accounts)
    ]
    return not any(one.messages.allow for one in accounts)


CHECK = Check(
    "consumers", "consumers", "Whether webhooks and bots wait for messages that nobody keeps.", find
)
