"""Says in words how the gateway and the bots are. Pure; commands load it before they ask."""

from __future__ import annotations

from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]

RUNNING = "running"


def lines(about: Json | None) -> list[str]:
    """Say how the gateway and the bots are, a line each; a bot that runs is only counted.

    Args:
        about: What the command ``companions`` tells; None if there are none.
    """
    if about is None:
        return []
    gateway = about["gateway"]
    counts = [
        _count(gateway["webhooks"], "webhook", "webhooks"),
        _count(len(about["bots"]), "bot", "bots"),
        _count(len(about["attached"]), "bot run by hand", "bots run by hand"),
    ]
    first = ", ".join([_state(gateway), *filter(None, counts)])
    return [
        f"gateway: {first}",
        *(f"{bot['name']}: {_state(bot)}" for bot in about["bots"] if bot["state"] != RUNNING),
        *problems(about),
    ]


def problems(about: Json) -> list[str]:
    """Return what keeps the gateway from listening, a sentence each."""
    return list(about["gateway"]["problems"])


def _state(one: Json) -> str:
    if one["state"] == RUNNING:
        return RUNNING
    reason = f" ({one['reason']})" if one["reason"] else ""
    return f"{one['state']}{reason}"


def _count(count: int, one: str, many: str) -> str:
    return "" if not count else f"1 {one}" if count == 1 else f"{count} {many}"
