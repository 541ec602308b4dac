"""What WhatsApp refuses, the sandbox refuses: else tests against the sandbox would lie."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support import stand_in
from support.stand_in import AGENT, Gone, Keys, StandIn

from orchestrator.sandbox import token
from orchestrator.sandbox.client import SandboxClient, SandboxError
from orchestrator.sandbox.crypto.certs import Authority
from orchestrator.sandbox.crypto.signal import SignalPhone
from orchestrator.sandbox.crypto.xeddsa import sign
from orchestrator.sandbox.process import SandboxProcess
from orchestrator.sandbox.server import session
from orchestrator.sandbox.server.control import Control
from orchestrator.sandbox.server.hub import Hub
from orchestrator.sandbox.server.listener import Listener
from orchestrator.sandbox.server.media import HOST, media_id
from orchestrator.sandbox.server.pairing import MAX_WRONG_CODES
from orchestrator.sandbox.server.passes import Passes
from orchestrator.sandbox.server.store import Store
from orchestrator.sandbox.wire import content, proto
from orchestrator.sandbox.wire.jid import GROUP, JID, LID, SERVER
from orchestrator.sandbox.wire.node import Node
from orchestrator.sandbox.wire.tokens import load_tokens

NOT_SHOWN = "no client shows this code now"


@dataclass(frozen=True)
class Client:
    """A linked client that is online."""

    connection: StandIn
    keys: Keys
    number: str
    address: JID
    lid: JID

    def until_answered(self) -> list[Node]:
        """Return what the server has to say to all that was sent."""
        said = []
        self.connection.send(Node("iq", {"to": SERVER, "type": "get", "id": "LAST", "xmlns": "w:p"}))
        while (node := self.connection.receive()).text("id") != "LAST":
            said.append(node)
        return said


def ca_file(sandbox: SandboxProcess) -> Path:
    return sandbox.state_dir / "ca.pem"


def lid_of(sandbox: SandboxProcess, number: str) -> JID:
    (lid,) = [phone["lid"] for phone in sandbox.client.phones() if phone["phone"] == number]
    return JID.parse(lid)


@pytest.fixture
def linked(sandbox: SandboxProcess, number: str) -> Iterator[Client]:
    keys = Keys()
    address = stand_in.link(
        sandbox.port, ca_file(sandbox), keys, lambda text: sandbox.client.scan(number, text=text)
    )
    with stand_in.online(sandbox.port, ca_file(sandbox), keys, address) as connection:
        yield Client(connection, keys, number, address, lid_of(sandbox, number))


@pytest.fixture
def ada(sandbox: SandboxProcess, make_number: Callable[[], str]) -> str:
    """Somebody with a phone."""
    number = make_number()
    sandbox.client.add_phone(number)
    return number


def code_of(error: Node) -> str:
    found = error.find("error")
    return found.text("code") if found else ""


# Linking


def test_a_code_that_the_client_does_not_show_yet_does_not_link(sandbox: SandboxProcess, number: str) -> None:
    keys = Keys()
    with stand_in.unpaired(sandbox.port, ca_file(sandbox), keys) as client:
        _, *later = stand_in.refs(client)
        for ref in later:
            with pytest.raises(SandboxError, match=NOT_SHOWN):
                sandbox.client.scan(number, text=keys.qr_text(ref))


@pytest.mark.parametrize(
    "change",
    [
        {"companion_platform_display": b"Orchestrator"},
        {"companion_platform_display": b"Orchestrator (Linux)"},
        {"companion_platform_display": b"Chrome (Toaster)"},
        {"companion_platform_display": b"Chrome (Linux"},
        {"companion_platform_display": b"\xff"},
        {"companion_server_auth_key_pub": bytes(32)},
    ],
    ids=str,
)
def test_a_client_of_an_unknown_kind_gets_no_code_of_eight_characters(
    sandbox: SandboxProcess, number: str, change: dict[str, bytes]
) -> None:
    keys = Keys()
    with stand_in.unpaired(sandbox.port, ca_file(sandbox), keys) as client:
        stand_in.refs(client)
        assert code_of(client.ask("md", keys.code_wanted(number, **change), kind="set")) == "400"
        assert client.ask("md", keys.code_wanted(number), kind="set").text("type") == "result"


def answer_codes(client: StandIn, keys: Keys, number: str) -> None:
    """Answer every code that is typed into the phone, wrongly."""
    try:
        while True:
            node = client.receive()
            if (asked := node.find("link_code_companion_reg")) is not None:
                parts = {
                    "link_code_pairing_wrapped_key_bundle": bytes(156),
                    "companion_identity_public": keys.identity.public,
                    "link_code_pairing_ref": asked.need_data("link_code_pairing_ref"),
                }
                head: dict[str, str | JID] = {
                    "stage": "companion_finish",
                    "jid": JID(number.removeprefix("+")),
                }
                finish = Node(
                    "link_code_companion_reg", head, [Node(tag, {}, data) for tag, data in parts.items()]
                )
                client.send(Node("iq", {"id": "F", "type": "set", "to": SERVER, "xmlns": "md"}, [finish]))
    except Gone:
        pass


def test_a_code_cannot_be_guessed_without_end(sandbox: SandboxProcess, number: str) -> None:
    keys = Keys()
    with stand_in.unpaired(sandbox.port, ca_file(sandbox), keys) as client:
        stand_in.refs(client)
        assert client.ask("md", keys.code_wanted(number), kind="set").text("type") == "result"
        thread = threading.Thread(target=answer_codes, args=(client, keys, number))
        thread.start()
        said = []
        for _ in range(MAX_WRONG_CODES + 1):
            with pytest.raises(SandboxError) as refused:
                sandbox.client.enter_code(number, "ABCD-EFGH")
            said.append(str(refused.value))
        sandbox.client.fault("reset", "pairing")
        thread.join()
    assert said[:-1] == ["the code is wrong"] * MAX_WRONG_CODES
    assert said[-1] == "too many wrong codes: the client has to ask for a new one"


def test_a_client_whose_signed_prekey_is_not_its_own_is_not_linked(sandbox: SandboxProcess) -> None:
    since = sandbox.client.last_event()
    other = {"signed_prekey_signature": bytes(64)}
    with stand_in.unpaired(sandbox.port, ca_file(sandbox), Keys(), **other) as client, pytest.raises(Gone):
        stand_in.refs(client)
    event = sandbox.client.wait_for("garbage", stand_in.DEADLINE, since)
    assert event["error"] == "the client's signed_prekey is not signed by its identity"


# Log-in


@pytest.mark.parametrize(
    "version", [{}, {"primary": 2, "secondary": 2413}, {"primary": 1, "secondary": 9999}]
)
@pytest.mark.parametrize("paired", [True, False])
def test_a_client_that_is_too_old_is_outdated(
    sandbox: SandboxProcess, number: str, version: dict[str, int], paired: bool
) -> None:
    keys = Keys()
    agent = {"user_agent": {**AGENT, "app_version": version}}
    if paired:
        address = stand_in.link(
            sandbox.port, ca_file(sandbox), keys, lambda text: sandbox.client.scan(number, text=text)
        )
        payload = proto.ClientPayload.encode(username=int(address.user), device=address.device, **agent)
    else:
        payload = proto.ClientPayload.encode(pairing_data=keys.pairing_data(), **agent)
    with stand_in.wrapped(sandbox.port, ca_file(sandbox)) as client:
        client.upgrade().handshake(keys, payload)
        assert client.receive() == Node("failure", {"reason": "405"})
    if paired:  # its session is as good as before
        with stand_in.online(sandbox.port, ca_file(sandbox), keys, address) as client:
            client.ping()


def test_a_client_that_is_silent_is_cut_off_and_one_that_pings_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "SILENCE", 2.0)
    secret_file = tmp_path / token.NAME

    def visit(port: int, control: int) -> tuple[int, dict[str, Any]]:
        keys, client = Keys(), SandboxClient(f"http://127.0.0.1:{control}", token_file=secret_file)
        authority = tmp_path / "ca.pem"
        address = stand_in.link(port, authority, keys, lambda text: client.scan("+4915100001", text=text))
        with stand_in.online(port, authority, keys, address) as connection:
            pings = 0
            since = time.monotonic()
            while time.monotonic() < since + 3 * session.SILENCE:
                connection.ping()
                pings += 1
            connection.until_gone()
        return pings, client.wait_for("silent", stand_in.DEADLINE)

    async def serve() -> tuple[int, dict[str, Any]]:
        authority = Authority.load_or_make(tmp_path)
        store = Store(tmp_path / "sandbox.sqlite3")
        hub = Hub(store, load_tokens())
        listener = Listener(hub, authority.server_context())
        control = Control(hub, listener, {}, token.load_or_make(tmp_path), secret_file)
        await listener.start()
        await control.start()
        try:
            return await asyncio.to_thread(visit, listener.port, control.port)
        finally:
            await control.stop()
            await listener.stop()
            store.close()

    pings, event = asyncio.run(serve())
    assert pings > 1
    assert event["phone"] == "+4915100001"


# Requests


def keys_of(keys: Keys, **other: bytes) -> list[Node]:
    """Return an upload of keys; `other` replaces parts of it."""
    parts = {
        "registration": (4711).to_bytes(4),
        "identity": keys.identity.public,
        "signature": sign(keys.identity, keys.signed_prekey.typed),
        **other,
    }
    skey = {"id": (1).to_bytes(3), "value": keys.signed_prekey.public, "signature": parts["signature"]}
    prekey = [Node("id", {}, (7).to_bytes(3)), Node("value", {}, bytes(32))]
    return [
        Node("registration", {}, parts["registration"]),
        Node("type", {}, b"\x05"),
        Node("identity", {}, parts["identity"]),
        Node("list", {}, [Node("key", {}, prekey)]),
        Node("skey", {}, [Node(tag, {}, data) for tag, data in skey.items()]),
    ]


@pytest.mark.parametrize(
    "other",
    [{"registration": (4712).to_bytes(4)}, {"identity": bytes(32)}, {"signature": bytes(64)}],
    ids=str,
)
def test_a_client_cannot_become_another_one(linked: Client, other: dict[str, bytes]) -> None:
    assert code_of(linked.connection.ask("encrypt", *keys_of(linked.keys, **other), kind="set")) == "400"
    assert linked.connection.ask("encrypt", *keys_of(linked.keys), kind="set").text("type") == "result"


def test_a_client_can_unlink_nobody_but_itself(sandbox: SandboxProcess, linked: Client) -> None:
    keys = Keys()
    other = stand_in.link(
        sandbox.port, ca_file(sandbox), keys, lambda text: sandbox.client.scan(linked.number, text=text)
    )
    answer = linked.connection.ask("md", Node("remove-companion-device", {"jid": other}), kind="set")
    assert code_of(answer) == "403"
    with stand_in.online(sandbox.port, ca_file(sandbox), keys, other) as client:
        client.ping()
    out = linked.connection.ask("md", Node("remove-companion-device", {"jid": linked.address}), kind="set")
    assert out.text("type") == "result"
    (phone,) = [one for one in sandbox.client.phones() if one["phone"] == linked.number]
    assert [one["device"] for one in phone["devices"]] == [other.device]


# Messages


def message(to: JID, *named: JID, **attrs: str | JID) -> Node:
    enc = Node("enc", {"v": "2", "type": "msg"}, b"x")
    parts = [Node("to", {"jid": address}, [enc]) for address in named]
    head: dict[str, str | JID] = {"id": "M1", "type": "text", "to": to}
    return Node("message", head | attrs, [Node("participants", {}, parts)])


def test_a_message_reaches_nobody_outside_its_chat(
    sandbox: SandboxProcess, linked: Client, ada: str, make_number: Callable[[], str]
) -> None:
    outsider = make_number()
    sandbox.client.add_phone(outsider)
    to, other, nobody = lid_of(sandbox, ada), lid_of(sandbox, outsider), JID("1", LID)
    group = JID.parse(sandbox.client.make_group(ada, "Ducks", [linked.number])["group"])
    since = sandbox.client.last_event()
    for stanza in (
        message(to, to, other),
        message(to, nobody),
        message(to, participant=other),
        message(group, other),
        message(group, participant=other),
        message(to, to, category="peer"),
    ):
        linked.connection.send(stanza)
        ack = linked.connection.wait_for(lambda node: node.tag == "ack")
        assert ack.text("error") == "400"
    assert not [one for one in sandbox.client.events(since) if one.get("phone") == outsider]
    linked.connection.send(message(to, to, linked.lid))
    assert "error" not in linked.connection.wait_for(lambda node: node.tag == "ack").attrs


@pytest.mark.parametrize("proof", ["none", "nonsense", "another device's"])
def test_a_phone_begins_no_session_with_a_device_that_its_account_has_not_linked(
    sandbox: SandboxProcess, linked: Client, ada: str, proof: str
) -> None:
    to = lid_of(sandbox, ada)
    stranger = Keys() if proof == "another device's" else linked.keys
    user = linked.connection.ask("encrypt", Node("key", {}, [Node("user", {"jid": to})])).need("list", "user")
    kind, data = SignalPhone.generate(stranger.identity).encrypt(
        str(to), content.Message.encode(conversation="trust me"), stand_in.bundle(user)
    )
    part = Node("to", {"jid": to}, [Node("enc", {"v": "2", "type": kind}, data)])
    given = b"\xff" if proof == "nonsense" else linked.keys.signed[0]
    identity = [] if proof == "none" else [Node("device-identity", {}, given)]
    since = sandbox.client.last_event()
    head: dict[str, str | JID] = {"id": "M2", "type": "text", "to": to}
    linked.connection.send(Node("message", head, [Node("participants", {}, [part]), *identity]))
    receipt = linked.connection.wait_for(lambda node: node.tag == "receipt")
    assert receipt.text("type") == "retry"
    (event,) = [one for one in sandbox.client.events(since) if one["event"] == "phone-undecryptable"]
    assert event["error"] == "the message does not prove that its sender is a linked device"
    assert sandbox.client.inbox(ada) == []


def test_a_phone_sends_again_only_to_its_receiver_and_not_for_ever(
    sandbox: SandboxProcess, linked: Client, ada: str, make_number: Callable[[], str]
) -> None:
    def retry(message_id: str, count: int) -> Node:
        parts = [Node("retry", {"count": str(count), "id": message_id, "v": "1"})]
        return Node("receipt", {"id": message_id, "to": lid_of(sandbox, ada), "type": "retry"}, parts)

    def again() -> list[str]:
        return [node.text("id") for node in linked.until_answered() if node.tag == "message"]

    mine = sandbox.client.send_text(ada, linked.number, "for you")
    outsider = make_number()
    sandbox.client.add_phone(outsider)
    private = sandbox.client.send_text(ada, outsider, "for nobody else")
    assert again() == [mine]
    linked.connection.send(retry(mine, 1))
    assert again() == [mine]
    linked.connection.send(retry(mine, 6))
    linked.connection.send(retry(private, 1))
    assert again() == []


# Typing and being there


def test_only_a_client_that_looks_is_shown_who_types(
    sandbox: SandboxProcess, linked: Client, ada: str
) -> None:
    assert sandbox.client.show_typing(ada, linked.number) == 0
    linked.connection.send(Node("presence", {"type": "available", "name": "Bot"}))
    linked.until_answered()
    sandbox.client.wait_for("presence", phone=linked.number, state="available")

    assert sandbox.client.show_typing(ada, linked.number, "recording") == 1
    shown = linked.connection.wait_for(lambda node: node.tag == "chatstate")
    assert shown.jid("from") == lid_of(sandbox, ada)
    assert shown.need("composing").text("media") == "audio"
    linked.connection.send(Node("presence", {"type": "unavailable"}))
    linked.until_answered()
    assert sandbox.client.show_typing(ada, linked.number, "paused") == 0


def test_only_a_client_that_wants_to_know_is_shown_who_is_online(
    sandbox: SandboxProcess, linked: Client, ada: str
) -> None:
    assert sandbox.client.show_presence(ada, available=True) == 0
    linked.connection.send(Node("presence", {"type": "subscribe", "to": lid_of(sandbox, ada)}))
    linked.until_answered()

    assert sandbox.client.show_presence(ada, available=False, last_seen=1_700_000_000) == 1
    shown = linked.connection.wait_for(lambda node: node.tag == "presence")
    assert (shown.text("type"), shown.text("last")) == ("unavailable", "1700000000")


def test_what_a_client_types_is_an_event(sandbox: SandboxProcess, linked: Client, ada: str) -> None:
    linked.connection.send(Node("chatstate", {"to": lid_of(sandbox, ada)}, [Node("composing")]))

    event = sandbox.client.wait_for("typing", phone=linked.number)
    assert (event["to"], event["state"]) == (ada, "composing")


def test_nobody_types_where_there_is_no_chat(sandbox: SandboxProcess, linked: Client, ada: str) -> None:
    to, nobody = lid_of(sandbox, ada), JID("1", LID)
    others = JID.parse(sandbox.client.make_group(ada, "Others", [])["group"])
    since = sandbox.client.last_event()
    wrong: list[tuple[dict[str, str | JID], Node]] = [
        ({"to": nobody}, Node("composing")),
        ({"to": others}, Node("composing")),
        ({"to": JID("120363999999999999", GROUP)}, Node("composing")),
        ({"to": to}, Node("dancing")),
        ({"to": to}, Node("composing", {"media": "smell"})),
        ({}, Node("composing")),
    ]
    for head, state in wrong:
        linked.connection.send(Node("chatstate", {"from": linked.address, **head}, [state]))
    linked.connection.send(Node("chatstate", {"from": linked.address, "to": to}))
    linked.until_answered()
    events = sandbox.client.events(since)
    assert len([one for one in events if one["event"] == "bad-stanza"]) == 7
    assert not [one for one in events if one["event"] == "typing"]
    assert sandbox.client.typing(ada) == []


# Read marks


def test_nobody_reads_where_there_is_no_chat(sandbox: SandboxProcess, linked: Client, ada: str) -> None:
    to, nobody = lid_of(sandbox, ada), JID("1", LID)
    team = JID.parse(sandbox.client.make_group(ada, "Team", [linked.number])["group"])
    others = JID.parse(sandbox.client.make_group(ada, "Others", [])["group"])
    since = sandbox.client.last_event()
    wrong: list[dict[str, str | JID]] = [
        {"id": "M1", "to": nobody},
        {"id": "", "to": to},
        {"id": "M1", "to": team},
        {"id": "M1", "to": team, "participant": nobody},
        {"id": "M1", "to": others, "participant": to},
        {"id": "M1"},
    ]
    for head in wrong:
        linked.connection.send(Node("receipt", {"type": "read", **head}))
    assert not [one for one in linked.until_answered() if one.tag == "ack"]
    events = sandbox.client.events(since)
    assert len([one for one in events if one["event"] == "bad-stanza"]) == 6
    # The server cannot know that there is no such message, but the phone does.
    linked.connection.send(Node("receipt", {"type": "read", "id": "M1", "to": to}))
    assert linked.connection.wait_for(lambda node: node.tag == "ack").text("type") == "read"
    sandbox.client.wait_for("phone-ignored", since=since, phone=ada, id="M1")
    assert not [one for one in sandbox.client.events(since) if one["event"] == "receipt"]


# Media


def test_only_a_linked_client_uploads(sandbox: SandboxProcess, linked: Client) -> None:
    blob = b"sealed"
    target = f"/mms/image/{media_id(hashlib.sha256(blob).digest())}"
    good = linked.connection.ask("w:m", Node("media_conn"), kind="set").need("media_conn").text("auth")
    context = ssl.create_default_context(cafile=str(ca_file(sandbox)))
    statuses = []
    others = ("", "?auth=", "?auth=abc", "?auth=%C3%A9", f"?auth={'A' * len(good)}")
    for auth in (*others, f"?auth={Passes(b'of another server').issue()}", f"?auth={good}"):
        connection = http.client.HTTPSConnection("127.0.0.1", sandbox.port, context=context, timeout=90)
        with closing(connection):
            connection.set_tunnel(HOST, 443)
            connection.request("POST", target + auth, blob)
            statuses.append(connection.getresponse().status)
    assert statuses == [401] * 6 + [200]


# Messages that are refused


@pytest.mark.parametrize(("code", "ends"), [(463, 3600), (463, None), (475, 3600)])
def test_a_restricted_account_is_told_until_when(
    sandbox: SandboxProcess, linked: Client, ada: str, code: int, ends: int | None
) -> None:
    sandbox.client.refuse_sends(linked.number, "new", code=code, ends=ends)
    to = lid_of(sandbox, ada)
    part = Node("to", {"jid": to}, [Node("enc", {"v": "2", "type": "msg"}, b"sealed")])
    stanza: dict[str, str | JID] = {"id": "3EB0F2", "type": "text", "to": to}
    linked.connection.send(Node("message", stanza, [Node("participants", {}, [part])]))
    said = linked.until_answered()
    assert [node.text("error") for node in said if node.tag == "ack"] == [str(code)]
    told = [node.need("update") for node in said if node.text("type") == "mex"]
    if code != 463 or ends is None:
        assert told == []
        return
    (update,) = told
    assert update.text("op_name") == "NotificationUserReachoutTimelockUpdate"
    lock = json.loads(update.data)["data"]["xwa2_notify_account_reachout_timelock"]
    assert lock["is_active"] is True
    assert 0 < int(lock["time_enforcement_ends"]) - time.time() <= ends


# Messages of a wrong form


@pytest.mark.parametrize(
    ("attrs", "enc", "code"),
    [
        ({}, {}, ""),
        ({"type": "media"}, {"mediatype": "image"}, ""),
        ({"edit": "1"}, {}, ""),
        ({"type": "film"}, {}, "479"),
        ({"type": ""}, {}, "479"),
        ({"edit": "9"}, {}, "479"),
        ({"type": "media"}, {"mediatype": "smell"}, "479"),
        ({"type": "media"}, {}, "479"),
        ({}, {"mediatype": "image"}, "479"),
        ({}, None, "479"),
        ({"edit": "8"}, {}, "403"),
    ],
)
def test_a_stanza_of_an_unknown_form_is_refused(
    sandbox: SandboxProcess,
    linked: Client,
    ada: str,
    attrs: dict[str, str],
    enc: dict[str, str] | None,
    code: str,
) -> None:
    to = lid_of(sandbox, ada)
    sealed = [] if enc is None else [Node("enc", {"v": "2", "type": "msg", **enc}, b"sealed")]
    part = Node("to", {"jid": to}, sealed)
    stanza: dict[str, str | JID] = {"id": "3EB0F0", "type": "text", **attrs, "to": to}
    since = sandbox.client.last_event()
    linked.connection.send(Node("message", stanza, [Node("participants", {}, [part])]))
    ack = linked.connection.wait_for(lambda node: node.tag == "ack" and node.text("id") == "3EB0F0")
    assert ack.text("error") == code
    events = [one["event"] for one in sandbox.client.events(since)]
    assert ("message" in events, "send-refused" in events) == (not code, bool(code))


@pytest.mark.parametrize("role", ["member", "admin"])
def test_only_an_admin_deletes_what_others_wrote(
    sandbox: SandboxProcess, linked: Client, ada: str, role: str
) -> None:
    group = sandbox.client.make_group(ada, "Ducks", [linked.number])["group"]
    if role == "admin":
        sandbox.client.change_group(ada, group, "promote", members=[linked.number])
    attrs: dict[str, str | JID] = {"id": "3EB0F1", "type": "text", "edit": "8", "to": JID.parse(group)}
    enc = Node("enc", {"v": "2", "type": "skmsg"}, b"sealed")
    linked.connection.send(Node("message", attrs, [Node("participants"), enc]))
    ack = linked.connection.wait_for(lambda node: node.tag == "ack" and node.text("id") == "3EB0F1")
    assert ack.text("error") == ("" if role == "admin" else "403")


# Groups


def test_who_made_a_group_stays_its_head(sandbox: SandboxProcess, linked: Client, ada: str) -> None:
    group = sandbox.client.make_group(ada, "Ducks", [linked.number])["group"]
    sandbox.client.change_group(ada, group, "promote", members=[linked.number])
    head = Node("participant", {"jid": lid_of(sandbox, ada)})
    for change in ("remove", "demote"):
        answer = linked.connection.ask("w:g2", Node(change, {}, [head]), kind="set", to=JID.parse(group))
        (outcome,) = answer.need(change).all("participant")
        assert outcome.text("error") == "406"
    (found,) = [one for one in sandbox.client.groups() if one["group"] == group]
    assert found["members"][ada] == "superadmin"
    sandbox.client.change_group(ada, group, "remove", members=[ada])  # to leave is up to everybody


@pytest.mark.parametrize(("subject", "code"), [("", "400"), ("x" * 101, "406"), ("x" * 100, "")])
def test_the_subject_of_a_group(sandbox: SandboxProcess, linked: Client, subject: str, code: str) -> None:
    group = JID.parse(sandbox.client.make_group(linked.number, "Ducks", [])["group"])
    made = linked.connection.ask("w:g2", Node("create", {"subject": subject}), kind="set", to=JID("", GROUP))
    changed = linked.connection.ask("w:g2", Node("subject", {}, subject.encode()), kind="set", to=group)
    assert (code_of(made), code_of(changed)) == (code, code)
