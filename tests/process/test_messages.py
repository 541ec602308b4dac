"""The commands that show messages, with inboxes as accounts' processes write them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
from support.cli import Cli, wait_for
from support.entries import ENTRIES
from support.inboxes import append, writing
from support.protobufs import ADA
from support.terminal import Terminal

NEEDLES = ("Hello", "Ada", "4915100002", ADA)


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    cli = Cli(tmp_path)
    cli.configure("a: {}", "b: {}")
    cli.state.mkdir(0o700)
    return cli


def events(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def numbers(text: str) -> list[object]:
    return [event["seq"] for event in events(text)]


# What is there


def test_everything_in_lines_of_json(cli: Cli) -> None:
    with writing(cli.state, "a") as inbox:
        count = len(append(inbox, *ENTRIES))
        done = cli("messages", "a", "--json")
        assert done.stdout.isascii()
        assert done.stderr == ""
        found = events(done.stdout)
        assert [one["seq"] for one in found] == sorted({one["seq"] for one in found})  # type: ignore[type-var]
        assert count - 5 < len(found) <= count
        assert {one["account"] for one in found} == {"a"}
        assert found[0]["id"] == "evt_a_1"
    assert cli("messages", "a", "--json").stdout == done.stdout, "the account's process is gone"


def test_lines_for_people(cli: Cli) -> None:
    with writing(cli.state, "a") as inbox:
        append(inbox, "text", "image")
    first, second = cli("messages", "a").stdout.splitlines()
    assert first.endswith('    1  text       +4915100002 "Ada"  Hello')
    assert "image" in second


def test_which_are_shown(cli: Cli) -> None:
    with writing(cli.state, "a") as inbox:
        append(inbox, *["text"] * 30)

    def shown(*options: str) -> list[object]:
        return numbers(cli("messages", "a", "--json", *options).stdout)

    assert shown() == [*range(1, 31)]
    assert shown("--limit", "3") == [28, 29, 30]
    assert shown("--limit", "0") == []
    assert shown("--after", "25") == [*range(26, 31)]
    assert shown("--after", "3", "--limit", "2") == [4, 5]
    assert shown("--after", "99") == []
    cli("messages", "a", "--after", "-1", code=2)
    cli("messages", "a", "--follow", "--after", "1", "--limit", "1", code=2)


@pytest.mark.parametrize(
    "arguments",
    [
        ["messages", "a", "--limit", str(10**20)],
        ["messages", "a", "--after", str(10**20)],
        ["messages", "a", "--after", "0", "--limit", str(10**20)],
        ["messages", "a", "--after", str(10**18 - 1), "--limit", str(10**18 - 1)],
        ["messages", "\udcff"],
        ["trace", "\udcff\udcfe"],
        ["trace", "3EB0", "\udcff"],
        ["trace", "evt_a_0"],
        ["trace", "evt_a_999999999999999999"],
        ["trace", "x" * 100_000],
        ["media", "a", str(10**20)],
        ["media", "\udcff", "1"],
    ],
)
def test_no_argument_gives_a_traceback(cli: Cli, arguments: list[str]) -> None:
    with writing(cli.state, "a") as inbox:
        append(inbox, "text")
    done = cli.run_any(cli.line(*arguments))
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 1, 2, 4, 5)


def test_entries_that_say_nothing_do_not_count(cli: Cli) -> None:
    with writing(cli.state, "a") as inbox:
        append(inbox, "text", "text")
        # A receipt of a kind that is none of a consumer's business.
        for number in range(9):
            append(inbox, "status", notes={"status": "other"}, extra=str(number))
    assert numbers(cli("messages", "a", "--json", "--limit", "2").stdout) == [1, 2]
    assert numbers(cli("messages", "a", "--json", "--after", "1", "--limit", "1").stdout) == [2]


def test_an_account_whose_messages_are_all_gone(cli: Cli) -> None:
    with writing(cli.state, "a"):
        pass
    done = cli("messages", "a")
    assert done.stdout == ""
    assert "a has no messages now" in done.stderr
    for asked in (["--after", "3"], ["--limit", "0"]):
        assert cli("messages", "a", *asked).stderr == ""


def test_an_account_that_has_kept_nothing(cli: Cli) -> None:
    done = cli("messages", "a")
    assert done.stdout == ""
    assert "a has kept no messages; `messages.allow`" in done.stderr
    cli("messages", "nobody", code=5)
    cli("messages", "../a", code=5)
    (cli.state / "messages/a").mkdir(parents=True)
    (cli.state / "messages/a/begin").write_text("17\n")
    assert cli("messages", "a", "--json").stdout == ""


def test_messages_of_an_account_that_is_gone(cli: Cli) -> None:
    with writing(cli.state, "gone") as inbox:
        append(inbox, "text")
    assert "Hello" in cli("messages", "gone").stdout


@pytest.mark.parametrize("what", ["garbage", "link", "folder", "pipe"])
def test_an_inbox_that_cannot_be_read(cli: Cli, what: str) -> None:
    file = cli.state / "messages/a/inbox.sqlite3"
    file.parent.mkdir(parents=True)
    match what:
        case "garbage":
            file.write_bytes(b"garbage" * 999)
        case "link":
            file.symlink_to(cli.config)
        case "folder":
            file.mkdir()
        case _:
            os.mkfifo(file)
    done = cli("messages", "a", code=1)
    assert str(file) in done.stderr
    assert cli("trace", "3EB0", "a", code=1).stdout == ""


def test_a_reader_that_has_seen_enough(cli: Cli) -> None:
    with writing(cli.state, "a") as inbox:
        append(inbox, *["text"] * 2000)
    line = " ".join(cli.line("messages", "a", "--json"))
    done = cli.run(["bash", "-o", "pipefail", "-c", f"{line} | head -n 1"])
    assert numbers(done.stdout) == [1]
    assert done.stderr == ""


def test_a_terminal_cuts_long_texts(cli: Cli) -> None:
    from support.entries import of
    from support.inboxes import entry
    from support.protobufs import Message

    text = "word " * 200 + "\x1b]0;evil\x07\n\u202eevil"
    with writing(cli.state, "a") as inbox:
        inbox.append(entry(of(Message(conversation=text))))
    line = cli.line("messages", "a")
    with Terminal(line, cli.environment, cli.folder, columns=100) as terminal:
        terminal.until(lambda shown: "\n" in shown, "a line")
        (shown,) = terminal.text.splitlines()
        assert len(shown) <= 100
        assert shown.endswith("…")
        assert "\x1b" not in shown
    assert len(cli("messages", "a").stdout) > 1000


# What comes in


class Follower:
    """A command that follows, and what it has written."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.process = process
        self.out, self.errors = folder / "out", folder / "errors"

    def numbers(self) -> list[object]:
        text = self.out.read_text()
        return numbers(text[: text.rfind("\n") + 1])

    def until(self, *wanted: int) -> None:
        wait_for(lambda: self.numbers() == [*wanted], f"{wanted}")

    def says(self, sentence: str) -> None:
        wait_for(lambda: sentence in self.errors.read_text(), sentence)


@contextmanager
def following(cli: Cli, name: str, *options: str) -> Iterator[Follower]:
    line = cli.line("messages", name, "--follow", "--json", *options)
    out: IO[bytes]
    with (cli.folder / "out").open("wb") as out, (cli.folder / "errors").open("wb") as errors:
        process = subprocess.Popen(
            line, stdout=out, stderr=errors, env=cli.environment, cwd=cli.folder, text=True
        )
    try:
        yield Follower(process, cli.folder)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert "Traceback" not in (cli.folder / "errors").read_text()
    finally:
        process.kill()
        process.wait()


def test_what_comes_in_is_shown(cli: Cli) -> None:
    with writing(cli.state, "a") as inbox:
        append(inbox, *["text"] * 15)
        with following(cli, "a") as follower:
            follower.until(*range(6, 16))
            append(inbox, "image")
            follower.until(*range(6, 17))
            append(inbox, "text", "text")
            follower.until(*range(6, 19))


def test_one_waits_for_the_first_message(cli: Cli) -> None:
    with following(cli, "a", "--after", "0") as follower:
        follower.says("has kept no messages")
        with writing(cli.state, "a") as inbox:
            append(inbox, "text")
        follower.until(1)


def test_one_follows_through_remove_restore_and_rename(cli: Cli) -> None:
    with writing(cli.state, "a") as inbox:
        append(inbox, "text")
    with following(cli, "a", "--after", "0") as follower:
        follower.until(1)
        cli("remove", "a", "--yes")
        follower.says("the messages of a are gone")
        cli("add", "a")
        with writing(cli.state, "a") as inbox:
            append(inbox, "text", "text")
        follower.until(1, 2, 3)
        cli("rename", "a", "new")
        follower.says("a is called new now")
        with writing(cli.state, "new") as inbox:
            append(inbox, "text")
        follower.until(1, 2, 3, 4)
        assert [event["account"] for event in events(follower.out.read_text())] == ["a", "a", "a", "new"]


def test_a_rename_is_followed_that_takes_its_time(cli: Cli) -> None:
    """The name comes after the move: whoever looks in between sees neither."""
    with writing(cli.state, "a") as inbox:
        append(inbox, "text")
    folder = cli.state / "messages/a"
    with following(cli, "a", "--after", "0") as follower:
        follower.until(1)
        folder.rename(folder.with_name("new"))
        follower.says("the messages of a are gone")
        folder.mkdir()
        (folder / "renamed").write_text("new\n")
        follower.says("a is called new now")
        with writing(cli.state, "new") as inbox:
            append(inbox, "text")
        follower.until(1, 2)


def test_one_follows_a_new_inbox_in_the_place_of_a_damaged_one(cli: Cli) -> None:
    with writing(cli.state, "a") as inbox:
        append(inbox, "text")
    with following(cli, "a", "--after", "0") as follower:
        follower.until(1)
        (cli.state / "messages/a/inbox.sqlite3").write_bytes(b"garbage" * 9999)
        with writing(cli.state, "a") as inbox:
            (number,) = append(inbox, "text")
        follower.until(1, number)


def test_nobody_reads_any_more(cli: Cli) -> None:
    with writing(cli.state, "a") as inbox:
        append(inbox, "text")
    process = subprocess.Popen(
        cli.line("messages", "a", "--follow", "--json"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=cli.environment, cwd=cli.folder, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline().startswith("{")
    process.stdout.close()
    # Nothing comes in, and all the same it ends.
    assert process.wait(60) == 0
    assert process.stderr.read() == ""
    process.stderr.close()


# What became of a message


def test_the_fate_of_a_message(cli: Cli) -> None:
    with writing(cli.state, "a") as inbox:
        append(inbox, "text", id="3EB0ORIGINAL")
        append(inbox, "text", "edit", "revocation", "reaction")
        append(inbox, "status", id="3EB0OURS", extra="delivered")
        append(inbox, "status_read", id="3EB0OURS", extra="read")
    with writing(cli.state, "b") as inbox:
        append(inbox, "lost", id="3EB0LOST")
    done = cli("trace", "3EB0ORIGINAL")
    for words in ("3EB0ORIGINAL in the inbox of a", "evt_a_1  stored: text, received in a direct chat",
                  "edited", "revoked", "somebody reacted", "messages a --after 0 --limit 1"):  # fmt: skip
        assert words in done.stdout
    assert not [needle for needle in NEEDLES if needle in done.stdout]
    (fate,) = json.loads(cli("trace", "3EB0ORIGINAL", "--json").stdout)
    assert fate["account"] == "a"
    assert [step["seq"] for step in fate["steps"]] == [1, 3, 4, 5]
    assert not [needle for needle in NEEDLES if needle in json.dumps(fate)]
    assert cli("trace", "evt_a_5").stdout == done.stdout
    assert "delivered" in cli("trace", "3EB0OURS", "a").stdout
    assert "  read" in cli("trace", "3EB0OURS", "a").stdout
    assert "was not stored" in cli("trace", "3EB0LOST").stdout


@pytest.mark.parametrize(
    "arguments", [["3EB0"], ["3EB0", "a"], ["evt_a_99"], ["evt_b_1"], ["\x1b[2J"], ["%s'"]]
)
def test_a_message_that_nobody_knows(cli: Cli, arguments: list[str]) -> None:
    with writing(cli.state, "a") as inbox:
        append(inbox, "text")
    done = cli("trace", *arguments, code=1)
    assert done.stdout == ""
    assert "aged out" in done.stderr
    assert "`messages.allow`" in done.stderr


def test_a_trace_in_an_account_that_is_none(cli: Cli) -> None:
    cli("trace", "3EB0", "nobody", code=5)
    cli("trace", "3EB0", "a", code=1)
