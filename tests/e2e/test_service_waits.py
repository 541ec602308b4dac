"""When the next try comes, for what is waited out: a short ban, a link that is lost, and nothing at all."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from support.service import PATIENCE, QUICK, Json, Service

from orchestrator.accounts.policy import BAN_MARGIN, BAN_SPREAD
from orchestrator.sandbox.process import SandboxProcess

BAN = 15
"""Seconds of the ban; WhatsApp's are hours."""
LATE = 60
"""What a machine that is busy with other tests may add to a deadline."""
ENTRY = {"n", "at", "from", "to", "kind", "reason", "code", "attempt", "delay", "version", "others"}
"""What a change of state says of itself, beside who caused it if somebody has."""


def test_a_ban_is_followed_by_one_try_just_after_its_end(
    sandbox: SandboxProcess, make_number: Callable[[], str], folder: Path
) -> None:
    numbers = {name: make_number() for name in ("banned", "other")}
    with Service(folder, sandbox, list(numbers)) as service:
        for name, number in numbers.items():
            service.pair(name, number)
        other = (service.child("other"), service.connection(numbers["other"]))
        known = {name: len(service.timeline(name)) for name in numbers}
        service.command("stop", "banned")
        session = service.kept.session("banned")
        sandbox.client.fault("failure", numbers["banned"], reason=402, code=104, expire=BAN)
        since = sandbox.client.last_event()
        service.command("start", "banned")
        about = service.wait_for_state("banned", "banned")
        outlook = service.explain("banned")["outlook"]
        # Impatience does not bring it forward, nor does it put it off.
        for order in ("start", "restart"):
            service.client.call(order, names=["banned"])
            assert service.about("banned")["next_retry_at"] == about["next_retry_at"]
        assert " banned " in service.command("list", "banned").stdout
        assert service.kept.session("banned") == session
        refused = sandbox.client.wait_for("login-refused", PATIENCE, since, phone=numbers["banned"])["at"]

        # What the operator sees is when it comes: not before the ban's end, at the most a minute later.
        next_try = datetime.fromisoformat(about["next_retry_at"]).timestamp()
        assert refused + BAN - 1 <= next_try <= refused + BAN + BAN_MARGIN + BAN_SPREAD + LATE
        assert "too often" in about["reason"]
        assert "once, just after the ban ends" in outlook["next"]
        assert outlook["at"] == about["next_retry_at"]

        service.wait_for_state("banned", "connected", timeout=2 * PATIENCE)
        tries = [
            event
            for event in sandbox.client.events(since)
            if event["event"] in ("login", "login-refused") and event["phone"] == numbers["banned"]
        ]
        assert [event["event"] for event in tries] == ["login-refused", "login"]
        assert BAN <= tries[1]["at"] - refused <= BAN + BAN_MARGIN + BAN_SPREAD + LATE
        assert tries[1]["at"] >= next_try - 1
        assert not service.quarantined("banned")

        entries = service.timeline("banned")[known["banned"] :]
        assert [entry["to"] for entry in entries] == [
            "stopped", "starting", "connecting", "banned", "starting", "connecting", "connected"
        ]  # fmt: skip
        for entry in entries:
            ordered = {"by"} if entry in entries[:2] else set()  # by who has called `stop` and `start`
            assert set(entry) == ENTRY | ordered
            assert entry["version"] == version("neonize")
        ban = entries[3]
        assert (ban["kind"], ban["code"], ban["attempt"]) == ("temporary_ban", 104, 1)
        assert BAN + BAN_MARGIN <= ban["delay"] <= BAN + BAN_MARGIN + BAN_SPREAD
        assert ban["others"] <= 1, "there is one other account"
        # The other one has noticed nothing.
        assert (service.child("other"), service.connection(numbers["other"])) == other
        assert len(service.timeline("other")) == known["other"]


def test_a_link_that_is_lost_is_dialled_again_by_the_same_process(
    sandbox: SandboxProcess, make_number: Callable[[], str], folder: Path
) -> None:
    numbers = {name: make_number() for name in ("cut", "other")}
    proxy = {"proxy": f"http://cut:secret-word@127.0.0.1:{sandbox.port}"}
    with Service(folder, sandbox, {"cut": proxy, "other": {}}) as service:
        for name, number in numbers.items():
            service.pair(name, number)
        other = (service.child("other"), service.connection(numbers["other"]))
        pid, known = service.child("cut"), len(service.timeline("cut"))
        since = sandbox.client.last_event()
        fault = sandbox.client.fault("refuse", "proxy:cut")
        about = service.wait_for_state("cut", "reconnecting")
        assert (about["pid"], about["kind"], about["uptime_s"]) == (pid, "network", None)
        assert "keeps trying to reconnect" in service.explain("cut")["outlook"]["next"]
        assert service.command("list", "--check", check=False).returncode == 3
        sandbox.client.wait_for("refused", PATIENCE, since)  # it does try
        sandbox.client.clear_faults(fault["id"])
        service.wait_for_state("cut", "connected")
        assert service.child("cut") == pid
        entries = service.timeline("cut")[known:]
        assert [(entry["to"], entry["kind"]) for entry in entries] == [
            ("reconnecting", "network"), ("connected", None)
        ]  # fmt: skip
        assert not service.quarantined("cut")
        assert (service.child("other"), service.connection(numbers["other"])) == other


def test_a_limit_that_no_process_keeps_to_is_refused_and_the_least_that_is_taken_costs_no_log_in(
    sandbox: SandboxProcess, make_number: Callable[[], str], folder: Path
) -> None:
    accounts: dict[str, Json] = {"one": {"backoff": {**QUICK, "reset_after": "1s"}}}
    with Service(folder, sandbox, accounts) as service:
        service.pair("one", make_number())
        pid = service.child("one")
        service.command("restart", "one")  # a process that has linked its account may have more for a while
        pid = service.wait_for_state("one", "connected", after=pid)["pid"]
        known = len(service.timeline("one"))
        accounts["one"]["memory_limit"] = "16M"
        service.configure(accounts)
        refused = service.command("reload", check=False)
        assert refused.returncode == 1
        assert "from 48M" in refused.stderr
        accounts["one"]["memory_limit"] = "48M"
        service.configure(accounts)
        service.command("reload")
        seen = service.about("one")["last_seen_at"]
        service.until(
            lambda all_: all_["one"]["last_seen_at"] != seen, "it says what it uses", timeout=PATIENCE
        )
        about = service.about("one")
        assert (about["pid"], about["state"], about["reason"]) == (pid, "connected", None), about
        assert 0 < about["memory_bytes"] <= 48 << 20
        assert len(service.timeline("one")) == known
