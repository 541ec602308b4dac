"""Which events a consumer gets. Pure."""

from __future__ import annotations

from orchestrator.consumers import event_types
from orchestrator.consumers.consumer import Consumer


class Selection:
    """The choice of one consumer.

    Args:
        consumer: The consumer.
    """

    def __init__(self, consumer: Consumer) -> None:
        self._accounts = consumer.accounts
        self._patterns = consumer.events

    def sees(self, account: str) -> bool:
        """Tell whether the consumer gets events of an account."""
        return self._accounts is None or account in self._accounts

    def wants(self, event_type: str) -> bool:
        """Tell whether the consumer gets events of a type."""
        return event_types.chosen(self._patterns, event_type)
