"""What the service's processes have in their environment: nothing of the operator that they do not need."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.fleet import Fleet, asynchronous
from support.trouble import fork_server, resource_tracker

from orchestrator.accounts.states import State
from orchestrator.service import library
from orchestrator.service.forkserver import GO_DEFAULTS
from orchestrator.system import interpreter

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may read the environment of any process")
SECRET = "hunter2-of-the-operator"
NAMES = ("AWS_SECRET_ACCESS_KEY", "DATABASE_URL", "GITHUB_TOKEN", "CREDENTIALS_DIRECTORY")


def environment_of(pid: int) -> dict[str, str]:
    entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return dict(os.fsdecode(entry).split("=", 1) for entry in entries if b"=" in entry)


@as_root
@asynchronous
async def test_accounts_and_helpers_have_no_secret_of_the_operator(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name in NAMES:
            patch.setenv(name, SECRET)
        patch.setenv("GOGC", "77")
        patch.setenv("PYTHONPATH", f"{os.environ.get('PYTHONPATH', '')}:relative")
        before = dict(os.environ)
        fleet = Fleet(tmp_path, "a")
        fleet.has_session("a")
        async with fleet:
            await fleet.until("a", State.CONNECTED)
            for pid in (fleet.pid("a"), fork_server().pid, resource_tracker().pid):
                found = environment_of(pid)
                assert SECRET not in str(found)
                assert not found.keys() & set(NAMES)
                assert found["PATH"] == os.environ["PATH"]
                assert found["GOGC"] == "77"
                assert "relative" not in found.get("PYTHONPATH", "")
        assert dict(os.environ) == before


@as_root
@asynchronous
async def test_go_takes_little_memory_unless_an_operator_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GOGC", raising=False)
    monkeypatch.setenv("GOMAXPROCS", "3")
    fleet = Fleet(tmp_path, "a")
    fleet.has_session("a")
    async with fleet:
        await fleet.until("a", State.CONNECTED)
        found = environment_of(fork_server().pid)
        assert found["GOGC"] == GO_DEFAULTS["GOGC"]
        assert found["GOMAXPROCS"] == "3"
        assert "GOGC" not in os.environ


@pytest.mark.parametrize(
    "check",
    [library.check_library, lambda: asyncio.run(library.check_library_aside())],
    ids=["start", "update"],
)
def test_the_process_that_tries_the_library_out_has_none_either(
    check: Callable[[], library.Library], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that loads neonize writes its environment down: Python runs a module at its start."""
    seen = tmp_path / "seen"
    (tmp_path / "sitecustomize.py").write_text(
        "import os\n"
        f"open({str(seen)!r}, 'w').write('\\n'.join(f'{{k}}={{v}}' for k, v in os.environ.items()))\n"
    )
    for name in NAMES:
        monkeypatch.setenv(name, SECRET)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert check().version
    assert f"PYTHONPATH={tmp_path}" in seen.read_text()
    assert SECRET not in seen.read_text()


def test_python_itself_starts_with_nothing_else() -> None:
    command = interpreter.script("import os, sys; print(sorted(set(os.environ) - set(sys.argv[1:])))")
    environment = interpreter.helper_environment(os.environ)
    command += [*environment, "LC_CTYPE"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n", sys.executable
