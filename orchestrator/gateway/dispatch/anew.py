"""Where consumers begin after the store was lost: so that none misses anything. Pure but for the log."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from orchestrator.consumers.consumer import Consumer
from orchestrator.consumers.writes import Moved, Place, Standing, Write
from orchestrator.gateway.dispatch.snapshot import Noted

log = logging.getLogger(__name__)

_EVER: Final = 1.0
"""The time of storing from which on events are wanted by whom nothing is known that should be."""


def begin(
    consumers: Mapping[str, Consumer], noted: Mapping[str, Noted]
) -> tuple[dict[str, str], dict[str, list[Write]]]:
    """Return what each consumer is and where it begins, and say so.

    Args:
        consumers: The webhooks and bots.
        noted: What is known of all consumers from some seconds ago.
    """
    kinds: dict[str, str] = {}
    everything: dict[str, list[Write]] = {}
    for name, consumer in consumers.items():
        known = noted.get(name)
        writes: list[Write] = [Standing(since=_EVER, paused=known is not None and known.is_stopped)]
        if known is not None:
            writes += [Moved(place, cursor) for place, cursor in known.positions.items()]
        places = known.positions if known is not None else {}
        for account in consumer.accounts or ():
            for stream in ("messages", "account"):
                if (place := Place(account, stream)) not in places:
                    writes.append(Moved(place, None, _EVER))
        kinds[name], everything[name] = consumer.kind, writes
        how = "of the last seconds once more" if known is not None else "that is kept once more"
        log.error("%s begins anew and gets everything %s; its dead letters are lost", name, how)
    for name, known in noted.items():
        if name not in consumers:
            moved = (Moved(place, one) for place, one in known.positions.items())
            kinds[name], everything[name] = "pull", [Standing(since=_EVER), *moved]
    return kinds, everything
