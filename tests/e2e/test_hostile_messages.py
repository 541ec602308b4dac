"""Messages that nobody's phone writes, but a program may: an account takes them, and lives on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
from support.conversation import Contact
from support.linked import wait_until
from support.protobufs import Message
from support.service import QUICK, Service

from orchestrator.sandbox.process import SandboxProcess


@pytest.fixture(scope="module")
def number(make_number: Callable[[], str]) -> str:
    return make_number()


@pytest.fixture(scope="module")
def service(
    shared_sandbox: SandboxProcess, number: str, make_folder: Callable[[], Path]
) -> Iterator[Service]:
    account = {"messages": {"allow": "*", "groups": True}, "max_retries": 2, "backoff": QUICK}
    with Service(make_folder(), shared_sandbox, {"open": account}) as service:
        service.pair("open", number)
        yield service


@pytest.mark.parametrize("group", [False, True], ids=["direct", "group"])
def test_a_vote_that_is_encrypted_with_anything(
    service: Service, ada: Contact, number: str, group: bool
) -> None:
    pid = service.child("open")
    to = ada.sandbox.make_group(ada.number, "Chess", [number])["group"] if group else number
    poll = ada.sandbox.send(ada.number, to, "poll", question="When?", options=["Monday", "Tuesday"])
    vote = Message()
    update = vote.pollUpdateMessage
    # Without a nonce, with one that is too short or too long; the second time with too short a text, too.
    sizes = [(nonce, payload) for payload in (64, 0, 15) for nonce in (0, 1, 11, 12, 13, 16, 5000)]
    update.pollCreationMessageKey.ID = poll
    update.pollCreationMessageKey.fromMe = True
    update.pollCreationMessageKey.remoteJID = "0@s.whatsapp.net"
    sent = []
    for nonce, payload in sizes:
        update.vote.encIV, update.vote.encPayload = bytes(nonce), bytes(payload)
        sent.append(ada.sandbox.send(ada.number, to, "raw", message=vote.SerializeToString()))
    with service.kept.inbox("open") as reader:
        wait_until(lambda: all(map(reader.find, sent)), "not all votes are stored")
        assert all("vote" not in reader.find(one)[0].notes for one in sent)
    assert service.child("open") == pid


@pytest.mark.parametrize("kind", ["server-error", "enc_rekey_retry"])
def test_receipts_of_a_type_that_neonize_has_no_name_for(
    service: Service, ada: Contact, number: str, kind: Literal["server-error", "enc_rekey_retry"]
) -> None:
    service.command("send", "open", "--to", ada.number, "Hello")
    wait_until(lambda: bool(ada.sandbox.inbox(ada.number)), "the phone has no message")
    ours = ada.sandbox.inbox(ada.number)[-1]["id"]
    # The library's only answer is to end the connection. More of them than tries are no reason to give up.
    for _ in range(4):
        pid = service.child("open")
        ada.sandbox.read(ada.number, ours, kind)
        service.wait_for_state("open", "connected", after=pid)
    sent = ada.write(number, "after that")
    with service.kept.inbox("open") as reader:
        wait_until(lambda: bool(reader.find(sent)), "the message after that is not stored")
    ends = [one for one in service.timeline("open") if one.get("kind") in ("refused", "network", "crash")]
    assert {one["kind"] for one in ends} == {"network"}
