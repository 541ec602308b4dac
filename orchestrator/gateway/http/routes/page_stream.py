"""What the page follows, and what it shows of an account's sending."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response, StreamingResponse

from orchestrator import __version__
from orchestrator.accounts.settings import Sending
from orchestrator.accounts.states import WORST_FIRST
from orchestrator.gateway.http.asking import AccountName, Asker, Denied, Key, Reader, Sender
from orchestrator.gateway.http.needs import Json
from orchestrator.gateway.page import rows, sending
from orchestrator.gateway.page.stream import Sources, Stream

router = APIRouter(prefix="/page", include_in_schema=False)

TEST_TEXT: Final = "Test message of the account {name}, sent by Orchestrator at {now}"
"""What an account sends to its own number."""
TEST_SECONDS: Final = 10.0
"""How long the answer waits for the end of a test message."""
TEST_EXPIRES: Final = 600.0
"""After how many seconds a test message is not sent any more: nobody waits for it then."""
_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""nginx does not hold back what comes with the second one."""


@router.get("/stream", response_class=StreamingResponse)
async def follow(asker: Reader) -> StreamingResponse:
    """Follow the accounts, the consumers and the facts that the session sees."""
    services = asker.services
    sources = Sources(services.board, services.flows, asker.shared.facts, lambda: _hello(asker))
    stream = Stream(asker, sources, asker.shared.wall)
    return StreamingResponse(stream.run(), headers=_HEADERS, media_type="text/event-stream")


@router.get("/accounts/{name}/sending")
async def get_sending(asker: Reader, name: AccountName) -> Response:
    """Return how an account stands with its sending: see `page.sending.shown`."""
    asker.sees(name)
    accounts = asker.services.accounts
    view = accounts.own.get(name)
    if view is None:
        raise Denied("on_other_shard" if name in accounts.views else "no_such_account")
    known = asker.services.settings.accounts.get(name)
    settings = Sending() if known is None else known.sending
    tally = await asker.services.outboxes.tally(name)
    return JSONResponse(sending.shown(view, settings, tally, asker.shared.wall()))


@router.post("/accounts/{name}/test-message", status_code=202)
async def send_test_message(asker: Sender, name: AccountName, key: Key = None) -> Response:  # noqa: ARG001
    """Send a message from an account to its own number, through its outbox; return its row.

    The chat with oneself is one that nobody else reads. The row does not say the number: the page masks it.
    """
    asker.sees(name)
    number = await asker.services.numbers.of(name)
    if number is None:
        raise Denied("no_number")
    now = datetime.fromtimestamp(asker.shared.wall(), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    message = {"kind": "text", "to": f"+{number}", "text": TEST_TEXT.format(name=name, now=now)}
    return await asker.submit(name, message, TEST_SECONDS, TEST_EXPIRES, tells_receiver=False)


def _hello(asker: Asker) -> Json:
    """Return what changes with the configuration only."""
    return {
        "version": __version__,
        "fields": list(rows.FIELDS),
        "states": list(WORST_FIRST),
        "parallel": asker.services.settings.parallel,
    }
