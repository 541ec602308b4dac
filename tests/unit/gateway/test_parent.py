"""How the gateway asks the service."""

from __future__ import annotations

import asyncio
import socket

import pytest

from orchestrator.access.scopes import LOCAL, bot
from orchestrator.control.port import MAX_CALLS, Port, Request
from orchestrator.control.protocol import Json
from orchestrator.errors import OrchestratorError
from orchestrator.gateway import parent
from orchestrator.gateway.parent import GATEWAY, MOST_FOR_OTHERS, Parent


def test_texts_without_an_answer_do_not_keep_the_gateway_from_showing_that_it_lives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parent, "BUSY_SECONDS", 0.01)

    async def run() -> None:
        go, acts = asyncio.Event(), 0

        async def serve(request: Request) -> Json:
            nonlocal acts
            if request.command == "act":
                acts += 1
                await go.wait()
            return {"asked": request.command, **request.arguments}

        ours, theirs = socket.socketpair()
        port, service = Port(ours), Port(theirs, serve)
        asking = Parent(port)
        askers = [LOCAL, bot("echo", None)]
        waiting = [
            asyncio.ensure_future(asking.ask(askers[number % 2], "act", seconds=60, name="a"))
            for number in range(2 * MAX_CALLS)
        ]
        assert await asking.ask(GATEWAY, "beat") == {"asked": "beat", "as": GATEWAY}
        refused = waiting[MOST_FOR_OTHERS:]
        for error in await asyncio.gather(*refused, return_exceptions=True):
            assert isinstance(error, OrchestratorError)
            assert error.key == "service_busy"
        go.set()
        done = await asyncio.gather(*waiting[:MOST_FOR_OTHERS])
        assert acts == len(done) == MOST_FOR_OTHERS
        assert [one["as"] for one in done[:2]] == [{"local": True}, {"bot": "echo"}]
        assert await asking.ask(LOCAL, "list") == {"asked": "list", "as": {"local": True}}
        port.close()
        service.close()

    asyncio.run(run())
