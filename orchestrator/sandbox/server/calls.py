"""Calls: a phone rings all linked devices of a number until somebody declines or the caller gives up."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass

from orchestrator.sandbox.server.contracts import Hub, Session
from orchestrator.sandbox.server.fields import NotPossible
from orchestrator.sandbox.server.store import Person
from orchestrator.sandbox.wire.jid import JID, SERVER
from orchestrator.sandbox.wire.node import Node

RINGS = 30.0
"""Seconds after which a call that nobody answers ends."""
PLATFORM, VERSION = "android", "2.25.40.1"
"""What the caller's phone says of itself."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call that rings.

    Attributes:
        id: The call's id.
        caller: Who calls.
        callee: Who is called.
        group: The group that the call is for, or None.
        timeout: What ends the call if nobody answers.
    """

    id: str
    caller: Person
    callee: Person
    group: JID | None
    timeout: asyncio.TimerHandle


class Exchange:
    """The calls that ring now.

    Args:
        hub: The server's common ground.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._calls: dict[str, Call] = {}

    def ring(
        self, caller: Person, callee: Person, *, video: bool, group: JID | None, notice: bool, seconds: float
    ) -> str:
        """Begin a call; return its id.

        Args:
            caller: Who calls.
            callee: Who is called.
            video: Whether the caller wants to be seen.
            group: The group that the call is for.
            notice: Whether the devices are only told that there is a call, as they are in groups.
            seconds: How long the call rings.
        """
        call_id = secrets.token_hex(16).upper()
        loop = asyncio.get_running_loop()
        timeout = loop.call_later(seconds, self._end, call_id, "timeout")
        call = Call(call_id, caller, callee, group, timeout)
        self._calls[call_id] = call
        if notice:
            media = "video" if video else "audio"
            self._tell(call, "offer_notice", media=media, type="group" if group else "")
        else:
            streams = [Node("audio", {"enc": "opus", "rate": "16000"}), Node("net", {"medium": "3"})]
            if video:
                streams.insert(1, Node("video", {"enc": "vp8", "dec": "vp8"}))
            self._tell(call, "offer", *streams)
        self._hub.events.add("call", phone=caller.number, to=callee.number, call=call_id)
        return call_id

    def hang_up(self, call_id: str) -> None:
        """End a call as the caller does.

        Raises:
            NotPossible: The call does not ring any more.
        """
        if call_id not in self._calls:
            raise NotPossible(f"no call {call_id} rings")
        self._end(call_id, "")

    def _end(self, call_id: str, reason: str) -> None:
        call = self._calls.pop(call_id)
        call.timeout.cancel()
        self._tell(call, "terminate", reason=reason)
        self._hub.events.add("call-ended", call=call_id, reason=reason or "hung up")

    def from_client(self, session: Session, stanza: Node) -> None:
        """Take what a client says of a call; declining ends the call on all devices."""
        to = stanza.attrs.get("to", SERVER)
        session.send(Node("ack", {"class": "call", "id": stanza.text("id"), "from": to}))
        reject = stanza.find("reject")
        device = session.device
        if reject is None or device is None:
            return
        call = self._calls.get(reject.text("call-id"))
        caller = self._hub.store.person_by_jid(to) if isinstance(to, JID) else None
        self._hub.events.add(
            "call-rejected",
            phone=caller.number if caller else str(to),
            by=device.number,
            device=device.device,
            call=reject.text("call-id"),
            known=call is not None and call.callee.number == device.number,
        )
        if call is not None and call.callee.number == device.number and caller == call.caller:
            self._end(call.id, "rejected_elsewhere")

    def _tell(self, call: Call, what: str, *children: Node, **facts: str) -> None:
        attrs: dict[str, str | JID] = {"call-id": call.id, "call-creator": call.caller.lid_jid, **facts}
        attrs["caller_pn"] = call.caller.pn_jid
        if call.group:
            attrs["group-jid"] = call.group
        for device in self._hub.store.devices(call.callee.number):
            stanza: dict[str, str | JID] = {
                "from": call.caller.lid_jid,
                "id": secrets.token_hex(8).upper(),
                "t": str(int(self._hub.now())),
                "notify": call.caller.name,
                "platform": PLATFORM,
                "version": VERSION,
            }
            self._hub.deliver(device.key, Node("call", stanza, [Node(what, attrs, list(children) or None)]))
