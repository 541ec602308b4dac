"""Whether webhooks and bots take what they are brought."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from orchestrator.accounts.words import counted
from orchestrator.errors import OrchestratorError
from orchestrator.service.doctor.check import Check, Finding, fail, ok, warn
from orchestrator.service.doctor.context import Context


def find(context: Context) -> Iterator[Finding]:
    """Ask the gateway how they stand, if it runs."""
    try:
        context.ping.get()
        consumers = context.client.get().call("consumers")["consumers"]
    except OrchestratorError:
        return  # the checks of the service and of the gateway say what there is to say
    for one in consumers:
        yield from _about(one)


def _about(one: dict[str, Any]) -> Iterator[Finding]:
    name, state, why = one["name"], one["state"], one["why"]
    waiting = counted(one["waiting"], "event waits", "events wait")
    is_webhook = one["kind"] == "webhook"
    command = f"orchestrator {'webhook' if is_webhook else 'consumer'}"
    test = f"`orchestrator webhook test {name}` says what to do" if is_webhook else "its log says why"
    if state == "disabled":
        yield fail(
            f"{name}: disabled, because it {why}; {waiting}",
            f"`{command} resume {name}` if that was a mistake; else remove it",
        )
    elif state == "failing":
        yield warn(f"{name}: its last tries failed: {why}; {waiting}", test)
    elif state == "paused":
        yield warn(f"{name}: an operator has paused it; {waiting}", f"`{command} resume {name}` ends that")
    elif one["kind"] != "pull":
        yield ok(f"{name}: {state}; {waiting}")
    if one["dead"]:
        yield warn(
            f"{name}: {counted(one['dead'], 'event was', 'events were')} given up",
            f"`{command} dead {name}` lists them, `{command} replay {name}` sends them again",
        )


CHECK = Check("deliveries", "deliveries", "Whether webhooks and bots take what they are brought.", find)
