"""A process that hangs, by the real supervisor: what it did is written down, and it is ended, in any case."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from support import stand_in_child
from support.fleet import PATIENCE, Fleet, asynchronous, is_alive, until
from support.full_disk import fill, make_read_only, small_disk

from orchestrator.accounts import child, running
from orchestrator.accounts.events import Order, Ticked
from orchestrator.accounts.settings import AccountSettings, Messages
from orchestrator.accounts.states import State
from orchestrator.service import children, process
from orchestrator.store import tracebacks

ONLINE = ["connecting", "connected", "idle"]
HANGS = 1.0
"""Seconds without a sign of life after which a process is given up here."""
SOURCE = Path(stand_in_child.__file__).read_text().splitlines()


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a process that can write its traceback do so, however busy the machine is."""
    monkeypatch.setattr(children, "TRACEBACK_SECONDS", PATIENCE)


def fleet_of(folder: Path, *steps: str, account: AccountSettings | str = "a") -> Fleet:
    """Return a fleet of one account, whose first process does this once it is online."""
    fleet = Fleet(folder, account)
    fleet.has_session("a")
    fleet.puppets.play("a", ["connecting", "connected", *steps], ONLINE)
    return fleet


async def give_up(fleet: Fleet, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> int:
    """Wait until the process that hangs is given up; return which it was. The next has more time."""
    await fleet.until("a", State.CONNECTED)
    pid = fleet.pid("a")
    with monkeypatch.context() as patch:
        patch.setattr(child, "HEARTBEAT_DEADLINE", HANGS)
        fleet.supervisor._machines.handle(
            "a", Ticked()
        )  # or it would look again when it planned to at its last event
        await fleet.until_true(lambda: "process killed" in caplog.text, "it is given up")
    return pid


async def second_process(fleet: Fleet) -> tuple[int, int]:
    """Return the processes of an account of which one has ended and another is connected."""
    await fleet.until_true(lambda: len(fleet.puppets.runs("a")) == 2, "there is a second process")
    about = await fleet.until("a", State.CONNECTED)
    first, second = (int(run["pid"]) for run in fleet.puppets.runs("a"))
    assert about["pid"] == second
    return first, second


def text_of(fleet: Fleet) -> str:
    """Return the traceback of an account's last process."""
    path = Path(fleet.about("a")["last_exit"]["traceback"])
    assert path == fleet.paths.tracebacks / "a.txt"
    assert path.stat().st_mode & 0o777 == 0o600
    return path.read_text()


@pytest.mark.parametrize(("step", "line"), [("hang", "time.sleep(3600)"), ("hold", "sleep(3600)")])
@asynchronous
async def test_what_it_did_is_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, step: str, line: str
) -> None:
    async with fleet_of(tmp_path, step) as fleet:
        await give_up(fleet, monkeypatch, caplog)
        first, _ = await second_process(fleet)
        assert fleet.about("a")["last_exit"]["code"] == -tracebacks.SIGNAL
        head, empty, *threads = text_of(fleet).splitlines()
        assert head.startswith(f"a: process {first} ended at ")
        assert head.endswith("no sign of life for 1 s")
        assert empty == ""
        # The line at which it hangs, and the way there.
        places = [
            f'"{stand_in_child.__file__}", line {number} in _step'
            for number, text in enumerate(SOURCE, 1)
            if text.strip().endswith(line)
        ]
        assert any(place in text for place in places for text in threads), threads
        assert any(text.endswith(" in run") for text in threads)
        said = [record.getMessage() for record in caplog.records]
        assert "a: process killed: no sign of life for 1 s" in said
        assert f"a: the traceback of process {first} is in {fleet.paths.tracebacks / 'a.txt'}" in said


@asynchronous
async def test_what_it_did_is_written_down_of_a_process_that_is_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As under ProtectProc=invisible, of a process that keeps its memory to itself."""
    monkeypatch.setattr(process, "_PROCESSES", tmp_path / "nothing")
    async with fleet_of(tmp_path, "hang") as fleet:
        await give_up(fleet, monkeypatch, caplog)
        first, _ = await second_process(fleet)
        assert fleet.about("a")["last_exit"]["code"] == -tracebacks.SIGNAL
        assert text_of(fleet).startswith(f"a: process {first} ended at ")


@asynchronous
async def test_a_hidden_process_that_is_stopped_is_ended_nevertheless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(process, "_PROCESSES", tmp_path / "nothing")
    monkeypatch.setattr(children, "TRACEBACK_SECONDS", 0.2)
    async with fleet_of(tmp_path, "idle") as fleet:
        await fleet.until("a", State.CONNECTED)
        os.kill(fleet.pid("a"), signal.SIGSTOP)
        await give_up(fleet, monkeypatch, caplog)
        await second_process(fleet)
        about = fleet.about("a")["last_exit"]
        assert (about["code"], about["traceback"]) == (-signal.SIGKILL, None)


@pytest.mark.parametrize(
    ("step", "hidden", "code"),
    [
        ("hang", False, -tracebacks.SIGNAL),
        ("hang", True, -tracebacks.SIGNAL),
        ("numb", False, -signal.SIGKILL),
    ],
)
@asynchronous
async def test_one_that_makes_nothing_of_the_last_call_is_ended_all_the_same(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    step: str,
    *,
    hidden: bool,
    code: int,
) -> None:
    monkeypatch.setattr(children, "LAST_CALL_SECONDS", 0.3)
    if step == "numb":
        monkeypatch.setattr(children, "TRACEBACK_SECONDS", 0.3)
    if hidden:
        monkeypatch.setattr(process, "_PROCESSES", tmp_path / "nothing")
    everybody = AccountSettings("a", messages=Messages(allow=("*",)))
    async with fleet_of(tmp_path, step, account=everybody) as fleet:
        await give_up(fleet, monkeypatch, caplog)
        await second_process(fleet)
        assert fleet.about("a")["last_exit"]["code"] == code


@asynchronous
async def test_one_that_is_stopped_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(children, "LAST_CALL_SECONDS", 3600.0)
    everybody = AccountSettings("a", messages=Messages(allow=("*",)))
    async with fleet_of(tmp_path, "idle", account=everybody) as fleet:
        await fleet.until("a", State.CONNECTED)
        stopped = psutil.Process(fleet.pid("a"))
        stopped.suspend()
        await until(lambda: stopped.status() == psutil.STATUS_STOPPED, "it stands still")
        await give_up(fleet, monkeypatch, caplog)
        await second_process(fleet)
        assert fleet.about("a")["last_exit"]["code"] == -signal.SIGKILL


@pytest.mark.parametrize(("number", "words"), [(6, "Aborted"), (11, "Segmentation fault")])
@asynchronous
async def test_a_crash_is_written_down(tmp_path: Path, number: int, words: str) -> None:
    async with fleet_of(tmp_path, f"kill: {number}") as fleet:
        await second_process(fleet)
        assert fleet.about("a")["last_exit"]["code"] == -number
        text = text_of(fleet)
        assert text.splitlines()[0].endswith(f"the process was ended by {signal.Signals(number).name}")
        assert f"Fatal Python error: {words}" in text
        assert f'"{stand_in_child.__file__}"' in text


@asynchronous
async def test_the_next_end_has_the_place_of_the_last(tmp_path: Path) -> None:
    async with fleet_of(tmp_path, "kill: 6") as fleet:
        _, second = await second_process(fleet)
        before = text_of(fleet)
        os.kill(second, signal.SIGKILL)
        await fleet.until("a", State.CONNECTED, after=second)
        # That of an end that left none is not shown any more, but it stays.
        assert fleet.about("a")["last_exit"]["traceback"] is None
        assert (fleet.paths.tracebacks / "a.txt").read_text() == before
        third = fleet.pid("a")
        os.kill(third, tracebacks.SIGNAL)
        await fleet.until("a", State.CONNECTED, after=third)
        assert f"process {third} " in text_of(fleet)
        assert sorted(path.name for path in fleet.paths.tracebacks.iterdir()) == ["a.live", "a.txt"]
    assert [path.name for path in fleet.paths.tracebacks.iterdir()] == ["a.txt"]


@asynchronous
async def test_one_that_is_stopped_is_left_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with fleet_of(tmp_path, "idle") as fleet:
        await fleet.until("a", State.CONNECTED)
        stopped = psutil.Process(fleet.pid("a"))
        stopped.suspend()
        await until(lambda: stopped.status() == psutil.STATUS_STOPPED, "it stands still")
        pid = await give_up(fleet, monkeypatch, caplog)
        about = await fleet.until("a", State.CONNECTED, after=pid)
        assert (about["last_exit"]["code"], about["last_exit"]["traceback"]) == (-signal.SIGKILL, None)
        (said,) = [text for text in caplog.messages if "process killed" in text]
        assert said.endswith("(it was stopped by a signal or a debugger, so there is no traceback)")


@asynchronous
async def test_one_that_can_take_no_signal_is_killed_after_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(children, "TRACEBACK_SECONDS", 0.3)
    async with fleet_of(tmp_path, "numb") as fleet:
        await give_up(fleet, monkeypatch, caplog)
        await second_process(fleet)
        about = fleet.about("a")
        assert (about["last_exit"]["code"], about["last_exit"]["traceback"]) == (-signal.SIGKILL, None)


@asynchronous
async def test_one_that_dies_while_its_traceback_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(children, "TRACEBACK_SECONDS", 3600.0)
    async with fleet_of(tmp_path, "numb") as fleet:
        pid = await give_up(fleet, monkeypatch, caplog)
        assert is_alive(pid)
        os.kill(pid, signal.SIGKILL)
        await fleet.until("a", State.CONNECTED, after=pid)
        assert fleet.about("a")["last_exit"]["traceback"] is None


@asynchronous
async def test_a_stop_that_is_ignored_is_written_down_and_holds_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "STOP_DEADLINE", 0.3)
    async with fleet_of(tmp_path, "deaf") as fleet:
        await fleet.until("a", State.CONNECTED)
        fleet.supervisor.order("a", Order.STOP)
        await fleet.until("a", State.STOPPED)
        assert text_of(fleet).splitlines()[0].endswith("it did not stop in time")


@asynchronous
async def test_the_service_does_not_wait_for_tracebacks_when_it_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "TRACEBACK_SECONDS", 3600.0)
    async with fleet_of(tmp_path, "numb") as fleet:
        await fleet.until("a", State.CONNECTED)
        fleet.supervisor.hurry()
        await asyncio.wait_for(fleet.supervisor.stop(), PATIENCE)


@asynchronous
async def test_what_is_removed_leaves_no_traceback(tmp_path: Path) -> None:
    async with fleet_of(tmp_path, "kill: 6") as fleet:
        await second_process(fleet)
        assert text_of(fleet)
        fleet.config_file.write_text("accounts: {}\n")
        await fleet.supervisor.reload()
        await fleet.until_true(lambda: "a" not in fleet.supervisor.names(), "it is gone")
        assert not list(fleet.paths.tracebacks.iterdir())


@asynchronous
async def test_links_in_its_place_are_not_followed(tmp_path: Path) -> None:
    fleet = fleet_of(tmp_path, "idle")
    target = tmp_path / "precious"
    target.write_text("as it was")
    async with fleet:
        await fleet.until("a", State.CONNECTED)
        for name in ("a.live", "a.txt"):
            path = fleet.paths.tracebacks / name
            path.unlink(missing_ok=True)
            path.symlink_to(target)
        os.kill(fleet.pid("a"), signal.SIGABRT)
        _, pid = await second_process(fleet)
        assert fleet.about("a")["last_exit"]["traceback"] is None
        os.kill(pid, signal.SIGABRT)
        await fleet.until("a", State.CONNECTED, after=pid)
        assert "Aborted" in text_of(fleet)
        assert not (fleet.paths.tracebacks / "a.txt").is_symlink()
    assert target.read_text() == "as it was"


# Where nothing can be written


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk where the tracebacks belong."""
    (tmp_path / "state").mkdir(0o700)
    with small_disk(tmp_path / "state" / "tracebacks") as folder:
        yield folder


@pytest.mark.parametrize("trouble", [fill, make_read_only])
@asynchronous
async def test_a_process_runs_and_is_ended_without(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    disk: Path,
    trouble: Callable[[Path], object],
) -> None:
    fleet = fleet_of(tmp_path, "hang")
    trouble(disk)
    async with fleet:
        await give_up(fleet, monkeypatch, caplog)
        await second_process(fleet)
        about = fleet.about("a")["last_exit"]
        assert (about["kind"], about["traceback"]) == ("crash", None)


@asynchronous
async def test_a_folder_that_is_gone_keeps_nobody_from_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fleet = fleet_of(tmp_path, "hang")
    fleet.paths.tracebacks.rmdir()
    async with fleet:
        await give_up(fleet, monkeypatch, caplog)
        await second_process(fleet)
        assert fleet.about("a")["last_exit"]["code"] == -signal.SIGKILL
