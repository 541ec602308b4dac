"""The benchmarks run, with numbers so small that they say nothing about speed."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from support.postgres import FreshDatabase, skip_without_postgres

from benchmarks.cluster import sealed

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 840.0
"""Seconds for what takes up to seventy on an idle machine, most of them spent waiting."""
pytestmark = pytest.mark.timeout(900)


def printed_by(name: str, *arguments: str) -> str:
    """Run a benchmark from the top folder, as its documentation says; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def cells(output: str, row: str) -> list[str]:
    """Return the cells of a table's row."""
    (line,) = re.findall(rf"^  {re.escape(row)}  +(.*)$", output, re.MULTILINE)
    return re.split(r"  +", line)


def measured(cell: str, unit: str) -> float:
    """Return the figure of a cell; it is 0 for what takes less than its last digit."""
    figure = float(cell.removesuffix(f" {unit}"))
    assert figure >= 0
    return figure


def idle(output: str, count: str) -> str:
    """Return how long so many were left alone, in the words of the output: no less than was asked for."""
    (found,) = set(re.findall(rf"{count}, idle for [1-9]\d* s", output))
    return str(found)


def test_pairing_compares_real_clients_with_the_sandbox() -> None:
    output = printed_by("sandbox_pairing", "--clients", "2", "--rounds", "1")

    assert "neonize itself, unmodified" in output
    assert cells(output, "neonize") == [version("neonize")]
    for row in ("wall", "CPU of the clients", "clients : sandbox", "sandbox of the CPU of all these"):
        (first, middle) = cells(output, row)
        assert first == middle  # the median of one round


def test_idle_measures_memory_and_cpu_with_stand_ins() -> None:
    output = printed_by("sandbox_idle", "--connections", "5", "--seconds", "1")

    assert "light stand-ins (benchmarks/light_client.py) in one asyncio process, not neonize" in output
    before, after = (
        [float(cell.removesuffix(" MB")) for cell in cells(output, row)]
        for row in ("no client yet", idle(output, "5 online"))
    )
    # Its share of what it has in common with others depends on how many others run.
    for share, whole in (before, after):
        assert 0 < share <= whole
    assert before[1] <= after[1]
    assert len(cells(output, "per connection")) == 2


def test_startup_is_compared_with_that_of_python_itself() -> None:
    output = printed_by("cli_startup", "--repetitions", "2", "--against", "HEAD")

    titles = r"^(?=HEAD|this checkout: |CPU, as |imports |load after)"
    _, before, now, change, imports, _ = re.split(titles, output, flags=re.MULTILINE)
    for times in (before, now):
        assert cells(times, "python -c pass")[1::2] == ["1.0"] * 3
        for row in ("--help", "list", "qr shows-codes", "stop rests", "list, no service"):
            assert float(cells(times, row)[3]) > 1  # of the CPU: other programs can hold up any of them
    for row in ("--help", "list", "qr shows-codes", "stop rests", "list, no service"):
        assert cells(change, row)[:2] == [cells(times, row)[3] for times in (before, now)]
        assert set(cells(imports, row)[1:]) == {"no"}  # neither neonize nor pydantic nor ...


def test_the_way_to_the_service_is_measured_for_every_layout() -> None:
    output = printed_by("find_service", "--accounts", "20", "--repetitions", "1", "--before", ".")

    for row in ("no state_dir", "state_dir on top", "state_dir at the end", "state_dir in a comment"):
        before, now, change, *_ = cells(output, row)
        measured(before, "ms")
        measured(now, "ms")
        assert change.endswith(" %")


def test_a_codes_way_to_its_picture_is_measured() -> None:
    output = printed_by("code_to_png", "--accounts", "2", "--rounds", "1")

    for of in ("from the server to the folder", "  to the account's process", "  from there to the folder"):
        middle, worst = (measured(cells(output, f"{of}, {what}")[0], "ms") for what in ("median", "worst"))
        assert middle <= worst


def test_accounts_are_paired_restarted_and_left_alone() -> None:
    sizes = ("--accounts", "2", "--rounds", "1", "--seconds", "1")
    output = printed_by("accounts", *sizes, "--against", "HEAD", "--inbox")

    titles = r"^(?=HEAD |this checkout with an inbox$|2 accounts: before and now)"
    _, before, now, change = re.split(titles, output, flags=re.MULTILINE)
    for one in (before, now):
        for row in ("wall", "CPU of all accounts", "CPU of the service's own process"):
            assert len([measured(cell, "s") for cell in cells(one, row)]) == 4  # paired, and at three paces
        assert idle(one, "2 accounts")
        whole = cells(one, "the account in the middle")
        part = [cells(one, row) for row in ("Go's heap", "Go's library, the file")]
        for pss, *_ in (whole, *part):
            assert float(pss.removesuffix(" MB")) > 0
    for row in ("an account: PSS", "the service's own process: PSS"):
        then, today, percent = cells(change, row)
        assert measured(then, "MB") > 0
        assert measured(today, "MB") > 0
        assert percent.endswith(" %")


def test_the_service_is_looked_at_while_all_are_restarted() -> None:
    output = printed_by("scale", "--accounts", "3", "--changes", "2", "--spread", "0")

    for row in ("paired, until all are connected", "SIGTERM, until all are gone"):
        measured(cells(output, row)[0], "s")
    assert cells(output, "until all are connected again")[0] == "-"
    for row in ("list --watch: first frame", "  frames a second", "  longest time between two"):
        looked = cells(output, row)
        assert len(looked) == 3  # nothing, restart, reload
        measured(looked[0], "s")
    assert "list over the socket, median .. worst" in output


def test_messages_reach_a_webhook_beside_a_script_that_posts() -> None:
    sizes = (
        "--accounts",
        "2",
        "--seconds",
        "2",
        "--rates",
        "20",
        "--kills",
        "1",
        "--backlog",
        "60",
        "--no-slow",
    )
    output = printed_by("messages", *sizes)

    ours, theirs = re.split(r"^a neonize script for each account: from", output, flags=re.MULTILINE)
    for one in (ours, theirs):
        _, _, median, p99, worst, lost, *_, mixed, wrong, cpu = cells(one, "20/s")
        assert measured(median, "ms") <= measured(p99, "ms") <= measured(worst, "ms")
        assert (lost, mixed, wrong) == ("0", "0", "0")
        assert "sandbox" in cpu
    for what in ("gateway killed", "receiver away for 3 s"):
        _, _, lost, *_, mixed = cells(ours, what)
        assert (lost, mixed) == ("0", "0")
    for what in ("account killed", "service killed"):  # each account that is killed can lose one
        assert int(cells(ours, what)[2]) <= 2
    assert int(cells(theirs, "receiver away for 3 s")[2]) > 0
    assert measured(cells(ours, "gateway")[0], "MB") < 80


def test_accounts_in_postgres_are_compared_with_those_in_files() -> None:
    skip_without_postgres()
    output = printed_by("postgres", "--accounts", "1", "--rounds", "1", "--seconds", "1", "--schemas", "3")

    for row, unit in (("an account: PSS", "MB"), ("  CPU to pair", "ms"), ("  CPU until connected", "ms")):
        files, database, _ = cells(output, row)
        assert measured(files, unit) > 0
        assert measured(database, unit) > 0
    each = float(cells(output, "connections of an account")[0])
    assert each >= 1, "neonize uses the database"
    assert cells(output, f"connections, {each:.0f} an account") == [f"{3 * each:.0f}"]
    assert measured(cells(output, "  an account")[0], "MB") > 0
    assert re.search(r"pg_dump -Fc of it all  +\d+\.\d s, \d+\.\d MB", output)


def test_a_change_is_measured_in_files_and_in_a_database(tmp_path: Path, fresh: FreshDatabase) -> None:
    fresh.ready()
    file = str(fresh.dsn_file(tmp_path))
    output = printed_by("changes", "--accounts", "5", "--changes", "200", "--dsn-file", file)

    for row in ("files", "database"):
        *times, cpu, rate = cells(output, row)
        for one in times:
            measured(one, "ms")
        measured(cpu, "us")
        assert float(rate) > 0
    assert fresh.password not in output


@pytest.mark.parametrize(
    "name",
    [
        "messages",
        "sending",
        "sandbox_pairing",
        "sandbox_idle",
        "cli_startup",
        "code_to_png",
        "accounts",
        "soak",
        "scale",
        "find_service",
        "changes",
    ],
)
def test_every_benchmark_tells_its_options(name: str) -> None:
    assert "(default: " in printed_by(name, "--help")


def test_each_text_arrives_once_through_faults() -> None:
    arguments = ("--accounts", "2", "--messages", "20", "--sends", "150", "--every", "2")
    output = printed_by("sending", *arguments)  # its exit code says whether all is as it should be

    assert "1 account, 20 texts" in output
    assert "2 accounts, 40 texts" in output
    for row in ("arrived twice", "sent, and not arrived", "keys with two rows", "keys without a row"):
        assert cells(output, row) == ["0"]
    assert int(cells(output, "requests")[0]) > 150


def test_failover_counts_from_the_fault_to_the_last_account() -> None:
    skip_without_postgres()
    if (why := sealed.why_not()) is not None:
        pytest.skip(why)
    output = printed_by("failover", "--accounts", "2", "--shards", "2", "--only", "sigterm")

    assert "2 accounts on 2 machines, Postgres 1" in output
    accounts, claimed, connected, gone, replaced, fights, sent, once, *rest = cells(output, "SIGTERM")
    assert (accounts, gone, replaced, fights, rest) == ("1", "-", "0", "0", ["0", "0", "0"])
    assert 0 <= measured(claimed, "s") <= measured(connected, "s")
    assert int(sent) == int(once) > 0
