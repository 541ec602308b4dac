"""The programs of the demonstration: a receiver that takes only what is signed, and a bot that loads."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orchestrator.bots import Bot
from orchestrator.cli.demo.programs import BOT, Receiver, read_metrics
from orchestrator.consumers.signatures import Signer

EVENT = json.dumps({"id": "evt_a_1", "data": {"id": "M1"}}).encode()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def post(receiver: Receiver, headers: dict[str, str], body: bytes = EVENT) -> int:
    request = urllib.request.Request(receiver.url, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def signed(receiver: Receiver, body: bytes = EVENT) -> dict[str, str]:
    signer = Signer([receiver._key])
    return {
        name.decode(): value.decode() for name, value in signer.headers("evt_a_1", int(time.time()), body)
    }


def test_it_takes_what_the_service_has_signed_and_nothing_else(receiver: Receiver) -> None:
    assert post(receiver, {}) == 401
    assert post(receiver, signed(receiver, b"something else")) == 401
    assert post(receiver, {**signed(receiver), "webhook-id": "evt_a_2"}) == 401
    assert post(receiver, signed(receiver)) == 204
    event = receiver.wait_for(lambda one: one["data"]["id"] == "M1", 10)
    assert event == json.loads(EVENT)
    assert receiver.wait_for(lambda _: True, 0.01) is None


def test_its_bot_is_one() -> None:
    names: dict[str, object] = {}
    exec(compile(BOT, "echo_bot.py", "exec"), names)
    assert isinstance(names["bot"], Bot)
    assert len(BOT.splitlines()) <= 10


def test_metrics_of_nobody_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        read_metrics(tmp_path / "api.sock")


def test_whoever_waits_for_an_event_waits_no_longer_than_the_receiver_is_there() -> None:
    with ThreadPoolExecutor(1) as waiting:
        with Receiver() as receiver:
            found = waiting.submit(receiver.wait_for, lambda _: True, 600)
        assert found.result(60) is None
