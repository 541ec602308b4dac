"""Faults that strike a bot which is online: what neonize tells of them, and how it comes back."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import StartNeonize
from support.linked import (
    PATIENCE,
    Linked,
    copy_session,
    devices,
    fields,
    fortunes,
    link,
    log_end,
    log_in,
    proxy_of,
    stored_sessions,
    wait_for_log,
    wait_until,
    wait_until_forgotten,
)
from support.neonize_process import CommandError, NeonizeProcess

from orchestrator.sandbox.process import SandboxProcess

PROXY_USER = "online"


@pytest.fixture(scope="module")
def online(
    shared_sandbox: SandboxProcess, make_number: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Linked]:
    """A bot for all those faults that it survives; it goes through a proxy with a user of its own."""
    database = tmp_path_factory.mktemp("online") / "bot.sqlite3"
    environment, proxy = shared_sandbox.environment(), proxy_of(shared_sandbox, PROXY_USER)
    with NeonizeProcess(database, environment, proxy=proxy) as bot:
        yield link(bot, shared_sandbox.client, make_number())


# What the library mends by itself


# This one comes first because it takes a minute.
def test_a_blackhole_is_told_by_a_missed_keep_alive_and_its_end_by_the_next(
    sandbox: SandboxProcess, neonize: StartNeonize, number: str
) -> None:
    linked = link(neonize(), sandbox.client, number)
    bot, before, connection = linked.bot, linked.bot.last_index(), devices(sandbox.client, number)
    hole = sandbox.client.fault("blackhole", linked.number)
    assert hole["struck"] == 1
    assert fields(bot.wait_for("KeepAliveTimeout", PATIENCE, after=before)) == {"error_count": 1}
    status = bot.command("status")
    assert status["is_connected"]
    assert status["is_logged_in"]
    sandbox.client.clear_faults(hole["id"])
    bot.wait_for("KeepAliveRestored", PATIENCE, after=before)
    assert set(fortunes(bot, before)) == {"KeepAliveTimeout", "KeepAliveRestored"}
    assert devices(sandbox.client, number) == connection


@pytest.mark.parametrize(
    ("kind", "told", "events", "reason"),
    [
        ("reset", {}, ["Disconnected", "Connected"], "connection reset by peer"),
        ("close", {}, ["Disconnected", "Connected"], "received close frame: status = StatusNormalClosure"),
        ("stream-error", {"code": 503}, ["Disconnected", "Connected"], "Got 503 stream error"),
        ("stream-error", {"code": 515}, ["Connected"], "Got 515 code, reconnecting"),
    ],
)
def test_an_ended_connection_is_followed_by_another(
    sandbox: SandboxProcess,
    online: Linked,
    kind: str,
    told: dict[str, Any],
    events: list[str],
    reason: str,
) -> None:
    bot, before, log = online.bot, online.bot.last_index(), log_end(online.bot)
    sandbox.client.fault(kind, online.number, **told)
    bot.wait_for("Connected", PATIENCE, after=before)
    assert fortunes(bot, before) == events
    wait_for_log(bot, reason, after=log)


@pytest.mark.parametrize("code", [401, 516])  # a logout's 401 says device_removed as well; this one does not
def test_a_stream_error_that_neonize_does_not_know_is_told_with_its_code(
    sandbox: SandboxProcess, online: Linked, code: int
) -> None:
    bot, before = online.bot, online.bot.last_index()
    sandbox.client.fault("stream-error", online.number, code=code)
    bot.wait_for("Connected", PATIENCE, after=before)
    assert fortunes(bot, before) == ["StreamError", "Disconnected", "Connected"]
    assert fields(bot.wait_for("StreamError", after=before)) == {"code": str(code)}


def test_a_closed_port_is_one_disconnection_however_often_it_is_tried(
    sandbox: SandboxProcess, online: Linked
) -> None:
    bot, before, log = online.bot, online.bot.last_index(), log_end(online.bot)
    fault = sandbox.client.fault("refuse")
    bot.wait_for("Disconnected", PATIENCE, after=before)
    wait_for_log(bot, "connection refused", after=log)
    status = bot.command("status")
    assert (status["is_connected"], status["is_logged_in"]) == (False, True)  # the second is out of date
    sandbox.client.clear_faults(fault["id"])
    bot.wait_for("Connected", PATIENCE, after=before)
    assert fortunes(bot, before) == ["Disconnected", "Connected"]


def test_a_port_closed_for_some_seconds_opens_by_itself(sandbox: SandboxProcess, online: Linked) -> None:
    bot, before = online.bot, online.bot.last_index()
    sandbox.client.fault("refuse", seconds=1)
    bot.wait_for("Connected", PATIENCE, after=before)
    assert fortunes(bot, before) == ["Disconnected", "Connected"]
    assert sandbox.client.faults() == []


def test_a_proxy_that_refuses_one_user_cuts_and_refuses_its_connections_only(
    sandbox: SandboxProcess, online: Linked, neonize: StartNeonize
) -> None:
    bot, before, since = online.bot, online.bot.last_index(), sandbox.client.last_event()
    other = neonize()
    fault = sandbox.client.fault("refuse", f"proxy:{PROXY_USER}")
    bot.wait_for("Disconnected", PATIENCE, after=before)
    sandbox.client.wait_for("refused", PATIENCE, since, why="a fault refuses connections")
    other.command("connect")
    other.qr(PATIENCE)
    sandbox.client.clear_faults(fault["id"])
    bot.wait_for("Connected", PATIENCE, after=before)
    assert fortunes(bot, before) == ["Disconnected", "Connected"]


@pytest.mark.parametrize("status", [429, 503])
def test_an_http_status_in_place_of_the_upgrade_is_tried_again_without_a_word(
    sandbox: SandboxProcess, online: Linked, status: int
) -> None:
    bot, before, log = online.bot, online.bot.last_index(), log_end(online.bot)
    sandbox.client.fault("http", f"proxy:{PROXY_USER}", status=status)
    sandbox.client.fault("reset", online.target)
    bot.wait_for("Connected", PATIENCE, after=before)
    assert fortunes(bot, before) == ["Disconnected", "Connected"]
    wait_for_log(bot, f"expected handshake response status code 101 but got {status}", after=log)


def test_a_log_in_refused_for_the_time_being_is_one_more_disconnection_a_try(
    sandbox: SandboxProcess, online: Linked
) -> None:
    bot, before = online.bot, online.bot.last_index()
    sandbox.client.fault("failure", online.number, times=2, reason=503)
    sandbox.client.fault("reset", online.number)
    bot.wait_for("Connected", PATIENCE, after=before)
    assert fortunes(bot, before) == ["Disconnected"] * 3 + ["Connected"]


def test_late_answers_make_for_a_late_connection(sandbox: SandboxProcess, online: Linked) -> None:
    bot, before, delay = online.bot, online.bot.last_index(), 1.0
    fault = sandbox.client.fault("slow", online.number, delay=delay)
    assert fault["struck"] == 1
    sandbox.client.fault("reset", online.number)
    cut = bot.wait_for("Disconnected", PATIENCE, after=before)
    back = bot.wait_for("Connected", PATIENCE, after=before)
    assert back["time"] - cut["time"] >= 2 * delay  # one for the number of prekeys, one for going active
    assert [fault["struck"] for fault in sandbox.client.clear_faults()] == [2]


@pytest.mark.parametrize("code", [463, 479])
def test_a_refused_message_fails_alone(
    sandbox: SandboxProcess, online: Linked, number: str, code: int
) -> None:
    bot, before = online.bot, online.bot.last_index()
    sandbox.client.add_phone(number)
    sandbox.client.fault("send-error", online.number, code=code)
    with pytest.raises(CommandError, match=f"SendMessageError: server returned error {code}$"):
        bot.command("send_text", to=number[1:], text="refused")
    sent = bot.command("send_text", to=number[1:], text="taken")
    sandbox.client.wait_for("received", PATIENCE, phone=number, id=sent["id"])
    assert [message["text"] for message in sandbox.client.inbox(number)] == ["taken"]
    assert fortunes(bot, before) == []


def test_the_end_of_a_connection_in_a_blackhole_is_heard_when_that_is_over(
    sandbox: SandboxProcess, online: Linked, neonize: StartNeonize, number: str
) -> None:
    linked = link(neonize(), sandbox.client, number)
    bot, before, mark = linked.bot, linked.bot.last_index(), online.bot.last_index()
    hole = sandbox.client.fault("blackhole", linked.number)
    sandbox.client.unlink(linked.number)
    sandbox.client.fault("stream-error", online.number, code=503)
    online.bot.wait_for("Connected", PATIENCE, after=mark)  # another's end has been heard meanwhile
    assert fortunes(bot, before) == []
    sandbox.client.clear_faults(hole["id"])
    logged_out = bot.wait_for("LoggedOut", PATIENCE, after=before)
    assert fields(logged_out) == {"on_connect": False, "reason": "LOGGED_OUT"}
    assert fortunes(bot, before) == ["LoggedOut"]


def test_a_log_in_that_falls_into_a_blackhole_succeeds_when_that_is_over(
    sandbox: SandboxProcess, online: Linked
) -> None:
    bot, before = online.bot, online.bot.last_index()
    hole = sandbox.client.fault("blackhole", online.number)
    sandbox.client.fault("reset", online.number)
    wait_until(lambda: sandbox.client.faults()[0]["struck"] == 2, "no new connection in the blackhole")
    bot.wait_for("Disconnected", PATIENCE, after=before)
    assert fortunes(bot, before) == ["Disconnected"]
    sandbox.client.clear_faults(hole["id"])
    bot.wait_for("Connected", PATIENCE, after=before)
    assert fortunes(bot, before) == ["Disconnected", "Connected"]


# What the library does not mend


def test_a_bot_whose_session_is_taken_over_stays_down_and_keeps_it(
    sandbox: SandboxProcess, neonize: StartNeonize, number: str
) -> None:
    linked = link(neonize(), sandbox.client, number)
    bot, before = linked.bot, linked.bot.last_index()
    sandbox.client.fault("replaced", linked.number)
    assert fields(bot.wait_for("StreamReplaced", PATIENCE, after=before)) == {}
    assert_parked(bot)
    bot.kill()
    assert fortunes(bot, before) == ["StreamReplaced"]
    assert stored_sessions(bot.database) == [linked.address]
    log_in(neonize())


def test_a_second_process_with_the_same_session_takes_it_over(
    sandbox: SandboxProcess, neonize: StartNeonize, number: str, tmp_path: Path
) -> None:
    linked = link(neonize(), sandbox.client, number)
    first, before = linked.bot, linked.bot.last_index()
    copy_session(first.database, tmp_path / "copy.sqlite3")
    second = neonize("copy")
    log_in(second)
    first.wait_for("StreamReplaced", PATIENCE, after=before)
    assert_parked(first)
    assert second.command("status")["is_logged_in"]
    first.kill()
    assert fortunes(first, before) == ["StreamReplaced"]
    assert stored_sessions(first.database) == [linked.address]


def test_a_bot_logged_out_while_online_forgets_its_session_and_can_be_linked_anew(
    sandbox: SandboxProcess, neonize: StartNeonize, number: str
) -> None:
    linked = link(neonize(), sandbox.client, number)
    bot, before = linked.bot, linked.bot.last_index()
    sandbox.client.fault("logged-out", linked.number)
    logged_out = bot.wait_for("LoggedOut", PATIENCE, after=before)
    assert fields(logged_out) == {"on_connect": False, "reason": "LOGGED_OUT"}
    wait_until_forgotten(bot)
    assert_parked(bot)
    with pytest.raises(CommandError, match="SendMessageError: the store doesn't contain a device JID"):
        bot.command("send_text", to=number[1:], text="too late")
    bot.kill()
    assert fortunes(bot, before) == ["LoggedOut"]
    assert stored_sessions(bot.database) == []
    assert devices(sandbox.client, number) == {}
    assert link(neonize(), sandbox.client, number).device == linked.device + 1


def test_a_bot_unlinked_while_it_is_cut_off_learns_of_it_at_its_next_log_in(
    sandbox: SandboxProcess, neonize: StartNeonize, number: str
) -> None:
    user = f"cut{number[1:]}"
    linked = link(neonize(proxy=proxy_of(sandbox, user)), sandbox.client, number)
    bot, before = linked.bot, linked.bot.last_index()
    sandbox.client.fault("refuse", f"proxy:{user}")
    bot.wait_for("Disconnected", PATIENCE, after=before)
    assert sandbox.client.unlink(number) == [linked.device]
    sandbox.client.clear_faults()
    logged_out = bot.wait_for("LoggedOut", PATIENCE, after=before)
    assert fields(logged_out) == {"on_connect": True, "reason": "LOGGED_OUT"}
    wait_until_forgotten(bot)
    assert bot.command("status")["is_logged_in"]  # which is out of date since the cut
    bot.kill()
    assert fortunes(bot, before) == ["Disconnected", "LoggedOut"]
    assert stored_sessions(bot.database) == []


# Whom they strike


def test_a_fault_finds_one_of_two_bots_of_a_number(
    sandbox: SandboxProcess, neonize: StartNeonize, number: str
) -> None:
    first = link(neonize("first"), sandbox.client, number)
    second = link(neonize("second"), sandbox.client, number)
    before = devices(sandbox.client, number)

    other, mark = first.bot.last_index(), second.bot.last_index()
    sandbox.client.fault("reset", second.target)
    second.bot.wait_for("Connected", PATIENCE, after=mark)
    between = devices(sandbox.client, number)
    assert between[first.device] == before[first.device]
    assert between[second.device] != before[second.device]

    mark = second.bot.last_index()
    sandbox.client.fault("reset", f"connection:{between[first.device]}")
    first.bot.wait_for("Connected", PATIENCE, after=other)
    after = devices(sandbox.client, number)
    assert after[first.device] != between[first.device]
    assert after[second.device] == between[second.device]

    assert fortunes(first.bot, other) == ["Disconnected", "Connected"]
    assert fortunes(second.bot, mark) == []


def test_faults_of_two_bots_at_once_do_not_touch_a_third(
    sandbox: SandboxProcess, online: Linked, neonize: StartNeonize, make_number: Callable[[], str]
) -> None:
    outdated = link(neonize("outdated"), sandbox.client, make_number())
    removed = link(neonize("removed"), sandbox.client, make_number())
    mark, connection = online.bot.last_index(), devices(sandbox.client, online.number)
    sandbox.client.fault("failure", outdated.number, reason=405)
    sandbox.client.fault("reset", outdated.number)
    sandbox.client.fault("logged-out", removed.number)
    outdated.bot.wait_for("ClientOutdated", PATIENCE)
    removed.bot.wait_for("LoggedOut", PATIENCE)
    assert devices(sandbox.client, online.number) == connection
    assert fortunes(online.bot, mark) == []
    assert online.bot.command("status")["is_logged_in"]


def assert_parked(bot: NeonizeProcess) -> None:
    """Show that the library has given up without saying so: connect() goes on."""
    assert bot.command("status")["is_logged_in"] is False
    with pytest.raises(CommandError, match=r"connect\(\) has not ended yet"):
        bot.command("connect")
