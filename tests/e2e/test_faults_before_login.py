"""Faults that strike before a bot is known, or while it is being linked."""

import time
from typing import Any

import pytest
from conftest import StartNeonize
from support.linked import (
    PATIENCE,
    devices,
    fields,
    fortunes,
    link,
    proxy_of,
    stored_sessions,
    wait_for_log,
)
from support.neonize_process import CommandError, NeonizeProcess

from orchestrator.sandbox.client import SandboxError
from orchestrator.sandbox.process import SandboxProcess

NO_PLACE_TO_GO = "failed to dial whatsapp web websocket: failed to WebSocket dial: "
NO_REQUEST = f'{NO_PLACE_TO_GO}failed to send handshake request: Get "https://web.whatsapp.com/ws/chat": '

# Where a connection can get stuck, and how long it takes neonize to notice. A hanging upgrade it never does.
HANGS = {
    "tls": (10, f"{NO_REQUEST}net/http: TLS handshake timeout"),
    "noise": (20, "noise handshake failed: timed out waiting for handshake response"),
    "connect": (60, f"{NO_REQUEST}context deadline exceeded"),
    "upgrade": (None, ""),
}


# The first connection


def test_a_server_that_goes_silent_keeps_connect_waiting_and_nobody_else(
    sandbox: SandboxProcess, neonize: StartNeonize, number: str
) -> None:
    bots = {phase: neonize(phase, proxy=proxy_of(sandbox, phase)) for phase in HANGS}
    since = sandbox.client.last_event()
    began = {}
    for phase, bot in bots.items():
        fault = sandbox.client.fault("hang", f"proxy:{phase}", phase=phase)
        began[phase] = time.monotonic()
        bot.command("connect")
        sandbox.client.wait_for("fault", PATIENCE, since, kind="hang", fault=fault["id"])

    link(neonize(), sandbox.client, number)

    for phase, (seconds, message) in HANGS.items():
        if seconds is not None:
            raised = bots[phase].wait_for("connect_raised", seconds + PATIENCE)
            assert fields(raised) == {"class": "NeonizeError", "message": message}
            assert raised["time"] - began[phase] >= seconds - 1
            assert fortunes(bots[phase]) == ["connect_raised"]
    assert fortunes(bots["upgrade"]) == []  # after more than a minute

    assert_connects(bots["tls"])


@pytest.mark.parametrize("status", [429, 503])
def test_an_http_status_in_place_of_the_upgrade(
    sandbox: SandboxProcess, neonize: StartNeonize, status: int
) -> None:
    bot = neonize(proxy=proxy_of(sandbox, "turned-away"))
    sandbox.client.fault("http", "proxy:turned-away", status=status)
    bot.command("connect")
    assert_raised(bot, f"{NO_PLACE_TO_GO}expected handshake response status code 101 but got {status}")
    assert_connects(bot)


def test_a_closed_port(sandbox: SandboxProcess, neonize: StartNeonize) -> None:
    bot = neonize()
    sandbox.client.fault("refuse")
    bot.command("connect")
    refused = f"dial tcp 127.0.0.1:{sandbox.port}: connect: connection refused"
    assert_raised(bot, f"{NO_REQUEST}proxyconnect tcp: {refused}")
    sandbox.client.clear_faults()
    assert_connects(bot)


def test_a_proxy_that_refuses_one_user(sandbox: SandboxProcess, neonize: StartNeonize) -> None:
    bot, other = neonize("bot", proxy=proxy_of(sandbox, "refused")), neonize("other")
    sandbox.client.fault("refuse", "proxy:refused")
    bot.command("connect")
    assert_raised(bot, f"{NO_REQUEST}Bad Gateway")
    assert_connects(other)
    assert [fault["struck"] for fault in sandbox.client.clear_faults()] == [1]
    assert_connects(bot)


def test_a_proxy_that_takes_its_time(sandbox: SandboxProcess, neonize: StartNeonize) -> None:
    bot, delay = neonize(proxy=proxy_of(sandbox, "slow")), 1.5
    sandbox.client.fault("slow-connect", "proxy:slow", delay=delay)
    began = time.monotonic()
    bot.command("connect")
    assert bot.wait_for("qr", PATIENCE)["time"] - began >= delay


# Linking: whatever goes wrong, there is no event, and connect() does not return


@pytest.mark.parametrize(
    ("told", "codes"),
    [({"after": 2}, 6), ({"codes": 1}, 1)],  # the second is over when neonize has shown its code for 20 s
    ids=["after", "codes"],
)
def test_a_round_of_codes_that_ends_early(
    sandbox: SandboxProcess, neonize: StartNeonize, told: dict[str, Any], codes: int
) -> None:
    since = sandbox.client.last_event()
    bot = neonize()
    sandbox.client.fault("short-qr", "pairing", **told)
    bot.command("connect")
    bot.qr(PATIENCE)
    sandbox.client.wait_for("pairing", PATIENCE, since, codes=codes)
    wait_for_log(bot, "Login event: timeout")
    assert_stuck(bot)
    assert len([event for event in bot.events if event["event"] == "qr"]) == 1


@pytest.mark.parametrize("kind", ["reset", "close"])
def test_a_connection_that_ends_while_a_code_is_shown(
    sandbox: SandboxProcess, neonize: StartNeonize, kind: str
) -> None:
    bot = neonize()
    bot.command("connect")
    bot.qr(PATIENCE)
    assert sandbox.client.fault(kind, "pairing")["struck"] == 1
    wait_for_log(bot, "Login event: timeout")
    assert_stuck(bot)


@pytest.mark.parametrize(
    ("reason", "trace"),
    [
        (403, "Login event: err-unexpected-state"),
        (405, "Client outdated (405) connect failure"),
        (503, "Login event: timeout"),
    ],
)
def test_a_refusal_of_an_unlinked_bot(
    sandbox: SandboxProcess, neonize: StartNeonize, reason: int, trace: str
) -> None:
    bot = neonize()
    sandbox.client.fault("failure", "pairing", reason=reason)
    bot.command("connect")
    wait_for_log(bot, trace)
    assert_stuck(bot)
    assert "qr" not in [event["event"] for event in bot.events]


@pytest.mark.parametrize("part", ["hmac", "signature"])
def test_a_phone_whose_word_is_not_genuine_is_not_linked_to(
    sandbox: SandboxProcess, neonize: StartNeonize, number: str, part: str
) -> None:
    bot = neonize()
    sandbox.client.fault("tamper", number, part=part)
    bot.command("connect")
    with pytest.raises(SandboxError, match=f"the client refused: {part}-mismatch"):
        sandbox.client.scan(number, text=bot.qr(PATIENCE))
    wait_for_log(bot, "Login event: error")
    assert_stuck(bot)
    assert devices(sandbox.client, number) == {}
    assert stored_sessions(bot.database) == []
    bot.kill()
    link(neonize(), sandbox.client, number)


def test_a_passkey_cannot_be_given(sandbox: SandboxProcess, neonize: StartNeonize) -> None:
    bot = neonize()
    sandbox.client.fault("passkey", "pairing")
    bot.command("connect")
    bot.qr(PATIENCE)
    wait_for_log(bot, "Login event: passkey-request")
    assert_stuck(bot)


def assert_raised(bot: NeonizeProcess, message: str) -> None:
    raised = bot.wait_for("connect_raised", PATIENCE)
    assert fields(raised) == {"class": "NeonizeError", "message": message}
    assert fortunes(bot) == ["connect_raised"]


def assert_connects(bot: NeonizeProcess) -> None:
    """Show that a bot gets as far as a code, at this try."""
    before = bot.last_index()
    bot.command("connect")
    bot.qr(PATIENCE, after=before)


def assert_stuck(bot: NeonizeProcess) -> None:
    """Show that nothing tells what has happened, and that connect() goes on."""
    with pytest.raises(CommandError, match=r"connect\(\) has not ended yet"):
        bot.command("connect")
    assert fortunes(bot) == []
