"""The commands about what has been, `history` and `report`: with a service, without, and after its death."""

import csv
import io
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from support.cli import Cli, wait_for

from orchestrator.accounts.history import FIELDS
from orchestrator.accounts.states import SERVICE_WAS_GONE
from orchestrator.cli import report
from orchestrator.store import alive
from orchestrator.system import clock


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


def reported(cli: Cli, *arguments: str) -> dict[str, Any]:
    return {one["name"]: one for one in json.loads(cli("report", "--json", *arguments).stdout)}


def write(cli: Cli, name: str, *changes: tuple[float, str, str, str | None]) -> None:
    """Write a timeline: seconds ago, from, to and the kind of end."""
    folder = cli.state / "timeline"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    cli.state.chmod(0o700)
    now = time.time()
    with (folder / f"{name}.jsonl").open("a") as file:
        for ago, before, after, kind in changes:
            at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now - ago))
            one = {"n": int(now - ago), "at": at, "from": before, "to": after, "kind": kind, "reason": None}
            file.write(json.dumps(one) + "\n")


def test_history_tells_what_happened_with_and_without_a_service(cli: Cli) -> None:
    cli.configure("a: {tags: [berlin]}", "b: {}", "c: {tags: [berlin]}")
    for name in "abc":
        cli.has_session(name)
    with cli.service():
        for name in "abc":
            cli.until(name, "connected")
        cli("stop", "b")
        cli.until("b", "stopped")
        said = cli("history").stdout
        assert "3 accounts: connected\n          " in said
        assert "b: stopped" in said
        assert said.index("3 accounts: connected") < said.index("b: stopped")
        every = json.loads(cli("history", "--json").stdout)
    # What the service wrote last is there too now.
    after = json.loads(cli("history", "--json").stdout)
    assert after[: len(every)] == every
    assert [one["at"] for one in after] == sorted(one["at"] for one in after)
    assert all(tuple(one) == FIELDS for one in after)
    assert {one["reason"] for one in after[len(every) :]} == {"the service stops"}
    assert "2 accounts: stopped: the service stops" in cli("history", "--since", "1h").stdout
    assert {one["name"] for one in json.loads(cli("history", "--json", "--tag", "berlin").stdout)} == {
        "a",
        "c",
    }
    assert {one["name"] for one in json.loads(cli("history", "--json", "b").stdout)} == {"b"}


def test_history_bounds_what_is_read(cli: Cli) -> None:
    cli.configure("a: {}")
    write(cli, "a", *((float(ago), "backoff", "backoff", None) for ago in range(50, 0, -1)))
    done = cli("history", "--json", "--limit", "5")
    assert len(json.loads(done.stdout)) == 5
    assert "only the newest 5 entries were read" in done.stderr
    done = cli("history", "--since", "1h")
    assert "a: backoff (49 times since" in done.stdout
    assert not done.stderr


def test_history_of_nothing_and_of_nobody(cli: Cli) -> None:
    cli.configure("a: {}")
    assert cli("history").stdout.startswith("nothing has happened since 2")
    assert json.loads(cli("history", "--json").stdout) == []
    assert cli("history", "a").stdout.startswith("nothing has happened since 2")
    assert 'there is no account "b"' in cli("history", "b", code=5).stderr
    assert "there is no account" in cli("history", "x*", code=5).stderr
    assert "no account has a tag" in cli("history", "--tag", "berlin", code=2).stderr
    assert "--since" in cli("history", "--since", "yesterday", code=2).stderr


def test_an_account_that_is_gone_is_still_in_the_history(cli: Cli) -> None:
    cli.configure("a: {}")
    write(cli, "gone", (60, "connected", "stopped", None))
    assert "gone: stopped" in cli("history").stdout
    assert "gone: stopped" in cli("history", "gone").stdout
    assert [*reported(cli)] == ["a"]
    assert [*reported(cli, "gone")] == ["gone"]


def test_what_is_not_known_counts_as_not_known(cli: Cli) -> None:
    cli.configure("old: {}", "new: {}", "silent: {}")
    write(
        cli,
        "old",
        (40 * 86400, "connecting", "connected", None),
        (86400, "connected", "backoff", "logged_out"),
    )
    write(cli, "new", (7200, "stopped", "starting", None), (3600, "starting", "connected", None))
    found = reported(cli)
    assert found["old"]["uptime_percent"] == pytest.approx(29 / 30 * 100, abs=0.01)
    assert found["old"]["logouts"] == 1
    assert found["old"]["longest_outage_s"] == pytest.approx(86400, abs=60)
    # No service runs, and nobody knows how long it was connected.
    assert found["new"]["up_s"] == 0
    assert found["new"]["unknown_s"] == pytest.approx(30 * 86400 - 3600, abs=60)
    assert found["silent"]["uptime_percent"] is None
    assert found["silent"]["known_from"] is None
    said = cli("report").stdout
    assert "the timelines of new begin later, the first 2" in said
    assert "96.66 %" in said


def test_a_report_for_spreadsheets(cli: Cli) -> None:
    cli.configure("a: {tags: [sales, brazil]}")
    write(cli, "a", (7200, "connected", "backoff", "crash"), (3600, "backoff", "stopped", None))
    done = cli("report", "--csv", "--since", "2h")
    (row,) = csv.DictReader(io.StringIO(done.stdout))
    assert tuple(row) == report.FIELDS
    assert row["tags"] == "sales brazil"
    assert (row["name"], row["uptime_percent"], row["bans"]) == ("a", "0.0", "0")
    (same,) = reported(cli, "--since", "2h").values()
    assert same["tags"] == ["sales", "brazil"]
    cli("report", "--csv", "--json", code=2)


@pytest.mark.parametrize("text", ["=1+1", "+49", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_cell_is_a_formula(text: str) -> None:
    assert report.cell(text) == "'" + text
    assert report.cell([text]) == "'" + text
    assert report.cell("a" + text) == "a" + text


def test_a_service_that_was_killed_leaves_word_of_when_it_was_there(cli: Cli) -> None:
    cli.configure("a: {}", "b: {}")
    cli.has_session("a")
    cli.has_session("b")
    with cli.service(code=-signal.SIGKILL) as service:
        cli.until("a", "connected")
        cli.until("b", "connected")
        cli("stop", "b")
        cli.until("b", "stopped")
        before = json.loads(cli("history", "--json").stdout)
        last = clock.unix(before[-1]["at"])
        assert last is not None
        wait_for(lambda: (alive.load(cli.state / "alive.json") or 0) >= last, "the service said it is there")
        service.kill()
    was_there = alive.load(cli.state / "alive.json")
    assert reported(cli, "--since", "1h")["a"]["uptime_percent"] is not None
    with cli.service():
        cli.until("a", "connected")
        new = json.loads(cli("history", "--json").stdout)[len(before) :]
    ends = [one for one in new if one["reason"] == SERVICE_WAS_GONE]
    assert [(one["name"], one["from"], one["to"]) for one in ends] == [("a", "connected", "stopped")]
    assert clock.unix(ends[0]["at"]) == was_there
    found = reported(cli, "--since", "1h")
    assert found["a"]["crashes"] == 0
    assert found["a"]["restarts"] == 0
    # A service that ends in good order leaves nothing to close.
    with cli.service():
        cli.until("a", "connected")
    again = [one for one in json.loads(cli("history", "--json").stdout) if one["reason"] == SERVICE_WAS_GONE]
    assert len(again) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as others")
def test_another_user_is_told_to_use_the_services(cli: Cli) -> None:
    cli.configure("a: {}")
    write(cli, "a", (60, "connected", "stopped", None))
    for path in (cli.state, cli.state / "timeline"):
        os.chown(path, 65534, 65534)
    assert "a: stopped" in cli("history").stdout, "root may read"
