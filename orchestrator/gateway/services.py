"""What the parts of the gateway are given: everything that they need of each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestrator.consumers.wire import GatewaySettings

if TYPE_CHECKING:
    from orchestrator.access.tokens import Tokens
    from orchestrator.gateway.accounts import Accounts
    from orchestrator.gateway.cloud.numbers import Numbers
    from orchestrator.gateway.cloud.promised import Promised
    from orchestrator.gateway.dispatch.dispatcher import Dispatcher
    from orchestrator.gateway.dispatch.pulls import Pulls
    from orchestrator.gateway.feed import Feed
    from orchestrator.gateway.metrics import Metrics
    from orchestrator.gateway.outboxes import Outboxes
    from orchestrator.gateway.page.board import Board
    from orchestrator.gateway.page.flows import Flows
    from orchestrator.gateway.parent import Parent
    from orchestrator.gateway.sending import Submitter
    from orchestrator.gateway.uploads import Uploads


@dataclass(slots=True)
class Services:
    """The parts of a running gateway.

    Attributes:
        parent: The service.
        accounts: How the accounts are.
        feed: What happened to the accounts and came in for them.
        outboxes: What the accounts are to send, and what became of it.
        dispatcher: Hands events to webhooks and bots.
        pulls: Hands events to those who fetch them.
        tokens: Who may ask for what.
        metrics: Answers scrapes.
        uploads: Files that clients have uploaded.
        sending: Hands messages to the service.
        numbers: The accounts' numbers.
        promised: What clients of the Cloud API call messages that were not sent yet.
        board: The accounts as the page shows them.
        flows: The consumers as the page shows them.
        settings: The configuration; it is replaced when the service has read it again.
    """

    parent: Parent
    accounts: Accounts
    feed: Feed
    outboxes: Outboxes
    dispatcher: Dispatcher
    pulls: Pulls
    tokens: Tokens
    metrics: Metrics
    uploads: Uploads
    sending: Submitter
    numbers: Numbers
    promised: Promised
    board: Board
    flows: Flows
    settings: GatewaySettings = field(default_factory=GatewaySettings)
