"""The commands about what goes out, with outboxes as accounts' processes write them, without a service."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
from support.cli import Cli
from support.full_disk import make_read_only, small_disk
from support.outboxes import CHAT, new, of, outbox_of

from orchestrator.errors import ExitCode
from orchestrator.messages.outbox import Outbox
from orchestrator.messages.retention import Retention
from orchestrator.sending import turns
from orchestrator.sending.forms import File, Kind, Media, Outgoing
from orchestrator.sending.row import Pace
from orchestrator.store.layout import OUTBOX

NEEDLES = ("Hello", "4915100000002")


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    cli = Cli(tmp_path)
    cli.configure("a: {}", "b: {}")
    cli.state.mkdir(0o700)
    return cli


def fill(outbox: Outbox) -> None:
    """Write a row of every state."""
    for number in range(1, 8):
        outbox.add(new(f"Hello {number}"))
    for number in (1, 2, 3):
        outbox.hand_over(number, Pace.KNOWN)
    outbox.sent(1, "3EB0A1")
    outbox.unknown(2, "WhatsApp did not answer")
    outbox.failed(4, "the number is not on WhatsApp", 463)
    outbox.expire(5)
    outbox.take_back(6)
    outbox.schedule(7, Pace.NEW, 1_900_000_000.0, "one after the other")


def rows(text: str) -> list[tuple[int, str]]:
    return [(one["row"], one["state"]) for one in map(json.loads, text.splitlines())]


WAITING = [(2, "unknown"), (3, "sending"), (7, "queued")]
EVERY = [(1, "sent"), *WAITING[:2], (4, "failed"), (5, "expired"), (6, "taken_back"), WAITING[2]]


def test_what_waits_is_shown_and_what_is_over_if_asked_for(cli: Cli) -> None:
    with outbox_of(cli.state, "a") as outbox:
        fill(outbox)
        assert rows(cli("outbox", "a", "--json").stdout) == WAITING, "while the account's process writes"
    assert rows(cli("outbox", "a", "--json").stdout) == WAITING
    assert rows(cli("outbox", "a", "--all", "--json").stdout) == EVERY
    assert rows(cli("outbox", "a", "--all", "--limit", "2", "--json").stdout) == EVERY[-2:]
    done = cli("outbox", "a", "--all")
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["ROW", "STATE", "KIND", "TO", "WRITTEN", "ABOUT"]
    assert [line.split()[:2] for line in lines[2:] if line[0] != " "] == [
        [str(one), state.split("_")[0]] for one, state in EVERY
    ]
    assert max(map(len, lines)) <= 100
    assert "one after the other, not before" in done.stdout
    assert "expires" not in done.stdout, "nobody needs both"
    assert "(463)" in lines[5]
    assert "Hello" not in done.stdout
    assert "+4915100000002" in done.stdout


def test_more_rows_than_are_shown(cli: Cli) -> None:
    with outbox_of(cli.state, "a") as outbox:
        for number in range(1001):
            outbox.add(new(str(number), most=2000))
    done = cli("outbox", "a")
    assert done.stdout.splitlines()[-1] == "there are 1 more; --limit 1001 shows them"
    assert len(cli("outbox", "a", "--limit", "1001").stdout.splitlines()) == 1003


def test_one_row_with_its_text(cli: Cli) -> None:
    with outbox_of(cli.state, "a") as outbox:
        fill(outbox)
        found = json.loads(cli("outbox", "a", "--row", "7", "--json").stdout)
        assert found["message"]["text"] == "Hello 7"
        assert (found["row"], found["to"], found["pace"]) == (7, CHAT, "new")
        said = cli("outbox", "a", "--row", "7").stdout
        assert "why: one after the other\n" in said
        assert "Hello 7" in said
        outbox.clear(Retention(-1e6, -1e6))
        outbox.take_back(7)
        outbox.clear(Retention(-1e6, -1e6))
        assert "message: deleted\n" in cli("outbox", "a", "--row", "7").stdout
    done = cli("outbox", "a", "--row", "8", code=1)
    assert "the outbox has no row 8" in done.stderr


def test_waiting_rows_fit_into_one_line_each(cli: Cli) -> None:
    whys = (turns.PACED, turns.PACED_NEW, turns.DAY_FULL, *turns.CLOSED.values())
    with outbox_of(cli.state, "a") as outbox:
        for number, why in enumerate(whys, 1):
            outbox.add(new(f"Hello {number}"))
            outbox.schedule(number, Pace.NEW, 1_900_000_000.0, why)
    shown = cli("outbox", "a").stdout.splitlines()[2:]
    assert len(shown) == len(whys)
    assert max(map(len, shown)) <= 100
    assert "takes its time, not before 2030-03-17" in shown[0]
    one = cli("outbox", "a", "--row", "3").stdout
    assert f"why: {turns.DAY_FULL}\n" in one
    assert re.search(r"queued until: 2030-03-17 \d\d:\d\d:\d\d [+-]\d\d:\d\d\n", one)


def test_a_picture_is_not_shown_as_letters(cli: Cli) -> None:
    file = File("1", "ab" * 32, 9, "image/png", thumbnail=b"\xff\xd8 a small one")
    with outbox_of(cli.state, "a") as outbox:
        outbox.add(of(Outgoing(CHAT, Media(Kind.IMAGE, file=file, caption="Here it is")), "k"))
    found = json.loads(cli("outbox", "a", "--row", "1", "--json").stdout)
    assert found["message"]["file"]["thumbnail"]
    said = cli("outbox", "a", "--row", "1").stdout
    assert "Here it is" in said
    assert "thumbnail" not in said
    assert "waveform" not in said


def test_nothing_is_said_to_be_nothing(cli: Cli) -> None:
    assert cli("outbox", "a").stdout == "a: nothing waits to be sent; --all also shows what is over\n"
    assert cli("outbox", "a", "--json").stdout == ""
    assert "there is no account" in cli("outbox", "c", code=ExitCode.NO_SUCH_ACCOUNT).stderr
    assert "there is no account" in cli("outbox", "../a", code=ExitCode.NO_SUCH_ACCOUNT).stderr
    with outbox_of(cli.state, "a") as outbox:
        fill(outbox)
        for one in (2, 3):
            outbox.sent(one, f"3EB0{one}")
        outbox.take_back(7)
    assert "nothing waits" in cli("outbox", "a").stdout


def test_what_a_killed_process_has_left_is_shown(cli: Cli) -> None:
    code = (
        "import os, sys; sys.path.insert(0, 'tests')\n"
        "from pathlib import Path\n"
        "from support.outboxes import new, outbox_of\n"
        f"with outbox_of(Path({str(cli.state)!r}), 'a') as outbox:\n"
        "    outbox.add(new()); os.kill(os.getpid(), 9)\n"
    )
    pid = os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, "-c", code])
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL
    assert rows(cli("outbox", "a", "--json").stdout) == [(1, "queued")]


def test_a_damaged_outbox_is_an_error_of_one_line(cli: Cli) -> None:
    with outbox_of(cli.state, "a"):
        pass
    (cli.state / "messages/a" / OUTBOX).write_bytes(b"not a database" * 100)
    done = cli("outbox", "a", code=1)
    assert "cannot be read: file is not a database" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_words_from_outside_cannot_steer_a_terminal(cli: Cli) -> None:
    with outbox_of(cli.state, "a") as outbox:
        outbox.add(new("Hello \x1b[31m\n"))
        outbox.failed(1, "refused: \x1b[31m\u202e")
    for arguments in (["--all"], ["--row", "1"], ["--all", "--json"], ["--row", "1", "--json"]):
        shown = cli("outbox", "a", *arguments).stdout
        assert "\x1b" not in shown
        assert "\u202e" not in shown


def test_only_reading_works_without_a_service(cli: Cli) -> None:
    with outbox_of(cli.state, "a") as outbox:
        outbox.add(new())
    for line in (["outbox", "a", "--take-back", "1"], ["send", "a", "--to", "+4915100000002", "Hello"]):
        assert "the service is not running" in cli(*line, code=ExitCode.NOT_RUNNING).stderr
    assert rows(cli("outbox", "a", "--json").stdout) == [(1, "queued")]


def test_a_disk_that_nobody_can_write_is_read(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 4096) as disk:
        cli = Cli(tmp_path)
        cli.configure("a: {}")
        cli.names_state = False
        with outbox_of(disk, "a") as outbox:
            outbox.add(new())
        make_read_only(disk)
        done = cli.run(cli.line("--state-dir", str(disk), "outbox", "a", "--json"))
        assert rows(done.stdout) == [(1, "queued")]


# What became of a message


def test_the_fate_of_a_message_that_was_sent(cli: Cli) -> None:
    with outbox_of(cli.state, "a") as outbox:
        fill(outbox)
    said = cli("trace", "3EB0A1").stdout
    assert said.startswith("3EB0A1 in the outbox of a:\n")
    assert "row 1  written into the outbox: text\n" in said
    assert said.endswith("row 1  sent\n")
    (found,) = json.loads(cli("trace", "3EB0A1", "a", "--json").stdout)
    assert (found["row"]["state"], found["steps"]) == ("sent", [])
    for text in (said, json.dumps(found)):
        assert [needle for needle in NEEDLES if needle in text] == []
    assert "does not know this message" in cli("trace", "3EB0A2", "a", code=1).stderr


def test_a_damaged_outbox_hides_no_other(cli: Cli) -> None:
    with outbox_of(cli.state, "a"):
        pass
    (cli.state / "messages/a" / OUTBOX).write_bytes(b"not a database" * 100)
    with outbox_of(cli.state, "b") as outbox:
        fill(outbox)
    done = cli("trace", "3EB0A1")
    assert done.stdout.startswith("3EB0A1 in the outbox of b:\n")
    assert "a/outbox.sqlite3 cannot be read" in done.stderr


# What is refused before anybody is asked


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--to", "+49", "Hello"], "found a number with 2 digits instead of 7 to 15"),
        (["--to", "somebody", "Hello"], "the number of the receiver: expected a number with +"),
        (["--to", "somebody@lid", "Hello"], "--to must be the address of a chat"),
        (["--to", "+4915100000002", " "], "the text is empty"),
        (["--to", "+4915100000002", "x" * 4097], "the text is too long"),
        (["--to", "+4915100000002", "--reply-to", "a b", "Hello"], "reply_to must be the identifier"),
        (["--to", "+4915100000002", "--expires", "soon", "Hello"], "--expires: "),
        (["--to", "+4915100000002", "--expires", "0s", "Hello"], "--expires: "),
        (["--to", "+4915100000002", "--file", "gone.jpg"], "No such file"),
        (["--to", "+4915100000002", "--file", "link.jpg"], "it is a symbolic link: name the file itself"),
        (["--to", "+4915100000002", "--file", "."], "this is no regular file"),
        (["--to", "+4915100000002", "--file", "fifo"], "this is no regular file"),
    ],
)
def test_what_cannot_be_sent_is_refused_without_a_service(cli: Cli, arguments: list[str], words: str) -> None:
    (cli.folder / "link.jpg").symlink_to("/etc/passwd")
    os.mkfifo(cli.folder / "fifo")
    done = cli("send", "a", *arguments, code=2)
    assert words in done.stderr
    assert "15100000002" not in done.stderr
    assert "Hello" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--to", "+4915100000002"],
        ["--to", "+4915100000002", "--kind", "image", "Hello"],
        ["--to", "+4915100000002", "--file", "voice.ogg", "Hello"],
        ["--to", "+4915100000002", "--file", "voice.ogg", "--kind", "song"],
        ["--to", "+4915100000002", "--caption", "Hello"],
        ["--to", "+4915100000002", "--file", "voice.ogg", "--caption", "Hello"],
        ["--to", "+4915100000002", "--file", "offer.pdf", "--caption", "Hello", "Hello"],
        ["--to", "+4915100000002", "--wait", "61", "Hello"],
        ["Hello"],
    ],
)
def test_wrong_usage(cli: Cli, arguments: list[str]) -> None:
    (cli.folder / "voice.ogg").write_bytes(b"OggS" + bytes(24) + b"OpusHead" + bytes(100))
    (cli.folder / "offer.pdf").write_bytes(b"%PDF-1.7")
    done = cli("send", "a", *arguments, code=ExitCode.USAGE)
    assert "15100000002" not in done.stderr


def test_no_database_but_an_outbox_is_read(cli: Cli) -> None:
    with outbox_of(cli.state, "a"):
        pass
    with closing(sqlite3.connect(cli.state / "messages/a" / OUTBOX)) as connection, connection:
        connection.execute("CREATE VIEW bad AS SELECT 1")
    assert "is no outbox, because its tables are others" in cli("outbox", "a", code=1).stderr
