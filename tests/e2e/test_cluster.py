"""Two machines that share a database: real services, real accounts, and a sandbox that sees every link."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support.conversation import Contact
from support.postgres import FreshDatabase, signal_to
from support.receivers import SECRET, Receiver
from support.service import PATIENCE, Service

from orchestrator.cluster import deadlines
from orchestrator.errors import OrchestratorError
from orchestrator.sandbox.process import SandboxProcess

SOCKET = "http.sock"
NAMES = ["anna", "bert", "cora", "dora"]
QUIET_SECONDS = 8.0
"""After which what was delivered has followed into the database, on a busy machine as well: it takes 2 s."""
BACK_SECONDS = 90.0
"""For all accounts to be connected elsewhere. The goal is 30 s, which benchmarks measure."""


class Pair:
    """Two shards.

    Attributes:
        asked: Those that can answer: one that is frozen would be waited for.
    """

    def __init__(self, one: Service, other: Service, numbers: dict[str, str], fresh: FreshDatabase) -> None:
        self.one, self.other, self.numbers, self.fresh = one, other, numbers, fresh
        self.asked: tuple[Service, ...] = (one, other)

    def where(self) -> dict[str, list[Service]]:
        """Return the services that have each account connected, as they say."""
        found: dict[str, list[Service]] = {name: [] for name in NAMES}
        for service in self.asked:
            try:
                accounts = service.accounts()
            except (OrchestratorError, AssertionError):
                continue  # it is not there
            for about in accounts:
                if about["state"] == "connected" and about["shard"] == service.folder.name:
                    found[about["name"]].append(service)
        return found

    def until_connected(self, *services: Service) -> None:
        """Wait until each account is connected on one of these services, and on no other."""
        until = time.monotonic() + BACK_SECONDS
        while True:
            where = self.where()
            if all(len(having) == 1 and having[0] in services for having in where.values()):
                return
            assert time.monotonic() < until, (
                {name: [one.folder.name for one in having] for name, having in where.items()},
                self.one.log[-40:],
                self.other.log[-40:],
            )
            time.sleep(0.2)

    def until_even(self) -> dict[str, Service]:
        """Wait until both have two accounts, so that none moves any more, and return which has which."""
        until = time.monotonic() + BACK_SECONDS
        while True:
            where = self.where()
            having = [name for name, services in where.items() if services == [self.one]]
            if len(having) == 2 and all(len(services) == 1 for services in where.values()):
                return {name: services[0] for name, services in where.items()}
            assert time.monotonic() < until, (self.one.log[-40:], self.other.log[-40:])
            time.sleep(0.2)

    def timeline(self, name: str) -> list[dict[str, Any]]:
        """Return the history of an account, which moves with the account."""
        found: list[dict[str, Any]] = self.other.client.call("explain", name=name, entries=1000)["timeline"]
        assert found, "it has been connected"
        return found

    def until_replaced(self, name: str, count: int) -> None:
        """Wait until an account was replaced so often."""
        until = time.monotonic() + BACK_SECONDS
        while sum(entry["to"] == "replaced" for entry in self.timeline(name)) < count:
            assert time.monotonic() < until, self.timeline(name)
            time.sleep(0.2)

    def links(self) -> dict[str, int]:
        """Return how many links WhatsApp has of each account."""
        return {name: len(self.one.connections(number)) for name, number in self.numbers.items()}


@contextlib.contextmanager
def two_services(
    fresh: FreshDatabase,
    sandbox: SandboxProcess,
    folder: Path,
    numbers: dict[str, str],
    **settings: Any,  # noqa: ANN401 - as a configuration has them
) -> Iterator[Pair]:
    """Two services that share a database, with linked accounts on each."""
    fresh.ready()
    services = []
    with ExitStack() as running:
        for name in ("one", "two"):
            place = folder / name
            place.mkdir()
            given = {
                "store": {"dsn_file": str(fresh.dsn_file(place))},
                "cluster": {"shard": name},
                **settings,
            }
            accounts = given.pop("accounts", NAMES)
            service = Service(place, sandbox, accounts, **given)
            # By its user the sandbox tells a machine's way out from that of the other.
            way = f"http://{name}:secret-word@127.0.0.1:{sandbox.port}"
            service.environment = {**service.environment, "HTTPS_PROXY": way, "https_proxy": way}
            services.append(running.enter_context(service))
        pair = Pair(services[0], services[1], numbers, fresh)
        for name, number in numbers.items():
            pair_where_it_is(pair, name, number)
        pair.until_connected(*services)
        yield pair


@pytest.fixture
def numbers(make_number: Callable[[], str]) -> dict[str, str]:
    return {name: make_number() for name in NAMES}


@pytest.fixture
def two(
    fresh: FreshDatabase, sandbox: SandboxProcess, tmp_path: Path, numbers: dict[str, str]
) -> Iterator[Pair]:
    """Two services that share a database, with linked accounts on each."""
    with two_services(fresh, sandbox, tmp_path, numbers) as pair:
        yield pair


def sees_all(pair: Pair) -> None:
    """See that a machine without any account lists those of the other, as that has them."""
    until = time.monotonic() + BACK_SECONDS
    while True:
        found = json.loads(pair.one.command("list", "--json").stdout)
        if [(one["name"], one["state"], one["shard"]) for one in found] == [
            (name, "connected", "two") for name in NAMES
        ]:
            break
        assert time.monotonic() < until, found
        time.sleep(0.2)
    assert all(0 <= one["lease_age_s"] < 12 for one in found)
    table = pair.one.command("list").stdout
    assert table.splitlines()[0].split()[:3] == ["NAME", "STATE", "SHARD"]
    assert pair.one.command("explain", "anna").stdout.splitlines()[0] == "anna is connected"
    assert json.loads(pair.one.command("history", "anna", "--json").stdout)


def not_taken(pair: Pair) -> None:
    """See that an order for an account of a machine that is frozen is not done, and says why.

    Where all is slow, its lease may be over meanwhile: then the other machine has the account, and does it.
    """
    where = {
        about["name"]: about["shard"] for about in json.loads(pair.other.command("list", "--json").stdout)
    }
    name = next((name for name, shard in where.items() if shard == "one"), "anna")
    said = pair.other.command("restart", name, check=False)
    if said.returncode == 0:
        (found,) = json.loads(pair.other.command("list", name, "--json").stdout)
        assert found["shard"] == "two"
    else:
        assert f"{name}: the account runs on one, which has not taken the order within 5 s" in said.stderr


def gives_orders(pair: Pair) -> None:
    """See that a machine without any account restarts, stops and starts those of the other."""
    one, other = pair.one, pair.other
    before = {about["name"]: about["pid"] for about in other.accounts()}
    assert one.command("restart", "anna", "--wait").stdout
    assert one.command("stop", "bert", "cora").stdout == "bert: stopped\ncora: stopped\n"
    now = {about["name"]: about for about in other.accounts()}
    assert now["anna"]["pid"] not in (None, before["anna"])
    assert [now[name]["state"] for name in NAMES] == ["connected", "stopped", "stopped", "connected"]
    assert "on one" in json.dumps(pair.timeline("bert")), "the history says who, and where"
    refused = one.command("link", "anna", "--no-wait", check=False)
    assert (refused.returncode, "is linked to a phone already" in refused.stderr) == (1, True), refused
    refused = one.command("send", "anna", "--to", pair.numbers["dora"], "hello", check=False)
    assert "anna runs on the machine two: run the command on that machine" in refused.stderr
    one.command("start", "--all")
    pair.until_connected(other)
    until = time.monotonic() + BACK_SECONDS
    with pair.fresh.superuser() as database:
        while database.execute("SELECT count(*) FROM orchestrator.wanted").fetchone() != (0,):
            assert time.monotonic() < until, "orders stay"
            time.sleep(0.2)


def asked(service: Service, method: str, what: str) -> tuple[int, bytes]:
    """Return what the HTTP API of a machine answers of its accounts; 0 if nobody answers."""
    with contextlib.closing(http.client.HTTPConnection("localhost", timeout=PATIENCE)) as connection:
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(PATIENCE)
        try:
            connection.sock.connect(os.fspath(service.folder / SOCKET))
            connection.request(method, f"/api/accounts{what}")
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            return 0, b""


def open_http(pair: Pair) -> None:
    """Have the first machine open its HTTP API, and wait until the API answers."""
    one = pair.one
    store, path = {"dsn_file": str(pair.fresh.dsn_file(one.folder))}, one.folder / SOCKET
    one.configure(NAMES, store=store, cluster={"shard": "one"}, http={"listen": f"unix:{path}"})
    one.client.call("reload")
    until = time.monotonic() + BACK_SECONDS
    while asked(one, "GET", "")[0] != 200:
        assert time.monotonic() < until, one.log[-40:]
        time.sleep(0.2)


def by_http(pair: Pair) -> None:
    """See that the HTTP API of a machine without any account shows and restarts those of the other."""
    open_http(pair)

    def ask(method: str, what: str) -> tuple[int, Any]:
        status, body = asked(pair.one, method, what)
        return status, json.loads(body)

    until = time.monotonic() + BACK_SECONDS
    _, found = ask("GET", "")
    assert [(about["name"], about["shard"]) for about in found["accounts"]] == [
        (name, "two") for name in NAMES
    ]
    before = {about["name"]: about["pid"] for about in pair.other.accounts()}
    status, found = ask("POST", "/dora/restart")
    assert (status, found["account"]["shard"]) == (200, "two"), found
    status, found = ask("GET", "/dora/code")
    assert (status, found["key"]) == (409, "on_other_shard"), found
    pair.until_connected(pair.other)
    while {about["name"]: about["pid"] for about in pair.other.accounts()}["dora"] in (None, before["dora"]):
        assert time.monotonic() < until + BACK_SECONDS
        time.sleep(0.2)
    pair.until_connected(pair.other)


def until_maintenance(service: Service, *, on: bool) -> None:
    until = time.monotonic() + BACK_SECONDS
    while service.client.call("maintenance")["on"] is not on:
        assert time.monotonic() < until, service.log[-40:]
        time.sleep(0.2)


def pair_where_it_is(pair: Pair, name: str, number: str) -> None:
    until = time.monotonic() + BACK_SECONDS
    while True:
        for service in (pair.one, pair.other):
            own = service.client.call("list", own=True)["accounts"]
            if any(about["name"] == name for about in own):
                service.pair(name, number)
                return
        assert time.monotonic() < until, (pair.one.log[-40:], pair.other.log[-40:])
        time.sleep(0.1)


def test_a_machine_that_is_killed_is_made_up_for(two: Pair) -> None:
    two.one.kill()
    two.until_connected(two.other)
    assert set(two.links().values()) == {1}
    two.fresh.server.stop()
    try:  # also when the accounts have been given up, which they are after eight seconds
        two.other.wait_for_log("the lease of this shard cannot be renewed")
        until = time.monotonic() + BACK_SECONDS
        while two.other.client.call("list", own=True)["accounts"]:
            assert time.monotonic() < until
            time.sleep(0.2)
        expected = [(name, "backoff", "store") for name in NAMES]
        while True:  # for a moment, what was seen last is shown
            listed = json.loads(two.other.command("list", "--json").stdout)
            if [(one["name"], one["state"], one["kind"]) for one in listed] == expected:
                break
            assert time.monotonic() < until, listed
            time.sleep(0.2)
        refused = two.other.command("restart", "anna", check=False)
        assert "the database" in refused.stderr, refused
    finally:
        two.fresh.server.start()
    two.until_connected(two.other)


def test_a_machine_that_stops_hands_its_accounts_over_and_gets_some_back(two: Pair) -> None:
    assert two.one.stop() == 0
    two.until_connected(two.other)
    two.one.start()
    until = time.monotonic() + BACK_SECONDS
    while not two.one.client.call("list", own=True)["accounts"]:
        assert time.monotonic() < until
        time.sleep(0.2)
    two.until_connected(two.one, two.other)


def test_a_machine_that_was_frozen_makes_no_fight(two: Pair) -> None:
    frozen = []
    for pid in (two.one.pid, *(process.pid for process in two.one.processes())):
        with contextlib.suppress(ProcessLookupError):  # one that has just done what it was started for
            os.kill(pid, signal.SIGSTOP)
            frozen.append(pid)
    two.asked = (two.other,)
    try:
        not_taken(two)
        two.until_connected(two.other)
        before = {name: len(two.timeline(name)) for name in NAMES}
    finally:
        signal_to(frozen, signal.SIGCONT)  # the first one that goes on may end the others at once
    two.asked = (two.one, two.other)
    two.one.wait_for_log("begins anew")
    two.until_connected(two.one, two.other)
    assert set(two.links().values()) == {1}
    for name in NAMES:
        after = two.timeline(name)[before[name] :]
        assert "replaced" not in {entry.get("kind") for entry in after}, after


def test_an_operator_moves_an_account_drains_a_machine_and_sees_who_runs_what(two: Pair) -> None:
    two.one.command("cluster", "drain", "one")
    two.until_connected(two.other)
    status = json.loads(two.one.command("cluster", "status", "--json").stdout)
    assert status["accounts"] == dict.fromkeys(NAMES, "two")
    assert status["drained"] == ["one"]
    assert "drained" in two.other.command("cluster", "status").stdout
    sees_all(two)
    gives_orders(two)
    by_http(two)
    for asked, switch in ((two.one, "on"), (two.other, "off")):
        asked.command("maintenance", switch)
        for service in (two.one, two.other):
            until_maintenance(service, on=switch == "on")
    two.one.command("cluster", "drain", "one", "--undo")
    two.other.command("cluster", "move", "cora", "one")
    until = time.monotonic() + BACK_SECONDS
    while two.where()["cora"] != [two.one]:
        assert time.monotonic() < until
        time.sleep(0.2)
    two.until_connected(two.one, two.other)


def test_a_version_that_whatsapp_refuses_holds_both_machines_until_one_account_is_let_in(
    two: Pair, sandbox: SandboxProcess
) -> None:
    where = two.until_even()
    mine = [name for name in NAMES if where[name] is two.one]
    others = [name for name in NAMES if where[name] is two.other]
    for name in (mine[1], others[1]):
        where[name].command("stop", name)
    for number in two.numbers.values():
        sandbox.client.fault("failure", number, reason=405, endless=True)
    begun = sandbox.client.last_event()
    for name in (mine[0], others[0]):  # one of each machine, and the word of one alone holds nobody
        sandbox.client.fault("reset", two.numbers[name])
        where[name].wait_for_state(name, "outdated")
    for service in (two.one, two.other):  # either starts the other's accounts, too: both know it by then
        service.wait_for_log("no account connects until neonize is updated")
    for service in (two.one, two.other):
        service.command("start", "--all", check=False)  # it says that they wait
    for name, service in where.items():
        service.wait_for_state(name, "outdated")
    status = json.loads(two.one.command("cluster", "status", "--json").stdout)
    (refused,) = status["refused"]
    assert (refused["shard"], refused["account"]) == (None, None)
    assert 0 < refused["next_in"] <= 900
    assert "WhatsApp has refused neonize" in two.other.command("cluster", "status").stdout
    refusals = [one for one in sandbox.client.events(begun) if one["event"] == "login-refused"]
    tried = {name for name in NAMES if any(one["phone"] == two.numbers[name] for one in refusals)}
    assert tried == {mine[0], others[0]}, "the others have not even tried"
    sandbox.client.clear_faults()
    where[mine[0]].command("start", mine[0])  # whom an operator names is tried at once
    two.until_connected(two.one, two.other)
    assert json.loads(two.one.command("cluster", "status", "--json").stdout)["refused"] == []


def test_another_program_is_no_machine_of_the_cluster_and_who_alone_lost_whatsapp_hands_on(
    two: Pair, sandbox: SandboxProcess
) -> None:
    where = two.until_even()
    for count in range(3):
        sandbox.client.fault("replaced", two.numbers["anna"])
        two.until_replaced("anna", count + 1)
        two.until_connected(two.one, two.other)
        assert two.where()["anna"] == [where["anna"]], "the database says that it is still of this machine"
    sandbox.client.fault("replaced", two.numbers["anna"])
    about = where["anna"].wait_for_state("anna", "replaced")
    assert about["next_retry_at"] is not None, "as with one machine from now on"
    where["anna"].command("start", "anna")
    two.until_connected(two.one, two.other)

    sandbox.client.fault("refuse", "proxy:two")
    until = time.monotonic() + 2 * BACK_SECONDS
    while any(having != [two.one] for having in two.where().values()):
        assert time.monotonic() < until, (two.one.log[-40:], two.other.log[-40:])
        time.sleep(0.5)
    assert set(two.links().values()) == {1}
    for name in (name for name in NAMES if where[name] is two.other):
        assert "the account goes to another machine" in json.dumps(two.timeline(name))
    assert "takes no accounts" in two.one.command("cluster", "status").stdout


class Told:
    """A webhook of both machines, and somebody who writes to all accounts.

    Attributes:
        sent: The messages, by WhatsApp's id.
    """

    def __init__(self, pair: Pair, receiver: Receiver, contact: Contact) -> None:
        self.pair, self.receiver, self._contact = pair, receiver, contact
        self.sent: list[str] = []

    def write(self, each: int) -> list[str]:
        new = [
            self._contact.write(number, f"text {turn}")
            for turn in range(each)
            for number in self.pair.numbers.values()
        ]
        self.sent += new
        return new

    def until_taken(self) -> None:
        """Wait until the webhook has had all that was written."""
        until = time.monotonic() + BACK_SECONDS
        while missing := set(self.sent) - set(self.ids()):
            logs = self.pair.one.log[-20:], self.pair.other.log[-20:]
            assert time.monotonic() < until, (len(missing), *logs)
            time.sleep(0.2)

    def ids(self) -> list[str]:
        return [str(one.event["data"].get("id")) for one in self.receiver.taken]

    def twice(self) -> set[str]:
        return {one for one, times in Counter(self.ids()).items() if times > 1}


def test_a_webhook_gets_everything_once_however_accounts_move(
    fresh: FreshDatabase,
    sandbox: SandboxProcess,
    tmp_path: Path,
    numbers: dict[str, str],
    make_number: Callable[[], str],
) -> None:
    secret = tmp_path / "hook.secret"
    secret.touch(mode=0o600)
    secret.write_text(f"whsec_{b64encode(SECRET).decode()}\n")
    contact = Contact(make_number(), sandbox.client)
    sandbox.client.add_phone(contact.number, "Ada")
    with Receiver() as receiver:
        hook = {"url": receiver.url, "secret_file": str(secret), "events": ["message.received"]}
        accounts = {name: {"messages": {"allow": "*"}} for name in NAMES}
        given = {"accounts": accounts, "webhooks": {"crm": hook}}
        with two_services(fresh, sandbox, tmp_path, numbers, **given) as two:
            told = Told(two, receiver, contact)
            told.write(3)
            told.until_taken()

            # In good order, nothing comes twice: a drain, and a service that stops.
            two.one.command("cluster", "drain", "one")
            told.write(2)
            two.until_connected(two.other)
            told.write(2)
            told.until_taken()
            two.one.command("cluster", "drain", "one", "--undo")
            assert two.other.stop() == 0
            told.write(2)
            two.until_connected(two.one)
            told.until_taken()
            assert told.twice() == set()

            # What was delivered some seconds before a machine is lost is not delivered again.
            two.other.start()
            two.until_connected(two.one, two.other)
            told.write(1)
            told.until_taken()
            time.sleep(QUIET_SECONDS)
            last = told.write(3)
            told.until_taken()  # what the library has taken and not handed over is lost by a kill
            two.one.kill()
            two.until_connected(two.other)
            last += told.write(1)
            told.until_taken()
            assert told.twice() <= set(last)
            assert receiver.wrong == []
            assert receiver.disorder() == []


def test_an_account_that_is_logged_out_stays_where_it_is_and_each_machine_shows_its_new_code(
    two: Pair, sandbox: SandboxProcess
) -> None:
    where, service = two.until_even(), two.other
    name = next(name for name in NAMES if where[name] is service)
    assert service.client.call("log_out", name=name)["unlinked"] is True
    until = time.monotonic() + 4 * deadlines.RENEW_SECONDS
    while time.monotonic() < until:
        own = {about["name"]: about for about in service.client.call("list", own=True)["accounts"]}
        assert own[name]["state"] == "stopped", "another machine would have it otherwise"
        status = json.loads(two.one.command("cluster", "status", "--json").stdout)
        assert status["accounts"][name] == service.folder.name
        time.sleep(0.5)
    service.command("start", name)
    service.wait_for_state(name, "pairing")
    open_http(two)
    status_code, picture = 0, b""
    while status_code != 200:  # the other machine shows the code, too, as soon as it is in the database
        assert time.monotonic() < until + BACK_SECONDS, picture
        status_code, picture = asked(two.one, "GET", f"/{name}/qr.png")
        time.sleep(0.2)
    sandbox.client.scan(two.numbers[name], png=picture)
    service.wait_for_state(name, "connected")
