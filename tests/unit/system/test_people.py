"""Who had logged in before a process was started, as the kernel says, and the names of users."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.system import people

UNSET = 2**32 - 1


def tell(folder: Path, login: str, uid: str = "Uid:\t0\t0\t0\t0") -> Path:
    process = folder / "4711"
    process.mkdir()
    (process / "loginuid").write_text(login)
    (process / "status").write_text(f"Name:\tbash\n{uid}\nGid:\t0\t0\t0\t0\n")
    return folder


def test_a_log_in_is_read(tmp_path: Path) -> None:
    assert people.login_of(4711, 0, tell(tmp_path, "1000")) == 1000


@pytest.mark.parametrize("login", [str(UNSET), "", "anna", "-1"])
def test_without_a_log_in_nobody_is_named(tmp_path: Path, login: str) -> None:
    assert people.login_of(4711, 0, tell(tmp_path, login)) is None


@pytest.mark.parametrize("uid", ["Uid:\t0\t1000\t0\t0", "Uid:", "", "Uid:\t0\tx\t0\t0"])
def test_a_process_that_has_other_rights_now_is_another_one(tmp_path: Path, uid: str) -> None:
    assert people.login_of(4711, 0, tell(tmp_path, "1000", uid)) is None


def test_a_process_that_is_gone_has_no_log_in() -> None:
    assert people.login_of(2**22 + 1, 0) is None


def test_the_kernel_keeps_the_log_in_through_a_change_of_the_user() -> None:
    """A program sets its log-in as pam_loginuid does, and starts another one, as sudo does."""
    inner = "import sys; print('up', flush=True); sys.stdin.read()"
    outer = f"""import subprocess, sys
try:
    open("/proc/self/loginuid", "w").write("4242")
except OSError:
    print("cannot", flush=True)
    sys.exit()
sys.exit(subprocess.run([sys.executable, "-c", {inner!r}], stdin=sys.stdin).returncode)
"""
    with subprocess.Popen(
        [sys.executable, "-c", outer], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        if process.stdout.readline().strip() != "up":
            pytest.skip("this process has a log-in already, or the kernel keeps none")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii")
        assert people.login_of(int(children.split()[0]), os.geteuid()) == 4242
        process.stdin.close()


def test_names_of_users_are_read(tmp_path: Path) -> None:
    file = tmp_path / "passwd"
    file.write_text("root:x:0:0::/root:/bin/sh\n\n#\nanna:x:1000:\nanna2:x:1000:\n:x:7:\nb\n+::::::\n")
    assert people.names([0, 1000, 7, 5], file) == {0: "root", 1000: "anna"}
    assert people.names([0], tmp_path / "missing") == {}


@given(st.binary(max_size=300))
def test_no_file_of_users_harms(data: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "passwd"
        file.write_bytes(data)
        found = people.names(range(20), file)
    assert all(0 <= user < 20 and name for user, name in found.items())
