"""What people and monitors see of trouble, and how accounts are chosen: ``list``, ``start``, ``stop``."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cli import COMMAND, PATIENCE, ROOT, Cli, wait_for
from support.terminal import CONTROLLED, ESCAPE, Terminal


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """A service with accounts that are well, that wait for somebody, that mend themselves, and left alone."""
    cli = Cli(tmp_path_factory.mktemp("place"))
    cli.configure(
        "shop-1: {tags: [berlin, eu]}",
        "shop-10: {tags: eu}",
        "shop-2: {tags: eu}",
        "flaps: {}",
        "lost: {}",
        "rests: {tags: left}",
        "spare: {enabled: false, tags: [left, later]}",
    )
    for name in ("shop-1", "shop-2", "flaps", "lost", "rests"):
        cli.has_session(name)
    # Two accounts on one phone are trouble of another kind.
    for digit, name in enumerate(("shop-2", "rests"), 2):
        cli.puppets.play(name, ["connecting", f"connected: 491510000000{digit}", "idle"])
    cli.puppets.play("flaps", ["connecting", "end: network"])
    cli.puppets.play("lost", ["connecting", "end: config"])
    with cli.service():
        cli("stop", "rests")
        for name, state in {"shop-1": "connected", "shop-2": "connected", "shop-10": "pairing"}.items():
            cli.until(name, state)
        cli.until("lost", "failed")
        yield cli


def names(text: str) -> list[str]:
    return [line.split()[0] for line in text.splitlines()[1:]]


def test_a_check_prints_what_is_down_and_nothing_else(place: Cli) -> None:
    assert names(place("list", "--check", code=3).stdout) == ["shop-10", "flaps", "lost"]
    found = json.loads(place("list", "--check", "--json", code=3).stdout)
    assert [one["name"] for one in found] == ["shop-10", "flaps", "lost"]


@pytest.mark.parametrize("chosen", [["shop-1", "rests", "spare"], ["--tag", "left"], ["shop-[12]"]], ids=str)
def test_a_check_says_nothing_when_all_is_well_or_was_wanted_so(place: Cli, chosen: list[str]) -> None:
    done = place("list", "--check", *chosen)
    assert (done.stdout, done.stderr) == ("", "")
    assert json.loads(place("status", "--check", "--json", *chosen).stdout) == []


def test_what_has_been_down_for_a_while_counts_however_often_it_tries(place: Cli) -> None:
    """An account that tries again all the time has never been in its state for long."""
    line = place.line("list", "--check", "--for", "2s", "flaps")

    def counts() -> str:
        done = place.run_any(line)
        assert done.returncode in (0, 3), done.stderr
        assert bool(done.stdout) is (done.returncode == 3)
        return done.stdout

    assert names(wait_for(counts, "it has been down for two seconds")) == ["flaps"]
    assert place("list", "--check", "--for", "1d").stdout == ""


def test_those_who_need_a_person_are_shown_with_what_helps(place: Cli) -> None:
    header, *rows, hint = place("list", "--needs-person").stdout.splitlines()
    assert header.split() == ["NAME", "STATE", "SINCE", "PID", "PHONE", "DO", "REASON"]
    assert [row.split()[:2] for row in rows] == [["shop-10", "pairing"], ["lost", "failed"]]
    assert " qr  " in rows[0]
    assert " explain  " in rows[1]
    assert "orchestrator " in hint
    assert " qr shop-10`" in hint
    assert names(place("list", "--check", "--needs-person", "--tag", "eu", code=3).stdout) == ["shop-10"]
    assert place("list", "--check", "--needs-person", "flaps", "rests").stdout == ""
    assert "no account needs a person" in place("list", "--needs-person", "flaps", "rests").stdout
    (found,) = json.loads(place("list", "--json", "--needs-person", "lost").stdout)
    assert found["need"]["kind"] == "failed"
    assert found["need"].keys() == {"kind", "sentence", "action", "command"}
    assert "MEMORY" in place("list", "--wide", "--needs-person", "shop-*").stdout


def test_status_is_another_name_of_list(place: Cli) -> None:
    def said(*line: str) -> str:
        # How long ago something was, and the state of the account that never rests.
        return re.sub(r"\d\S*|\n.*flaps.*", "", place(*line).stdout)

    assert said("status", "shop-*") == said("list", "shop-*")
    ends = [place(name, "--help").stdout.partition("Arguments")[2] for name in ("list", "status")]
    assert ends[0].partition("Examples")[0] == ends[1].partition("Examples")[0] != ""


def test_names_may_be_patterns(place: Cli) -> None:
    assert names(place("list", "shop-1*").stdout) == ["shop-1", "shop-10"]
    assert list(place.accounts("lost", "shop-?", "shop-1")) == ["lost", "shop-1", "shop-2"]
    assert 'no account "x*"' in place("list", "x*", "shop-1", code=5).stderr
    assert 'no account "x*"' in place("list", "--watch", "x*", code=5).stderr
    assert 'no account "x*"' in place("stop", "x*", code=5).stderr
    assert "the tags are berlin, eu, later, left" in place("stop", "--tag", "berln", code=2).stderr


def test_an_order_says_first_whom_it_is_about(place: Cli) -> None:
    said = place("stop", "shop-[12]", "--tag", "eu").stdout
    assert said == "stopping 2 accounts: shop-1, shop-2\nshop-1: stopped\nshop-2: stopped\n"
    assert place("start", "--tag", "berlin").stdout.startswith("starting 1 account: shop-1\nshop-1: ")
    assert place("start", "shop-2").stdout.startswith("shop-2: ")
    for name in ("shop-1", "shop-2"):
        place.until(name, "connected")
    before = place.until("shop-2", "connected")["pid"]
    assert place("restart", "shop-2").stdout.startswith("shop-2: ")
    wait_for(lambda: place.until("shop-2", "connected")["pid"] != before, "it has a new process")
    # As with --all, a disabled account is not meant; if nobody else is, that is said.
    assert place("stop", "--tag", "left").stdout == "stopping 1 account: rests\nrests: stopped\n"
    assert "spare is disabled" in place("start", "--tag", "later", code=1).stderr
    assert " enable spare`" in place("start", "spare", "--tag", "later", code=1).stderr


def test_complete_numbers_are_shown_on_request_only(place: Cli) -> None:
    assert "4915100000001" not in place("list", "shop-1").stdout
    assert "+4915100000001" in place("list", "--reveal", "shop-1").stdout
    assert "+4915100000001" in place("list", "--reveal", "--wide", "shop-1").stdout


def test_a_table_has_process_ids_where_there_is_room(place: Cli) -> None:
    pid = str(place.accounts("shop-1")["shop-1"]["pid"])
    for columns in (99, 100):
        with Terminal(place.line("list", "shop-1"), place.environment, place.folder, columns=columns) as one:
            assert one.exit_code() == 0
        assert (pid in one.text) is (columns == 100)
        assert all(len(line) <= columns for line in ESCAPE.sub("", one.text).splitlines())


def test_a_live_table_follows_the_size_of_its_terminal(place: Cli) -> None:
    line = [*CONTROLLED, *place.line("list", "--watch", "shop-*")]
    with Terminal(line, place.environment, place.folder, rows=24, columns=120) as terminal:

        def drawn(*words: str, lines: int, columns: int) -> bool:
            """Tell whether the last whole screen has this size, and what is on it begins with these words."""
            screens = terminal.text.split("\x1b[H")[1:-1]
            if not screens:
                return False
            rows = ESCAPE.sub("", screens[-1]).replace("\r", "").split("\n")
            shown = [row for row in rows if row.strip()]
            return (
                {len(row) for row in rows} == {columns}
                and len(rows) == lines
                and all(row.split()[0] == word for row, word in zip(shown, words, strict=True))
            )

        whole = ("NAME", "shop-1", "shop-10", "shop-2")
        terminal.until(lambda _: drawn(*whole, lines=24, columns=120), "the table")
        assert "PID" in terminal.text
        terminal.resize(24, 60)
        terminal.until(lambda _: drawn(*whole, lines=24, columns=60), "a narrow table")
        terminal.resize(3, 60)
        terminal.until(lambda _: drawn("NAME", "shop-1", "…", lines=3, columns=60), "a low table")
        terminal.resize(10, 20)
        terminal.until(lambda _: drawn(*whole[1:], lines=10, columns=20), "names and states")
        terminal.resize(24, 120)
        terminal.until(lambda _: drawn(*whole, lines=24, columns=120), "the table again")
        terminal.press("\x03")
        assert terminal.exit_code() == 130
    # The terminal has its lines back, and the last table is below them.
    left = ESCAPE.sub("", terminal.text.rpartition("\x1b[?1049l")[2])
    assert [one.split()[0] for one in left.splitlines() if one.strip()] == list(whole)


def test_the_program_of_the_documentation_hears_who_needs_a_person(place: Cli, tmp_path: Path) -> None:
    text = (ROOT / "docs/notifications.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (program,) = [one for one in blocks if "--needs-person" in one]
    line = json.dumps([*place.line(), "list", "--watch", "--json", "--needs-person"])
    program = re.sub(r"^COMMAND = .*$", lambda _: f"COMMAND = {line}", program, flags=re.MULTILINE)
    (tmp_path / "hears.py").write_text(program)
    place("add", "new")
    with subprocess.Popen(
        [sys.executable, "hears.py"], cwd=tmp_path, env=place.environment, stdout=subprocess.PIPE, text=True
    ) as hears:
        try:
            assert hears.stdout is not None
            said = iter(hears.stdout.readline, "")
            first = {next(said).partition(":")[0] for _ in range(3)}
            assert first == {"shop-10", "lost", "new"}
            place.puppets.scan("new", "4915100000004")
            assert next(said).startswith("new needs nobody any more")
            place("stop", "lost")
            assert next(said) == "lost needs nobody any more: it is stopped\n"
        finally:
            hears.kill()
    place("start", "lost")
    place.until("lost", "failed")
    place("remove", "new", "--yes")


def test_lines_for_programs_without_json_say_who_needs_nobody_any_more(place: Cli) -> None:
    place("add", "other")
    line = place.line("list", "--watch", "--needs-person", program=COMMAND)
    with subprocess.Popen(line, env=place.environment, stdout=subprocess.PIPE, text=True) as lines:
        try:
            assert lines.stdout is not None
            said = iter(lines.stdout.readline, "")
            assert any(re.search(r"\d\d:\d\d:\d\d other pairing", one) for one in said)
            place.puppets.scan("other", "4915100000005")
            assert any("other needs nobody any more" in one for one in said)
        finally:
            lines.kill()
            lines.wait(PATIENCE)
    place("remove", "other", "--yes")
