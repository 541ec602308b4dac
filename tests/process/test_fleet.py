"""What all accounts have in common, with the real supervisor and processes: waits that are cut short here."""

import time
from datetime import datetime
from pathlib import Path

import pytest
from support.fleet import QUICK, Fleet, asynchronous

from orchestrator.accounts import breaker, policy
from orchestrator.accounts import fleet as fleets
from orchestrator.accounts.events import Order
from orchestrator.accounts.settings import AccountSettings, Backoff
from orchestrator.accounts.states import State
from orchestrator.store import status

ONLINE = ["connecting", "connected", "idle"]
NO_NETWORK = ["connecting", "end: network"]
PATIENT = Backoff(base=3600, max=3600)
"""A back-off that is not to be waited for."""


def runs(fleet: Fleet, *names: str) -> dict[str, int]:
    return {name: len(fleet.puppets.runs(name)) for name in names}


def sessions(fleet: Fleet, *names: str) -> dict[str, bytes]:
    return {name: fleet.paths.session(name).read_bytes() for name in names}


# One that was replaced


@asynchronous
async def test_the_tries_to_take_a_session_back_are_few_and_ever_further_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = (0.2, 0.4, 0.8)
    monkeypatch.setattr(policy, "REPLACED_WAITS", waits)
    fleet = Fleet(tmp_path, "a", "other")
    for name in ("a", "other"):
        fleet.has_session(name)
    before = sessions(fleet, "a")
    fleet.puppets.play("a", ["connecting", "connected", "end: replaced"])
    async with fleet:
        await fleet.until("other", State.CONNECTED)
        await fleet.until_true(lambda: fleet.history("a").count("replaced") == 4, "it has given up")
        entries = fleet.timeline("a", 100)
        ends = [entry for entry in entries if entry["to"] == "replaced"]
        assert [(end["delay"], end["attempt"]) for end in ends] == [(0.2, 1), (0.4, 2), (0.8, 3), (None, 4)]
        # Measured from what came just before the end: an entry may bear a later time than what it tells of.
        tries = [(entries[at - 1], entries[at + 1]) for at in map(entries.index, ends[:-1])]
        for wait, (before_end, start) in zip(waits, tries, strict=True):
            passed = datetime.fromisoformat(start["at"]) - datetime.fromisoformat(before_end["at"])
            assert (start["to"], passed.total_seconds() > wait - 0.01) == ("starting", True)
        about = fleet.about("a")
        assert (about["next_retry_at"], about["pid"]) == (None, None)
        assert "orchestrator start a" in about["reason"]
        assert runs(fleet, "a") == {"a": 4}
        assert sessions(fleet, "a") == before
        assert not fleet.sessions("a")
        assert fleet.history("other") == ["starting", "connecting", "connected"]
    kept = status.load(fleet.paths.status)["a"].parked
    assert kept is not None
    assert (kept.state, kept.until, kept.count) == (State.REPLACED, None, 4)


# A client that is refused


@asynchronous
async def test_a_client_that_is_refused_is_tried_by_one_account_until_it_is_let_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker, "PROBE_FIRST", 0.5)
    names = [f"a{number}" for number in range(6)]
    fleet = Fleet(tmp_path, *names, "online", start_parallel=1)
    for name in (*names, "online"):
        fleet.has_session(name)
    before = sessions(fleet, *names)
    async with fleet:
        for name in names:
            await fleet.until(name, State.CONNECTED)
            fleet.supervisor.order(name, Order.STOP)
            await fleet.until(name, State.STOPPED)
        await fleet.until("online", State.CONNECTED)
        pid = fleet.pid("online")
        done = sum(runs(fleet, *names).values())
        for name in names:
            fleet.puppets.play(name, ["connecting", "end: outdated"])
        for name in names:
            fleet.supervisor.order(name, Order.START)
        await fleet.until_true(
            lambda: sum(runs(fleet, *names).values()) >= done + 3,
            "two probes have failed",
        )
        await fleet.until_true(
            lambda: all(fleet.state(name) is State.OUTDATED for name in names), "all are held"
        )
        # All show when the next probe is due.
        await fleet.until_true(
            lambda: len({fleet.about(name)["next_retry_at"] for name in names} - {None}) == 1, "one time"
        )
        tried = sum(runs(fleet, *names).values())
        assert tried <= done + 4, "no more than one dials at a time, and ever less often"
        for name in names:
            fleet.puppets.play(name, ONLINE)
        for name in names:
            await fleet.until(name, State.CONNECTED)
        assert fleet.about("a0")["next_retry_at"] is None
        assert fleet.pid("online") == pid
        assert sessions(fleet, *names) == before
        assert fleet.history("online") == ["starting", "connecting", "connected"]


@asynchronous
async def test_one_process_that_says_it_is_outdated_waits_alone(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, "liar", "good", "better", control=True)
    for name in ("liar", "good", "better"):
        fleet.has_session(name)
    fleet.puppets.play("liar", ["connecting", "end: outdated"])
    async with fleet:
        await fleet.until("liar", State.OUTDATED)
        for name in ("good", "better"):
            await fleet.until(name, State.CONNECTED)
        pid = fleet.pid("better")
        for count in (2, 3, 4):  # however often it says so
            await fleet.call("start", names=["liar"])
            await fleet.until_true(lambda: len(fleet.puppets.runs("liar")) >= count, "it is tried")  # noqa: B023
            await fleet.until("liar", State.OUTDATED)
        about = fleet.about("liar")
        assert (about["held"], about["next_retry_at"] is None) == (False, False)
        before = fleet.pid("good")
        await fleet.call("restart", names=["good"])
        await fleet.until("good", State.CONNECTED, after=before)
        assert fleet.pid("better") == pid
        assert fleet.history("better") == ["starting", "connecting", "connected"]
        assert State.OUTDATED not in fleet.history("good")


# A network that is lost


def lost(tmp_path: Path, *names: str) -> Fleet:
    """Return a fleet of which none but ``online`` has a network, before it starts."""
    fleet = Fleet(tmp_path, *(AccountSettings(name, backoff=PATIENT) for name in names), start_parallel=2)
    for name in names:
        fleet.has_session(name)
        fleet.puppets.play(name, NO_NETWORK)
    return fleet


async def until_held(fleet: Fleet, *names: str) -> None:
    await fleet.until_true(lambda: all(fleet.about(name)["held"] for name in names), "all are held")


NAMES = ("a", "b", "c", "d", "e")


@asynchronous
async def test_a_probe_that_gets_through_brings_all_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(breaker, "NETWORK_PROBE_FIRST", 3600.0)  # or one may probe while another still fails
    monkeypatch.setattr(breaker, "NETWORK_PROBE_LAST", 0.5)
    fleet = lost(tmp_path, *NAMES)
    before = sessions(fleet, *NAMES)
    async with fleet:
        await until_held(fleet, *NAMES)
        tried = sum(runs(fleet, *NAMES).values())
        assert tried <= 4
        (way,) = fleet.supervisor._machines.fleet._ways
        way.breaker.probe_at = time.monotonic() + 0.5
        fleet.supervisor._machines.dispatch()
        await fleet.until_true(lambda: sum(runs(fleet, *NAMES).values()) > tried, "one probes")
        for name in NAMES:
            fleet.puppets.play(name, ONLINE)
        for name in NAMES:
            await fleet.until(name, State.CONNECTED)
        assert sessions(fleet, *NAMES) == before
        assert [record.message for record in caplog.records].count(fleets.NETWORK) == 1
        assert [record.message for record in caplog.records].count(fleets.RETURNED) == 1


@pytest.fixture
def patient_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no probe come by itself."""
    monkeypatch.setattr(breaker, "NETWORK_PROBE_FIRST", 3600.0)
    monkeypatch.setattr(breaker, "NETWORK_PROBE_LAST", 3600.0)


@pytest.mark.usefixtures("patient_probes")
@pytest.mark.parametrize("order", [Order.START, Order.RESTART])
@asynchronous
async def test_an_order_has_an_account_probe_at_once(tmp_path: Path, order: Order) -> None:
    fleet = lost(tmp_path, *NAMES)
    async with fleet:
        await until_held(fleet, *NAMES)
        before = runs(fleet, *NAMES)
        for name in NAMES:
            fleet.puppets.play(name, ONLINE)
        fleet.supervisor.order("d", order)
        for name in NAMES:
            await fleet.until(name, State.CONNECTED)
        assert runs(fleet, *NAMES) == {name: count + 1 for name, count in before.items()}


@pytest.mark.usefixtures("patient_probes")
@asynchronous
async def test_a_configuration_that_was_mended_is_tried_at_once(tmp_path: Path) -> None:
    fleet = lost(tmp_path, *NAMES)
    async with fleet:
        await until_held(fleet, *NAMES)
        before = runs(fleet, *NAMES)
        fleet.puppets.play("c", ONLINE)
        words = "backoff: {base: 1h, max: 1h}"
        fleet.config_file.write_text(
            "start: {parallel: 2, spread: 0s}\naccounts:\n"
            + "".join(f"  {name}: {{{words}}}\n" for name in NAMES if name != "c")
            + f"  c: {{{words}, proxy: 'http://127.0.0.1:8080'}}\n"
        )
        assert (await fleet.supervisor.reload())["changed"] == ["c"]
        await fleet.until("c", State.CONNECTED)
        # It goes another way now, which tells nothing of that of the others.
        assert runs(fleet, *NAMES) == {**before, "c": before["c"] + 1}
        assert [fleet.about(name)["held"] for name in NAMES] == [name != "c" for name in NAMES]


@asynchronous
async def test_a_few_without_network_are_their_own_trouble(tmp_path: Path) -> None:
    healthy = [f"h{number}" for number in range(4)]
    fleet = Fleet(tmp_path, *healthy, *(AccountSettings(name, backoff=QUICK) for name in "abc"))
    for name in (*healthy, *"abc"):
        fleet.has_session(name)
    async with fleet:
        for name in (*healthy, *"abc"):
            await fleet.until(name, State.CONNECTED)
        for name in "abc":
            fleet.puppets.play(name, NO_NETWORK)
            fleet.supervisor.order(name, Order.RESTART)
        await fleet.until_true(
            lambda: all(count >= 5 for count in runs(fleet, *"abc").values()), "each tries again and again"
        )
        assert not any(fleet.about(name)["held"] for name in "abc")
        for name in healthy:
            assert fleet.history(name) == ["starting", "connecting", "connected"]
