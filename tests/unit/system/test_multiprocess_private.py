"""What is expected of each private name of multiprocess: a version that breaks one fails here."""

from __future__ import annotations

import inspect
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import multiprocess
import pytest
from multiprocess import (
    connection,
    forkserver,
    popen_forkserver,
    process,
    reduction,
    resource_tracker,
    spawn,
    util,
)

from orchestrator.system import interpreter, multiprocess_private


@pytest.mark.parametrize(
    ("owner", "name", "kind"),
    [
        (forkserver, "_forkserver", forkserver.ForkServer),
        (forkserver.ForkServer(), "_forkserver_pid", type(None)),
        (forkserver.ForkServer(), "_forkserver_alive_fd", type(None)),
        (forkserver.ForkServer(), "_forkserver_address", type(None)),
        (resource_tracker, "_resource_tracker", resource_tracker.ResourceTracker),
        (resource_tracker.ResourceTracker(), "_pid", type(None)),
        (process, "_children", set),
        (process.current_process(), "_config", dict),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_private_name_has_the_type_that_is_expected(owner: object, name: str, kind: type) -> None:
    assert isinstance(getattr(owner, name), kind)


@pytest.mark.parametrize("helper", [forkserver.ForkServer(), resource_tracker.ResourceTracker()])
def test_a_helper_that_was_never_started_can_be_stopped(helper: object) -> None:
    helper._stop()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (util.spawnv_passfds, ["path", "args", "passfds"]),
        (spawn.get_preparation_data, ["name"]),
        (reduction.recvfds, ["sock", "size"]),
    ],
)
def test_a_function_that_is_replaced_takes_what_the_replacement_takes(
    function: object, parameters: list[str]
) -> None:
    assert list(inspect.signature(function).parameters)[: len(parameters)] == parameters  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("caller", "call"),
    [
        (forkserver.ForkServer.ensure_running, "util.spawnv_passfds("),
        (resource_tracker.ResourceTracker, "util.spawnv_passfds("),
        (forkserver.ForkServer.ensure_running, "spawn.get_preparation_data("),
        (popen_forkserver.Popen, "spawn.get_preparation_data("),
        (forkserver.main, "reduction.recvfds("),
    ],
)
def test_a_function_that_is_replaced_is_looked_up_in_its_module(caller: object, call: str) -> None:
    assert call in inspect.getsource(caller)  # type: ignore[arg-type]


def test_the_modules_that_look_the_replaced_functions_up_are_the_ones_that_are_patched() -> None:
    assert forkserver.util is resource_tracker.util is util
    assert forkserver.spawn is popen_forkserver.spawn is spawn
    assert forkserver.reduction is reduction


def test_the_fork_server_survives_a_hang_up_that_is_told_as_an_aborted_connection() -> None:
    assert "if e.errno != errno.ECONNABORTED" in inspect.getsource(forkserver.main)
    one, other = socket.socketpair()
    other.close()
    with one, pytest.raises(EOFError):
        reduction.recvfds(one, 3)
    one, other = socket.socketpair()
    other.close()
    with one, pytest.raises(ConnectionAbortedError):
        multiprocess_private._receive_descriptors(one, 3)


def test_descriptors_that_are_sent_arrive() -> None:
    one, other = socket.socketpair()

    def send() -> None:
        reduction.sendfds(other, [other.fileno()])  # where receivers acknowledge, this waits

    thread = threading.Thread(target=send)
    thread.start()
    with one, other:
        (descriptor,) = multiprocess_private._receive_descriptors(one, 3)
        os.close(descriptor)
        thread.join()


def test_a_connection_writes_the_length_in_front_of_a_message() -> None:
    ours, theirs = multiprocess.Pipe(duplex=True)
    with ours, theirs:
        ours.send_bytes(b"hello")
        assert os.read(theirs.fileno(), 100) == multiprocess_private.LENGTH.pack(5) + b"hello"
        os.write(theirs.fileno(), multiprocess_private.LENGTH.pack(2) + b"hi")
        assert ours.recv_bytes() == b"hi"


def test_a_child_whose_fork_server_is_gone_has_the_unknown_exit_status() -> None:
    reader, writer = os.pipe()
    os.close(writer)
    child = object.__new__(popen_forkserver.Popen)
    child.returncode, child.sentinel = None, reader
    try:
        assert child.poll() == multiprocess_private.EXIT_UNKNOWN
    finally:
        os.close(reader)


def test_a_child_is_told_neither_the_main_module_nor_the_folder() -> None:
    # Elsewhere, because here another test may have put ours in the place of theirs.
    show = "from multiprocess import spawn; print(*spawn.get_preparation_data('a'))"
    theirs = subprocess.run(
        interpreter.script(show), capture_output=True, text=True, check=True
    ).stdout.split()
    assert "dir" in theirs
    ours = multiprocess_private.preparation_data("a")
    assert set(ours) == {"name", "authkey", "sys_path"}
    assert set(ours) <= set(theirs)  # `spawn.prepare` in the child knows each of them


def test_ctrl_c_in_a_terminal_does_not_end_a_helper_that_still_loads() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    command = [sys.executable, "-c", "import sys"]
    pid = multiprocess_private._spawn_guarded(os.fsencode(sys.executable), command, ())
    os.kill(pid, signal.SIGINT)
    assert os.waitpid(pid, 0)[1] == 0
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def test_the_temporary_folder_is_the_one_that_was_set(tmp_path: Path) -> None:
    before = process.current_process()._config.get("tempdir")
    try:
        multiprocess_private.set_temporary_folder(str(tmp_path))
        assert util.get_temp_dir() == str(tmp_path)
        assert Path(connection.arbitrary_address("AF_UNIX")).parent == tmp_path
        multiprocess_private.forget_temporary_folder()
        assert "tempdir" not in process.current_process()._config
        multiprocess_private.forget_temporary_folder()
    finally:
        if before is not None:
            multiprocess_private.set_temporary_folder(before)


def test_without_helpers_there_are_no_process_ids_and_nothing_to_let_go_of() -> None:
    answer = run(
        "print(private.fork_server_pid(), private.resource_tracker_pid(), private.let_go_of_fork_server())"
    )
    assert answer == "None None None"


def test_a_fork_server_that_was_let_go_of_ends_after_its_last_child_and_another_takes_its_place() -> None:
    answer = run(
        """
private.set_temporary_folder(folder)
private.start_helpers_guarded()
context = multiprocess.get_context("forkserver")
context.set_forkserver_preload(["errno"])

def start():
    child = context.Process(target=time.sleep, args=(60,))
    child.start()
    assert child in multiprocess.process._children
    private.forget_child(child)
    assert child not in multiprocess.process._children
    return child

one = start()
first = private.fork_server_pid()
command = open(f"/proc/{first}/cmdline").read()
assert "-P" in command.split("\\0"), command
socket_path = multiprocess.forkserver._forkserver._forkserver_address
assert os.path.dirname(socket_path) == folder, socket_path
former = private.let_go_of_fork_server()
assert former.pid == first and private.fork_server_pid() is None
assert not os.path.exists(socket_path)
two = start()
second = private.fork_server_pid()
assert second != first
one.kill()
one.join()
assert one.exitcode == -9, one.exitcode
assert os.waitpid(first, os.WNOHANG) == (0, 0), "the fork server ended before it was told to"
os.close(former.alive)
os.waitpid(first, 0)
two.kill()
two.join()
os.kill(private.resource_tracker_pid(), 9)
os.kill(second, 9)
private.reap_helpers()
assert private.fork_server_pid() is None and private.resource_tracker_pid() is None
print("fine")
"""
    )
    assert answer == "fine"


def run(code: str) -> str:
    """Run code in a process of its own, whose fork server nobody else uses, and return what it prints."""
    script = f"""
import os, shutil, sys, tempfile, time
import multiprocess
from orchestrator.system import interpreter, multiprocess_private as private
folder = tempfile.mkdtemp()
try:
{"".join(f"    {line}{os.linesep}" for line in code.strip().splitlines())}
finally:
    shutil.rmtree(folder, ignore_errors=True)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
