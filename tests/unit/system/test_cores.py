"""Nothing of a process's memory gets into a core file, and other processes of its user cannot read it."""

from __future__ import annotations

import os
import resource
import subprocess
from pathlib import Path

import pytest

from orchestrator.system import interpreter

NOBODY = 65534


AS_NOBODY = f"""\
import os, signal
from orchestrator.system import cores, memory
os.setgid({NOBODY})
os.setuid({NOBODY})
cores.open_to_self()  # whoever changes the user is closed to all
"""


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    def allow_cores() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    return subprocess.run(
        interpreter.script(code),
        cwd=folder,
        preexec_fn=None if resource.getrlimit(resource.RLIMIT_CORE)[1] == 0 else allow_cores,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_process_that_aborts_leaves_no_core(tmp_path: Path) -> None:
    done = run(
        "import os\n"
        "from orchestrator.system import cores\n"
        "assert not cores.is_kept_out()\n"
        "cores.keep_out_of_cores()\n"
        "assert cores.is_kept_out()\n"
        "if os.fork() == 0:\n"
        "    assert cores.is_kept_out(), 'a fork inherits it'\n"
        "    os._exit(0)\n"
        "assert os.wait()[1] == 0\n"
        "os.abort()\n",
        tmp_path,
    )
    assert done.returncode == -6, done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user, who cannot see it all")
def test_the_user_s_other_processes_cannot_look_into_it(tmp_path: Path) -> None:
    done = run(
        AS_NOBODY + "def tried(name, mode='rb'):\n"
        "    try:\n"
        "        open(f'/proc/{child}/{name}', mode).close()\n"
        "    except OSError as error:\n"
        "        return error.strerror\n"
        "    return 'open'\n"
        "ours, theirs = os.pipe()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    cores.keep_out_of_cores()\n"
        "    os.write(theirs, b'.')\n"
        "    signal.pause()\n"
        "os.read(ours, 1)\n"
        "print(tried('mem'), tried('mem', 'r+b'), tried('environ'), tried('maps'), tried('stat'), sep='; ')\n"
        "os.kill(child, signal.SIGKILL)\n",
        tmp_path,
    )
    denied = "Permission denied"
    assert done.stdout.strip() == f"{denied}; {denied}; {denied}; {denied}; open", done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user, to whom it matters")
def test_a_fork_can_open_itself_to_itself_again(tmp_path: Path) -> None:
    done = run(
        AS_NOBODY + "cores.keep_out_of_cores()\n"
        "if os.fork() == 0:\n"
        "    before = int(memory.SCORE.read_text())\n"
        "    memory.stand_before_the_parent()\n"
        "    assert int(memory.SCORE.read_text()) == before, 'it may not write there'\n"
        "    cores.open_to_self()\n"
        "    memory.stand_before_the_parent()\n"
        "    assert int(memory.SCORE.read_text()) > before\n"
        "    os._exit(0)\n"
        "print(os.waitstatus_to_exitcode(os.wait()[1]))\n",
        tmp_path,
    )
    assert done.stdout.strip() == "0", done.stderr
