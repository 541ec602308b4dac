"""The machine has no processes, descriptors or time to give: nobody is lost, and all is well when it has.

The supervisor is the real one, with real processes; what is in them is a stand-in for the one with neonize.
"""

import asyncio
import errno
import functools
import logging
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from multiprocess import forkserver as multiprocess_forkserver
from support.fleet import PATIENCE, Fleet, asynchronous, is_alive, open_files, until
from support.trouble import fork_server, frozen, no_descriptors, resource_tracker

from orchestrator.accounts import child as process
from orchestrator.accounts.events import Ticked
from orchestrator.accounts.states import State
from orchestrator.errors import OrchestratorError
from orchestrator.service import forkserver
from orchestrator.service import stall as pulse
from orchestrator.store import layout
from orchestrator.store.layout import StatePaths

ONLINE = ["connecting", "connected", "idle"]


def fleet_of(folder: Path, *names: str, control: bool = False) -> Fleet:
    """Return a fleet whose accounts all have a session."""
    fleet = Fleet(folder, *names, control=control)
    for name in names:
        fleet.has_session(name)
    return fleet


async def is_heard(fleet: Fleet, name: str) -> None:
    """Wait until an account's process gives another sign of life."""
    child = fleet.supervisor._roster.accounts[name].account.child
    assert child is not None
    before = child.heard_at
    await until(lambda: child.heard_at != before, f"{name} gives a sign of life")


# The fork server


@asynchronous
async def test_the_fork_server_killed(tmp_path: Path) -> None:
    fleet = fleet_of(tmp_path, "a", "b")
    async with fleet:
        for name in ("a", "b"):
            await fleet.until(name, State.CONNECTED)
        pid, other = fleet.pid("a"), fleet.pid("b")
        server = fork_server()
        server.kill()
        await until(lambda: not is_alive(server.pid), "the fork server has ended")
        # Those who run go on, and are heard and reached as before.
        await is_heard(fleet, "a")
        await is_heard(fleet, "b")
        os.kill(pid, signal.SIGKILL)
        about = await fleet.until("a", State.CONNECTED, after=pid)
        assert about["last_exit"]["kind"] == "crash"
        assert fork_server().pid != server.pid
        assert fleet.pid("b") == other
        assert "backoff" not in fleet.history("b")


@pytest.mark.parametrize(
    ("end", "state"),
    [("temporary_ban 3600", State.BANNED), ("replaced", State.REPLACED), ("logged_out", State.PAIRING)],
)
@asynchronous
async def test_a_last_word_counts_with_the_fork_server_killed(tmp_path: Path, end: str, state: State) -> None:
    # The exit status is lost with the fork server; what WhatsApp said must not be.
    fleet = fleet_of(tmp_path, "a")
    fleet.puppets.play("a", ["connecting", "connected", "await: end", f"end: {end}"], [])
    async with fleet:
        await fleet.until("a", State.CONNECTED)
        server = fork_server()
        server.kill()
        await until(lambda: not is_alive(server.pid), "the fork server has ended")
        fleet.puppets.go("a", "end")
        await fleet.until("a", state)
        assert len(fleet.sessions("a", reason="logged_out")) == (state is State.PAIRING)


@asynchronous
async def test_a_fork_server_that_hangs_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    names = ("a", "b", "c", "d")
    fleet = fleet_of(tmp_path, *names)
    async with fleet:
        for name in names:
            await fleet.until(name, State.CONNECTED)
        pids = {name: fleet.pid(name) for name in names}
        os.kill(fork_server().pid, signal.SIGSTOP)
        with monkeypatch.context() as patch:
            patch.setattr(forkserver, "SPAWN_SECONDS", 0.5)  # which is too short for one that has to start
            for name in ("a", "b", "c"):
                os.kill(pids[name], signal.SIGKILL)
            await until(lambda: "fork server does not answer" in caplog.text, "that is noticed")
        for name in ("a", "b", "c"):
            await fleet.until(name, State.CONNECTED, after=pids[name])
        assert fleet.pid("d") == pids["d"]


def see_modules_of(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the fork server find modules there: Python 3.11's looks in PYTHONPATH, later ones in our path."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.syspath_prepend(str(folder))


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("raise RuntimeError('no good')", "exit code 1, see the lines above in the log"),
        ("import os; os._exit(7)", "exit code 7"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGABRT)", "SIGABRT"),
        ("raise MemoryError", "for want of memory"),
        ("raise OSError(11, 'no process')", "for want of memory, processes or descriptors"),
    ],
)
@asynchronous
async def test_what_ended_the_fork_server_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, said: str
) -> None:
    see_modules_of(tmp_path, monkeypatch)
    (tmp_path / "ends_it.py").write_text(module)
    async with Fleet(tmp_path, "a", preload=(forkserver.PRELOADED, "ends_it")) as fleet:
        about = await fleet.until("a", State.BACKOFF)
        assert about["last_exit"]["kind"] == "machine"
        assert said in about["reason"]
        assert ("memory" in about["reason"]) == ("memory" in said or "KILL" in said)
        (tmp_path / "ends_it.py").write_text("")
        await fleet.until("a", State.PAIRING)


@asynchronous
async def test_a_folder_that_was_removed_keeps_nobody_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    async with Fleet(tmp_path, "a") as fleet:
        await fleet.until("a", State.PAIRING)


@asynchronous
async def test_fork_servers_that_hang_one_after_the_other_hold_up_nobody_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forkserver, "SPAWN_SECONDS", 0.5)
    hangs = tmp_path / "hangs"
    hangs.touch()
    (tmp_path / "hanging.py").write_text(
        f"import time\nfrom pathlib import Path\nwhile Path({str(hangs)!r}).exists():\n    time.sleep(0.01)\n"
    )
    see_modules_of(tmp_path, monkeypatch)
    names = ("a", "b", "c", "d")
    async with Fleet(tmp_path, *names, preload=("hanging",)) as fleet:
        for name in names:
            about = await fleet.until(name, State.BACKOFF)
            assert about["last_exit"]["kind"] == "machine"
        hangs.unlink()
        monkeypatch.setattr(forkserver, "SPAWN_SECONDS", PATIENCE)  # one that works may need longer
        for name in names:
            await fleet.until(name, State.PAIRING)


@asynchronous
async def test_whatever_keeps_a_process_from_being_made_the_account_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("who would have thought of that")

    with monkeypatch.context() as patch:
        patch.setattr(forkserver.Spawner, "_start", fail)
        async with Fleet(tmp_path, "a") as fleet:
            about = await fleet.until("a", State.BACKOFF)
            assert about["last_exit"]["kind"] == "machine"
            patch.undo()
            await fleet.until("a", State.PAIRING)


@asynchronous
async def test_a_fork_server_bears_a_service_that_hangs_up_on_it(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, "a", preload=(forkserver.PRELOADED,))
    fleet.has_session("a")
    async with fleet:
        await fleet.until("a", State.CONNECTED)
        pid, server = fleet.pid("a"), fork_server()
        for _ in range(3):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(multiprocess_forkserver._forkserver._forkserver_address)
        os.kill(pid, signal.SIGKILL)
        about = await fleet.until("a", State.CONNECTED, after=pid)
        assert about["last_exit"]["code"] == -9
        assert fork_server().pid == server.pid


@asynchronous
async def test_a_fork_server_that_hangs_does_not_hold_up_a_stop(tmp_path: Path) -> None:
    async with fleet_of(tmp_path, "a") as fleet:
        await fleet.until("a", State.CONNECTED)
        os.kill(fork_server().pid, signal.SIGSTOP)


# No descriptors


@asynchronous
async def test_no_file_descriptors(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fleet = fleet_of(tmp_path, "a", "b")
    async with fleet:
        for name in ("a", "b"):
            await fleet.until(name, State.CONNECTED)
        pid, other = fleet.pid("a"), fleet.pid("b")
        with no_descriptors():
            os.kill(pid, signal.SIGKILL)
            await fleet.until_true(
                lambda: "too many open files" in (fleet.about("a")["reason"] or ""), "no process starts"
            )
            await is_heard(fleet, "b")
            assert fleet.about("a")["last_exit"]["kind"] == "machine"
        await fleet.until("a", State.CONNECTED, after=pid)
        assert fleet.pid("b") == other
        await until(fleet.supervisor.save, "what is kept can be written again")
    assert "Traceback" not in caplog.text


@asynchronous
async def test_no_file_descriptors_for_however_long_is_never_given_up(tmp_path: Path) -> None:
    fleet = fleet_of(tmp_path, "a")
    async with fleet:
        await fleet.until("a", State.CONNECTED)
        pid = fleet.pid("a")
        with no_descriptors():
            os.kill(pid, signal.SIGKILL)
            # More tries than `max_retries` allows a process that crashes.
            await fleet.until_true(lambda: fleet.about("a")["attempt"] > 12, "it is tried again and again")
            assert fleet.state("a") is not State.FAILED
        await fleet.until("a", State.CONNECTED, after=pid)


@asynchronous
async def test_no_file_descriptors_for_the_fork_server(tmp_path: Path) -> None:
    fleet = fleet_of(tmp_path, "a", "b")
    async with fleet:
        for name in ("a", "b"):
            await fleet.until(name, State.CONNECTED)
        pid, other = fleet.pid("a"), fleet.pid("b")
        with no_descriptors(fork_server().pid):
            os.kill(pid, signal.SIGKILL)
            await fleet.until("a", State.CONNECTED, after=pid)
            assert fleet.pid("b") == other
            await is_heard(fleet, "b")


@asynchronous
async def test_a_process_that_cannot_be_watched_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The last descriptor is taken between the start of the process and the one that tells of its end.
    fleet = fleet_of(tmp_path, "a")
    fleet.puppets.play("a", ["hang"], ONLINE)  # one that would not notice by itself
    real, asked = os.pidfd_open, list[int]()

    def pidfd_open(pid: int, flags: int = 0) -> int:
        asked.append(pid)
        if len(asked) == 1:
            deadline = time.monotonic() + PATIENCE
            while not fleet.puppets.runs("a"):  # so that it hangs, and the next one does not
                assert time.monotonic() < deadline
                time.sleep(0.01)
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return real(pid, flags)

    monkeypatch.setattr(os, "pidfd_open", pidfd_open)
    before = open_files()
    async with fleet:
        await fleet.until("a", State.CONNECTED)
        first, second = asked
        assert fleet.pid("a") == second
        await until(lambda: not is_alive(first), "the one that nobody watches has ended")
        assert open_files() <= before + 12
    assert not psutil.pid_exists(first)


@asynchronous
async def test_no_thread_is_needed_later(tmp_path: Path) -> None:
    # A pool queues what it has no thread for, and fails all the same: that would be a process too many.
    async with Fleet(tmp_path, "a", start=False) as fleet:
        before = set(threading.enumerate())
        fleet.supervisor.start()
        await fleet.until("a", State.PAIRING)
        await fleet.supervisor._spawner.aside(lambda: None)
        assert set(threading.enumerate()) <= before


# No time


STALL = 5.0
"""Seconds for which all stands still."""
DEADLINE = 4.5
"""Seconds that are over with it, for all that has a deadline; the stand-ins give a sign every half."""


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "SECONDS", 0.1)
    monkeypatch.setattr(pulse, "LATE_SECONDS", 0.5)


async def stall(fleet: Fleet, *names: str) -> None:
    """Stand still for longer than each of these accounts may be silent or in its present state.

    That counts for the stall alone: on a busy machine, all before and after it may take its time.
    """
    children = [child for name in names if (child := fleet.supervisor._roster.accounts[name].account.child)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "HEARTBEAT_DEADLINE", DEADLINE)
        for name, child in zip(names, children, strict=True):
            if child.deadline is not None:
                child.deadline = time.monotonic() + DEADLINE
            fleet.supervisor._machines.handle(name, Ticked())  # so that its next look is at that time
        time.sleep(STALL)  # noqa: ASYNC251 - that is the trouble
        for _ in range(3):  # turns of the loop: the stall is noticed, all that is due is done, all are heard
            await asyncio.sleep(0)
    for child in children:
        if child.deadline is not None:
            child.deadline += PATIENCE


@pytest.mark.usefixtures("quick")
@asynchronous
async def test_the_parent_stalled(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = [f"a{number}" for number in range(8)]
    fleet = fleet_of(tmp_path, *names)
    async with fleet:
        for name in names:
            await fleet.until(name, State.CONNECTED)
        pids = {name: fleet.pid(name) for name in names}
        for name in names:
            await is_heard(fleet, name)
        await stall(fleet, *names)
        for name in names:
            await is_heard(fleet, name)
        assert {name: fleet.pid(name) for name in names} == pids
        assert all("backoff" not in fleet.history(name) for name in names)
    assert "the service itself stood still for" in caplog.text


@pytest.mark.usefixtures("quick")
@asynchronous
async def test_everything_stalled(tmp_path: Path) -> None:
    """Ctrl-Z and fg, a paused container or machine: no process can have given a sign of life meanwhile."""
    names = [f"a{number}" for number in range(8)]
    fleet = fleet_of(tmp_path, *names, "dials")
    fleet.puppets.play("dials", ["connecting", "await: answer", "connected", "idle"])
    async with fleet:
        for name in names:
            await fleet.until(name, State.CONNECTED)
        await fleet.until("dials", State.CONNECTING)
        names.append("dials")
        pids = {name: fleet.pid(name) for name in names}
        for name in names:
            await is_heard(fleet, name)
        with frozen(*pids.values(), fork_server().pid):
            await stall(fleet, *names)
        fleet.puppets.go("dials", "answer")
        for name in names:
            await is_heard(fleet, name)
        await fleet.until("dials", State.CONNECTED)
        assert {name: fleet.pid(name) for name in names} == pids
        assert all("backoff" not in fleet.history(name) for name in names)


@pytest.mark.usefixtures("quick")
@asynchronous
async def test_who_hangs_does_so_after_a_stall_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    fleet = fleet_of(tmp_path, "a")
    async with fleet:
        await fleet.until("a", State.CONNECTED)
        pid = fleet.pid("a")
        with frozen(pid):
            await stall(fleet, "a")
            monkeypatch.setattr(process, "HEARTBEAT_DEADLINE", 1.0)
            fleet.supervisor._machines.handle("a", Ticked())
            await until(lambda: "no sign of life" in caplog.text, "it is given up")
            monkeypatch.setattr(process, "HEARTBEAT_DEADLINE", PATIENCE)  # its successor works
            await fleet.until("a", State.CONNECTED, after=pid)


# A fork server that lives and cannot be reached


def socket_of_fork_server(fleet: Fleet) -> Path:
    """Return the file of the socket that the fork server listens on."""
    (path,) = fleet.paths.meeting_places[0].iterdir()
    return path


def remove_socket(fleet: Fleet) -> None:
    socket_of_fork_server(fleet).unlink()


def put_a_file_in_its_place(fleet: Fleet) -> None:
    path = socket_of_fork_server(fleet)
    path.unlink()
    path.touch()


def put_a_folder_in_its_place(fleet: Fleet) -> None:
    path = socket_of_fork_server(fleet)
    path.unlink()
    path.mkdir()


def put_a_deaf_socket_in_its_place(fleet: Fleet) -> None:
    path = socket_of_fork_server(fleet)
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))


def remove_the_folder(fleet: Fleet) -> None:
    shutil.rmtree(fleet.paths.meeting_places[0])


def put_a_file_in_the_folders_place(fleet: Fleet) -> None:
    remove_the_folder(fleet)
    fleet.paths.meeting_places[0].touch()


def make_another_folder(fleet: Fleet) -> None:
    remove_the_folder(fleet)
    fleet.paths.meeting_places[0].mkdir()


def close_the_folder(fleet: Fleet) -> None:
    fleet.paths.meeting_places[0].chmod(0)


def kill_the_fork_server(_fleet: Fleet) -> None:
    fork_server().kill()


def kill_the_tracker(_fleet: Fleet) -> None:
    resource_tracker().kill()


def freeze_the_tracker(_fleet: Fleet) -> None:
    os.kill(resource_tracker().pid, signal.SIGSTOP)


@pytest.mark.parametrize(
    "harm",
    [
        remove_socket,
        put_a_file_in_its_place,
        put_a_folder_in_its_place,
        put_a_deaf_socket_in_its_place,
        remove_the_folder,
        put_a_file_in_the_folders_place,
        make_another_folder,
        close_the_folder,
        kill_the_fork_server,
        kill_the_tracker,
        freeze_the_tracker,
    ],
)
@pytest.mark.filterwarnings("ignore:resource_tracker")
@asynchronous
async def test_an_account_starts_at_once_whatever_has_become_of_the_fork_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: Callable[[Fleet], None]
) -> None:
    (tmp_path / "run").mkdir()
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "run"))
    fleet = fleet_of(tmp_path, "a", "b")
    fleet.paths = StatePaths.of(fleet.paths.root)
    async with fleet:
        for name in ("a", "b"):
            await fleet.until(name, State.CONNECTED)
        pid, other = fleet.pid("a"), fleet.pid("b")
        harm(fleet)
        os.kill(pid, signal.SIGKILL)
        await fleet.until("a", State.CONNECTED, after=pid)
        assert fleet.about("a")["last_exit"]["kind"] == "crash", "no start has failed"
        # A fork server that is killed may not have told how its last child has ended.
        assert fleet.about("a")["last_exit"]["code"] == -9 or harm is kill_the_fork_server
        # The other one has its own fork server, which still tells how it ends.
        assert fleet.pid("b") == other
        if harm is not kill_the_fork_server:
            os.kill(other, signal.SIGKILL)
            await fleet.until("b", State.CONNECTED, after=other)
            assert fleet.about("b")["last_exit"]["code"] == -9
    if harm not in (put_a_file_in_the_folders_place, put_a_folder_in_its_place):
        assert not any(place.exists() for place in fleet.paths.meeting_places)


@asynchronous
async def test_no_path_is_too_long_for_the_fork_server_and_no_folder_for_temporary_files_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", "/nowhere")
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    length = layout.MAX_SOCKET_PATH - len("/state/control.sock") - len(str(tmp_path)) - 1
    folder = tmp_path / ("x" * length)
    folder.mkdir()
    async with fleet_of(folder, "a") as fleet:
        assert len(str(fleet.paths.control_socket)) == layout.MAX_SOCKET_PATH
        await fleet.until("a", State.CONNECTED)
        (place,) = fleet.paths.meeting_places
        assert place.stat().st_mode & 0o777 == 0o700
        assert socket_of_fork_server(fleet).stat().st_mode & 0o777 == 0o600


@asynchronous
async def test_what_a_killed_service_has_left_of_its_sockets_is_swept(tmp_path: Path) -> None:
    fleet = fleet_of(tmp_path, "a")
    (place,) = fleet.paths.meeting_places
    place.mkdir()
    with socket.socket(socket.AF_UNIX) as left, socket.socket(socket.AF_UNIX) as living:
        left.bind(str(place / "left"))
        living.bind(str(place / "living"))
        living.listen()
        left.close()
        async with fleet:
            await fleet.until("a", State.CONNECTED)
            names = {path.name for path in place.iterdir()}
            assert "left" not in names
            assert "living" in names


# A restart of accounts that work


NAMES = ("a", "b", "c", "d")


@asynchronous
async def test_nothing_is_restarted_while_no_process_can_be_started(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fleet = fleet_of(tmp_path, *NAMES, control=True)
    (place,) = fleet.paths.meeting_places
    text = "accounts: {a: {}, b: {}, c: {}, d: {}}\n"
    fleet.config_file.write_text(text)
    async with fleet:
        for name in NAMES:
            await fleet.until(name, State.CONNECTED)
        await fleet.call("trial")
        await fleet.call("reload")
        for name in NAMES:
            await fleet.until_true(
                functools.partial(lambda name: fleet.about(name)["reason"] is None, name), "none waits"
            )
        pids = {name: fleet.pid(name) for name in NAMES}
        remove_the_folder(fleet)
        place.touch()
        for command in ("trial", "restart"):
            with pytest.raises(OrchestratorError, match="no process can be started"):
                await fleet.call(command, **({"all": True} if command == "restart" else {}))
        fleet.config_file.write_text(f"defaults: {{device_name: Other}}\n{text}")
        assert sorted((await fleet.call("reload"))["kept"]) == sorted(NAMES)
        for name in NAMES:
            assert "keeps its old settings" in fleet.about(name)["reason"]
        assert {name: fleet.pid(name) for name in NAMES} == pids
        place.unlink()
        await fleet.call("trial")
        await fleet.call("restart", all=True)
        for name in NAMES:
            await fleet.until(name, State.CONNECTED, after=pids[name])
            assert fleet.puppets.runs(name)[-1]["device_name"] == "Other"
    assert "4 accounts keep their old process" in caplog.text


@pytest.mark.parametrize("end", ["exit: 1", "end: machine", "kill: 11"])
@asynchronous
async def test_a_restart_of_all_stops_at_the_second_that_cannot_begin(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, end: str
) -> None:
    fleet = fleet_of(tmp_path, *NAMES, control=True)
    async with fleet:
        for name in NAMES:
            await fleet.until(name, State.CONNECTED)
        pids = {name: fleet.pid(name) for name in NAMES}
        for name in NAMES:
            fleet.puppets.play(name, [end], [])
        await fleet.call("restart", all=True)
        for name in "ab":  # one alone may tell lies
            await fleet.until_true(lambda: len(fleet.puppets.runs(name)) > 1, "it is restarted")  # noqa: B023
        await until(lambda: "no other account is restarted" in caplog.text, "that is noticed")
        for name in "ab":
            await fleet.until(name, State.CONNECTED, after=pids[name])
        for name in NAMES[2:]:
            assert fleet.pid(name) == pids[name]
            assert "keeps its old process (b could not be given one" in fleet.about(name)["reason"]
            assert len(fleet.puppets.runs(name)) == 1
