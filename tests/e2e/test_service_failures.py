"""Each kind of failure as an operator sees it: one service in which everything goes wrong at once."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest
from support.cli import bare
from support.kept import Contents
from support.neonize_process import PANICKED
from support.service import PATIENCE, QUICK, Accounts, Json, Service

from orchestrator.sandbox.process import SandboxProcess

pytestmark = [pytest.mark.timeout(900), pytest.mark.both_stores]

REFUSALS: Mapping[str, Json] = {
    "unlinked": {"reason": 401},
    "gone": {"reason": 403},
    "returning": {"reason": 403},
    "locked": {"reason": 406},
    "banned": {"reason": 402, "code": 101, "expire": 3600},
    "refused": {"reason": 409, "message": "no such client", "times": 10},
    "busy": {"reason": 503, "times": 2},
    "panics": {"reason": 413},
}
"""Faults at the log-in of accounts that are linked."""
LINKED = (*REFUSALS, "healthy", "replaced", "unreachable", "damaged")
UNLINKED = ("expired", "passkey", "wrong")
CALM = {
    "unlinked": "pairing",
    "gone": "banned",
    "returning": "banned",
    "locked": "banned",
    "banned": "banned",
    "refused": "failed",
    "busy": "connected",
    "panics": "connected",
    "healthy": "connected",
    "damaged": "pairing",
    "expired": "failed",
    "passkey": "failed",
    "wrong": "failed",
}
"""Where each comes to rest; who is replaced does so for a minute only."""


@dataclass
class Ward:
    """The service and its accounts, each where its trouble has led it.

    Attributes:
        numbers: The phones of those that are linked.
        before: The sessions as they were before the trouble.
        known: How many entries their timelines had.
        since: The sandbox's last event before.
        healthy: The process and the connection of the one without trouble.
        replaced: The one that is replaced, as it was shown then.
        explained: What was explained of it then.
        listed: The list at that moment, when all others had come to rest.
    """

    service: Service
    sandbox: SandboxProcess
    numbers: dict[str, str]
    before: dict[str, Contents]
    known: dict[str, int]
    since: int
    healthy: tuple[int, int]
    replaced: Json
    explained: str
    listed: str

    def entries(self, name: str) -> list[Json]:
        return self.service.timeline(name)[self.known.get(name, 0) :]

    def entry(self, name: str, kind: str) -> Json:
        """Return the only entry of a kind, that of the state it led to."""
        (entry,) = [one for one in self.entries(name) if one["kind"] == kind and one["to"] != "starting"]
        return entry

    def tries(self, name: str) -> list[Json]:
        """Return how WhatsApp has answered an account's tries to log in."""
        return [
            event
            for event in self.sandbox.client.events(self.since)
            if event["event"] in ("login", "login-refused") and event.get("phone") == self.numbers[name]
        ]

    def explain(self, name: str) -> str:
        return bare(self.service.command("explain", name).stdout)

    def has_kept_its_session(self, name: str) -> bool:
        return self.service.kept.session(name) == self.before[name] and not self.service.quarantined(name)


@pytest.fixture(scope="module")
def ward(
    shared_sandbox: SandboxProcess, make_number: Callable[[], str], make_folder: Callable[[], Path]
) -> Iterator[Ward]:
    client = shared_sandbox.client
    numbers = {name: make_number() for name in LINKED}

    def through_own_proxy(name: str) -> Json:
        return {"proxy": f"http://{name}:secret-word@127.0.0.1:{shared_sandbox.port}"}

    accounts: dict[str, Json] = {name: {} for name in LINKED}
    accounts["refused"] = {"max_retries": 2}
    slow = {**QUICK, "base": "1h", "max": "1h"}
    accounts["unreachable"] = {**through_own_proxy("unreachable"), "backoff": slow}
    accounts["expired"] = {**through_own_proxy("expired"), "pairing_rounds": 2, "enabled": False}
    accounts["passkey"] = {**through_own_proxy("passkey"), "enabled": False}
    accounts["wrong"] = {"phone": "+15550100", "enabled": False}
    with Service(make_folder(), shared_sandbox, accounts) as service:
        for name, number in numbers.items():
            service.pair(name, number)
        healthy = (service.child("healthy"), service.connection(numbers["healthy"]))
        troubled = [name for name in LINKED if name != "healthy"]
        service.command("stop", *troubled)
        service.kept.damage_session("damaged")
        before = {name: service.kept.session(name) for name in troubled}
        known = {name: len(service.timeline(name)) for name in LINKED}
        since = client.last_event()
        for name, fault in REFUSALS.items():
            client.fault("failure", numbers[name], **fault)
        client.fault("http", "proxy:unreachable", status=503, times=10)
        client.fault("short-qr", "proxy:expired", after=1, times=10)
        client.fault("passkey", "proxy:passkey")
        for values in accounts.values():
            values.pop("enabled", None)
        service.configure(accounts)
        service.command("reload")
        service.command("start", *troubled)
        numbers["wrong"] = make_number()
        service.scan("wrong", numbers["wrong"])
        at_last = {**CALM, "unreachable": "backoff", "replaced": "connected"}

        def calm(found: Accounts) -> bool:
            return all(found[name]["state"] == state for name, state in at_last.items())

        service.until(calm, "all have come to rest", timeout=3 * PATIENCE)
        # Last, as it is tried again after a minute.
        client.fault("replaced", numbers["replaced"])
        replaced = service.wait_for_state("replaced", "replaced")
        explained = service.command("explain", "replaced").stdout
        listed = service.command("list").stdout
        yield Ward(
            service, shared_sandbox, numbers, before, known, since, healthy, replaced, explained, listed
        )
        client.clear_faults()


def test_who_has_no_trouble_notices_none(ward: Ward) -> None:
    assert (ward.service.child("healthy"), ward.service.connection(ward.numbers["healthy"])) == ward.healthy
    assert ward.entries("healthy") == []
    assert ward.tries("healthy") == []


def test_401_ends_the_session_and_the_account_is_paired_again(ward: Ward) -> None:
    entry = ward.entry("unlinked", "logged_out")
    assert (entry["from"], entry["to"], entry["code"]) == ("connecting", "backoff", 401)
    (place,) = ward.service.quarantined("unlinked", "logged_out")
    assert len(place.devices()) <= 1
    assert ward.service.wait_for_code("unlinked")
    assert "scan" in ward.explain("unlinked")
    assert len(ward.tries("unlinked")) == 1


@pytest.mark.parametrize(("name", "code"), [("gone", 403), ("locked", 406)])
def test_403_and_406_lock_the_account_until_somebody_repairs_it(ward: Ward, name: str, code: int) -> None:
    entry = ward.entry(name, "locked")
    assert (entry["to"], entry["code"], entry["delay"]) == ("banned", code, None)
    about = ward.service.about(name)
    assert f"({code})" in about["reason"]
    assert f"orchestrator repair {name}" in about["reason"]
    assert (about["next_retry_at"], about["pid"], about["qr_path"]) == (None, None, None)
    assert f"orchestrator repair {name}" in ward.explain(name)
    assert ward.service.quarantined(name, "locked")
    assert not ward.service.kept.has_session(name)
    assert len(ward.tries(name)) == 1


def test_a_locked_account_is_let_in_again_after_a_repair(ward: Ward) -> None:
    assert ward.entry("returning", "locked")["to"] == "banned"
    ward.service.command("repair", "returning", "--no-wait")
    ward.service.pair("returning", ward.numbers["returning"])


def test_a_ban_is_waited_for(ward: Ward) -> None:
    entry = ward.entry("banned", "temporary_ban")
    assert (entry["to"], entry["code"]) == ("banned", 101)
    about = ward.service.about("banned")
    assert 3600 < entry["delay"] <= 3600 + 45
    assert seconds_between(entry["at"], about["next_retry_at"]) == pytest.approx(entry["delay"], abs=2)
    assert "wrote to too many people" in about["reason"]
    assert "an earlier try makes a ban longer" in ward.explain("banned")
    # Neither order makes it dial before the time that WhatsApp named.
    ward.service.command("start", "banned")
    ward.service.command("restart", "banned")
    assert ward.service.about("banned")["state"] == "banned"
    assert len(ward.tries("banned")) == 1
    assert ward.has_kept_its_session("banned")


def test_another_refusal_is_given_up_after_some_tries(ward: Ward) -> None:
    entries = [one for one in ward.entries("refused") if one["kind"] == "refused" and one["to"] != "starting"]
    assert [(one["to"], one["attempt"], one["code"]) for one in entries] == [
        ("backoff", 1, 409), ("backoff", 2, 409), ("failed", 3, 409)
    ]  # fmt: skip
    about = ward.service.about("refused")
    assert "409" in about["reason"]
    assert "3 times in a row" in about["reason"]
    assert "orchestrator start refused" in ward.explain("refused")
    assert [event["reason"] for event in ward.tries("refused")] == [409] * 3
    assert ward.has_kept_its_session("refused")


def test_a_server_in_trouble_is_only_the_network(ward: Ward) -> None:
    assert [one["to"] for one in ward.entries("busy")] == ["starting", "connecting", "connected"]
    assert [event["event"] for event in ward.tries("busy")] == ["login-refused"] * 2 + ["login"]


def test_a_panic_of_the_library_costs_a_process_and_no_session(ward: Ward) -> None:
    entry = ward.entry("panics", "crash")
    assert entry["to"] == "backoff"
    assert not ward.service.quarantined("panics")
    last_exit = ward.service.about("panics")["last_exit"]
    assert last_exit["code"] in PANICKED
    if last_exit["code"] == -signal.SIGABRT:
        assert "SIGABRT" in entry["reason"]
        assert "Fatal Python error: Aborted" in Path(last_exit["traceback"]).read_text()
    else:
        assert f"exit code {last_exit['code']}" in entry["reason"]


def test_a_session_that_is_taken_over_is_not_fought_for(ward: Ward) -> None:
    entry = ward.entry("replaced", "replaced")
    assert (entry["from"], entry["to"], entry["delay"]) == ("connected", "replaced", 60)
    assert seconds_between(entry["at"], ward.replaced["next_retry_at"]) == pytest.approx(60, abs=2)
    assert "stop the other program" in ward.explained
    assert not ward.service.quarantined("replaced")
    tries = ward.tries("replaced")
    assert len(tries) == 1 or tries[1]["at"] - unix(entry["at"]) > 59


def test_whoever_is_unreachable_waits_and_keeps_its_session(ward: Ward) -> None:
    entry = ward.entry("unreachable", "network")
    assert entry["to"] == "backoff"
    assert entry["delay"] == 3600
    assert "503" in entry["reason"]
    assert ward.tries("unreachable") == []
    assert ward.has_kept_its_session("unreachable")
    assert "orchestrator doctor" in ward.explain("unreachable")
    assert "secret-word" not in "".join(ward.service.log) + ward.explain("unreachable")
    # Nothing but its own proxy was asked.
    opened = [event for event in ward.sandbox.client.events(ward.since) if event["event"] == "opened"]
    assert len([event for event in opened if event.get("user") == "unreachable"]) == 1


def test_a_damaged_session_is_put_away_and_the_account_paired_again(ward: Ward) -> None:
    entry = ward.entry("damaged", "damaged")
    assert entry["to"] == "backoff"
    (place,) = ward.service.quarantined("damaged", "damaged")
    assert place.contents() == ward.before["damaged"]
    assert ward.tries("damaged") == []


def test_codes_are_not_made_for_nobody(ward: Ward) -> None:
    entries = [one for one in ward.entries("expired") if one["kind"] == "pairing_expired"]
    assert [(one["to"], one["attempt"]) for one in entries if one["to"] != "starting"] == [
        ("backoff", 1), ("failed", 2)
    ]  # fmt: skip
    about = ward.service.about("expired")
    assert about["reason"] == (
        "nobody used a code in 2 rounds; run `orchestrator qr expired` when somebody can scan a code"
    )
    assert about["qr_path"] is None
    assert not ward.service.png("expired").exists()
    assert "qr expired`" in ward.explain("expired")


def test_a_passkey_cannot_be_given_and_the_account_says_so(ward: Ward) -> None:
    assert ward.entry("passkey", "passkey")["to"] == "failed"
    assert "passkey" in ward.service.about("passkey")["reason"]
    assert "cannot be linked with this version" in ward.explain("passkey")


def test_the_wrong_phone_is_unlinked_again(ward: Ward) -> None:
    assert ward.entry("wrong", "wrong_phone")["to"] == "failed"
    about = ward.service.about("wrong")
    assert "unlinked again" in about["reason"]
    number = ward.numbers["wrong"]
    (phone,) = [one for one in ward.sandbox.client.phones() if one["phone"] == number]
    assert phone["devices"] == []
    assert ward.service.quarantined("wrong", "wrong_phone")
    assert number[1:] not in ward.explain("wrong")
    assert "15550100" not in ward.explain("wrong")
    assert "orchestrator repair wrong" in ward.explain("wrong")


def test_the_list_shows_it_all(ward: Ward) -> None:
    rows = {line.split()[0]: line for line in ward.listed.splitlines()}
    for name, state in {**CALM, "unreachable": "backoff", "replaced": "replaced"}.items():
        assert f" {state} " in rows[name]
    assert "banned the account for 1 h" in rows["banned"]
    done = ward.service.command("list", "--check", check=False)
    assert done.returncode == 3
    assert ward.service.command("list", "--check", "healthy", "busy").returncode == 0


# One alone


@pytest.mark.files_only("a folder in place of a session")
def test_a_session_that_cannot_be_used_is_the_operators_to_mend(
    sandbox: SandboxProcess, folder: Path
) -> None:
    with Service(folder, sandbox, ["misplaced"], start=False) as service:
        service.files.session_file("misplaced").mkdir(parents=True)
        service.start()
        about = service.wait_for_state("misplaced", "failed")
        assert (about["kind"], about["pid"]) == ("config", None)
        assert "move it away" in about["reason"]
        assert service.files.session_file("misplaced").is_dir()


# One for all


def test_a_client_that_whatsapp_refuses_holds_the_fleet_and_nobody_who_is_connected(
    sandbox: SandboxProcess, make_number: Callable[[], str], folder: Path
) -> None:
    numbers = {name: make_number() for name in ("connected", "first", "second", "third")}
    # Each is known by its user: there are other services in this sandbox.
    proxies = {name: {"proxy": f"http://405-{name}:secret-word@127.0.0.1:{sandbox.port}"} for name in numbers}
    with Service(folder, sandbox, proxies) as service:
        for name, number in numbers.items():
            service.pair(name, number)
        link = (service.child("connected"), service.connection(numbers["connected"]))
        refused = ("first", "second", "third")
        service.command("stop", *refused)
        before = {name: service.kept.session(name) for name in refused}
        since = sandbox.client.last_event()
        for name in ("first", "second"):  # the word of one alone holds nobody
            sandbox.client.fault("failure", numbers[name], reason=405)
            service.command("start", name)
            service.wait_for_state(name, "outdated")
            entry = service.wait_for_entry(name, kind="outdated")
            assert (entry["to"], entry["code"]) == ("outdated", 405)
        service.wait_for_log("no account connects until neonize is updated")
        service.command("start", "--all")
        about = service.wait_for_state("third", "outdated")
        assert (about["pid"], about["kind"]) == (None, "outdated")
        assert "pip install --upgrade neonize" in service.command("explain", "third").stdout
        assert {name: service.kept.session(name) for name in before} == before
        assert (service.child("connected"), service.connection(numbers["connected"])) == link
        opened = [event.get("user") for event in sandbox.client.events(since) if event["event"] == "opened"]
        dialed = [user for user in opened if user and user.startswith("405-")]
        assert dialed == ["405-first", "405-second"]

        # Whom an operator names is tried at once, and what WhatsApp says then is news for all.
        service.command("restart", "second")
        for name in numbers:
            service.wait_for_state(name, "connected")


def test_what_whatsapp_forbade_outlives_the_service(
    sandbox: SandboxProcess, number: str, folder: Path
) -> None:
    proxy = {"proxy": f"http://forbidden:secret-word@127.0.0.1:{sandbox.port}"}
    with Service(folder, sandbox, {"support": proxy}) as service:
        service.pair("support", number)
        sandbox.client.fault("failure", number, reason=402, code=104, expire=7200)
        service.command("restart", "support")
        until = service.wait_for_state("support", "banned")["next_retry_at"]
        session = service.kept.session("support")
        service.stop()
        (offline,) = json.loads(service.command("list", "--json").stdout)
        assert (offline["state"], offline["next_retry_at"]) == ("banned", until)
        since = sandbox.client.last_event()
        service.start()
        about = service.about("support")
        assert about["state"] == "banned"
        assert seconds_between(until, about["next_retry_at"]) == pytest.approx(0, abs=2)
        assert "too often" in about["reason"]
        assert "an earlier try makes a ban longer" in service.command("explain", "support").stdout
        assert service.kept.session("support") == session
        opened = [event.get("user") for event in sandbox.client.events(since) if event["event"] == "opened"]
        assert "forbidden" not in opened


def unix(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()


def seconds_between(earlier: str, later: str) -> float:
    return unix(later) - unix(earlier)
