"""What people do with their phones besides writing single messages, as the control interface has it."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from orchestrator.sandbox.server import groups, presence
from orchestrator.sandbox.server.calls import RINGS
from orchestrator.sandbox.server.fields import Bad, Field, NotPossible, parse_number
from orchestrator.sandbox.server.hub import Hub
from orchestrator.sandbox.server.phone import Phone, new_id
from orchestrator.sandbox.wire.content import Message
from orchestrator.sandbox.wire.jid import JID, NEWSLETTER
from orchestrator.sandbox.wire.node import Node

MAX_BURST = 10_000
"""Messages of one burst."""
MAX_RATE = 2_000.0
"""Messages a second."""
NOW = "{now}"
"""What stands in the text of a burst for the time at which a message is sent, in Unix seconds."""
MAX_CLOCK = 400 * 86_400.0
"""Seconds by which the server's clock can be wrong."""
READINGS = ("read", "played")
FAILURES = ("server-error", "enc_rekey_retry")
"""Receipts of phones that could not use what they have received."""
UNAVAILABLE = ("view_once", "fanout")
"""Why a linked device does not get a message."""

Json: TypeAlias = dict[str, Any]


class Acts:
    """Carries out what the control interface is asked for.

    Args:
        hub: The server's common ground.
        address: Reads the address of somebody or of a group.
    """

    def __init__(self, hub: Hub, address: Callable[[str], JID]) -> None:
        self._hub = hub
        self._address = address
        self._posts = 100
        self.routes: dict[tuple[str, str], Callable[[Field], Awaitable[Any] | Any]] = {
            ("POST", "/burst"): self._burst,
            ("POST", "/unavailable"): self._unavailable,
            ("POST", "/channel"): self._channel,
            ("POST", "/read"): self._read,
            ("POST", "/typing"): self._typing,
            ("POST", "/presence"): self._presence,
            ("POST", "/call"): self._call,
            ("POST", "/call/end"): self._hang_up,
            ("POST", "/clock"): self._clock,
        }

    def _chat(self, given: Field) -> tuple[Phone, JID]:
        """Return who acts, and where."""
        phone = self._hub.phone(given.number("from"))
        to = self._address(given.text("to"))
        groups.check_sender(self._hub, to, phone.person.number)
        return phone, to

    def _burst(self, given: Field) -> Json:
        phone, to = self._chat(given)
        count = given.count("count", high=MAX_BURST)
        rate = given.real("rate", low=0, high=MAX_RATE, default=0)
        text = given.optional("text") or "message"
        ids = [new_id() for _ in range(count)]
        self._hub.background(self._send_burst(phone, to, ids, text, rate))
        return {"ids": ids}

    async def _send_burst(self, phone: Phone, to: JID, ids: list[str], text: str, rate: float) -> None:
        """Send numbered texts at a rate; 0 is as fast as possible, with a pause for others after each."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        for number, message_id in enumerate(ids, 1):
            await asyncio.sleep(max(0.0, start + (number - 1) / rate - loop.time()) if rate else 0)
            stamped = text.replace(NOW, f"{time.time():.4f}")
            content = {"kind": "text", "text": f"{stamped} {number} of {len(ids)}", "id": message_id}
            with self._hub.store.transaction():
                phone.send(to, Field(content))
        seconds = round(loop.time() - start, 3)
        self._hub.events.add(
            "burst", phone=phone.person.number, count=len(ids), seconds=seconds, last=ids[-1] if ids else None
        )

    def _unavailable(self, given: Field) -> Json:
        phone, to = self._chat(given)
        kind = given.optional("type") or UNAVAILABLE[0]
        if kind not in UNAVAILABLE:
            raise Bad(f"'type' must be one of {', '.join(UNAVAILABLE)}")
        return {"id": phone.send_unavailable(to, kind)}

    def _channel(self, given: Field) -> Json:
        follower = self._hub.person(given.number("to"))
        digits, _, server = given.text("channel").partition("@")
        if server != NEWSLETTER or not re.fullmatch("[0-9]{1,20}", digits):
            raise Bad(f"'channel' must be an address such as 120363400000000001@{NEWSLETTER}")
        channel = JID(digits, NEWSLETTER)
        self._posts += 1
        attrs: dict[str, str | JID] = {
            "from": channel,
            "id": new_id(),
            "server_id": str(self._posts),
            "t": str(int(self._hub.now())),
            "type": "text",
        }
        plain = Message.encode(conversation=given.text("text"))
        for device in self._hub.store.devices(follower.number):
            self._hub.deliver(device.key, Node("message", attrs, [Node("plaintext", {}, plain)]))
        return {"id": attrs["id"]}

    def _read(self, given: Field) -> Json:
        phone = self._hub.phone(given.number("phone"))
        kind = given.optional("type") or READINGS[0]
        if kind not in READINGS + FAILURES:
            raise Bad(f"'type' must be one of {', '.join(READINGS + FAILURES)}")
        if not phone.read(given.text("id"), kind, tell_sender=not given.flag("secretly")):
            raise NotPossible("the phone has received no message with this id")
        return {}

    def _typing(self, given: Field) -> Json:
        phone, to = self._chat(given)
        state = given.optional("state") or presence.TYPING[0]
        if state not in presence.TYPING:
            raise Bad(f"'state' must be one of {', '.join(presence.TYPING)}")
        return {"told": presence.show_typing(self._hub, phone.person, to, state)}

    def _presence(self, given: Field) -> Json:
        person = self._hub.person(given.number("phone"))
        last_seen = given.whole("last_seen")
        available = given.flag("available")
        told = presence.show_presence(self._hub, person, available=available, last_seen=last_seen)
        return {"told": told}

    def _call(self, given: Field) -> Json:
        caller = self._hub.person(given.number("from"))
        callee = self._hub.person(parse_number(given.text("to")))
        group = groups.address_of(given.text("group")) if given.body.get("group") else None
        call_id = self._hub.calls.ring(
            caller,
            callee,
            video=given.flag("video"),
            group=group,
            notice=given.flag("notice"),
            seconds=given.real("seconds", low=0, high=3600, default=RINGS),
        )
        return {"call": call_id}

    def _hang_up(self, given: Field) -> Json:
        self._hub.calls.hang_up(given.text("call"))
        return {}

    def _clock(self, given: Field) -> Json:
        self._hub.set_clock(given.real("ahead", low=-MAX_CLOCK, high=MAX_CLOCK))
        return {"now": self._hub.now()}
