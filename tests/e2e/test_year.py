"""A year of somebody who runs 30 accounts, by what is typed: the real service and library, and the sandbox.

The steps share one service and follow one another, as the months do. Each leaves all accounts connected.
"""

from __future__ import annotations

import csv
import io
import json
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.at_a_shell import COMMAND, LOG, Operator
from support.service import PATIENCE
from support.terminal import CONTROLLED, Terminal

from orchestrator.sandbox.process import SandboxProcess

pytestmark = pytest.mark.timeout(900)

CITIES = ("berlin", "hamburg", "lisbon")
SHOPS = [f"shop-{number:02}" for number in range(1, 31)]
FALLEN = ["shop-04", "shop-08", "shop-12", "shop-16", "shop-20"]
"""Those whose phones log them out in one night."""
BEGIN = """\
# Ask Ada before you change this file.
state_dir: state
start: {parallel: 4, spread: 0s}
defaults:
  pairing_rounds: 2
  backoff: {base: 100ms, factor: 1, max: 100ms, jitter: 0}
"""
TELL = """\
#!/bin/sh
cat > $0.$$.part
mv $0.$$.part $0.$$.json
"""
SOMEBODY = r"\S+ \(\d+\)(, as \S+)?"
"""How a user of this machine is named."""


def city_of(name: str) -> str:
    return CITIES[int(name[-2:]) % 3]


@dataclass
class Year:
    """What the steps hand on to one another.

    Attributes:
        operator: Who types, at the host that has the accounts at the time.
        make_folder: Makes the folder of another host.
        make_number: Makes the number of another phone.
        numbers: The phone of each account.
        backup: The folder with the backup of February.
    """

    operator: Operator
    make_folder: Callable[[], Path]
    make_number: Callable[[], str]
    numbers: dict[str, str]
    backup: Path
    hosts: list[Operator] = field(default_factory=list)

    def devices(self, name: str) -> list[Any]:
        """Return what an account's phone has under Linked devices."""
        phones = {one["phone"]: one["devices"] for one in self.operator.sandbox.client.phones()}
        return list(phones[self.numbers[name]])

    def all_is_well(self) -> None:
        """See that cron would send no mail."""
        self.operator.does("orchestrator wait --all --for 90s")
        self.operator.does("orchestrator list --check").is_silent()

    def moves_to(self, folder: Path) -> Operator:
        """Sit down at another host."""
        self.operator = Operator(folder, self.operator.sandbox)
        self.hosts.append(self.operator)
        return self.operator


@pytest.fixture(scope="module")
def year(make_folder: Callable[[], Path], make_number: Callable[[], str]) -> Iterator[Year]:
    with SandboxProcess() as sandbox:
        operator = Operator(make_folder(), sandbox)
        numbers = {name: make_number() for name in SHOPS}
        year = Year(operator, make_folder, make_number, numbers, make_folder(), [operator])
        yield year
        with ExitStack() as ending:
            for host in year.hosts:
                ending.callback(host.__exit__, None, None, None)


def test_january_accounts_are_added_and_linked(year: Year) -> None:
    operator = year.operator
    operator.writes(BEGIN)
    operator.types("orchestrator list --check").ends_with(4).says("`orchestrator run`")
    for name in SHOPS:
        if name == SHOPS[-3]:  # the last ones come while the service runs
            operator.runs()
        note = f"the phone lies in {city_of(name)}"
        line = f"orchestrator add {name} --phone {year.numbers[name]} --tag {city_of(name)} --note '{note}'"
        operator.does(line).says(f"{name} is in {operator.config_file}", f"`orchestrator link {name}`")
    assert operator.config_file.read_text().startswith(BEGIN), "what stood there stands there still"

    # Slips of the keyboard, each with the exit code for its kind.
    operator.types("orchestrator add shop-01").ends_with(1).says("shop-01")
    operator.types("orchestrator add 'Shop 31'").ends_with(2).says("a-z, 0-9")
    operator.types("orchestrator add shop-31 --phone 12ab").ends_with(2)
    operator.types("orchestrator explain shop-99").ends_with(5).says("shop-99")
    operator.types("orchestrator list --tag paris").ends_with(2).says("paris")
    operator.types("orchestrator stop 'shop-9*'").ends_with(5)

    for name in SHOPS:
        operator.scan(name, year.numbers[name])
    year.all_is_well()
    assert operator.states() == dict.fromkeys(SHOPS, "connected")
    operator.does("orchestrator list --needs-person").says("no account needs a person")
    berlin = operator.does("orchestrator status --tag berlin --json").document()
    assert [one["name"] for one in berlin] == [name for name in SHOPS if city_of(name) == "berlin"]
    operator.does("orchestrator list shop-01 'shop-1*' --wide").says("the phone lies in", "shop-19")
    operator.types("orchestrator link shop-01").ends_with(1).says("`orchestrator repair shop-01`")


def test_february_a_backup_and_an_upgrade_without_a_code(year: Year) -> None:
    operator = year.operator
    known = operator.lengths()
    operator.shuts_down()
    operator.types("orchestrator ping").ends_with(4)
    operator.types("orchestrator list --check").ends_with(4)
    operator.does("orchestrator list").says("the service is not running")
    operator.copies_to(year.backup)
    operator.runs()
    year.all_is_well()
    assert operator.codes_since(known) == []
    assert len(operator.does("orchestrator ping --json").document()["neonize"]) > 0


def test_march_five_accounts_fall_at_night(year: Year) -> None:
    operator, sandbox = year.operator, year.operator.sandbox.client
    program = operator.folder / "tell"
    program.write_text(TELL)
    program.chmod(0o700)
    operator.edits(lambda text: f"{text}on_change: {{run: [{program}], for: 0s, at_most: 60/h}}\n")
    operator.does("orchestrator reload").says("on_change: added")
    operator.does("orchestrator on-change test")
    (tried,) = told(operator)
    assert (tried["test"], tried["changes"][0]["change"]) == (True, "test")

    # Nobody is there: the phones log out, and the codes pass unused.
    sandbox.fault("short-qr", "pairing", times=2 * len(FALLEN), after=2)
    for name in FALLEN:
        sandbox.unlink(year.numbers[name])
    for name in FALLEN:
        operator.wait_for_state(name, "failed")
    sandbox.clear_faults()

    down = operator.types("orchestrator list --check").ends_with(3)
    assert [line.split()[0] for line in down.out.splitlines()[1:]] == FALLEN
    assert len(re.findall(r"logged out by its phone (?:\d{4}-\d\d-\d\d )?\d\d:\d\d", down.out)) == len(FALLEN)
    operator.types("orchestrator list --check --for 1h").ends_with(0).is_silent()
    operator.does("orchestrator list --needs-person").says(*FALLEN, "`orchestrator qr shop-04`")
    operator.types("orchestrator list --check --needs-person").ends_with(3)
    operator.does("orchestrator history --since 12h").says(
        "5 accounts: logged out: WhatsApp logged the account out (401)", ", ".join(FALLEN)
    )
    entries = operator.does("orchestrator history --since 12h shop-04 --json").document()
    assert "logged_out" in [one["kind"] for one in entries]
    operator.does("orchestrator explain shop-04").says("logged out by its phone", "`orchestrator qr shop-04`")
    operator.types("orchestrator wait shop-04 --for 30s").ends_with(1).says("qr shop-04")
    operator.sees(lambda: named(told(operator), "needs_person") == set(FALLEN), "all five are told")
    one = next(one for one in changes(told(operator)) if one["account"]["name"] == "shop-04")
    assert one["need"]["command"] == "orchestrator qr shop-04"
    assert not [number for number in year.numbers.values() if number[1:] in json.dumps(told(operator))]

    # In the morning, one command for each, and the phone.
    for name in FALLEN:
        with operator.leaves_running(f"orchestrator qr {name}") as qr:
            operator.scan(name, year.numbers[name])
            said, _ = qr.communicate(timeout=PATIENCE)
            assert qr.returncode == 0, said
            assert f"{name} is connected" in said
    year.all_is_well()
    operator.sees(lambda: named(told(operator), "resolved") == set(FALLEN), "the end of all five is told")


def test_april_a_slip_is_undone(year: Year) -> None:
    operator = year.operator
    known = len(operator.timeline("shop-09"))
    operator.types("orchestrator repair shop-09").ends_with(2).says("shop-09 is connected", "--yes")
    line = operator.command_line("repair", "shop-09")
    with Terminal([*CONTROLLED, *line], operator.environment, operator.folder) as terminal:
        terminal.until(lambda text: "Pair it anew?" in text, "a question")
        terminal.press("n\r")
        assert terminal.exit_code() == 1
    assert len(operator.timeline("shop-09")) == known, "who says no has nothing to undo"

    operator.does("orchestrator repair shop-09 --yes").says(
        "to undo this: `orchestrator restore shop-09`", "stays linked"
    )
    operator.does("orchestrator restore shop-09").says("restored from")
    year.all_is_well()
    assert len(year.devices("shop-09")) == 1, "no phone was needed"
    operator.does("orchestrator history shop-09 --since 1h").says("paired anew")
    # What the phones logged out in March lies there, too.
    operator.does("orchestrator restore").says("shop-04", "logged out").says_nothing_of("shop-09")


def test_may_settings_names_and_who_did_what(year: Year) -> None:
    operator = year.operator
    pid = operator.child("shop-10")
    operator.does("orchestrator rename shop-10 harbor").says("harbor")
    year.numbers["harbor"] = year.numbers.pop("shop-10")
    operator.does("orchestrator wait harbor --for 90s")
    assert operator.child("harbor") != pid
    operator.types("orchestrator explain shop-10").ends_with(5)
    operator.does("orchestrator explain harbor").says("renamed")
    operator.does("orchestrator set harbor note='moved to the harbor' backoff.max=10m")
    operator.does("orchestrator config show harbor").says("moved to the harbor", "10m")
    operator.types("orchestrator set harbor colour=red").ends_with(2).says("colour: unknown key")
    operator.types("orchestrator set shop-10 note=x").ends_with(5)
    assert "# Ask Ada" in operator.config_file.read_text()

    hamburg = [name for name in year.numbers if name != "harbor" and city_of(name) == "hamburg"]
    said = operator.does("orchestrator stop --tag hamburg")
    said.says(f"stopping {len(hamburg) + 1} accounts:", *hamburg)
    operator.does("orchestrator list --check").is_silent()
    assert operator.states()["harbor"] == "stopped"
    stopped = operator.does("orchestrator explain harbor").out
    assert re.search(f"stopped by {SOMEBODY}", stopped), stopped
    happened = operator.does("orchestrator history --since 1h --tag hamburg").out
    assert re.search(rf"{len(hamburg) + 1} accounts: stopped by {SOMEBODY}", happened), happened
    operator.types("orchestrator wait harbor").ends_with(1).says("`orchestrator explain harbor`")
    operator.does("orchestrator start --tag hamburg")
    year.all_is_well()


def test_june_a_proxy_that_is_wrong_takes_one_account_away(year: Year) -> None:
    operator = year.operator
    chosen = ["shop-21", "shop-22", "shop-23", "shop-24"]
    before = operator.config_file.read_text()
    pids = {name: operator.child(name) for name in chosen}

    def through(url: str) -> None:
        keys = re.compile(rf"^  ({'|'.join(chosen)}):$", re.MULTILINE)
        operator.writes(keys.sub(rf"  \1:\n    proxy: {url}", before))

    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens there: connections are refused
        through(f"socks5://ada:geheim@127.0.0.1:{taken.getsockname()[1]}")
        said = operator.does("orchestrator reload --dry-run")
        said.says(*(f"{name}: proxy: reconnects" for name in chosen)).says_nothing_of("shop-25", "geheim")
        said = operator.types("orchestrator reload --probe").ends_with(1)
        said.says("WhatsApp cannot be reached through socks5://127.0.0.1").says_nothing_of("geheim")
        assert {name: operator.child(name) for name in chosen} == pids

        operator.does("orchestrator reload").says("4 accounts reconnect, one after another")
        operator.sees(
            lambda: operator.types("orchestrator list").out.count("keeps its old settings") == 3,
            "three accounts keep their old settings",
        )
        assert operator.states() | {"shop-21": ""} == dict.fromkeys(year.numbers, "connected") | {
            "shop-21": ""
        }
        down = operator.types("orchestrator list --check").ends_with(3)
        down.says("shop-21").says_nothing_of("shop-22", "shop-23", "shop-24")
        operator.does("orchestrator explain shop-22").says(
            "shop-21 does not connect", "`orchestrator reload`"
        )
        assert {name: operator.child(name) for name in chosen[1:]} == {n: pids[n] for n in chosen[1:]}

        through(f"http://ada:geheim@127.0.0.1:{operator.sandbox.port}")
        operator.does("orchestrator reload --probe").says("WhatsApp can be reached through", "shop-21")
        operator.sees(
            lambda: all(operator.about(name)["pid"] not in (None, pids[name]) for name in chosen),
            "all four have their new proxy",
        )
        year.all_is_well()

    # One account alone, by a command; the password comes from stdin.
    url = f"http://ada:geheim@127.0.0.1:{operator.sandbox.port}"
    operator.types(f"orchestrator set shop-25 proxy={url}").ends_with(2).says("stdin")
    pid = operator.child("shop-25")
    operator.does("orchestrator set shop-25 proxy=-", stdin=f"{url}\n").says("shop-25")
    operator.wait_for_state("shop-25", "connected", after=pid)
    assert re.search(rf"reload by {SOMEBODY}: shop-25: proxy\b", operator.written())
    assert "geheim" not in operator.written()


def test_july_two_accounts_on_one_phone(year: Year) -> None:
    operator = year.operator
    operator.does("orchestrator add front-desk")
    operator.scan("front-desk", year.numbers["shop-03"])  # the wrong phone lay nearer
    operator.does("orchestrator wait front-desk --for 90s")
    operator.does("orchestrator list").says("front-desk", "are linked to one phone")
    operator.does("orchestrator list --check").says("shop-03 and front-desk are linked to one phone")
    operator.does("orchestrator explain front-desk").says("shop-03")
    operator.types("orchestrator doctor").says("shop-03 and front-desk are linked to one phone")
    operator.sees(lambda: "shop-03 and front-desk are linked to one phone" in operator.written(), "a warning")
    operator.does("orchestrator remove front-desk --yes").says("WhatsApp has unlinked its device")
    assert len(year.devices("shop-03")) == 1
    year.all_is_well()


def test_august_a_phone_leaves_the_company(year: Year) -> None:
    operator = year.operator
    operator.does("orchestrator remove shop-30 --unlink --yes").says(
        "WhatsApp has logged its device out", "its session and its messages are deleted"
    )
    assert year.devices("shop-30") == []
    assert operator.quarantined("shop-30") == []

    # This one is at rest before it goes, so nobody asks WhatsApp.
    operator.does("orchestrator disable shop-29 --note 'Ada has left'")
    operator.does("orchestrator wait shop-29 --state disabled --for 90s")
    operator.does("orchestrator list shop-29").says("disabled", "Ada has left")
    operator.does("orchestrator list --check").is_silent()
    operator.types("orchestrator start shop-29").ends_with(1).says("`orchestrator enable shop-29`")
    said = operator.types("orchestrator remove shop-29 --unlink --yes").ends_with(1)
    said.says("nothing was deleted", "`orchestrator enable shop-29`")
    operator.does("orchestrator remove shop-29 --yes").says(
        "is still linked", "Linked devices", "`orchestrator restore shop-29` brings it back"
    )
    operator.sandbox.client.unlink(year.numbers["shop-29"])  # on the phone, as the command has said
    operator.does("orchestrator quarantine list").says("shop-29", "account removed")
    operator.types("orchestrator quarantine purge shop-29").ends_with(2).says("--yes")
    assert len(operator.quarantined("shop-29")) == 1
    operator.does("orchestrator quarantine purge shop-29 --yes").says("deleted 1 folder")
    assert operator.quarantined("shop-29") == []
    operator.does("orchestrator history shop-29 --since 1h").says("removed")
    operator.does("orchestrator history shop-30 --since 1h").says("logged out at WhatsApp")
    for name in ("shop-29", "shop-30"):
        del year.numbers[name]
        operator.types(f"orchestrator explain {name}").ends_with(5)
    assert set(operator.states()) == set(year.numbers)
    operator.types("orchestrator doctor").says("quarantine")


def test_september_a_shop_is_closed_for_a_time(year: Year) -> None:
    operator = year.operator
    said = operator.does("orchestrator disable 'shop-2[67]' --until 30d --note 'closed for repairs'")
    said.says("shop-26 is disabled until", "shop-27 is disabled until")
    operator.does("orchestrator wait shop-26 shop-27 --state disabled --for 60s")
    operator.does("orchestrator list shop-26").says("disabled until", "closed for repairs")
    operator.does("orchestrator list --check").is_silent()
    operator.does("orchestrator enable shop-26")
    soon = (datetime.now(UTC) + timedelta(seconds=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    operator.does(f"orchestrator set shop-27 disabled_until={soon}")
    operator.wait_for_state("shop-27", "connected")  # by itself
    year.all_is_well()
    assert operator.states() == dict.fromkeys(year.numbers, "connected")


def test_october_new_processes_a_log_that_is_rotated_and_a_kill(year: Year) -> None:
    operator = year.operator
    known = operator.lengths()
    pids = {name: operator.child(name) for name in year.numbers}
    said = operator.does("orchestrator restart --all --wait")
    said.says(f"restarting {len(pids)} connected accounts in turn, at most 4 at once")
    assert {name for name in pids if operator.child(name) == pids[name]} == set()

    operator.does("orchestrator logs").says(str(operator.folder / LOG))
    (operator.folder / LOG).rename(operator.folder / f"{LOG}.1")
    operator.does("orchestrator reload")
    operator.does("orchestrator restart shop-01 --wait")
    operator.sees(lambda: "shop-01: " in (operator.folder / LOG).read_text(), "the new file has the log")
    assert (operator.folder / LOG).stat().st_mode & 0o777 == 0o600

    operator.kill()  # no word, and no time for one
    operator.types("orchestrator list --check").ends_with(4)
    operator.types("orchestrator restart shop-01").ends_with(4).says("`orchestrator run`")
    operator.runs()
    year.all_is_well()
    happened = operator.does("orchestrator history --since 1h --json").document()
    gone = {one["name"] for one in happened if "the service was gone" in (one["reason"] or "")}
    assert gone == set(pids)
    assert operator.codes_since(known) == []


def test_november_another_host_two_at_once_and_an_old_backup(year: Year) -> None:
    old = year.operator
    known = old.lengths()
    old.shuts_down()
    new = year.moves_to(old.copies_to(year.make_folder()))
    new.does("orchestrator maintenance on")
    new.runs()
    new.does("orchestrator start shop-05")
    new.does("orchestrator wait shop-05 --for 90s")
    assert list(new.states().values()).count("connected") == 1
    new.does("orchestrator maintenance off")
    year.all_is_well()
    assert new.codes_since(known) == [], "no account needs a code"

    # Somebody starts an account at the old host, too: the newer one throws the other one out.
    old.does("orchestrator maintenance on")
    old.runs()
    old.does("orchestrator start shop-05")
    new.wait_for_state("shop-05", "replaced")
    new.types("orchestrator list --check").ends_with(3).says("shop-05", "replaced")
    new.does("orchestrator explain shop-05").says("`orchestrator start shop-05`")
    old.shuts_down()
    new.does("orchestrator start shop-05")
    year.all_is_well()

    # A second service on one state folder is refused, and names the first.
    second = new.types(f"orchestrator run --log-file {new.folder / 'second.log'}").ends_with(1)
    second.says(str(new.pid))

    # The backup of February, at a third host, with everything else off.
    new.shuts_down()
    third = year.moves_to(year.backup)
    third.does("orchestrator maintenance on")
    third.runs()
    third.types("orchestrator doctor").says("maintenance is on")
    third.does("orchestrator start shop-01 shop-04 shop-30")
    third.does("orchestrator wait shop-01 --for 90s")  # linked as in February, so no code
    for name in ("shop-04", "shop-30"):  # logged out since
        third.until(lambda accounts, name=name: accounts[name]["cause"], f"{name} knows")  # type: ignore[misc]
        third.does(f"orchestrator explain {name}").says("logged out by its phone")
    assert "shop-10" in third.states(), "the name of May is not there yet"
    third.shuts_down()
    year.operator = new


def test_december_the_report_and_the_end(year: Year) -> None:
    operator = year.operator
    rows = {
        row["name"]: row
        for row in csv.DictReader(io.StringIO(operator.does("orchestrator report --since 30d --csv").out))
    }
    assert set(rows) == set(year.numbers)
    assert {name for name, row in rows.items() if int(row["logouts"]) > 0} == set(FALLEN)
    assert all(0 < float(row["uptime_percent"]) <= 100 for row in rows.values())
    assert all(int(row["restarts"]) > 0 for row in rows.values())
    assert float(rows["shop-04"]["uptime_percent"]) < float(rows["shop-05"]["uptime_percent"])
    operator.does("orchestrator report --since 30d --tag berlin").says("UPTIME").says_nothing_of("harbor")
    gone = operator.does("orchestrator report shop-30 --json").document()
    assert [(one["name"], one["logouts"]) for one in gone] == [("shop-30", 0)]

    # Nothing runs, nothing is left, and no number was written down anywhere for others to read.
    operator.types("orchestrator shutdown").ends_with(4)
    operator.types("orchestrator list --check").ends_with(4)
    texts = [host.written() for host in year.hosts]
    texts += [path.read_text() for host in year.hosts for path in host.state.glob("timeline/*")]
    for number in year.numbers.values():
        assert not [text for text in texts if number[1:] in text]
    assert "Traceback" not in "".join(texts)
    ours = [one for one in psutil.process_iter(["cmdline"]) if str(COMMAND[0]) in (one.info["cmdline"] or [])]
    folders = [str(host.folder) for host in year.hosts]
    assert not [one for one in ours if one.is_running() and one.cwd() in folders]


def told(operator: Operator) -> list[dict[str, Any]]:
    """Return what the program of `on_change` was told, the oldest first."""
    found = sorted(operator.folder.glob("tell.*.json"), key=lambda path: path.stat().st_mtime_ns)
    return [json.loads(path.read_text()) for path in found]


def changes(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for document in documents for one in document["changes"] if not document["test"]]


def named(documents: list[dict[str, Any]], word: str) -> set[str]:
    """Return the accounts of which a change was told."""
    return {one["account"]["name"] for one in changes(documents) if one["change"] == word}
