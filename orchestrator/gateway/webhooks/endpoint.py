"""Webhooks as the dispatcher and operators use them."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from orchestrator import __version__
from orchestrator.consumers import notices
from orchestrator.consumers.answers import Answer, Trouble, advise, judge
from orchestrator.consumers.outcomes import Attempt, Delivered, Failed, Outcome
from orchestrator.consumers.settings import Webhook
from orchestrator.consumers.signatures import Signer
from orchestrator.errors import OrchestratorError
from orchestrator.gateway.cloud import challenge, rendering
from orchestrator.gateway.webhooks.address import Address
from orchestrator.gateway.webhooks.client import Client

log = logging.getLogger(__name__)

FindNumber: TypeAlias = Callable[[str], Awaitable[str | None]]
"""Returns the digits of an account's number, None if there is none; it may raise OrchestratorError."""
FindNames: TypeAlias = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, str]]]
"""Returns what clients of the Cloud API call the messages of an event; it may raise OrchestratorError."""
NO_NUMBER: Final = "the account's number is not known at the moment"
"""Why nothing is sent in the form of the Cloud API, which names accounts by their numbers."""
UNSIGNED: Final = "the service has no secret to sign with: the variable of `secret_env` is not set"
"""Why nothing is sent. A receiver that gets unsigned events teaches its owner to take them."""


UNVERIFIED: Final = (
    "compare the receiver's verify token with `verify_token_file:`; messages are sent in any case"
)
"""What to do about a receiver that does not know the verify token."""


async def _nobody_knows(_: str) -> str | None:
    return None


async def _as_they_are(_: Mapping[str, Any]) -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of a test.

    Attributes:
        event: The id of the event that was sent.
        status: The status of the answer, None if there was none.
        seconds: How long it took.
        why: Why it failed, None if it did not.
        advice: What to do about that, None if nothing is to be done.
    """

    event: str
    status: int | None
    seconds: float
    why: str | None
    advice: str | None

    def as_json(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return {
            "event": self.event,
            "status": self.status,
            "seconds": round(self.seconds, 3),
            "why": self.why,
            "advice": self.advice,
        }


class WebhookEndpoint:
    """Sends events to one receiver.

    Args:
        webhook: What the configuration says.
        tls: How certificates are checked.
        now: Returns Unix time.
        number: Finds accounts' numbers, for webhooks in the form of the Cloud API.
        names: Finds what its clients call messages.

    Raises:
        ValueError: The URL is none. The message has nothing of it.
    """

    def __init__(
        self,
        webhook: Webhook,
        tls: ssl.SSLContext,
        now: Callable[[], float] = time.time,
        number: FindNumber = _nobody_knows,
        names: FindNames = _as_they_are,
    ) -> None:
        self.webhook = webhook
        self._now = now
        self._number = number
        self._names = names
        self._verifying: asyncio.Task[None] | None = None
        self._signer = Signer(webhook.secrets, webhook.app_secret)
        self._can_sign = bool(webhook.secrets or webhook.app_secret)
        address = Address.of(webhook.url)
        self._client = Client(address, tls)
        self._address = address
        self._head = b"".join(_head(webhook, address))

    async def deliver(self, attempt: Attempt) -> Outcome:
        """Try to hand over an event, and say how that ended."""
        if not self._can_sign:
            return Failed(UNSIGNED)
        event = attempt.event
        if self.webhook.format == "events":
            return judge(await self._send(event.id, event.body), self._now())
        told = json.loads(event.body)
        try:
            number, names = await self._number(event.account), await self._names(told)
        except OrchestratorError:
            number = None
        if number is None:
            return Failed(NO_NUMBER)
        body = rendering.render(told, number, echoes=self.webhook.echoes, names=names)
        if body is None:
            return Delivered()  # it has no form there, and nobody waits for it
        return judge(await self._send(event.id, _written(body)), self._now())

    async def test(self) -> Tried:
        """Send an event of the type ``test``, which no webhook can refuse, and say what came back."""
        began = time.monotonic()
        event = notices.test(self.webhook.name, self._now())
        if not self._can_sign:
            return Tried(event.id, None, 0, UNSIGNED, "set the variable, and restart the service")
        is_cloud = self.webhook.format == "cloud"
        answer = await self._send(event.id, _written(rendering.TEST) if is_cloud else event.body)
        outcome = judge(answer, self._now())
        why = None if isinstance(outcome, Delivered) else outcome.why
        advice = advise(answer)
        if why is None and (why := await self._challenge()) is not None:
            why, advice = f"hub.challenge: {why}", UNVERIFIED
        status = answer.status if isinstance(answer, Answer) else None
        return Tried(event.id, status, time.monotonic() - began, why, advice)

    def verify(self) -> None:
        """Have the receiver prove that it expects the webhook, if there is a verify token; log what came."""
        if self.webhook.verify_token is not None:
            self._verifying = asyncio.get_running_loop().create_task(self._verify())

    async def _verify(self) -> None:
        why: str | None = None
        for pause in challenge.TRIES:
            await asyncio.sleep(pause)
            why = await self._challenge()
            if why is None:
                log.info("%s: the receiver has answered hub.challenge", self.webhook.name)
                return
        name = self.webhook.name
        log.warning("%s: the receiver did not answer hub.challenge: %s; %s", name, why, UNVERIFIED)

    async def _challenge(self) -> str | None:
        """Ask for ``hub.challenge``; return why that has failed, None if not, or without a verify token."""
        token = self.webhook.verify_token
        if token is None:
            return None
        number = str(random.randrange(challenge.MOST))
        target = challenge.target(self._address.target, token, number)
        head = b"".join(_head(self.webhook, replace(self._address, target=target), b"GET"))
        return challenge.failure(await self._client.ask(head + b"\r\n", self.webhook.timeout), number)

    def close(self) -> None:
        """Send nothing more. What is on its way may end."""
        if self._verifying is not None:
            self._verifying.cancel()
        self._client.close()

    async def _send(self, name: str, body: bytes) -> Answer | Trouble:
        signed = self._signer.headers(name, int(self._now()), body)
        headers = b"".join(b"%b: %b\r\n" % header for header in signed)
        request = b"%b%bcontent-length: %d\r\n\r\n%b" % (self._head, headers, len(body), body)
        return await self._client.ask(request, self.webhook.timeout)


def _written(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


def _head(webhook: Webhook, address: Address, method: bytes = b"POST") -> Iterator[bytes]:
    """Yield the lines that all requests begin with."""
    yield b"%b %b HTTP/1.1\r\n" % (method, address.target)
    yield b"host: %b\r\n" % address.authority
    if method == b"POST":
        yield b"content-type: application/json\r\n"
    yield b"accept-encoding: identity\r\n"
    names = {name.lower() for name, _ in webhook.headers}
    if "user-agent" not in names:
        yield b"user-agent: whatsapp-orchestrator/%b\r\n" % __version__.encode()
    if address.authorization is not None and "authorization" not in names:
        yield b"authorization: %b\r\n" % address.authorization
    for name, value in webhook.headers:
        yield b"%b: %b\r\n" % (name.encode(), value.encode())


class Webhooks:
    """The endpoints of all webhooks.

    Args:
        tls: How certificates are checked: what `client.trust` returns.
        now: Returns Unix time.
        number: Finds accounts' numbers.
        names: Finds what clients of the Cloud API call messages.
    """

    def __init__(
        self,
        tls: ssl.SSLContext,
        now: Callable[[], float] = time.time,
        number: FindNumber = _nobody_knows,
        names: FindNames = _as_they_are,
    ) -> None:
        self._tls = tls
        self._now = now
        self._number = number
        self._names = names
        self._endpoints: dict[str, WebhookEndpoint] = {}

    def configure(self, webhooks: Mapping[str, Webhook]) -> dict[str, WebhookEndpoint]:
        """Return the endpoints of these webhooks. Those that did not change keep their connections.

        Args:
            webhooks: What the configuration says, by name.
        """
        old, self._endpoints = self._endpoints, {}
        for name, webhook in webhooks.items():
            kept = old.get(name)
            if kept is not None and kept.webhook == webhook:
                self._endpoints[name] = old.pop(name)
            else:
                self._endpoints[name] = WebhookEndpoint(
                    webhook, self._tls, self._now, self._number, self._names
                )
                self._endpoints[name].verify()
        for gone in old.values():
            gone.close()
        return dict(self._endpoints)

    def get(self, name: str) -> WebhookEndpoint | None:
        """Return the endpoint of a webhook, None if no webhook has that name."""
        return self._endpoints.get(name)

    def close(self) -> None:
        """Send nothing more. What is on its way may end."""
        for endpoint in self._endpoints.values():
            endpoint.close()
