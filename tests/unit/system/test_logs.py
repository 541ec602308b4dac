import fcntl
import json
import logging
import os
import pty
import re
import socket
import subprocess
import sys
import threading
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.full_disk import fill, small_disk

from orchestrator.system import logs
from orchestrator.system.logs import JournalFormatter, JsonFormatter, StderrHandler, TextFormatter

BOT = "4915123456701"
TIME = 1795354074.1239


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    """Give logging back to pytest."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    hooks = sys.excepthook, threading.excepthook
    yield
    for handler in root.handlers[:]:
        root.removeHandler(handler)
        if handler not in handlers:
            handler.close()
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    sys.excepthook, threading.excepthook = hooks


def record(
    message: str, *args: object, level: int = logging.INFO, error: BaseException | None = None, **more: object
) -> logging.LogRecord:
    exc_info = None if error is None else (type(error), error, error.__traceback__)
    made = logging.LogRecord("orchestrator.worker", level, "", 0, message, args, exc_info)
    made.created = TIME
    vars(made).update(more)
    return made


def some_error(text: str) -> ValueError:
    try:
        raise ValueError(text)
    except ValueError as error:
        return error


class Pipe:
    """A pipe whose reader reads when it is told to."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        os.set_blocking(self.reading, False)

    def read(self) -> str:
        data = b""
        try:
            while more := os.read(self.reading, 1 << 16):
                data += more
        except BlockingIOError:
            pass
        return data.decode()

    def close_reader(self) -> None:
        os.close(self.reading)
        self.reading = -1


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    for descriptor in (made.reading, made.writing):
        if descriptor >= 0:
            os.close(descriptor)


@pytest.fixture
def handler(pipe: Pipe) -> Iterator[StderrHandler]:
    made = StderrHandler(TextFormatter(None), pipe.writing)
    yield made
    made.close()


# Forms


def test_text() -> None:
    assert TextFormatter(None).format(record("a %s", "b")) == (
        "2026-11-22T13:27:54.123Z INFO    orchestrator.worker: a b"
    )
    assert TextFormatter("support").format(record("a", level=logging.WARNING)) == (
        "2026-11-22T13:27:54.123Z WARNING [support] orchestrator.worker: a"
    )


def test_nothing_in_a_text_passes_for_a_record_or_steers_a_terminal() -> None:
    forged = "a\n2026-11-22T13:27:54.123Z INFO orchestrator: forged\r\x1b[2J\x00\x9b\u2028z\tz"
    first, second = TextFormatter(None).format(record(forged)).split("\n")
    assert first.endswith(": a")
    assert second == (
        "    2026-11-22T13:27:54.123Z INFO orchestrator: forged\\u000d\\u001b[2J\\u0000\\u009b\\u2028z\tz"
    )


def test_an_error_is_shown_with_its_traceback() -> None:
    lines = (
        TextFormatter(None)
        .format(record("failed", error=some_error("why"), stack_info="Stack:\n x"))
        .split("\n")
    )
    assert lines[0].endswith(": failed")
    assert lines[1] == "    Traceback (most recent call last):"
    assert lines[-3:] == ["    ValueError: why", "    Stack:", "     x"]


@pytest.mark.parametrize(
    ("level", "priority"),
    [(10, 7), (20, 6), (30, 4), (40, 3), (50, 2), (60, 2), (25, 6), (5, 6)],
)
def test_the_journal_gets_a_priority_and_no_time(level: int, priority: int) -> None:
    text = JournalFormatter("support").format(record("a\nb", level=level))
    assert text == f"<{priority}>[support] orchestrator.worker: a\n<{priority}>    b"


def test_json() -> None:
    assert json.loads(JsonFormatter(None).format(record("a\nb %s", "…\x1b\x7f\u2028"))) == {
        "time": "2026-11-22T13:27:54.123Z",
        "level": "INFO",
        "logger": "orchestrator.worker",
        "message": "a\nb …\x1b\x7f\u2028",
    }
    text = JsonFormatter("support").format(record("x\x9b\x7f", error=some_error("why"), stack_info="Stack"))
    assert text.isprintable()
    found = json.loads(text)
    assert found["account"] == "support"
    assert found["exception"].endswith("\nValueError: why")
    assert found["stack"] == "Stack"
    assert json.loads(JsonFormatter(None).format(record("x", account="sales")))["account"] == "sales"


def test_what_is_too_long_is_cut() -> None:
    text = TextFormatter(None).format(record("x" * 1_000_000))
    assert text.endswith("x… (983616 more characters)")
    found = json.loads(JsonFormatter(None).format(record("x" * 1_000_000)))
    assert len(found["message"]) < 17_000


def test_the_journal_is_known_by_device_and_inode(pipe: Pipe) -> None:
    about = os.fstat(pipe.writing)
    right = f"{about.st_dev}:{about.st_ino}"
    assert logs.is_journal({"JOURNAL_STREAM": right}, pipe.writing)
    for wrong in ("", "x", ":", f"{about.st_dev}:", f"{about.st_dev}:1{about.st_ino}", f"{right}:"):
        assert not logs.is_journal({"JOURNAL_STREAM": wrong}, pipe.writing)
    assert not logs.is_journal({}, pipe.writing)
    assert not logs.is_journal({"JOURNAL_STREAM": right}, 987654)


def test_text_is_for_the_journal_if_it_goes_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(logs.formatter("text"), TextFormatter)
    assert isinstance(logs.formatter("journal"), JournalFormatter)
    monkeypatch.setattr(logs, "is_journal", lambda: True)
    assert isinstance(logs.formatter("text"), JournalFormatter)


def test_json_has_a_priority_only_for_the_journal() -> None:
    """The journal takes the prefix away: what is read from it is the object alone."""
    script = "logs.configure('DEBUG', 'json'); logging.warning('a\\nb'); logging.debug('c')"
    lines = run(script).splitlines()
    assert [json.loads(line)["message"] for line in lines] == ["a\nb", "c"]
    reading, writing = os.pipe()
    about = os.fstat(writing)
    with os.fdopen(reading) as journal:
        try:
            run(script, stderr=writing, JOURNAL_STREAM=f"{about.st_dev}:{about.st_ino}")
        finally:
            os.close(writing)
        first, second = journal.read().splitlines()
    assert (first[:4], second[:4]) == ("<4>{", "<7>{")
    assert [json.loads(line[3:])["message"] for line in (first, second)] == ["a\nb", "c"]


# All of it


def run(script: str, *, stderr: int = subprocess.PIPE, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", f"import logging, os, sys; from orchestrator.system import logs\n{script}"],
        cwd=Path(logs.__file__).parents[2],
        env={**os.environ, **environment},
        stderr=stderr,
        stdout=subprocess.PIPE,
        check=True,
    )
    assert done.stdout == b""
    return (done.stderr or b"").decode()


def test_everything_goes_to_stderr_redacted() -> None:
    said = run(
        "logging.basicConfig(stream=sys.stdout)\n"  # what an imported library may have done
        "logs.configure('debug', account='support')\n"
        f"logging.getLogger('whatsmeow.Client').debug('Successfully paired %s', '{BOT}:1@s.whatsapp.net')\n"
        "try: {}['" + BOT + "']\n"
        "except KeyError: logging.exception('oh')\n"
        f"import warnings; warnings.warn('about {BOT}')\n"
    )
    lines = said.splitlines()
    assert re.fullmatch(
        r"\S+Z DEBUG   \[support\] whatsmeow.Client: Successfully paired \+49…01:1@s.whatsapp.net", lines[0]
    )
    assert "    KeyError: '+49…01'" in lines
    assert "UserWarning: about +49…01" in said
    assert BOT not in said


def test_configuring_again_replaces_what_was_there() -> None:
    said = run(
        "logs.configure('INFO', 'text'); logs.configure(logging.ERROR, 'json', account='a')\n"
        "logging.warning('no'); logging.error('yes')\n"
        "assert len(logging.getLogger().handlers) == 1"
    )
    assert [json.loads(line)["message"] for line in said.splitlines()] == ["yes"]


def test_an_unknown_level_is_told() -> None:
    with pytest.raises(ValueError, match="LOUD"):
        logs.configure("loud")


def test_stderr_can_be_redirected_afterwards() -> None:
    said = run(
        "logs.configure('INFO'); null = os.open(os.devnull, os.O_WRONLY); os.dup2(null, 2)\n"
        "os.write(2, b'not this'); logging.info('but this')"
    )
    assert said.endswith("root: but this\n")
    assert "not this" not in said


def test_errors_that_nobody_catches_are_logged() -> None:
    said = run(
        "logs.configure('INFO'); logs.log_uncaught()\n"
        "import threading\n"
        f"def fail(): raise RuntimeError('{BOT} in a thread')\n"
        "thread = threading.Thread(target=fail); thread.start(); thread.join()\n"
        "thread = threading.Thread(target=sys.exit); thread.start(); thread.join()\n"
        "sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)\n"
        f"try: raise RuntimeError('{BOT} at the top')\n"
        "except RuntimeError as error: sys.excepthook(type(error), error, error.__traceback__)\n"
    )
    assert said.count("CRITICAL orchestrator: unhandled exception") == 2
    assert "    RuntimeError: +49…01 in a thread\n" in said
    assert "    RuntimeError: +49…01 at the top\n" in said


def test_without_a_stderr_nothing_is_written_anywhere(tmp_path: Path) -> None:
    """Descriptor 2 is then the next file that is opened, perhaps a database."""
    script = (
        "import logging, os, sys\n"
        "from orchestrator.system import logs\n"
        f"descriptor = os.open({str(tmp_path / 'precious')!r}, os.O_WRONLY | os.O_CREAT)\n"
        "assert descriptor == 2, descriptor\n"
        "handler = logs.configure('INFO'); logging.info('oh'); assert handler.dropped == 1\n"
    )
    # A shell closes it before Python starts; Python itself opens nothing that stays.
    command = ["sh", "-c", 'exec "$0" -c "$1" 2>&-', sys.executable, script]
    subprocess.run(command, cwd=Path(logs.__file__).parents[2], check=True)
    assert (tmp_path / "precious").read_bytes() == b""


# Readers that do not read


def test_a_reader_that_stalls_stops_nobody(pipe: Pipe, handler: StderrHandler) -> None:
    capacity = fcntl.fcntl(pipe.writing, fcntl.F_GETPIPE_SZ)
    count = capacity // 500
    for number in range(count):
        handler.handle(record(f"{number:06} " + "x" * 1000))
    assert count // 3 < handler.dropped < count
    written = count - handler.dropped
    lines = pipe.read().splitlines()
    assert [line.split()[3] for line in lines] == [f"{number:06}" for number in range(written)]
    # Then it reads again, and is told.
    handler.handle(record("back"))
    dropped, back = pipe.read().splitlines()
    assert dropped.endswith(
        f"WARNING orchestrator.system.logs: {count - written} log records were dropped,"
        " because nobody read the log"
    )
    assert back.endswith(": back")
    handler.handle(record("again"))
    assert len(pipe.read().splitlines()) == 1


def test_a_line_that_got_through_in_part_is_finished(pipe: Pipe, handler: StderrHandler) -> None:
    fcntl.fcntl(pipe.writing, fcntl.F_SETPIPE_SZ, 4096)
    long = "y" * 10_000
    handler.handle(record(long))
    handler.handle(record("dropped"))
    said = ""
    while not said.endswith("last\n"):
        said += pipe.read()
        handler.handle(record("last"))
    first, told, *_ = said.splitlines()
    assert first.endswith(long)
    assert "log records were dropped" in told


def test_others_who_share_the_descriptor_are_not_surprised(pipe: Pipe, handler: StderrHandler) -> None:
    handler.handle(record("x"))
    assert os.get_blocking(pipe.writing)


def test_a_reader_that_is_gone_stops_nobody(pipe: Pipe, handler: StderrHandler) -> None:
    handler.handle(record("x"))
    pipe.close_reader()
    for _ in range(3):
        handler.handle(record("x"))
    assert handler.dropped == 3


def test_a_reader_that_was_gone_before_stops_nobody(pipe: Pipe) -> None:
    pipe.close_reader()
    handler = StderrHandler(TextFormatter(None), pipe.writing)
    handler.handle(record("x"))
    assert handler.dropped == 1
    handler.close()


def test_a_socket_is_written_without_waiting() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)
        handler = StderrHandler(JournalFormatter(None), ours.fileno())
        for _ in range(10_000):
            handler.handle(record("x" * 1000))
            if handler.dropped:
                break
        assert handler.dropped == 1
        assert ours.getblocking()
        said = theirs.recv(1 << 24)
        assert said.startswith(b"<6>orchestrator.worker: xxx")
        theirs.close()
        handler.handle(record("x"))
        handler.close()
        assert ours.fileno() >= 0


def test_a_terminal_that_was_stopped_stops_nobody() -> None:
    ours, theirs = pty.openpty()
    try:
        tty.setraw(theirs)
        handler = StderrHandler(TextFormatter(None), theirs)
        for _ in range(1000):
            handler.handle(record("x" * 1000))
        assert handler.dropped > 0
        assert os.get_blocking(theirs)
        assert os.read(ours, 100).startswith(b"2026-11-22T13:27:54.123Z INFO")
        handler.close()
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_descriptor_that_cannot_be_opened_anew_is_asked_first(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        handler = StderrHandler(TextFormatter(None), pipe.writing)
    for _ in range(200):
        handler.handle(record("x" * 1000))
    assert handler.dropped > 50
    assert pipe.read().count("x\n") >= 200 - handler.dropped
    handler.handle(record("back"))
    assert "back" in pipe.read()
    pipe.close_reader()
    before = handler.dropped
    handler.handle(record("x"))
    assert handler.dropped == before + 1
    handler.close()


def test_a_file_is_appended_to_where_it_is(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file:
        file.write(b"before\n")
        file.flush()
        handler = StderrHandler(TextFormatter(None), file.fileno())
        handler.handle(record("x"))
        file.write(b"after\n")
        handler.close()
    before, line, after = (tmp_path / "log").read_text().splitlines()
    assert (before, after) == ("before", "after")
    assert line.endswith(": x")


def test_a_full_disk_stops_nobody(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk, (disk / "log").open("wb") as file:
        filler = fill(disk)
        handler = StderrHandler(TextFormatter(None), file.fileno())
        handler.handle(record("x"))
        assert handler.dropped == 1
        filler.unlink()
        handler.handle(record("back"))
        handler.close()
    assert handler.dropped == 1


def test_a_record_that_cannot_be_formatted_is_counted(handler: StderrHandler, pipe: Pipe) -> None:
    handler.setFormatter(logging.Formatter("%(nothing)s"))
    handler.handle(record("x"))
    assert handler.dropped == 1
    assert pipe.read() == ""


def test_after_the_end_nothing_is_written(handler: StderrHandler, pipe: Pipe) -> None:
    handler.close()
    handler.close()
    handler.handle(record("x"))
    assert handler.dropped == 1
    assert pipe.read() == ""


def test_lines_of_several_processes_stay_whole(pipe: Pipe) -> None:
    script = (
        "import logging, sys; from orchestrator.system import logs\n"
        "logs.configure('INFO', account=sys.argv[1])\n"
        "for number in range(200): logging.info('%s %s', sys.argv[1] * 1000, number)"
    )
    root = Path(logs.__file__).parents[2]
    running = [
        subprocess.Popen([sys.executable, "-c", script, name], cwd=root, stderr=pipe.writing)
        for name in "xyz"
    ]
    os.close(pipe.writing)
    pipe.writing = -1
    os.set_blocking(pipe.reading, True)
    for line in pipe.read().splitlines():
        assert re.fullmatch(r"\S+Z INFO    \[([xyz])\] root: \1{1000} \d+|.*log records were dropped.*", line)
    assert [process.wait() for process in running] == [0, 0, 0]
