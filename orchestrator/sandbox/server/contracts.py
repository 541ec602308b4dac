"""What the parts of the server know of the hub, of a connection and of a phone.

The hub makes phones, and connections end in the hub, while phones, messages and answers need both. These
protocols stand below all of them, so that imports run one way only.
"""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Any, Protocol

from orchestrator.sandbox.crypto.keys import KeyPair
from orchestrator.sandbox.crypto.signal import PreKeyBundle
from orchestrator.sandbox.server.events import EventLog
from orchestrator.sandbox.server.faults import Fault, Who
from orchestrator.sandbox.server.passes import Passes
from orchestrator.sandbox.server.store import Device, DeviceKey, Person, Store
from orchestrator.sandbox.wire.binxml import Codec
from orchestrator.sandbox.wire.jid import JID
from orchestrator.sandbox.wire.node import Node


class Screen(Protocol):
    """What the owner of a phone sees; see `orchestrator.sandbox.server.screen.Screen`."""

    def take_typing(self, sender: Person, group: str, state: str) -> None:
        """Take that somebody types, or does no longer."""


class Phone(Protocol):
    """A phone, as others see it; see `orchestrator.sandbox.server.phone.Phone`."""

    @property
    def identity(self) -> KeyPair:
        """The account's identity key."""

    def receive(self, stanza: Node) -> None:
        """Take a message."""

    def take_receipt(self, receipt: Node) -> None:
        """Take a receipt."""

    @property
    def screen(self) -> Screen:
        """What its owner sees of others."""


class Hub(Protocol):
    """What all connections share; see `orchestrator.sandbox.server.hub.Hub`.

    Attributes:
        store: The state that outlives a restart.
        events: What has happened.
        storage_codec: Encodes stanzas that wait for a client.
        media_passes: What allows clients to upload.
    """

    store: Store
    events: EventLog
    storage_codec: Codec
    media_passes: Passes

    @property
    def online(self) -> Mapping[DeviceKey, Session]:
        """The connections of clients that are logged in."""

    def now(self) -> float:
        """Return the present time as the server tells it to clients."""

    def background(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside the connection that caused it."""

    def strikes(self, kind: str, who: Who, **params: object) -> Fault | None:
        """Return the fault of that kind that strikes a connection now, and record it."""

    def person(self, number: str) -> Person:
        """Return somebody whose number is known."""

    def phone(self, number: str) -> Phone:
        """Return the phone of a number that is known."""

    def device_numbers(self, person: Person) -> list[int]:
        """Return a person's devices, the phone (0) first."""

    def bundle(self, key: DeviceKey) -> PreKeyBundle | None:
        """Return what is needed to begin a Signal session with a device."""

    def link_device(self, device: Device) -> None:
        """Add a device and tell those who are online."""

    def forget_device(self, key: DeviceKey) -> bool:
        """Take a device out of the lists without a word to it."""

    def notify(self, key: DeviceKey, sender: JID, kind: str, *children: Node, **attrs: str | JID) -> None:
        """Send a notification, now or when the client is back."""

    def deliver(self, key: DeviceKey, stanza: Node) -> None:
        """Bring a message, receipt or notification to a linked device."""


class Linking(Protocol):
    """An unpaired client on its way to being linked, as its requests see it."""

    def hello(self, iq: Node) -> None:
        """Take a client's wish to be linked by code."""

    def finish(self, iq: Node) -> None:
        """Take the client's half of the secret, sealed with the code."""


class Session(Protocol):
    """One client's connection; see `orchestrator.sandbox.server.session.Session`.

    Attributes:
        who: What is known of the client.
        device: Its stored device once it has logged in.
        active: Whether it has asked for what waits for it.
        present: Whether it has said that somebody is looking.
        watched: The numbers of whom it wants to know whether they are online.
    """

    who: Who
    device: Device | None
    active: bool
    present: bool
    watched: set[str]

    @property
    def hub(self) -> Hub:
        """What all connections share."""

    @property
    def pairing(self) -> Linking | None:
        """How far an unpaired client has come; None for a linked one."""

    @property
    def number(self) -> int:
        """The connection's number."""

    @property
    def key(self) -> DeviceKey | None:
        """Number and device once logged in."""

    def send(self, node: Node) -> None:
        """Send a stanza."""

    def answer(self, iq: Node, *children: Node) -> None:
        """Answer a request with a result."""

    def refuse(self, iq: Node, code: int, text: str) -> None:
        """Answer a request with an error."""

    async def ask(self, iq_type: str, namespace: str, *children: Node, timeout: float = 30) -> Node:
        """Send a request to the client and return its answer."""

    def end_soon(self, last: Node | None = None) -> None:
        """End the connection from outside."""

    def reset(self) -> None:
        """Cut the connection with a TCP reset."""

    def end_if_it_stays(self) -> None:
        """Let the client close by itself; end the connection if it does not."""
