"""What commands write to terminals that can do less than others, and where there is none."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import zxingcpp
from PIL import Image
from support.cli import COMMAND, PATIENCE, STAND_IN, Cli, wait_for
from support.terminal import CONTROLLED, ESCAPE, Terminal

ASCII = {"PYTHONIOENCODING": "ascii"}
LATIN = {"PYTHONIOENCODING": "latin-1"}
CODE = "ABCD-1234"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """A service with an account that is connected, one that waits for its phone, and one that is disabled."""
    cli = Cli(tmp_path_factory.mktemp("place"))
    cli.configure("a: {}", "p: {}", "spare: {enabled: false}")
    cli.has_session("a")
    with cli.service():
        cli.until("a", "connected")
        cli.until("p", "pairing")
        yield cli


def on_terminal(
    cli: Cli,
    *arguments: str,
    rows: int = 80,
    columns: int = 200,
    program: tuple[str, ...] = COMMAND,
    without: str = "",
    environment: Mapping[str, str] = {},
) -> Terminal:
    """Run a command on a terminal, with some variables set and one not."""
    given = {**cli.environment, **environment}
    line = cli.line(*arguments, program=program)
    if without:
        line = ["env", "-u", without, *line]
    encoding = {"ascii": "ascii", "latin-1": "latin-1"}.get(environment.get("PYTHONIOENCODING", ""), "utf-8")
    return Terminal(line, given, cli.folder, rows=rows, columns=columns, encoding=encoding)


def read(png: bytes, folder: Path) -> str:
    path = folder / "seen.png"
    path.write_bytes(png)
    with Image.open(path) as image:
        (found,) = zxingcpp.read_barcodes(image)
    return str(found.text)


# Codes

DRAWN = {
    "usual": ({}, True, "█"),
    "no colors": ({"NO_COLOR": "1"}, True, "█"),
    "dumb": ({"TERM": "dumb"}, False, "█"),
    "unknown": ({"TERM": "unknown"}, False, "█"),
    "of no known name": ({"TERM": "no-such-terminal"}, False, "█"),
    "empty name": ({"TERM": ""}, False, "█"),
    "vt52": ({"TERM": "vt52"}, False, "█"),
    "newer than this machine": ({"TERM": "xterm-of-the-future"}, True, "█"),
    "ASCII": (ASCII, True, "##"),
    "Latin-1": (LATIN, True, "##"),
    "C": ({"LC_ALL": "C"}, True, "##"),
    "C by LANG": ({"LANG": "C"}, True, "##"),
    "POSIX": ({"LANG": "POSIX"}, True, "##"),
    "UTF-8": ({"LANG": "C.UTF-8"}, True, "█"),
    "dumb and ASCII": ({"TERM": "dumb", **ASCII}, False, "##"),
}


@pytest.mark.parametrize(("environment", "escapes", "ink"), DRAWN.values(), ids=DRAWN)
def test_a_code_is_drawn_on_every_terminal(
    place: Cli, tmp_path: Path, environment: dict[str, str], escapes: bool, ink: str
) -> None:
    with on_terminal(place, "qr", "p", environment=environment) as terminal:
        terminal.until(lambda _: terminal.has_picture(), "a code")
        assert read(terminal.picture(), tmp_path).startswith("2@p-")
        terminal.interrupt()
        assert terminal.exit_code() == 130
        assert ("\x1b" in terminal.text) == escapes
        assert ink in terminal.text
        assert ink == "█" or terminal.text.isascii()
        assert ("38;5;16" in terminal.text) == (escapes and "NO_COLOR" not in environment)
        assert "Traceback" not in terminal.text
        if not escapes:  # what is not black on white may be hard to read
            assert f"open {place.state / 'qr/p.png'}" in terminal.text


def test_a_code_is_drawn_where_the_terminal_has_no_name(place: Cli, tmp_path: Path) -> None:
    with on_terminal(place, "qr", "p", without="TERM") as terminal:
        terminal.until(lambda _: terminal.has_picture(), "a code")
        assert read(terminal.picture(), tmp_path).startswith("2@p-")
        assert "\x1b" not in terminal.text


@pytest.mark.parametrize("size", [(0, 0), (0, 80), (24, 0)])
def test_a_code_is_drawn_where_the_terminal_has_no_size(
    place: Cli, tmp_path: Path, size: tuple[int, int]
) -> None:
    with on_terminal(place, "qr", "p", rows=size[0], columns=size[1]) as terminal:
        terminal.until(lambda _: terminal.has_picture(), "a code")
        assert read(terminal.picture(), tmp_path).startswith("2@p-")
        assert "F\x1b[J" not in terminal.text  # nobody knows where the cursor would go


@pytest.mark.parametrize(
    ("rows", "columns", "environment"),
    [(24, 80, {}), (1, 1, {}), (80, 20, {}), (80, 80, ASCII), (24, 200, ASCII), (24, 80, {"LC_ALL": "C"})],
)
def test_a_terminal_that_is_too_small_is_told_where_the_picture_is(
    place: Cli, rows: int, columns: int, environment: dict[str, str]
) -> None:
    path = str(place.state / "qr/p.png")
    with on_terminal(place, "qr", "p", rows=rows, columns=columns, environment=environment) as terminal:
        terminal.until(lambda text: path in text.replace("\r\n", ""), "the picture's path")
        assert not terminal.has_picture()


def test_a_code_is_drawn_anew_when_the_terminal_changes_its_size(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    cli.configure("p: {}")
    cli.puppets.play("p", ["connecting: unpaired", "code", "await: scanned"])
    small = "the code needs a terminal of"
    with cli.service():
        cli.until("p", "pairing")
        line = [*CONTROLLED, *cli.line("qr", "p")]  # the kernel tells the foreground of a new size
        with Terminal(line, cli.environment, cli.folder, rows=10, columns=60) as terminal:
            terminal.until(lambda text: small in text, "that it is too small")
            terminal.until(lambda text: "link p --code`" in text.replace("\r\n", ""), "the code to type")
            terminal.resize(80, 200)
            terminal.until(lambda _: terminal.has_picture(), "the code")
            shown = len(terminal.text)
            terminal.resize(10, 60)
            terminal.until(lambda text: small in text[shown:], "that it is too small again")


@pytest.mark.parametrize("environment", [{}, {"TERM": "dumb"}, ASCII, {"TERM": "dumb", **ASCII}], ids=str)
def test_repair_shows_a_code_on_every_terminal(tmp_path: Path, environment: dict[str, str]) -> None:
    cli = Cli(tmp_path)
    cli.configure('a: {phone: "+4915100000001"}')
    with on_terminal(cli, "repair", "a", program=STAND_IN, environment=environment) as terminal:
        terminal.until(lambda _: terminal.has_picture(), "a code")
        cli.puppets.scan("a")
        assert terminal.exit_code() == 0
        assert "Traceback" not in terminal.text
        assert ("\x1b" in terminal.text) == ("TERM" not in environment)
        masked = "+49...01" if "PYTHONIOENCODING" in environment else "+49…01"
        assert f"a is connected as {masked}" in terminal.text
    with on_terminal(cli, "repair", "a", "--code", program=STAND_IN, environment=environment) as terminal:
        terminal.until(lambda text: CODE in text, "eight characters")
        terminal.interrupt()
        assert terminal.exit_code() == 130


@pytest.mark.parametrize(("encoding", "ink"), [("utf-8", "█"), ("ascii", "##"), ("latin-1", "##")])
def test_a_code_in_a_pipe_is_written_in_its_letters(place: Cli, encoding: str, ink: str) -> None:
    with subprocess.Popen(
        place.line("qr", "p"),
        env={**place.environment, "PYTHONIOENCODING": encoding},
        stdout=subprocess.PIPE,
        encoding=encoding,
    ) as process:
        assert process.stdout is not None
        assert any(ink in line for line in process.stdout)
        process.send_signal(signal.SIGINT)


# What goes on


PLAIN_TERMINALS = {
    "dumb": {"TERM": "dumb"},
    "unknown": {"TERM": "unknown"},
    "of no known name": {"TERM": "no-such-terminal"},
    "empty name": {"TERM": ""},
}


@pytest.mark.parametrize("environment", PLAIN_TERMINALS.values(), ids=PLAIN_TERMINALS)
def test_watching_prints_lines_where_no_cursor_moves(place: Cli, environment: dict[str, str]) -> None:
    with on_terminal(place, "list", "--watch", environment=environment) as terminal:
        terminal.until(lambda text: re.search(r"\d\d:\d\d:\d\d a connected", text), "a line")
        terminal.interrupt()
        assert terminal.exit_code() == 130
        assert "\x1b" not in terminal.text


def test_watching_prints_lines_where_the_terminal_has_no_size(place: Cli) -> None:
    with on_terminal(place, "list", "--watch", rows=0, columns=0) as terminal:
        terminal.until(lambda text: re.search(r"\d\d:\d\d:\d\d a connected", text), "a line")
        assert "\x1b" not in terminal.text


@pytest.mark.parametrize("end", ["\x03", signal.SIGTERM, signal.SIGHUP], ids=["Ctrl-C", "SIGTERM", "SIGHUP"])
def test_a_live_view_that_ends_leaves_the_terminal_as_it_was(place: Cli, end: str | int) -> None:
    line = [*CONTROLLED, *place.line("list", "--watch")]
    with Terminal(line, place.environment, place.folder) as terminal:
        terminal.until(lambda text: "connected" in text, "the table")
        if isinstance(end, str):
            terminal.press(end)
        else:
            os.kill(terminal.pid, end)
        assert terminal.exit_code() == (130 if isinstance(end, str) else 128 + end)
        assert terminal.text.rfind("\x1b[?25h") > terminal.text.rfind("\x1b[?25l")  # the cursor is there
        assert "Traceback" not in terminal.text


@pytest.mark.parametrize("command", [["list", "--watch"], ["qr", "p"]], ids=["list", "qr"])
@pytest.mark.parametrize("nohup", [False, True], ids=["usual", "nohup"])
def test_a_terminal_that_vanishes_ends_the_command_without_a_traceback(
    place: Cli, tmp_path: Path, command: list[str], nohup: bool
) -> None:
    errors = tmp_path / "errors"
    ignored = "trap '' HUP; " if nohup else ""
    line = ["sh", "-c", f'{ignored}exec "$@" 2>{errors}', "sh", *place.line(*command)]
    with Terminal([*CONTROLLED, *line], place.environment, place.folder) as terminal:
        terminal.until(lambda text: "p" in text, "something")
        terminal.vanish()
        # Under nohup it ends once it writes, which a live table does by itself.
        if nohup and command[0] == "qr":
            os.kill(terminal.pid, signal.SIGINT)
        assert terminal.wait() != 0
    assert "Traceback" not in errors.read_text()


@pytest.mark.parametrize("columns", [1, 5, 20, 40, 80, 500])
@pytest.mark.parametrize("environment", [{}, ASCII, {"TERM": "dumb"}], ids=str)
def test_a_list_fits_into_its_terminal(place: Cli, columns: int, environment: dict[str, str]) -> None:
    with on_terminal(place, "list", columns=columns, environment=environment) as terminal:
        assert terminal.exit_code() == 0
        lines = ESCAPE.sub("", terminal.text).replace("\r\n", "\n").splitlines()
        assert "connected" in terminal.text or columns < 80
        assert "a connected" in terminal.text or columns >= 40
        assert max(map(len, lines)) <= max(columns, 14)  # what is narrower breaks the lines by itself
        assert ("\x1b" in terminal.text) == ("TERM" not in environment and columns >= 40)
        assert "Traceback" not in terminal.text


# Every command


COMMANDS = {
    "help": ([], 2),
    "help of a command": (["repair", "--help"], 0),
    "help of the sandbox": (["sandbox", "scan", "--help"], 0),
    "version": (["--version"], 0),
    "list": (["list"], 0),
    "list as JSON": (["list", "--json"], 0),
    "explain": (["explain", "a"], 0),
    "explain one that waits": (["explain", "p"], 0),
    "doctor": (["doctor"], None),
    "reload": (["reload"], 0),
    "orders": (["restart", "spare"], None),
    "nobody": (["explain", "nobody…"], None),
    "a wrong option": (["list", "--…"], 2),
    "adding": (["add", "n", "--disabled"], 0),
    "removing": (["remove", "n", "--yes"], 0),
    "sending": (["send", "a", "--to", "+4915100000009", "déjà vu → …"], None),
    "the sandbox's phones": (["sandbox", "phones"], 1),
    "faults": (["sandbox", "kinds"], 0),
}
LOCALES = {"ASCII": ASCII, "Latin-1": LATIN, "C": {"LC_ALL": "C"}, "UTF-8": {}}


@pytest.mark.parametrize("locale", LOCALES)
def test_every_command_can_be_read_in_every_encoding(place: Cli, locale: str) -> None:
    for what, (arguments, code) in COMMANDS.items():
        line = [*COMMAND, *arguments] if not arguments or arguments[0] in ("sandbox", "--version") else None
        given = {**place.environment, **LOCALES[locale]}
        if locale in ("ASCII", "Latin-1"):  # in a pipe, the others are the usual
            done = subprocess.run(
                line or place.line(*arguments), env=given, cwd=place.folder, capture_output=True, check=False,
                timeout=PATIENCE, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            said = done.stdout + done.stderr
            assert b"Traceback" not in said, (what, said)
            assert code is None or done.returncode == code, (what, done)
        with Terminal(line or place.line(*arguments), given, place.folder) as terminal:
            terminal.exit_code()
            assert "Traceback" not in terminal.text, what
            if locale in ("ASCII", "C"):
                assert terminal.text.isascii(), (what, terminal.text)


def test_an_arrow_is_written_in_ascii(place: Cli) -> None:
    place.environment.update(ASCII)
    try:
        said = place("explain", "a").stdout
    finally:
        del place.environment["PYTHONIOENCODING"]
    assert "+49...01" in said
    assert " -> connected" in said


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(
    "arguments",
    [["list"], ["list", "--json"], ["explain", "a"], ["remove", "nobody"], ["--help"], ["nonsense"]],
    ids=" ".join,
)
def test_a_stream_that_is_closed_does_no_harm(place: Cli, closed: str, arguments: list[str]) -> None:
    line = place.line(*arguments)
    expected = subprocess.run(
        line,
        env=place.environment,
        cwd=place.folder,
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *line],
        env=place.environment,
        cwd=place.folder,
        capture_output=True,
        check=False,
    )
    assert b"Traceback" not in done.stderr, done.stderr
    assert done.returncode == expected.returncode
    assert b"Exception ignored" not in done.stderr


def test_the_service_runs_without_any_stream(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    cli.configure("a: {}")
    cli.has_session("a")
    line = cli.line("run", program=STAND_IN)
    with subprocess.Popen(
        ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *line], env=cli.environment, cwd=cli.folder
    ) as process:
        try:
            wait_for((cli.state / "control.sock").exists, "the service is ready")
            cli.until("a", "connected")
            for descriptor in range(3):
                assert Path(f"/proc/{process.pid}/fd/{descriptor}").readlink() == Path(os.devnull)
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_output_that_cannot_be_written_is_no_traceback(place: Cli, stream: str) -> None:
    to = "" if stream == "stdout" else "2"
    line = place.line("list") if stream == "stdout" else place.line("explain", "nobody")
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {to}>/dev/full', "sh", *line],
        env=place.environment,
        cwd=place.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert done.returncode in ((1,) if stream == "stdout" else (5,))


def test_the_judge_needs_nothing_that_takes_long_to_load() -> None:
    script = "import sys; before = set(sys.modules); import orchestrator.cli.terminal as t; t.judge(); print(sorted(set(sys.modules) - before))"  # noqa: E501
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True,
        env={**os.environ, "TERM": "xterm"},
    )  # fmt: skip
    assert not {"rich", "curses", "asyncio"} & set(re.findall(r"'([a-z]+)'", done.stdout))


# Files of messages


def test_a_file_that_a_stranger_has_sent_is_not_written_to_a_terminal(place: Cli) -> None:
    media = "4711"
    folder = place.folder / "state/messages/a/media"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / media).write_text("\x1b]0;steered\a\x1b[2Jhello")
    with on_terminal(place, "media", "a", media, "-o", "-") as terminal:
        assert terminal.exit_code() == 2
        assert "terminal" in terminal.text
        assert "steered" not in terminal.text
    piped = subprocess.run(
        place.line("media", "a", media, "-o", "-"), env=place.environment, capture_output=True, check=True
    )
    assert piped.stdout.startswith(b"\x1b]0;steered")
