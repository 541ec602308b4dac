"""`orchestrator demo`: it tells its story, goes on until Ctrl-C, and leaves nothing, however it ends."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from queue import SimpleQueue

import psutil
import pytest
from support.service import PATIENCE, ROOT, end, wait_gone
from support.terminal import CONTROLLED, Terminal

from orchestrator.cli.demo.background import BackgroundService
from orchestrator.cli.demo.command import LineScreen
from orchestrator.cli.demo.story import Demo, News
from orchestrator.errors import NotRunning, OrchestratorError

DEMO = (sys.executable, "-m", "orchestrator", "demo")
LONG_PATIENCE = 6 * PATIENCE
"""Seconds for the whole story, which takes twenty on an idle machine."""
END_SECONDS = PATIENCE
"""Seconds for its end; it takes about two on an idle machine, and its own deadlines are shorter."""
MARK = "ORCHESTRATOR_TEST_DEMO"


class Stage:
    """What a demonstration is run in: all its processes and temporary files can be found.

    Attributes:
        temporary: The folder for temporary files; it has a short name, for the sake of sockets in it.
        environment: The environment.
    """

    def __init__(self, temporary: Path) -> None:
        self.temporary = temporary
        self._mark = uuid.uuid4().hex
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "TMPDIR": str(temporary),
            "STATE_DIRECTORY": "/nonexistent",
            MARK: self._mark,
        }

    def processes(self) -> list[psutil.Process]:
        """Return the processes that belong to it, whoever their parent is."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self._mark:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def service(self) -> psutil.Process:
        """Return the service."""
        found = []
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):  # a helper of the library's, which has ended
                if process.cmdline()[-1:] == ["run"]:
                    found.append(process)
        (service,) = found
        return service

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start one whose output is no terminal."""
        return subprocess.Popen(
            [*DEMO, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self.environment,
            cwd=ROOT,
            text=True,
            start_new_session=True,
        )

    def terminal(self, *arguments: str) -> Terminal:
        """Return a terminal in whose foreground one runs."""
        return Terminal([*CONTROLLED, *DEMO, *arguments], self.environment, ROOT, rows=30, columns=100)

    def is_clean(self) -> None:
        """See that nothing is left."""
        left = wait_gone(self.processes(), END_SECONDS)
        assert not left, f"processes are left: {left}"
        assert list(self.temporary.iterdir()) == []


@pytest.fixture
def stage() -> Iterator[Stage]:
    with tempfile.TemporaryDirectory(prefix="d") as name:
        stage = Stage(Path(name))
        yield stage
        end(stage.processes())


def output(process: subprocess.Popen[str], seconds: float) -> str:
    try:
        return process.communicate(timeout=seconds)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        raise AssertionError(f"no end within {seconds:g} s:\n{process.communicate()[0]}") from None


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """Read lines until one has that text; pytest's own time limit is the deadline."""
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if text in line:
            return seen
    raise AssertionError(f"never said {text!r}:\n{seen}")


def in_order(story: str, parts: Sequence[str]) -> None:
    at = 0
    for part in parts:
        at = story.find(part, at)
        assert at >= 0, f"{part!r} is not, or not there, in\n{story}"


@pytest.mark.timeout(LONG_PATIENCE + 2 * PATIENCE + 60)
def test_it_tells_the_story_and_ends_by_itself_where_there_is_no_terminal(stage: Stage) -> None:
    keep = stage.temporary / "kept"
    process = stage.start("--keep", str(keep))
    story = output(process, LONG_PATIENCE)
    assert process.returncode == 0, story
    in_order(
        story,
        [
            str(keep),
            "the sandbox, a WhatsApp test server, listens",
            "the service runs",
            "watch it in a browser, by this link, which is good once: http://127.0.0.1:",
            f"support waits for its phone: {keep}/state/qr/support.png",
            "has scanned alerts.png",
            "alerts is connected as +1…03",
            "support → sales: “Somebody asks for a price.”",
            "alerts → Ada",
            "Ada → support: “When does it arrive?”",
            "the bot echo → Ada: “You said: When does it arrive?”",
            "the webhook crm received evt_support_",
            "rightly signed: message.received “When does it arrive?”",
            'the metrics say orchestrator_events_delivered_total{consumer="crm"} ',
            'the metrics say orchestrator_events_delivered_total{consumer="echo"} ',
            "sales is logged out",
            f"its old session is in quarantine: {keep}/state/quarantine/sales-",
            "sales shows a new code",
            "has scanned sales.png",
            "sales is connected",
            "of alerts was killed by SIGKILL",
            "alerts is connected again as process",
            "how long it took",
            "in all",
            "its files are in",
        ],
    )
    assert "Try from" not in story
    assert "\x1b" not in story
    # What it leaves is what a service leaves, and tells nobody's secrets.
    assert sorted(path.name for path in keep.iterdir()) == [
        "accounts.yaml",
        "crm.secret",
        "echo_bot.py",
        "sandbox",
        "service.log",
        "state",
    ]
    log = (keep / "service.log").read_text()
    assert "the service has stopped" in log
    assert "Traceback" not in log
    for secret in ("5550101", "5550104", "asks for a price", "When does it", "whsec_"):
        assert secret not in log
    assert not wait_gone(stage.processes(), END_SECONDS)
    # It takes no folder that is in use.
    process = stage.start("--keep", str(keep))
    assert "is not empty" in output(process, PATIENCE)
    assert process.returncode == 1


@pytest.mark.timeout(LONG_PATIENCE + 2 * PATIENCE + 60)
def test_on_a_terminal_it_goes_on_until_ctrl_c(stage: Stage) -> None:
    with stage.terminal() as terminal:
        terminal.until(
            lambda text: "Ctrl-C ends the demonstration" in text,
            "the end of the story",
            timeout=LONG_PATIENCE,
        )
        # The table is drawn again and again in the same place.
        assert terminal.text.count("REASON") > 10
        for state in ("pairing", "connected"):  # others may be over between two pictures
            assert state in terminal.text
        # What it suggests for another terminal works there.
        suggested = re.search(r"--config (\S+) list --watch", terminal.text)
        control = re.search(r"export (\w+)=(\S+)", terminal.text)
        assert suggested
        assert control
        for options, count in (((), 3), (("--check",), 0)):
            command = [*DEMO[:-1], "--config", suggested[1], "list", *options]
            listed = subprocess.run(
                command, env=stage.environment, cwd=ROOT, capture_output=True, text=True, check=True
            )
            assert listed.stdout.count("connected") == count
        environment = {**stage.environment, control[1]: control[2]}
        # Nobody reads the terminal meanwhile, and so no picture is drawn: they have to be away for longer.
        refuse = [*DEMO[:-1], "sandbox", "fault", "refuse", "--seconds", "60"]
        subprocess.run(refuse, env=environment, cwd=ROOT, capture_output=True, check=True)
        terminal.until(lambda text: "reconnecting" in text, "the fault")
        terminal.press("\x03")
        assert terminal.exit_code(END_SECONDS) == 0
        assert "its files are removed" in terminal.text
        assert terminal.text.rstrip().endswith("removed")
        assert "\x1b[?25h" in terminal.text  # the cursor is back
    stage.is_clean()


@pytest.mark.parametrize(
    "moment",
    [
        "all files of this demonstration",
        "listens on",
        "support waits for its phone",
        "alerts is connected",
        "Ada → support",
        "sales is logged out",
        "killed by SIGKILL",
    ],
)
@pytest.mark.timeout(LONG_PATIENCE + 2 * END_SECONDS + 60)
def test_ctrl_c_ends_it_cleanly_at_any_moment(stage: Stage, moment: str) -> None:
    with stage.terminal() as terminal:
        terminal.until(lambda text: moment in text, moment, timeout=LONG_PATIENCE)
        terminal.press("\x03")
        code = terminal.exit_code(END_SECONDS)
        # After the last of these moments, the story may have come to its end before the key did.
        assert code == (0 if "What happened" in terminal.text else 130)
        assert "Traceback" not in terminal.text
    stage.is_clean()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_so_do_other_signals(stage: Stage, number: signal.Signals) -> None:
    process = stage.start()
    read_until(process, "waits for its phone")
    process.send_signal(number)
    assert "Traceback" not in output(process, END_SECONDS)
    assert process.returncode == 130
    stage.is_clean()


def test_it_ends_when_nobody_reads_on(stage: Stage) -> None:
    process = stage.start()
    read_until(process, "listens on")
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(PATIENCE) == 1
    stage.is_clean()


def test_nothing_runs_on_without_it(stage: Stage) -> None:
    process = stage.start()
    read_until(process, "waits for its phone")
    process.kill()
    output(process, END_SECONDS)
    assert not wait_gone(stage.processes(), END_SECONDS)


@pytest.mark.timeout(LONG_PATIENCE + 2 * PATIENCE + 60)
def test_with_an_address_it_goes_on_and_shows_the_page_there(stage: Stage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    process = stage.start("--listen", f"0.0.0.0:{port}")
    seen = read_until(process, "the service runs")
    seen += read_until(process, "good once")
    assert f"http://127.0.0.1:{port}/#" in seen
    read_until(process, "how long it took")
    read_until(process, "Try from another terminal")
    # As through a container's port: any address of this machine, asked for by the name that the link has.
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=PATIENCE) as answer:
        assert answer.status == 200
        assert "text/html" in answer.headers["Content-Type"]
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    said = output(process, END_SECONDS)
    assert process.returncode == 0, said
    stage.is_clean()


@pytest.mark.parametrize("address", ["8080", "page.example:80", "0.0.0.0:0", "::1:80"])
def test_what_is_no_address_is_refused(stage: Stage, address: str) -> None:
    process = stage.start("--listen", address)
    said = output(process, PATIENCE)
    assert process.returncode == 2
    assert "Traceback" not in said
    assert "0.0.0.0:8080" in said
    stage.is_clean()


def test_an_address_that_another_program_has_is_refused(stage: Stage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        process = stage.start("--listen", address)
        said = output(process, PATIENCE)
    assert process.returncode == 1
    assert f"the page cannot listen on {address}: another program listens there already" in said
    stage.is_clean()


def test_a_service_that_ends_is_a_failure_with_its_log(stage: Stage) -> None:
    process = stage.start()
    read_until(process, "waits for its phone")
    stage.service().kill()
    said = output(process, END_SECONDS)
    assert process.returncode == 1
    assert "orchestrator: the service ended unexpectedly" in said
    assert "the end of the service's log:" in said
    assert "orchestrator.service.recorder: " in said.partition("the end of the service's log:")[2]
    stage.is_clean()


def test_so_it_is_if_the_story_notices_first(stage: Stage) -> None:
    news: SimpleQueue[News] = SimpleQueue()
    demo = Demo(stage.temporary, LineScreen(), "orchestrator", news)
    ended = threading.Event()
    demo._service = BackgroundService(
        stage.temporary / "there-is-none.yaml",
        stage.temporary / "control.sock",
        stage.environment,
        stage.temporary / "service.log",
        changed=lambda _: None,
        ended=ended.set,
    )
    demo._service.start()
    assert ended.wait(PATIENCE)
    demo._service.join()
    # What has come of it where the story was.
    for error in (demo._service.failure("alerts did not connect"), NotRunning("nobody listens")):
        demo._error = error
        news.put(News.STORY_OVER)
        with pytest.raises(OrchestratorError, match="the service ended unexpectedly"):
            demo._is_told()


def test_it_says_how_to_get_what_is_missing(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "h11.py").write_text("raise ImportError('not installed', name='h11')\n")
    stage.environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path), str(ROOT)])
    process = stage.start()
    said = output(process, PATIENCE)
    assert process.returncode == 1
    assert "/bin/pip install -r requirements/sandbox.txt`" in said
    assert "Traceback" not in said
    stage.is_clean()
