"""Webhooks in the form of the Cloud API, sent to pywa's own server: it checks token and signature itself."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from kapso_whatsapp.webhooks import verify_signature
from support.cloud_clients import NUMBER, PywaServer
from support.receivers import Receiver, Reply, always

from orchestrator.consumers.notices import Notice
from orchestrator.consumers.outcomes import Attempt, Delivered, Failed
from orchestrator.consumers.settings import Webhook
from orchestrator.errors import OrchestratorError
from orchestrator.gateway.cloud import challenge
from orchestrator.gateway.webhooks.client import trust
from orchestrator.gateway.webhooks.endpoint import NO_NUMBER, WebhookEndpoint, Webhooks

T = TypeVar("T")
TLS = trust()
APP_SECRET, VERIFY_TOKEN = b"an app's secret", b"a verify token & more"
EVENTS = Path(__file__).parents[1] / "unit" / "messages" / "golden"


def an_event(name: str = "text") -> Notice:
    event = json.loads((EVENTS / f"{name}.json").read_text())
    return Notice(event["id"], event["type"], 0.0, json.dumps(event).encode(), "support")


@pytest.fixture
def served() -> Iterator[PywaServer]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        found = PywaServer(sock, verify_token=VERIFY_TOKEN.decode(), app_secret=APP_SECRET.decode())
        try:
            yield found
        finally:
            found.end()


def hook(url: str, **more: Any) -> Webhook:  # noqa: ANN401
    given = {"format": "cloud", "app_secret": APP_SECRET, "verify_token": VERIFY_TOKEN} | more
    return Webhook("crm", url, **given)


async def number(account: str) -> str | None:
    assert account == "support"
    return NUMBER


def with_endpoint(
    webhook: Webhook,
    use: Callable[[WebhookEndpoint], Awaitable[T]],
    find: Callable[[str], Awaitable[str | None]] = number,
) -> T:
    async def run() -> T:
        endpoint = WebhookEndpoint(webhook, TLS, number=find)
        try:
            return await use(endpoint)
        finally:
            endpoint.close()

    return asyncio.run(run())


def deliver(webhook: Webhook, event: Notice) -> Any:  # noqa: ANN401
    return with_endpoint(webhook, lambda endpoint: endpoint.deliver(Attempt(event, 1)))


def test_pywa_takes_a_message_that_is_signed_as_it_wants(served: PywaServer) -> None:
    assert deliver(hook(served.url), an_event()) == Delivered()

    served.end()
    (message,) = served.pywa.got
    assert (message.text, message.from_user.name) == ("Hello", "Ada")
    assert message.metadata.phone_number_id == NUMBER


def test_pywa_refuses_another_signature(served: PywaServer) -> None:
    assert deliver(hook(served.url, app_secret=b"another"), an_event()) == Failed("answered 403")
    assert not served.pywa.got


def test_pywa_knows_its_verify_token_and_no_other(served: PywaServer) -> None:
    assert with_endpoint(hook(served.url), lambda endpoint: endpoint.test()).why is None
    other = with_endpoint(hook(served.url, verify_token=b"other"), lambda endpoint: endpoint.test())

    assert other.why == "hub.challenge: answered 403"
    assert other.advice is not None
    assert "`verify_token_file:`" in other.advice


def test_kapso_finds_the_signature_right() -> None:
    with Receiver() as receiver:
        assert deliver(hook(receiver.url), an_event()) == Delivered()
        (request,) = receiver.taken

    header = request.headers["x-hub-signature-256"]
    assert verify_signature(app_secret=APP_SECRET.decode(), raw_body=request.body, signature_header=header)
    assert not verify_signature(app_secret="other", raw_body=request.body, signature_header=header)


def test_each_try_has_the_same_bytes() -> None:
    with Receiver() as receiver:
        for _ in range(2):
            deliver(hook(receiver.url), an_event("image"))
        first, second = receiver.taken

    assert first.body == second.body
    assert first.body.isascii()


@pytest.mark.parametrize("name", ["call", "lost", "group_changed", "text_of_ours"])
def test_what_has_no_form_is_not_sent_and_waits_for_nobody(name: str) -> None:
    with Receiver() as receiver:
        assert deliver(hook(receiver.url), an_event(name)) == Delivered()
        assert not receiver.taken


def test_own_messages_are_sent_to_those_who_want_echoes() -> None:
    with Receiver() as receiver:
        assert deliver(hook(receiver.url, echoes=True), an_event("text_of_ours")) == Delivered()
        (request,) = receiver.taken

    assert request.event["entry"][0]["changes"][0]["field"] == "smb_message_echoes"


def test_without_the_accounts_number_the_event_waits() -> None:
    async def unknown(_: str) -> str | None:
        return None

    async def silent(_: str) -> str | None:
        raise OrchestratorError("no answer", key="no_answer")

    with Receiver() as receiver:
        for find in (unknown, silent):
            outcome = with_endpoint(
                hook(receiver.url), lambda endpoint: endpoint.deliver(Attempt(an_event(), 1)), find
            )
            assert outcome == Failed(NO_NUMBER)
        assert not receiver.taken


def test_the_challenge_is_asked_for_at_the_start_and_the_log_tells(
    served: PywaServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(challenge, "TRIES", (0.0,))

    async def run(webhook: Webhook) -> None:
        webhooks = Webhooks(TLS, number=number)
        (endpoint,) = webhooks.configure({"crm": webhook}).values()
        assert endpoint._verifying is not None
        await endpoint._verifying
        webhooks.close()

    with caplog.at_level(logging.INFO):
        asyncio.run(run(hook(served.url)))
        asyncio.run(run(hook(served.url, verify_token=b"other")))

    right, wrong = [one for one in caplog.messages if one.startswith("crm:")]
    assert right == "crm: the receiver has answered hub.challenge"
    assert wrong.startswith("crm: the receiver did not answer hub.challenge: answered 403; compare")
    assert not any(word in line for line in (right, wrong) for word in ("verify token & more", "other"))


def test_the_challenge_is_part_of_the_query_that_a_url_has() -> None:
    target = challenge.target(b"/hook?a=1", VERIFY_TOKEN, "17")

    assert target == (
        b"/hook?a=1&hub.mode=subscribe&hub.challenge=17&hub.verify_token=a%20verify%20token%20%26%20more"
    )
    assert challenge.target(b"/", b"x", "17").startswith(b"/?hub.mode=")


def test_a_receiver_that_says_yes_to_everything_has_proved_nothing() -> None:
    with Receiver(always(Reply(200))) as receiver:
        tried = with_endpoint(hook(receiver.url), lambda endpoint: endpoint.test())

    assert tried.why == "hub.challenge: answered something else than the challenge"


def test_a_webhook_that_ends_asks_no_more(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        webhooks = Webhooks(TLS, number=number)
        (endpoint,) = webhooks.configure({"crm": hook("http://127.0.0.1:9/")}).values()
        webhooks.close()
        assert endpoint._verifying is not None
        with contextlib.suppress(asyncio.CancelledError):
            await endpoint._verifying

    asyncio.run(run())
    assert "crm" not in caplog.text
