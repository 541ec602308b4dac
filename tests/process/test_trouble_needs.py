"""What a machine never has is found before the service is ready, by `run`, `repair` and `doctor`."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from support.cli import COMMAND, STAND_IN, Cli

REFUSE = """\
import errno, os
def refuse(*_):
    raise OSError(errno.{0}, "no")
os.pidfd_open = refuse
"""


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    cli = Cli(tmp_path)
    cli.configure("a: {}")
    # No way leads to WhatsApp, which doctor looks for.
    cli.environment["HTTPS_PROXY"] = cli.environment["https_proxy"] = "http://127.0.0.1:1"
    return cli


def refused(
    cli: Cli, prefix: list[str], said: str, check: str, *, program: tuple[str, ...] = STAND_IN
) -> None:
    """See that nothing is started, and that both commands and doctor say why."""
    for command in (["run"], ["repair", "a"]):
        done = cli.run([*prefix, *cli.line(*command, program=program)], code=1)
        assert said in done.stderr, done.stderr
        assert cli.puppets.runs("a") == []
    done = cli.run([*prefix, *cli.line("doctor", "--json")], code=1)
    failed = {one["check"]: one for one in json.loads(done.stdout) if one["status"] == "FAIL"}
    assert check in failed, failed
    assert failed[check]["advice"]


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (
            REFUSE.format("ENOSYS"),
            "5.3",
        ),
        (
            REFUSE.format("EPERM"),
            "seccomp",
        ),
        ("import os\ndel os.pidfd_open", "Python"),
    ],
)
def test_a_system_call_that_is_refused_or_missing(cli: Cli, program: str, said: str) -> None:
    hook = cli.folder / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(program)
    cli.environment["PYTHONPATH"] = f"{hook}:{cli.environment['PYTHONPATH']}"
    refused(cli, [], said, "pidfd_open")


@pytest.mark.parametrize(
    ("limit", "said", "check"),
    [
        ("--nofile=69:69", "LimitNOFILE=", "open files"),
        ("--fsize=1000000", "LimitFSIZE=", "size of files"),
        ("--as=700000000", "LimitAS=", "addresses of a process"),
        ("--data=150000000", "LimitDATA=", "data of a process"),
    ],
)
def test_a_limit_that_holds_no_account(cli: Cli, limit: str, said: str, check: str) -> None:
    refused(cli, ["prlimit", limit], said, check)


def test_a_limit_of_processes(cli: Cli) -> None:
    """For another user than root, whom it does not concern; `run` is what that user has of the program."""
    if os.geteuid() != 0:
        pytest.skip("only root may become another user")
    done = subprocess.run(
        ["prlimit", "--nproc=20", "setpriv", "--reuid=12345", "--clear-groups", *COMMAND, "doctor", "--json"],
        env={**cli.environment, "HOME": "/nowhere"}, cwd="/", capture_output=True, text=True, check=False,
    )  # fmt: skip
    if not done.stdout:
        pytest.skip(f"another user may not read this program: {done.stderr[-200:]}")
    (found,) = (one for one in json.loads(done.stdout) if one["check"] == "processes")
    assert (found["status"], "RLIMIT_NPROC" in found["text"]) == ("OK", True), "there is room for no account"


@pytest.fixture
def own_mounts() -> list[str]:
    prefix = ["unshare", "--mount"]
    if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no mount namespace can be made here")
    return prefix


def shell(prefix: list[str], script: str) -> list[str]:
    return [*prefix, "sh", "-c", f'{script}; exec "$@"', "sh"]


def test_no_folder_for_temporary_files(cli: Cli, own_mounts: list[str]) -> None:
    # Where Python looks for one, the current folder the last.
    places = [place for place in ("/tmp", "/var/tmp", "/usr/tmp", str(cli.folder)) if Path(place).is_dir()]
    script = " && ".join(
        f"mount --bind {place} {place} && mount -o remount,ro,bind {place}" for place in places
    )
    refused(cli, shell(own_mounts, script), "$TMPDIR", "temporary files", program=COMMAND)


def test_a_state_folder_that_is_read_only(cli: Cli, own_mounts: list[str]) -> None:
    cli.state.mkdir(exist_ok=True, mode=0o700)
    for name in ("sessions", "messages", "quarantine", "timeline", "tracebacks", "qr"):
        (cli.state / name).mkdir(mode=0o700)
    script = f"mount --bind {cli.state} {cli.state} && mount -o remount,ro,bind {cli.state}"
    for command in ("run", "repair a"):
        line = [*shell(own_mounts, script), *cli.line(*command.split(), program=STAND_IN)]
        assert "read-only" in cli.run(line, code=1).stderr.lower()
    done = cli.run([*shell(own_mounts, script), *cli.line("doctor", "--json")], code=1)
    assert any(one["status"] == "FAIL" and "read-only" in one["text"] for one in json.loads(done.stdout))


def test_no_proc(cli: Cli, own_mounts: list[str]) -> None:
    script = "mount -t tmpfs none /proc"
    for command in ("run", "repair a"):
        line = [*shell(own_mounts, script), *cli.line(*command.split(), program=STAND_IN)]
        assert "mount -t proc" in cli.run(line, code=1).stderr
    done = cli.run([*shell(own_mounts, script), *cli.line("doctor", "--json")], code=1)
    assert any(one["check"] == "/proc" and one["status"] == "FAIL" for one in json.loads(done.stdout))


def test_a_folder_for_temporary_files_with_a_long_name_is_no_trouble(cli: Cli) -> None:
    long = cli.folder / ("x" * 100) / ("y" * 100)
    long.mkdir(parents=True)
    cli.environment["TMPDIR"] = str(long)
    cli.has_session("a")
    with cli.service():
        cli.until("a", "connected")


def test_a_service_that_can_start_no_process_says_so_to_doctor(cli: Cli) -> None:
    cli.has_session("a")
    with cli.service():
        cli.until("a", "connected")
        found = {one["check"]: one for one in json.loads(cli("doctor", "--json", code=1).stdout)}
        assert found["starting"]["status"] == "OK"
        place = cli.state / "processes"
        for path in place.iterdir():
            path.unlink()
        found = {one["check"]: one for one in json.loads(cli("doctor", "--json", code=1).stdout)}
        assert found["starting"]["status"] == "OK", "it has mended itself"
        for path in place.iterdir():
            path.unlink()
        place.rmdir()
        place.touch()
        done = cli("doctor", "--json", code=1)
        failed = [one for one in json.loads(done.stdout) if one["status"] == "FAIL"]
        assert any(one["check"] == "starting" and str(place) in one["text"] for one in failed), failed
        assert any("where a folder is needed: move it away" in one["text"] for one in failed), failed
        refused = cli("restart", "--all", code=1)
        assert "nothing was restarted: no process can be started" in refused.stderr
        assert cli.accounts()["a"]["state"] == "connected"
