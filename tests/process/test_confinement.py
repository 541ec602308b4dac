"""Processes that are confined, for real: what they cannot reach any more, and what they still can."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.fleet import Fleet, asynchronous

from orchestrator.accounts.events import Order
from orchestrator.accounts.states import State
from orchestrator.system import confinement, interpreter

PATIENCE = 120
"""Seconds for what takes a fraction of one on an idle machine."""
HERE = """\
import errno, json, os, resource, signal, socket, subprocess, sys, threading
from pathlib import Path
from orchestrator.system import confinement, cores, landlock, memory, open_files
from orchestrator.worker import confining, spec as specs
from orchestrator.system.landlock import Rule

folder = Path(sys.argv[1])
if os.geteuid() == 0 and sys.argv[2] == "nobody":
    os.chown(folder, 65534, 65534)
    for path in folder.rglob("*"):
        os.chown(path, 65534, 65534)
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    cores.open_to_self()
found = {}

def tried(name, attempt):
    try:
        attempt()
    except OSError as error:
        found[name] = errno.errorcode[error.errno]
    except Exception as error:
        found[name] = repr(error)
    else:
        found[name] = "done"

def end():
    print(json.dumps(found))
    sys.stdout.flush()
    os._exit(0)
"""

needs_all = pytest.mark.skipif(bool(confinement.missing()), reason="this kernel cannot do all of it")


def run(code: str, folder: Path, *, user: str = "same") -> dict[str, Any]:
    done = subprocess.run(
        interpreter.script(HERE + code + "\nend()\n", str(folder), user),
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.parent.chmod(0o711)
    for name in ("own", "other", "closed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "session").write_text("secret")
    return tmp_path


users = pytest.mark.parametrize(
    "user",
    [
        "same",
        pytest.param("nobody", marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root changes users")),
    ],
)

FILES = """
own, other = folder / "own", folder / "other"
shared = open_files.here([folder / "closed"])
lacks = confinement.confine(open_files.of_account([own], shared))
assert not lacks, lacks
tried("own read", (own / "session").read_text)
tried("own write", lambda: (own / "new").write_text("x"))
tried("own folder", (own / "media").mkdir)
tried("own rename", lambda: (own / "new").rename(own / "media/newer"))
tried("own remove", (own / "media/newer").unlink)
tried("own empty", lambda: (own / "session").write_text(""))
tried("own link", lambda: (own / "link").symlink_to(other))
tried("own socket", lambda: os.mknod(own / "pipe", 0o10600))
tried("other read", (other / "session").read_text)
tried("other list", lambda: list(other.iterdir()))
tried("other write", lambda: (other / "session").write_text("x"))
tried("other new", lambda: (other / "new").write_text("x"))
tried("other remove", (other / "session").unlink)
tried("other rename", lambda: (other / "session").rename(own / "stolen"))
tried("other link", lambda: os.link(other / "session", own / "stolen"))
tried("other mode", lambda: (other / "session").chmod(0o666))
tried("other owner", lambda: os.chown(other / "session", os.getuid(), os.getgid()))
tried("other time", lambda: os.utime(other / "session"))
tried("other empty", lambda: os.truncate(other / "session", 0))
tried("other attribute", lambda: os.setxattr(other / "session", "user.x", b"x"))
tried("closed read", (folder / "closed/session").read_text)
tried("program", lambda: subprocess.run([sys.executable, "-c", ""]))
tried("module", lambda: os.open(os.__file__, os.O_RDONLY | os.O_TRUNC))
tried("module read", lambda: open(os.__file__).close())
tried("home", lambda: os.listdir("/root"))
tried("temporary", lambda: open("/tmp/confined-was-here", "w").close())
"""


@needs_all
@users
def test_a_confined_process_has_its_own_files_and_no_others(folder: Path, user: str) -> None:
    found = run(FILES, folder, user=user)
    own = {name: how for name, how in found.items() if name.startswith("own ")}
    assert own == {
        "own read": "done", "own write": "done", "own folder": "done", "own rename": "done",
        "own remove": "done", "own empty": "done", "own link": "EACCES", "own socket": "EACCES",
    }  # fmt: skip
    how = found.pop("module read")
    assert how == "done" or user == "nobody", "Python may lie in a folder of root's"
    refused = {name: how for name, how in found.items() if name not in own}
    assert set(refused.values()) <= {"EACCES", "EPERM", "EXDEV"}, refused
    assert (folder / "other/session").read_text() == "secret"
    assert (folder / "other/session").stat().st_mode & 0o022 == 0, "its mode was not changed"


PROCESSES = """
ours, theirs = os.pipe()
lives, ends = os.pipe()
sibling = os.fork()
if sibling == 0:
    os.close(ends)
    cores.open_to_self()
    os.write(theirs, b".")
    os.read(lives, 1)
    os._exit(0)
os.read(ours, 1)
parent = os.getppid()
listener = socket.socket(socket.AF_UNIX)
listener.bind(str(folder / "own/control"))
listener.listen()
abstract = socket.socket(socket.AF_UNIX)
abstract.bind("\\0confined-" + str(os.getpid()))
abstract.listen()
lacks = confinement.confine(open_files.of_account([folder / "own"], open_files.here([folder])))
assert not lacks, lacks
for name, pid in (("sibling", sibling), ("parent", parent)):
    tried(name + " signal", lambda: os.kill(pid, 0))
    tried(name + " memory", lambda: open(f"/proc/{pid}/mem", "rb").close())
    tried(name + " writing", lambda: open(f"/proc/{pid}/mem", "r+b").close())
    tried(name + " environment", lambda: open(f"/proc/{pid}/environ", "rb").close())
    tried(name + " maps", lambda: open(f"/proc/{pid}/maps", "rb").close())
    tried(name + " files", lambda: os.readlink(f"/proc/{pid}/fd/1"))
    tried(name + " limits", lambda: resource.prlimit(pid, resource.RLIMIT_NOFILE))
    tried(name + " pidfd", lambda: os.pidfd_open(pid))
    tried(name + " nice", lambda: os.setpriority(os.PRIO_PROCESS, pid, 19))
tried("group", lambda: os.killpg(0, 0))
tried("all", lambda: os.kill(-1, 0))
tried("socket", lambda: socket.socket(socket.AF_UNIX))
tried("datagrams", lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))
tried("netlink", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))
tried("packets", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
tried("fork", os.fork)
tried("shell", lambda: os.popen("true"))
found["still works"] = "no"
tried("internet", lambda: socket.socket(socket.AF_INET).close())
tried("internet 6", lambda: socket.socket(socket.AF_INET6).close())
tried("pair", socket.socketpair)
tried("self", lambda: os.kill(os.getpid(), 0))
tried("self status", lambda: open("/proc/self/status").close())
tried("self memory", lambda: open("/proc/self/smaps_rollup").read())
tried("self files", lambda: os.listdir("/proc/self/fd"))
def thread():
    status = open(f"/proc/self/task/{threading.get_native_id()}/status").read()
    found["thread"] = [line for line in status.splitlines() if line.startswith(("NoNewPrivs", "Seccomp:"))]
started = threading.Thread(target=thread)
started.start()
started.join()
found["kept out of cores"] = cores.is_kept_out()
"""


@needs_all
@users
def test_a_confined_process_reaches_no_other(folder: Path, user: str) -> None:
    found = run(PROCESSES, folder, user=user)
    names = list(found)
    refused = {name: found[name] for name in names[: names.index("still works")]}
    assert set(refused.values()) <= {"EACCES", "EPERM", "EAFNOSUPPORT"}, refused
    for name in ("internet", "pair", "self", "self status", "self memory", "self files"):
        assert found[name] == "done", name
    assert found["internet 6"] in ("done", "EAFNOSUPPORT"), "this machine may have none"
    assert found["thread"] == ["NoNewPrivs:\t1", "Seccomp:\t2"]
    assert found["kept out of cores"] is True


@needs_all
def test_a_confined_process_can_still_abort(folder: Path) -> None:
    code = HERE + "confinement.confine(open_files.of_account([], open_files.here([])))\nos.abort()\n"
    done = subprocess.run(
        interpreter.script(code, str(folder), "same"), capture_output=True, check=False, timeout=PATIENCE
    )
    assert done.returncode == -6, done.stderr


def test_with_a_second_thread_it_is_refused(folder: Path) -> None:
    code = """
threading.Thread(target=signal.pause, daemon=True).start()
try:
    confinement.confine([])
except confinement.ConfinementError as error:
    found["said"] = str(error)
"""
    assert "2 threads run already" in run(code, folder)["said"]


MAKER = """
(folder / "sessions/a").mkdir(parents=True)
(folder / "closed/root.crt").write_text("x")
reads = (folder / "closed/root.crt",)
folders = (folder / "sessions", folder / "tracebacks")
spec = specs.MakerSpec("auto", folders, (folder,), tuple(sys.path), reads=reads)
confining.confine_maker({specs.VARIABLE: spec.as_text()})
tried("configuration", (folder / "closed/session").read_text)
tried("state", lambda: (folder / "status.json").write_text("{}"))
tried("temporary", lambda: open("/tmp/confined-was-here", "w").close())
tried("program", lambda: subprocess.run(["/bin/true"]))
tried("socket", lambda: socket.socket(socket.AF_UNIX))
tried("parent", lambda: os.kill(os.getppid(), 0))
tried("session", lambda: (folder / "sessions/a/session").write_text("x"))
child = os.fork()
if child == 0:
    found.clear()
    cores.open_to_self()
    before = memory.SCORE.read_text()
    memory.stand_before_the_parent()
    found["score"] = int(memory.SCORE.read_text()) - int(before)
    rules = open_files.of_account([folder / "sessions/a"], open_files.here([folder]))
    confinement.confine([*rules, Rule(reads[0], landlock.READ)])
    tried("certificate", reads[0].read_text)
    tried("own", lambda: (folder / "sessions/a/session").write_text("y"))
    tried("other", lambda: (folder / "sessions/b").mkdir())
    tried("maker's memory", lambda: open(f"/proc/{os.getppid()}/mem", "rb").close())
    tried("self", lambda: os.kill(os.getpid(), 0))
    print(json.dumps(found))
    sys.stdout.flush()
    os._exit(0)
assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
"""


@needs_all
@users
def test_what_makes_the_processes_is_confined_as_far_as_they_allow(folder: Path, user: str) -> None:
    done = subprocess.run(
        interpreter.script(HERE + MAKER + "\nend()\n", str(folder), user),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    child, maker = map(json.loads, done.stdout.splitlines())
    assert maker.pop("session") == "done"
    assert set(maker.values()) <= {"EACCES", "EPERM", "EAFNOSUPPORT"}, maker
    assert child.pop("score") == 20
    assert [child.pop(what) for what in ("certificate", "own", "self")] == ["done"] * 3
    assert set(child.values()) <= {"EACCES", "EPERM"}, child


@asynchronous
async def test_where_a_folder_was_replaced_the_next_process_comes_from_another_maker(tmp_path: Path) -> None:
    async with Fleet(tmp_path, "a", "b", confine="auto") as fleet:
        for name in ("a", "b"):
            await fleet.until(name, State.PAIRING)
        old, other = psutil.Process(fleet.pid("a")).ppid(), fleet.pid("b")
        before = fleet.pid("a")
        fleet.supervisor.order("a", Order.RESTART)
        await fleet.until("a", State.PAIRING, after=before)
        assert psutil.Process(fleet.pid("a")).ppid() == old, "nothing has changed"
        tracebacks = fleet.paths.tracebacks
        tracebacks.rename(tracebacks.with_name("former"))
        tracebacks.mkdir(0o700)
        before = fleet.pid("a")
        fleet.supervisor.order("a", Order.RESTART)
        await fleet.until("a", State.PAIRING, after=before)
        assert psutil.Process(fleet.pid("a")).ppid() != old
        assert fleet.pid("b") == other, "the others stay"
