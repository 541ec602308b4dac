"""Faults that strike at log-in, in place of WhatsApp's ``<success>``: what neonize makes of each."""

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
    log_in,
    proxy_of,
    stored_sessions,
    wait_for_log,
    wait_until_forgotten,
)
from support.neonize_process import PANICKED, NeonizeProcess

from orchestrator.sandbox.client import SandboxClient
from orchestrator.sandbox.process import SandboxProcess

BANS = {
    101: "SEND_TO_TOO_MANY_PEOPLE",
    102: "BLOCKED_BY_USERS",
    103: "CREATED_TOO_MANY_GROUPS",
    104: "SENT_TOO_MANY_SAME_MESSAGE",
    106: "BROADCAST_LIST",
}
"""The codes of a temporary ban that neonize knows."""
FOREVER = 10**6
"""More log-ins than a test has."""


@pytest.fixture(scope="module")
def account(
    shared_sandbox: SandboxProcess, make_number: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> Linked:
    """A bot that was linked and has ended, for all those faults that leave its session alone."""
    database = tmp_path_factory.mktemp("account") / "bot.sqlite3"
    with NeonizeProcess(database, shared_sandbox.environment()) as bot:
        return link(bot, shared_sandbox.client, make_number())


@pytest.fixture
def bot(account: Linked, neonize: StartNeonize, tmp_path: Path) -> NeonizeProcess:
    """A new process on a copy of that session, about to log in."""
    copy_session(account.bot.database, tmp_path / "bot.sqlite3")
    return neonize("bot")


# What ends the matter


@pytest.mark.parametrize(
    ("fault", "event", "told"),
    [
        *(
            ({"reason": 402, "code": code, "expire": 3600}, "TemporaryBan", {"code": name, "expire": 3600})
            for code, name in BANS.items()
        ),
        ({"reason": 402, "code": 101}, "TemporaryBan", {"code": BANS[101], "expire": 0}),
        ({"reason": 405}, "ClientOutdated", {}),
        ({"reason": 400}, "ConnectFailure", {"reason": "GENERIC", "message": ""}),
        ({"reason": 409}, "ConnectFailure", {"reason": "BAD_USER_AGENT", "message": ""}),
        ({"reason": 501, "message": "no"}, "ConnectFailure", {"reason": "EXPERIMENTAL", "message": "no"}),
    ],
)
def test_a_refusal_is_an_event_of_its_own_and_the_session_is_kept(
    sandbox: SandboxProcess,
    account: Linked,
    bot: NeonizeProcess,
    fault: dict[str, Any],
    event: str,
    told: dict[str, Any],
) -> None:
    sandbox.client.fault("failure", account.target, **fault)
    bot.command("connect")
    assert fields(bot.wait_for(event, PATIENCE)) == told
    assert_down(bot)
    bot.kill()
    assert fortunes(bot) == [event]
    assert stored_sessions(bot.database) == [account.address]


@pytest.mark.parametrize(
    ("fault", "field"),
    [
        ({"reason": 402, "code": 999, "expire": 60}, "TemporaryBan.Code"),
        ({"reason": 402}, "TemporaryBan.Code"),
        ({"reason": 404}, "ConnectFailure.Reason"),
        ({"reason": 415}, "ConnectFailure.Reason"),
        ({"reason": 418}, "ConnectFailure.Reason"),
    ],
)
def test_a_refusal_that_neonize_has_no_word_for_makes_connect_raise(
    sandbox: SandboxProcess, account: Linked, bot: NeonizeProcess, fault: dict[str, Any], field: str
) -> None:
    sandbox.client.fault("failure", account.target, **fault)
    bot.command("connect")
    raised = bot.wait_for("connect_raised", PATIENCE)
    # Go writes one space or the other, so that nobody relies on it; which one depends on the program.
    message = fields(raised)["message"].replace("\u00a0", " ")
    assert (fields(raised)["class"], message) == (
        "NeonizeError",
        f"proto: required field neonize.{field} not set",
    )
    bot.kill()
    assert fortunes(bot) == ["connect_raised"]
    assert stored_sessions(bot.database) == [account.address]


@pytest.mark.parametrize("reason", [413, 414])
def test_a_crash_on_demand_leaves_the_session_for_the_next_process(
    sandbox: SandboxProcess, account: Linked, bot: NeonizeProcess, neonize: StartNeonize, reason: int
) -> None:
    sandbox.client.fault("failure", account.target, reason=reason)
    bot.command("connect")
    assert bot.wait_for_end(PATIENCE) in PANICKED
    assert fortunes(bot) == []
    assert stored_sessions(bot.database) == [account.address]
    log_in(neonize("bot"))


@pytest.mark.parametrize(
    ("reason", "name"), [(401, "LOGGED_OUT"), (403, "MAIN_DEVICE_GONE"), (406, "UNKNOWN_LOGOUT")]
)
def test_a_logout_deletes_the_session_and_the_bot_has_to_be_linked_anew(
    sandbox: SandboxProcess, neonize: StartNeonize, number: str, reason: int, name: str
) -> None:
    linked = link(neonize(), sandbox.client, number)
    linked.bot.kill()
    sandbox.client.fault("failure", linked.target, reason=reason)
    bot = neonize()
    bot.command("connect")
    assert fields(bot.wait_for("LoggedOut", PATIENCE)) == {"on_connect": True, "reason": name}
    wait_until_forgotten(bot)
    assert_down(bot)
    bot.kill()
    assert fortunes(bot) == ["LoggedOut"]
    assert stored_sessions(bot.database) == []
    assert devices(sandbox.client, number) == {}
    anew = neonize()
    anew.command("connect")
    anew.qr(PATIENCE)


def test_what_ends_the_matter_is_not_tried_again(
    sandbox: SandboxProcess, account: Linked, neonize: StartNeonize, tmp_path: Path
) -> None:
    # The last bot is there to be waited for, and begins when the others have heard their end: by the time it
    # has tried three times, at once and 2 s later, they would have tried again as well.
    ends = {"banned": 402, "outdated": 405, "refused": 409, "retrying": 503}
    faults = {}
    for name, reason in ends.items():
        copy_session(account.bot.database, tmp_path / f"{name}.sqlite3")
        why: dict[str, Any] = {"reason": reason, "code": 101} if reason == 402 else {"reason": reason}
        faults[name] = sandbox.client.fault("failure", f"proxy:{name}", times=2, **why)["id"]
    bots = {name: neonize(name, proxy=proxy_of(sandbox, name)) for name in ends}
    told = {"banned": "TemporaryBan", "outdated": "ClientOutdated", "refused": "ConnectFailure"}
    for name in told:
        bots[name].command("connect")
    for name, event in told.items():
        bots[name].wait_for(event, PATIENCE)
    bots["retrying"].command("connect")
    bots["retrying"].wait_for("Connected", PATIENCE)
    assert fortunes(bots["retrying"]) == ["Disconnected", "Disconnected", "Connected"]
    left = {fault["id"]: fault["struck"] for fault in sandbox.client.faults()}
    assert left == {faults[name]: 1 for name in ("banned", "outdated", "refused")}


# What the library tries again


@pytest.mark.parametrize("reason", [500, 503])
def test_a_server_in_trouble_is_tried_again_at_once(
    sandbox: SandboxProcess, account: Linked, bot: NeonizeProcess, reason: int
) -> None:
    sandbox.client.fault("failure", account.number, reason=reason)
    log_in(bot)
    assert fortunes(bot) == ["Disconnected", "Connected"]


def test_three_refusals_are_three_tries_and_not_one_more(
    sandbox: SandboxProcess, account: Linked, bot: NeonizeProcess
) -> None:
    since = sandbox.client.last_event()
    sandbox.client.fault("failure", account.number, times=3, reason=503)
    log_in(bot)
    assert fortunes(bot) == ["Disconnected"] * 3 + ["Connected"]
    assert len(refusals(sandbox.client, since)) == 3
    assert sandbox.client.faults() == []


def test_a_refusal_until_it_is_cleared(sandbox: SandboxProcess, account: Linked, bot: NeonizeProcess) -> None:
    since = sandbox.client.last_event()
    fault = sandbox.client.fault("failure", account.number, times=FOREVER, reason=500)
    bot.command("connect")
    first = sandbox.client.wait_for("login-refused", PATIENCE, since, phone=account.number, reason=500)
    sandbox.client.wait_for("login-refused", PATIENCE, first["seq"], phone=account.number, reason=500)
    (cleared,) = sandbox.client.clear_faults(fault["id"])
    bot.wait_for("Connected", PATIENCE)
    assert fortunes(bot) == ["Disconnected"] * cleared["struck"] + ["Connected"]


def test_a_refusal_for_some_seconds(sandbox: SandboxProcess, account: Linked, bot: NeonizeProcess) -> None:
    since = sandbox.client.last_event()
    sandbox.client.fault("failure", account.number, seconds=1.5, reason=503)
    log_in(bot)
    assert fortunes(bot) == ["Disconnected"] * len(refusals(sandbox.client, since)) + ["Connected"]
    assert sandbox.client.faults() == []


@pytest.mark.parametrize("end", ["reset", "close"])
def test_an_end_instead_of_an_answer_is_a_disconnection(
    sandbox: SandboxProcess, account: Linked, bot: NeonizeProcess, end: str
) -> None:
    since = sandbox.client.last_event()
    sandbox.client.fault("hang", account.number)
    bot.command("connect")
    hung = sandbox.client.wait_for("fault", PATIENCE, since, kind="hang", phone=account.number)
    sandbox.client.fault(end, f"connection:{hung['connection']}")
    bot.wait_for("Connected", PATIENCE)
    assert fortunes(bot) == ["Disconnected", "Connected"]


def test_no_answer_at_all_shows_in_keep_alives_only(
    sandbox: SandboxProcess, account: Linked, bot: NeonizeProcess
) -> None:
    sandbox.client.fault("hang", account.number, phase="success")
    bot.command("connect")
    assert fields(bot.wait_for("KeepAliveTimeout", PATIENCE)) == {"error_count": 1}
    assert fortunes(bot) == ["KeepAliveTimeout"]
    status = bot.command("status")
    assert (status["is_connected"], status["is_logged_in"]) == (True, False)
    sandbox.client.fault("reset", account.number)
    bot.wait_for("Connected", PATIENCE)
    assert fortunes(bot) == ["KeepAliveTimeout", "Disconnected", "Connected"]


# Whom they strike


def test_a_fault_for_unlinked_bots_spares_linked_ones(
    sandbox: SandboxProcess, bot: NeonizeProcess, neonize: StartNeonize
) -> None:
    sandbox.client.fault("failure", "pairing", reason=405)
    log_in(bot)
    assert [fault["struck"] for fault in sandbox.client.faults()] == [0]
    stranger = neonize("stranger")
    stranger.command("connect")
    wait_for_log(stranger, "Client outdated (405) connect failure")
    assert sandbox.client.faults() == []
    assert fortunes(bot) == ["Connected"]


@pytest.mark.parametrize("target", ["all", "number", "device", "connection", "proxy"])
def test_a_fault_finds_whom_it_is_meant_for_and_nobody_else(
    sandbox: SandboxProcess, account: Linked, neonize: StartNeonize, tmp_path: Path, target: str
) -> None:
    copy_session(account.bot.database, tmp_path / "bot.sqlite3")
    bot = neonize("bot", proxy=proxy_of(sandbox, "meant"))
    for other in another_of_each_kind(account):
        sandbox.client.fault("failure", other, reason=405)
    mine = {
        "all": "all",
        "number": account.number,
        "device": account.target,
        "connection": f"connection:{next_connection(sandbox.client)}",
        "proxy": "proxy:meant",
    }
    fault = sandbox.client.fault("failure", mine[target], reason=409)
    bot.command("connect")
    bot.wait_for("ConnectFailure", PATIENCE)
    left = sandbox.client.faults()
    assert fault["id"] not in [fault["id"] for fault in left]
    assert {fault["struck"] for fault in left} == {0}


def another_of_each_kind(linked: Linked) -> Iterator[str]:
    """Yield targets that are close to a bot, and not it."""
    yield from ("pairing", "proxy:meant2", "connection:1000000")
    yield from (f"{linked.number}1", f"{linked.number}:{linked.device + 1}")


def next_connection(sandbox: SandboxClient) -> int:
    """Return the number that the next connection to come will have."""
    # One that was cut before it had asked for anything has a number, and was never opened.
    return max(int(event.get("connection") or 0) for event in sandbox.events()) + 1


def refusals(sandbox: SandboxClient, since: int) -> list[dict[str, Any]]:
    return [event for event in sandbox.events(since) if event["event"] == "login-refused"]


def assert_down(bot: NeonizeProcess) -> None:
    assert bot.command("status")["is_logged_in"] is False
