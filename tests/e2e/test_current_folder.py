"""No module of the current folder is run, whatever it is called and whatever the command."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.machinery import PathFinder
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from support.service import PATIENCE, Service
from support.terminal import Terminal

from orchestrator.sandbox.process import SandboxProcess

SCRIPT = (str(Path(sys.executable).parent / "orchestrator"),)
"""The command as pip installs it."""
MODULE = (sys.executable, "-m", "orchestrator")
PACKAGES = ("importlib", "multiprocess", "google")
"""Of what is put into the folder, these are packages: others are files."""
_POISON = "import os\nos.close(os.open({!r}, os.O_CREAT | os.O_WRONLY))\n"


def names_of_modules() -> set[str]:
    """Return the name of every module there is, and of such as Python looks for at its start."""
    return {*sys.stdlib_module_names, *packages_distributions(), "sitecustomize", "usercustomize"}


def loaded_before(how: Sequence[str], folder: Path, environment: dict[str, str]) -> set[str]:
    """Return the modules that Python itself loads before a program that an operator starts has a say."""
    nothing = folder / "nothing"
    nothing.mkdir()
    (nothing / "__main__.py").write_text("import re, sys\nprint(*sys.modules)")
    arguments = ["-m", "nothing"] if how is MODULE else [str(nothing / "__main__.py")]
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in done.stdout.split()}


class Poison:
    """Modules of all names in a folder, each of which leaves a mark when it is run.

    Args:
        folder: The folder.
        marks: An empty folder for the marks.
        but: Names that are left out.
    """

    def __init__(self, folder: Path, marks: Path, but: set[str]) -> None:
        self._marks = marks
        for name in names_of_modules() - but:
            path = folder / f"{name}.py"
            if name in PACKAGES:
                (folder / name).mkdir()
                path = folder / name / "__init__.py"
            path.write_text(_POISON.format(str(marks / name)))

    def run(self) -> list[str]:
        """Return the names of those that were run."""
        return sorted(path.name for path in self._marks.iterdir())


@pytest.mark.parametrize(
    ("how", "path"),
    [(SCRIPT, None), (SCRIPT, "."), (MODULE, "")],
    ids=["script", "script, dot in the path", "module, empty entry in the path"],
)
@pytest.mark.timeout(8 * PATIENCE)
def test_no_module_of_the_current_folder_is_run(
    fresh_sandbox: SandboxProcess,
    number: str,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    how: Sequence[str],
    path: str | None,
) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    with Service(folder, fresh_sandbox, ["support", "alone"], program=how, start=False) as service:
        environment = service.environment
        if path is not None:
            environment["PYTHONPATH"] += os.pathsep + path
        # What Python runs by itself, before the program an operator starts with it begins, is none of ours.
        loaded = loaded_before(how, tmp_path, environment)
        but = set() if how is SCRIPT and path is None else loaded | {"orchestrator"}
        if path is not None:
            # Those it looks for in vain are not among what it has loaded.
            but |= {name for name in names_of_modules() if PathFinder.find_spec(name) is None}
        marks = tmp_path / "marks"
        marks.mkdir()
        poison = Poison(folder, marks, but)
        monkeypatch.chdir(folder)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)

        # The sandbox that a program brings along, started from here.
        fresh_sandbox.restart()
        assert poison.run() == []

        service.start()
        service.pair("support", number)
        pid = service.child("support")
        os.kill(pid, 9)
        service.wait_for_state("support", "connected", after=pid)
        assert "connected" in service.command("list").stdout
        service.command("explain", "support")
        service.command("doctor", check=False)
        service.command("reload")
        service.command("restart", "support")
        service.wait_for_state("support", "connected")
        assert service.stop() == 0
        assert poison.run() == []

        with Terminal(service.command_line("repair", "alone"), environment, folder) as terminal:
            terminal.until(lambda _: terminal.has_picture(), "a QR code")
            terminal.interrupt()
            assert terminal.exit_code() == 130
        assert poison.run() == []

        for arguments in (
            ["--help"],
            ["sandbox", "kinds"],
            ["install-unit", "--dry-run"],
            ["list", "--json"],
            ["config", "check"],
            ["qr", "support"],
            ["send", "support", "--to", "+4915100000001", "hello"],
            ["add", "third", "--disabled"],
            ["rename", "third", "fourth"],
            ["restore", "fourth"],
            ["remove", "fourth", "--yes"],
            ["repair", "alone", "--no-wait"],
            ["sandbox", "run", "--", sys.executable, "-P", "-c", "pass"],
        ):
            service.command(*arguments, check=False)
        done = subprocess.run(
            [*how],
            env={
                **environment,
                "_ORCHESTRATOR_COMPLETE": "complete_bash",
                "COMP_WORDS": "orchestrator rep",
                "COMP_CWORD": "1",
            },
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
        assert "repair" in done.stdout
        assert poison.run() == []

        demo = subprocess.run(
            [*how, "demo", "--once"],
            env=environment,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=4 * PATIENCE,
            check=False,
        )
        assert demo.returncode == 0, demo.stdout + demo.stderr
        assert poison.run() == []


def test_a_bot_in_the_sandbox_has_the_folder_of_its_script(
    sandbox: SandboxProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "beside.py").write_text("WORD = 'found'")
    (tmp_path / "bot.py").write_text("import beside; print(beside.WORD)")
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    control = f"http://127.0.0.1:{sandbox.about['control_port']}"
    line = [*SCRIPT, "sandbox", "run", "--control", control, "--", sys.executable, "bot.py"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.stdout == "found\n", done.stderr
