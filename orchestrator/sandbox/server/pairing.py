"""Linking an unpaired client to a phone, by QR code or by eight-character code."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.sandbox.crypto import linking
from orchestrator.sandbox.crypto.keys import CryptoError
from orchestrator.sandbox.server.channel import Closed
from orchestrator.sandbox.server.contracts import Session
from orchestrator.sandbox.server.phone import Phone
from orchestrator.sandbox.server.store import Device
from orchestrator.sandbox.wire import proto
from orchestrator.sandbox.wire.jid import JID, SERVER
from orchestrator.sandbox.wire.node import Node, NodeError

MAX_LINKED = 4
"""Linked devices a number may have, as with WhatsApp."""
CODES_A_ROUND = 6
"""QR codes that the server lets a client show before it must connect anew."""
ROUND_SECONDS = 160.0
"""What six codes last: 60 s for the first and 20 s for each other."""
FIRST_SECONDS, NEXT_SECONDS = 60.0, 20.0
"""How long the first of six codes is good, and how long every other code."""
NOT_SHOWN = "no client shows this code now: it is used, out of date, or of another server"
"""What a phone is told of a code that links nobody."""
MAX_WRONG_CODES = 5
"""Wrong codes that a phone may type in before the client must ask for a new code. WhatsApp does not publish
its own limit."""
BROWSERS = ("Chrome", "Edge", "Firefox", "IE", "Opera", "Safari")
SYSTEMS = ("Android", "iOS", "Linux", "Mac OS", "macOS", "Ubuntu", "Windows")
"""What a client that asks for an eight-character code may call itself, as ``Firefox (Linux)``: WhatsApp
refuses other names."""


def code_shown(seconds: float, codes: int) -> int | None:
    """Return which code of a round is good now, from 0 on; None once all are out of date.

    Args:
        seconds: How long ago the client was given the codes.
        codes: How many there are. A client shows a code for 60 s only while it has six.
    """
    first = FIRST_SECONDS if codes == CODES_A_ROUND else NEXT_SECONDS
    place = 0 if seconds < first else 1 + int((seconds - first) // NEXT_SECONDS)
    return place if place < codes else None


class LinkingRefused(Exception):  # noqa: N818 - it is an answer
    """A phone's attempt to link a client did not work; the message says why."""


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A code that was typed into a phone, until the client has answered to it."""

    phone: Phone
    hello: linking.PrimaryHello
    secret: asyncio.Future[bytes]


class Pairing:
    """An unpaired client on its way to being linked.

    Args:
        session: Its connection.
        noise_key: The Noise public key it connected with, by which it will log in.
        data: The keys it wants to be known by (protobuf DevicePairingData).

    Raises:
        NodeError: The keys are of a wrong size.
        ProtoError: What it wants to be called cannot be read.
    """

    def __init__(self, session: Session, noise_key: bytes, data: Any) -> None:  # noqa: ANN401 - protobuf
        sizes = {"registration_id": 4, "identity": 32, "signed_prekey_id": 3, "signed_prekey": 32}
        for name, size in {**sizes, "signed_prekey_signature": 64}.items():
            if len(getattr(data, name)) != size:
                raise NodeError(f"the client's {name} is not {size} bytes long")
        if not linking.is_signed_prekey(data.identity, data.signed_prekey, data.signed_prekey_signature):
            raise NodeError("the client's signed_prekey is not signed by its identity")
        self._session = session
        self._hub = session.hub
        self._noise_key = noise_key
        self._data = data
        self._os = proto.DeviceProps.decode(data.device_props).os
        self._refs: list[str] = []
        self._waits = False
        self._began = 0.0
        self._wrapped_companion = b""
        self._code_ref = b""
        self._code_number = ""
        self._wrong_codes = 0
        self._attempt: _Attempt | None = None
        self._busy = False
        self._timer: asyncio.TimerHandle | None = None

    # The round of codes

    def begin(self) -> None:
        """Give the client its QR codes; the round ends the connection when it is over."""
        codes, seconds = CODES_A_ROUND, ROUND_SECONDS
        if fault := self._hub.strikes("short-qr", self._session.who):
            codes = fault.params["codes"] or codes
            seconds = seconds if fault.params["after"] is None else fault.params["after"]
        self._refs = ["2@" + base64.b64encode(secrets.token_bytes(60)).decode() for _ in range(codes)]
        self._waits = True
        loop = asyncio.get_running_loop()
        self._began = loop.time()
        self._timer = loop.call_later(seconds, self._session.end_soon)
        self._hub.background(self._offer())

    async def _offer(self) -> None:
        self._hub.events.add("pairing", connection=self._session.number, codes=len(self._refs))
        refs = [Node("ref", {}, ref.encode()) for ref in self._refs]
        with contextlib.suppress(Closed):
            await self._session.ask("set", "md", Node("pair-device", {}, refs))
        if self._hub.strikes("passkey", self._session.who):
            self._demand_passkey()

    def _demand_passkey(self) -> None:
        options = b'{"challenge": "AAAA", "rpId": "whatsapp.com"}'
        self._notify("passkey_prologue_request", Node("passkey_request_options", {}, options))

    def _notify(self, kind: str, child: Node) -> None:
        now = str(int(self._hub.now()))
        attrs: dict[str, str | JID] = {"from": SERVER, "type": kind, "id": secrets.token_hex(8), "t": now}
        self._session.send(Node("notification", attrs, [child]))

    def leave(self) -> None:
        """Forget the codes of a client that has gone."""
        self._forget_codes()
        if self._attempt and not self._attempt.secret.done():
            self._attempt.secret.set_exception(Closed("it did not answer to the code"))

    def _forget_codes(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._waits = False
        self._code_number = ""

    def shows(self, ref: str) -> bool:
        """Tell whether a code is the one that is good now, not an earlier or a later one of its round."""
        if not self._waits or ref not in self._refs:
            return False
        seconds = asyncio.get_running_loop().time() - self._began
        return code_shown(seconds, len(self._refs)) == self._refs.index(ref)

    @property
    def code_number(self) -> str:
        """The number for which the client waits for an eight-character code; empty if it does not."""
        return self._code_number

    # By QR code

    async def scanned(self, phone: Phone, text: linking.QRText) -> Device:
        """Link the client to the phone that has scanned its code.

        Raises:
            LinkingRefused: The code does not belong to this client, or the client refused.
        """
        if text.noise != self._noise_key or text.identity != self._data.identity:
            raise LinkingRefused("the code's keys are not those of the client that shows it")
        async with self._alone(phone):
            if not self.shows(text.ref):
                raise LinkingRefused(NOT_SHOWN)
            return await self._link(phone, text.adv_secret)

    # By eight-character code

    def hello(self, iq: Node) -> None:
        """Take a client's wish to be linked by code: from now on its phone may enter it.

        Raises:
            NodeError: Something is missing or of a wrong size.
        """
        request = iq.need("link_code_companion_reg")
        wrapped = request.need_data("link_code_pairing_wrapped_companion_ephemeral_pub", size=80)
        number = request.jid("jid").user
        if not number.isdecimal():
            raise NodeError("the number to be linked is none")
        if not _is_known_client(request.need_data("companion_platform_display")):
            raise NodeError("a client that is linked by code is called as Firefox (Linux) is")
        if request.need_data("companion_server_auth_key_pub", size=32) != self._noise_key:
            raise NodeError("the client is to log in by another key than its own")
        self._wrapped_companion = wrapped
        self._code_ref = secrets.token_bytes(16)  # a code asked for anew replaces the one before
        self._code_number = number
        self._wrong_codes = 0
        self._hub.events.add("code-requested", connection=self._session.number, phone=number)
        reply = Node("link_code_pairing_ref", {}, self._code_ref)
        self._session.answer(iq, Node("link_code_companion_reg", {"stage": "companion_hello"}, [reply]))

    async def enter_code(self, phone: Phone, code: str) -> Device:
        """Link the client with the code that the phone's owner typed.

        Raises:
            LinkingRefused: The code is wrong, or the client refused.
            Closed: The client went.
        """
        if self._code_number != phone.person.number:
            raise LinkingRefused("the client does not wait for a code of this number")
        if self._wrong_codes >= MAX_WRONG_CODES:
            raise LinkingRefused("too many wrong codes: the client has to ask for a new one")
        async with self._alone(phone):
            return await self._link(phone, await self._agree(phone, code))

    async def _agree(self, phone: Phone, code: str) -> bytes:
        """Let the client prove that it shows this code, and return the secret that follows from it."""
        # 131,072 rounds of PBKDF2: some hundredth of a second that other clients need not wait for
        hello = await asyncio.to_thread(linking.primary_hello, self._wrapped_companion, code)
        secret: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._attempt = _Attempt(phone, hello, secret)
        children = [
            Node("link_code_pairing_wrapped_primary_ephemeral_pub", {}, hello.wrapped),
            Node("primary_identity_pub", {}, phone.identity.public),
            Node("link_code_pairing_ref", {}, self._code_ref),
        ]
        self._notify(
            "link_code_companion_reg", Node("link_code_companion_reg", {"stage": "primary_hello"}, children)
        )
        try:
            async with asyncio.timeout(30):
                return await secret
        except CryptoError:
            self._wrong_codes += 1
            raise LinkingRefused("the code is wrong") from None
        except TimeoutError:
            raise LinkingRefused("the client did not answer to the code") from None
        finally:
            self._attempt = None

    def finish(self, iq: Node) -> None:
        """Take the client's half of the secret, sealed with the code.

        Raises:
            NodeError: Something is missing or of a wrong size.
        """
        request = iq.need("link_code_companion_reg")
        bundle = request.need_data("link_code_pairing_wrapped_key_bundle")
        identity = request.need_data("companion_identity_public", size=32)
        ref = request.need_data("link_code_pairing_ref")
        number = request.jid("jid").user
        attempt = self._attempt
        if attempt is None or attempt.secret.done() or (ref, number) != (self._code_ref, self._code_number):
            self._session.refuse(iq, 400, "bad-request")
            return
        if identity != self._data.identity:
            raise NodeError("the client is to be linked by another identity than its own")
        try:
            secret = linking.open_bundle(attempt.hello, attempt.phone.identity, identity, bundle)
        except CryptoError as error:
            self._session.refuse(iq, 400, "bad-request")
            attempt.secret.set_exception(error)
        else:
            self._session.answer(iq)
            attempt.secret.set_result(secret)

    # Both ways

    @contextlib.asynccontextmanager
    async def _alone(self, phone: Phone) -> AsyncIterator[None]:
        """Let one phone at a time link this client, and this phone link one client at a time."""
        if self._busy:
            raise LinkingRefused("another phone is linking this client just now")
        self._busy = True
        try:
            async with phone.linking:  # else two clients could become the fourth one at once
                if len(self._hub.store.devices(phone.person.number)) >= MAX_LINKED:
                    raise LinkingRefused(
                        f"+{phone.person.number} has {MAX_LINKED} linked devices already: unlink one first"
                    )
                yield
        finally:
            self._busy = False

    async def _link(self, phone: Phone, adv_secret: bytes) -> Device:
        person, session = phone.person, self._session
        number = self._hub.store.next_device(person.number)
        client_identity = self._data.identity
        identity = linking.sign_identity(
            phone.identity,
            client_identity,
            raw_id=person.raw_id,
            timestamp=int(self._hub.now()),
            key_index=number,
        )
        signed = identity.sealed(adv_secret)
        linked = replace(session.who, number=person.number, device=number)
        if fault := self._hub.strikes("tamper", session.who) or self._hub.strikes("tamper", linked):
            signed = _tampered(identity, adv_secret, fault.params["part"])
        success = Node(
            "pair-success",
            {},
            [
                Node("device-identity", {}, signed),
                Node("biz"),
                Node(
                    "device",
                    {
                        "jid": person.pn_jid.with_device(number),
                        "lid": person.lid_jid.with_device(number),
                    },
                ),
                Node("platform", {"name": "android"}),
            ],
        )
        answer = await session.ask("set", "md", success)
        if answer.text("type") == "error":
            reason = answer.find("error")
            raise LinkingRefused(
                f"the client refused: {reason.text('text') if reason else 'no reason given'}"
            )
        signature = answer.need_data("pair-device-sign", "device-identity")
        try:
            linking.check_device_signature(identity, client_identity, signature)
        except CryptoError as error:
            raise LinkingRefused(f"the client's answer does not fit: {error}") from None
        device = self._device(person.number, number)
        self._forget_codes()
        self._hub.link_device(device)
        session.send(Node("stream:error", {"code": "515"}))
        session.end_if_it_stays()
        return device

    def _device(self, number: str, device: int) -> Device:
        data = self._data
        return Device(
            number, device, self._noise_key, data.identity, data.registration_id, data.signed_prekey_id,
            data.signed_prekey, data.signed_prekey_signature, self._os, int(self._hub.now()), False,
        )  # fmt: skip


def _is_known_client(name: bytes) -> bool:
    browser, _, system = name.decode(errors="replace").partition(" (")
    return browser in BROWSERS and system.removesuffix(")") in SYSTEMS and system.endswith(")")


def _tampered(identity: linking.SignedIdentity, adv_secret: bytes, part: str) -> bytes:
    """Return what a phone sends whose seal or whose signature is not genuine."""
    if part == "hmac":
        return identity.sealed(secrets.token_bytes(32))
    return replace(identity, signature=secrets.token_bytes(64)).sealed(adv_secret)
