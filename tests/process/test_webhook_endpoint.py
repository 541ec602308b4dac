"""Webhooks against real receivers, which check every signature."""

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import re
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

import pytest
from support.receivers import HANG, SECRET, Receiver, Reply, always, first, ok, status

from orchestrator.consumers.notices import Notice
from orchestrator.consumers.outcomes import Attempt, Delivered, Failed, Outcome
from orchestrator.consumers.settings import Webhook
from orchestrator.gateway.webhooks.client import trust
from orchestrator.gateway.webhooks.endpoint import UNSIGNED, WebhookEndpoint, Webhooks

T = TypeVar("T")
OTHER = bytes(range(40))
TLS = trust()


def event(number: int = 17, **data: Any) -> Notice:  # noqa: ANN401
    name = f"evt_support_{number}"
    body = json.dumps({"id": name, "seq": number, "account": "support", "data": data})
    return Notice(name, "message.received", 0.0, body.encode(), "support")


def with_endpoint(webhook: Webhook, use: Callable[[WebhookEndpoint], Awaitable[T]]) -> T:
    async def run() -> T:
        endpoint = WebhookEndpoint(webhook, TLS)
        try:
            return await use(endpoint)
        finally:
            endpoint.close()

    return asyncio.run(run())


def deliver(webhook: Webhook, one: Notice | None = None) -> Outcome:
    return with_endpoint(webhook, lambda endpoint: endpoint.deliver(Attempt(one or event(), 1)))


def hook(receiver: Receiver, **more: Any) -> Webhook:  # noqa: ANN401
    return replace(Webhook("crm", receiver.url, secrets=(SECRET,)), **more)


def test_an_event_is_delivered_signed() -> None:
    with Receiver() as receiver:
        assert deliver(hook(receiver)) == Delivered()
        (request,) = receiver.taken
        assert not receiver.wrong
    assert request.body == event().body
    assert request.target == "/hook?a=1"
    headers = request.headers
    assert headers["webhook-id"] == "evt_support_17"
    assert headers["host"] == f"127.0.0.1:{receiver.port}"
    assert headers["content-type"] == "application/json"
    assert headers["accept-encoding"] == "identity"
    assert headers["user-agent"].startswith("whatsapp-orchestrator/")
    assert "x-hub-signature-256" not in headers


@pytest.mark.parametrize("known", [SECRET, OTHER])
def test_while_the_secret_is_rotated_receivers_with_either_are_content(known: bytes) -> None:
    with Receiver(secrets=[known]) as receiver:
        assert deliver(hook(receiver, secrets=(OTHER, SECRET))) == Delivered()
        assert not receiver.wrong


def test_a_receiver_with_another_secret_notices() -> None:
    with Receiver(secrets=[OTHER]) as receiver:
        deliver(hook(receiver))
        assert receiver.wrong


def test_the_signature_of_the_hub() -> None:
    with Receiver() as receiver:
        assert deliver(hook(receiver, app_secret=b"app")) == Delivered()
        (request,) = receiver.taken
    digest = hmac.new(b"app", request.body, hashlib.sha256).hexdigest()
    assert request.headers["x-hub-signature-256"] == f"sha256={digest}"


def test_extra_headers_and_a_log_in_in_the_url() -> None:
    with Receiver() as receiver:
        url = receiver.url.replace("//", "//me:p%3Ass@")
        extra = (("X-Tenant", "7"), ("User-Agent", "mine"))
        assert deliver(hook(receiver, url=url, headers=extra)) == Delivered()
        assert deliver(hook(receiver, url=url, headers=(("Authorization", "Bearer x"),))) == Delivered()
        one, two = receiver.taken
        assert not receiver.wrong
    assert one.headers["x-tenant"] == "7"
    assert one.headers["user-agent"] == "mine"
    assert base64.b64decode(one.headers["authorization"].removeprefix("Basic ")) == b"me:p:ss"
    assert two.headers["authorization"] == "Bearer x"


@pytest.mark.parametrize(
    ("behave", "outcome"),
    [
        (status(500), Failed("answered 500")),
        (status(401), Failed("answered 401")),
        (status(404), Failed("answered 404")),
        (status(429, retry_after="30"), Failed("answered 429", retry_after=30.0)),
        (status(503, retry_after="0"), Failed("answered 503", retry_after=0.0)),
        (status(410), Failed("answered 410", disable=True)),
    ],
)
def test_failures(behave: Any, outcome: Failed) -> None:  # noqa: ANN401
    with Receiver(behave) as receiver:
        assert deliver(hook(receiver)) == outcome


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(code: int) -> None:
    with Receiver() as elsewhere, Receiver(status(code, location=elsewhere.url)) as receiver:
        assert deliver(hook(receiver)) == Failed(f"answered {code}: redirects are not followed")
        assert len(receiver.requests) == 1
        assert not elsewhere.requests


def test_a_receiver_that_hangs() -> None:
    with Receiver(always(HANG)) as receiver:
        assert deliver(hook(receiver, timeout=0.3)) == Failed("no answer in time")


def test_nobody_there() -> None:
    with Receiver() as receiver:
        receiver.die()
        assert deliver(hook(receiver)) == Failed("cannot connect: the connection was refused")


def test_retries_are_byte_identical() -> None:
    async def use(endpoint: WebhookEndpoint) -> list[Outcome]:
        return [await endpoint.deliver(Attempt(event(text="ü"), number)) for number in (1, 2, 3)]

    with Receiver(first(2, status(500))) as receiver:
        assert [type(one) for one in with_endpoint(hook(receiver), use)] == [Failed, Failed, Delivered]
        assert len({one.body for one in receiver.requests}) == 1
        assert not receiver.wrong


def test_without_a_secret_nothing_is_sent() -> None:
    with Receiver() as receiver:
        webhook = hook(receiver, secrets=())
        assert deliver(webhook) == Failed(UNSIGNED)
        tried = with_endpoint(webhook, lambda endpoint: endpoint.test())
        assert tried.why == UNSIGNED
        assert not receiver.requests


def test_a_test_says_what_came_back() -> None:
    with Receiver() as receiver:
        tried = with_endpoint(hook(receiver), lambda endpoint: endpoint.test())
        assert (tried.status, tried.why, tried.advice) == (200, None, None)
        (request,) = receiver.taken
        assert not receiver.wrong
        sent = request.event
        assert request.id == sent["id"] == tried.event
        assert sent["type"] == "test"
        assert sent["data"] == {"webhook": "crm"}
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", sent["timestamp"])
        receiver.behave = status(401)
        tried = with_endpoint(hook(receiver), lambda endpoint: endpoint.test())
        assert (tried.status, tried.why) == (401, "answered 401")
        assert tried.advice
        assert json.loads(json.dumps(tried.as_json()))["status"] == 401


@pytest.mark.parametrize(
    "behave", [ok, always(Reply(500, (("x", "needle"),), b"needle")), status(302, location="http://needle/")]
)
def test_nothing_of_request_or_answer_reaches_a_log_or_a_representation(
    behave: Any,  # noqa: ANN401
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    with Receiver(behave) as receiver:
        url = receiver.url.replace("//", "//me:needle@") + "&key=needle"
        webhook = hook(receiver, url=url, headers=(("X", "needle"),), secrets=(b"needle" * 4, SECRET))
        outcome = deliver(webhook, event(text="needle"))
    assert "needle" not in caplog.text
    assert "needle" not in repr((webhook, outcome, event(text="needle")))


def test_a_reload_keeps_the_connections_of_webhooks_that_did_not_change() -> None:
    async def run(one: Receiver, two: Receiver) -> None:
        webhooks = Webhooks(TLS)
        first_ = webhooks.configure({"one": hook(one), "two": hook(two)})
        for endpoint in first_.values():
            assert await endpoint.deliver(Attempt(event(), 1)) == Delivered()
        second = webhooks.configure({"one": hook(one), "two": hook(two, timeout=7.0)})
        assert second["one"] is first_["one"]
        assert webhooks.get("two") is second["two"] is not first_["two"]
        for endpoint in second.values():
            assert await endpoint.deliver(Attempt(event(), 1)) == Delivered()
        assert webhooks.configure({}) == {}
        assert webhooks.get("one") is None
        webhooks.close()

    with Receiver() as one, Receiver() as two:
        asyncio.run(run(one, two))
        assert (one.connections, two.connections) == (1, 2)


def test_certificates_are_always_checked() -> None:
    assert TLS.verify_mode is ssl.CERT_REQUIRED
    assert TLS.check_hostname
