"""What is installed from the wheel works by itself, far from these sources."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from zipfile import ZipFile

import pytest
from support.service import PATIENCE, ROOT, Service
from support.wheel import PIP, STALE, clean_environment, run

from orchestrator import __version__
from orchestrator.sandbox.process import SandboxProcess

EXAMPLE = Path("share/doc/whatsapp-orchestrator/accounts.example.yaml")
"""Where an installation has the example of a configuration, below the virtual environment."""
UNITS = "orchestrator/cli/unit/systemd/"
"""Where the units are in the wheel."""


def test_the_wheel_has_the_units_and_nothing_of_an_earlier_build(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = archive.namelist()
        units = {name for name in names if name.startswith(UNITS) and not name.endswith("/")}
        packed = {name.removeprefix(UNITS): archive.read(name) for name in units}
    assert packed == {path.name: path.read_bytes() for path in (ROOT / "systemd").iterdir()}
    assert STALE not in names
    with ZipFile(wheel) as archive:
        (example,) = [name for name in names if name.endswith(f".data/data/{EXAMPLE}")]
        assert archive.read(example) == (ROOT / EXAMPLE.name).read_bytes()
    modules = (ROOT / "orchestrator").rglob("*.py")
    assert {name for name in names if name.endswith(".py")} == {
        str(path.relative_to(ROOT)) for path in modules
    }


@pytest.mark.timeout(1500)
def test_the_wheel_by_itself(
    wheel: Path, make_number: Callable[[], str], make_folder: Callable[[], Path], tmp_path: Path
) -> None:
    clean = clean_environment()
    venv = tmp_path / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", venv, folder=tmp_path, environment=clean)
    python = venv / "bin/python"
    # No byte code ahead of time: of all that is installed, little is imported.
    install = (*PIP, "--python", python, "install", "--no-compile")
    run(*install, "-r", ROOT / "requirements/sandbox.txt", folder=tmp_path, environment=clean)
    run(*install, "--no-deps", wheel, folder=tmp_path, environment=clean)
    run(*PIP, "--python", python, "check", folder=tmp_path, environment=clean)

    assert (venv / EXAMPLE).read_bytes() == (ROOT / EXAMPLE.name).read_bytes()
    empty = make_folder()
    orchestrator = venv / "bin/orchestrator"
    said = run(orchestrator, "--version", folder=empty, environment=clean)
    assert said == f"orchestrator {__version__}\n"
    where = "import orchestrator, neonize; print(orchestrator.__file__, neonize.__file__)"
    for place in run(python, "-c", where, folder=empty, environment=clean).split():
        assert Path(place).is_relative_to(venv)

    command = [str(orchestrator), "sandbox", "serve", "--json", "--until-stdin-closes", "--port", "0"]
    server = subprocess.Popen(
        [*command, "--control-port", "0", "--state-dir", str(empty / "sandbox")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=empty,
        env=clean,
    )
    try:
        assert server.stdout is not None
        sandbox = Sandbox(json.loads(server.stdout.readline()))
        number = make_number()
        with Service(
            empty, sandbox, {"support": {"phone": number}}, program=(str(orchestrator),), environment=clean
        ) as service:
            service.pair("support", number)
            assert service.command("list", "--check").stdout == ""
            listed = service.command("list").stdout
            assert "connected" in listed
            assert number[1:] not in listed
            assert Path(service.environment["PYTHONPATH"]).is_relative_to(venv)
            for process in service.processes():
                mapped = [region.path for region in process.memory_maps()]
                assert not [path for path in mapped if path.startswith((str(ROOT), sys.prefix + os.sep))]
            assert service.stop() == 0
            service.start()
            service.wait_for_state("support", "connected")
            assert "connecting → connected" in service.command("explain", "support").stdout
    finally:
        server.terminate()
        assert server.wait(PATIENCE) == 0
        for stream in (server.stdin, server.stdout):
            assert stream is not None
            stream.close()


class Sandbox(SandboxProcess):
    """One that somebody else has started."""

    def __init__(self, about: dict[str, object]) -> None:
        super().__init__()
        self._about = about

    def environment(self, base: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return what its own Python says: the hook is to be the installed one, too."""
        return {**(base or {}), **self.about["environment"]}
