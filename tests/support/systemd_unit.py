"""The service as systemd runs it in a box: `UnitService`, a handle for tests."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from support.linked import scan_shown
from support.probed import HOOK as PROBE
from support.systemd_box import PACKAGES, Box, python_in_sight

from orchestrator.sandbox.environment import client_environment
from orchestrator.sandbox.process import SandboxProcess

T = TypeVar("T")
Json = dict[str, Any]

HOME = Path("/opt/orchestrator")
PROGRAM = HOME / "bin/orchestrator"
HOOK = "orchestrator/sandbox/hook"
PATIENCE = 180.0
PROBING = Path("/opt/orchestrator-probing")
"""Where the probe's hook is in the box; see `support.probing`."""
_CA = Path("/etc/ssl/sandbox-ca.pem")


def install_wheel(box: Box, wheel: Path, home: Path = HOME) -> None:
    """Install the package from its wheel into an environment in the box; all else is these tests'.

    Args:
        box: The box.
        wheel: The wheel.
        home: The environment, which is made if there is none; an older package in it is replaced.
    """
    python = python_in_sight()
    assert python is not None
    box.run(python, "-m", "venv", "--without-pip", home)
    inside = Path("/opt") / wheel.name
    box.path(inside).write_bytes(wheel.read_bytes())
    (box.path(site_packages(box, home)) / "packages.pth").write_text(f"{PACKAGES}\n")
    # This pip is one of the tests' packages, too.
    pip = (home / "bin/python", "-m", "pip", "--disable-pip-version-check", "--quiet")
    options = ("--no-deps", "--no-index", "--no-compile", "--ignore-installed")
    box.run(*pip, "install", *options, inside)


def site_packages(box: Box, home: Path = HOME) -> Path:
    """Return where the package is installed."""
    (folder,) = box.path(home / "lib").glob("python3.*/site-packages")
    return home / "lib" / folder.parent.name / "site-packages"


class UnitService:
    """A unit that ``install-unit`` has written, with a sandbox as its WhatsApp.

    Args:
        box: Where it runs.
        sandbox: Its WhatsApp.
        instance: Its name, if it is one of several.
    """

    def __init__(self, box: Box, sandbox: SandboxProcess, instance: str | None = None) -> None:
        folder = f"orchestrator-{instance}" if instance else "orchestrator"
        self.box = box
        self.sandbox = sandbox
        self.unit = f"orchestrator@{instance}.service" if instance else "orchestrator.service"
        self.config = Path("/etc") / folder / "accounts.yaml"
        self.state = Path("/var/lib") / folder
        self.runtime = Path("/run") / folder
        self._options = ["--config", str(self.config)] if instance else []

    def lead_to_sandbox(self, *lines: str) -> None:
        """Give the unit the environment that leads to the sandbox, by a drop-in, with other lines.

        Args:
            lines: What else the section ``[Service]`` is to have.
        """
        about = self.sandbox.about["environment"]
        self.box.path(_CA).write_bytes(Path(about["SSL_CERT_FILE"]).read_bytes())
        environment = client_environment(
            port=self.sandbox.port,
            ca_file=_CA,
            root_key=bytes.fromhex(about["ORCHESTRATOR_SANDBOX_ROOT_KEY"]),
        )
        # The other hook does nothing until a test aims the probe.
        environment["PYTHONPATH"] = f"{site_packages(self.box) / HOOK}:{PROBING}"
        self.box.path(PROBING).mkdir(exist_ok=True)
        self.box.path(PROBING / "sitecustomize.py").write_bytes(PROBE.read_bytes())
        folder = self.box.path(f"/etc/systemd/system/{self.unit}.d")
        folder.mkdir(exist_ok=True)
        text = "".join(f"Environment={name}={value}\n" for name, value in environment.items())
        text = f"UnsetEnvironment=\n{text}"  # the unit keeps these out, or it would not need this drop-in
        (folder / "sandbox.conf").write_text(f"[Service]\n{text}" + "".join(f"{line}\n" for line in lines))
        self.box.systemctl("daemon-reload")

    def command(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Give a command as root does, who names nothing but the instance's configuration."""
        return self.box.run(PROGRAM, *self._options, *arguments, check=check)

    def accounts(self) -> dict[str, Json]:
        """Return what ``list`` shows, by name."""
        listed = json.loads(self.command("list", "--json").stdout)
        return {account["name"]: account for account in listed}

    def until(self, condition: Callable[[Mapping[str, Json]], T | None], what: str) -> T:
        """Return what a condition on the accounts returns as soon as that is true."""
        deadline = time.monotonic() + PATIENCE
        while not (found := condition(accounts := self.accounts())):
            assert time.monotonic() < deadline, f"not within {PATIENCE:g} s: {what}; {accounts}"
            time.sleep(0.1)
        return found

    def wait_for_state(self, name: str, state: str, *, after: int | None = None) -> Json:
        """Wait until an account is in a state, with another process than that of an id."""

        def found(accounts: Mapping[str, Json]) -> Json | None:
            account = accounts[name]
            return account if account["state"] == state and account["pid"] != after else None

        return self.until(found, f"{name} is {state}")

    def pair(self, name: str, number: str) -> Json:
        """Hold a phone to an account's picture; return the account once it is connected."""

        def picture() -> bytes:
            png = self.until(lambda accounts: accounts[name]["qr_path"], f"{name} shows a code")
            return self.box.path(png).read_bytes()

        scan_shown(self.sandbox.client, number, picture)
        return self.wait_for_state(name, "connected")

    def status(self) -> str:
        """Return what ``systemctl status`` says of the accounts."""
        return self.box.show(self.unit, "StatusText")

    def main_process(self) -> int:
        """Return the id of its main process, as this machine has it."""
        inside = self.box.show(self.unit, "MainPID")
        return next(pid for pid in self.box.processes(self.unit) if _inner_id(pid) == inside)


def _inner_id(pid: int) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split()[-1] for line in lines if line.startswith("NSpid:"))
