"""What all connections share: state, faults, who is online, the way between clients."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Coroutine
from typing import Any

from orchestrator.sandbox.crypto.keys import KeyPair
from orchestrator.sandbox.crypto.noise import certificate_chain
from orchestrator.sandbox.crypto.signal import PreKeyBundle, SignalPhone
from orchestrator.sandbox.server.calls import Exchange
from orchestrator.sandbox.server.contracts import Session
from orchestrator.sandbox.server.events import EventLog
from orchestrator.sandbox.server.faults import Fault, FaultBook, Who
from orchestrator.sandbox.server.fields import NotPossible
from orchestrator.sandbox.server.passes import Passes
from orchestrator.sandbox.server.phone import Phone
from orchestrator.sandbox.server.store import Device, DeviceKey, Person, Store
from orchestrator.sandbox.wire.binxml import Codec
from orchestrator.sandbox.wire.frames import MAX_FRAME
from orchestrator.sandbox.wire.jid import JID, SERVER
from orchestrator.sandbox.wire.node import Node, NodeError
from orchestrator.sandbox.wire.tokens import Tokens

log = logging.getLogger(__name__)

MAX_STANZA = MAX_FRAME - 1024
"""Bytes of a stanza on its way to a client: what fits into a frame with the little that is still added."""
PREKEYS_LOW = 5
"""A client with fewer one-time prekeys than that is told to upload more."""


class Hub:
    """The server's common ground.

    Args:
        store: The state.
        tokens: The token tables of the client that will connect.
    """

    def __init__(self, store: Store, tokens: Tokens) -> None:
        self.store = store
        self.events = EventLog()
        self.faults = FaultBook(time.monotonic)
        self.codec = Codec(tokens)
        self.storage_codec = Codec(Tokens.none())  # what is stored must be readable with other tables too
        self.online: dict[DeviceKey, Session] = {}
        self.calls = Exchange(self)
        self._ahead = 0.0
        self._phones: dict[str, Phone] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        root, intermediate, self.noise_static = (
            KeyPair.of(store.secret(f"noise {name}", secrets.token_bytes(32)))
            for name in ("root", "intermediate", "static")
        )
        self.media_passes = Passes(store.secret("media", secrets.token_bytes(32)))
        self.root_key = root.public
        self.noise_chain = certificate_chain(root, intermediate, self.noise_static.public)

    def background(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside the connection that caused it; an error in it is logged."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._background_done)

    def _background_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("background work failed", exc_info=error)

    def now(self) -> float:
        """Return the present time, in seconds since 1970, as the server tells it to clients."""
        return time.time() + self._ahead

    def set_clock(self, ahead: float) -> None:
        """Let the server's clock be so many seconds ahead of this machine's; less than 0: behind."""
        self._ahead = ahead
        self.events.add("clock", ahead=ahead)

    def strikes(self, kind: str, who: Who, **params: object) -> Fault | None:
        """Return the fault of that kind that strikes a connection now, and record it."""
        fault = self.faults.take(kind, who, **params)
        if fault is not None:
            self.events.add("fault", kind=kind, fault=fault.id, connection=who.connection, phone=who.number)
        return fault

    # People and their phones

    def person(self, number: str) -> Person:
        """Return somebody whose number is known.

        Raises:
            NotPossible: Nobody has that number.
        """
        person = self.store.person(number)
        if person is None:
            raise NotPossible(
                f"no phone has the number +{number}; `orchestrator sandbox add-phone +{number}` makes one"
            )
        return person

    def phone(self, number: str) -> Phone:
        """Return the phone of a number that is known."""
        person = self.person(number)
        if number not in self._phones:
            self._phones[number] = Phone(self, person)
        return self._phones[number]

    def phone_made_if_needed(self, number: str, name: str | None = None) -> Phone:
        """Return the phone of a number, a new one if nobody has it."""
        if self.store.person(number) is None:
            self.store.add_person(number, name or f"Phone …{number[-4:]}", SignalPhone.generate().to_state())
            self.events.add("phone-added", phone=number)
        return self.phone(number)

    # Devices

    def device_numbers(self, person: Person) -> list[int]:
        """Return a person's devices, the phone (0) first."""
        return [0, *(device.device for device in self.store.devices(person.number))]

    def bundle(self, key: DeviceKey) -> PreKeyBundle | None:
        """Return what is needed to begin a Signal session with a device; uses up one of its prekeys.

        None if there is no such device. A phone has no one-time prekeys.
        """
        number, device_number = key
        if device_number == 0:
            return self.phone(number).signal.bundle()
        device = self.store.device(key)
        if device is None or device.removed:
            return None
        prekey = self.store.take_prekey(key)
        left = self.store.prekey_count(key)
        if prekey and left < PREKEYS_LOW and key in self.online:
            self.notify(key, SERVER, "encrypt", Node("count", {"value": str(left)}))
        return PreKeyBundle(
            registration_id=int.from_bytes(device.registration),
            identity=device.identity,
            signed_prekey_id=int.from_bytes(device.skey_id),
            signed_prekey=device.skey,
            signature=device.skey_signature,
            prekey_id=int.from_bytes(prekey[0]) if prekey else None,
            prekey=prekey[1] if prekey else None,
        )

    def link_device(self, device: Device) -> None:
        """Add a device and tell those who are online."""
        self.store.add_device(device)
        self.events.add("linked", phone=device.number, device=device.device, os=device.os)
        self._announce_devices(self.person(device.number), except_for=device.key)

    def unlink(self, key: DeviceKey) -> bool:
        """Unlink a device as its phone does: if it is online, it is told; return False if not linked."""
        if not self.forget_device(key):
            return False
        session = self.online.get(key)
        if session is not None:
            conflict = Node("conflict", {"type": "device_removed"})
            session.end_soon(Node("stream:error", {"code": "401"}, [conflict]))
        return True

    def forget_device(self, key: DeviceKey) -> bool:
        """Take a device out of the lists without a word to it; return False if it was not linked."""
        if not self.store.remove_device(key):
            return False
        number, device = key
        self.events.add("unlinked", phone=number, device=device)
        self._announce_devices(self.person(number), except_for=key)
        return True

    def _announce_devices(self, person: Person, except_for: DeviceKey) -> None:
        """Tell the other devices of a person, and those who know its device list, to ask for it anew."""
        own = [device.key for device in self.store.devices(person.number)]
        for key in {*own, *self.store.watchers(person.number)} - {except_for}:
            if key not in self.online:
                continue  # what a client remembers of device lists goes with its connection
            for address in (person.lid_jid, person.pn_jid):
                update = Node("update", {"device_hash": f"2:{secrets.token_urlsafe(6)}"})
                self.notify(key, address, "devices", update)

    # Delivery

    def notify(self, key: DeviceKey, sender: JID, kind: str, *children: Node, **attrs: str | JID) -> None:
        """Send a notification, now or when the client is back."""
        notification = {
            "from": sender,
            "type": kind,
            "id": secrets.token_hex(8).upper(),
            "t": str(int(self.now())),
            **attrs,
        }
        self.deliver(key, Node("notification", notification, list(children)))

    def deliver(self, key: DeviceKey, stanza: Node) -> None:
        """Bring a message, receipt or notification to a linked device: kept until it is confirmed.

        Raises:
            NodeError: No frame could hold it, as can happen with what came in compressed.
        """
        encoded = self.storage_codec.encode(stanza)
        if len(encoded) > MAX_STANZA:
            raise NodeError(f"{len(encoded)} bytes are more than can be delivered")
        self.store.queue(key, stanza.tag, stanza.text("id"), encoded)
        session = self.online.get(key)
        if session is not None and session.active:
            session.send(stanza)
