"""A container of the image, as one service of a compose file describes it, with a sandbox as its WhatsApp."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import psutil
import yaml
from support.container_engine import PATIENCE, Engine

from orchestrator.sandbox.client import SandboxError
from orchestrator.sandbox.process import SandboxProcess

T = TypeVar("T")

PACKAGE = "/opt/orchestrator/lib/python3.11/site-packages/orchestrator"
"""Where the program is in the image."""
CERTIFICATE = "/sandbox-ca.pem"


def service_of(file: Path, name: str) -> dict[str, Any]:
    """Return what a compose file says of one service."""
    found: dict[str, Any] = yaml.safe_load(file.read_text())["services"][name]
    return found


def options_of(service: Mapping[str, Any], volumes: Mapping[str, Path]) -> list[str]:
    """Return the options of podman that say what a compose file says.

    Args:
        service: What the file says. A key that this function does not know is an error.
        volumes: What a source stands for: a named volume, a path in the file, or the name of a secret.
    """
    options: list[str] = []
    for key, value in service.items():
        match key:
            case "image" | "build" | "restart" | "logging" | "command" | "depends_on":
                pass
            case "hostname":
                options += ["--hostname", value]
            case "secrets":
                for one in value:
                    options += ["--volume", f"{volumes[one]}:/run/secrets/{one}:ro"]
            case "stop_grace_period":
                options += ["--stop-timeout", value.removesuffix("s")]
            case "ports" | "pids_limit":
                pass  # the network is that of the machine, and there are no control groups
            case "volumes":
                for one in value:
                    source, target = _mount(one)
                    options += ["--volume", f"{volumes[source]}:{target}"]
            case "read_only":
                # podman would else make /run and /tmp writable, which Docker does not.
                options += ["--read-only", "--read-only-tmpfs=false"] if value else []
            case "tmpfs":
                for one in value:
                    options += ["--tmpfs", one]
            case "cap_drop":
                options += [f"--cap-drop={one}" for one in value]
            case "security_opt":
                options += [f"--security-opt={one.partition(':')[0]}" for one in value]
            case "ulimits":
                options += [f"--ulimit={name}={number}:{number}" for name, number in value.items()]
            case _:
                raise AssertionError(f"nobody has said how to run {key}")
    return options


def _mount(volume: str | Mapping[str, Any]) -> tuple[str, str]:
    """Return the source of a volume in a compose file, and the rest as podman and Docker have it."""
    if isinstance(volume, str):
        source, _, target = volume.partition(":")
        return source, target
    about = dict(volume)
    source, target, read_only = (about.pop(key) for key in ("source", "target", "read_only"))
    # SELinux is not tried here.
    wanted = {"type": "bind", "bind": {"create_host_path": False, "selinux": "z"}}
    assert about == wanted, f"nobody has said how to mount {volume}"
    return source, f"{target}:ro" if read_only else target


class Container:
    """A container; as a context manager it is started and, whatever happens, ended.

    Args:
        engine: Where the image is.
        image: The image.
        name: What the container is called.
        options: Of `podman run`; see `options_of`.
        sandbox: Its WhatsApp.
        folder: Where its log is.
        command: What is run; by default what the image says.

    Attributes:
        seconds_to_ready: From its start until the service answered.
    """

    def __init__(
        self,
        engine: Engine,
        image: str,
        name: str,
        options: Sequence[str],
        sandbox: SandboxProcess | None,
        folder: Path,
        command: Sequence[str] = (),
    ) -> None:
        self._engine = engine
        self._name = name
        self._image = image
        self._log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.seconds_to_ready = 0.0
        line = [
            "run",
            "--rm",
            "--name",
            name,
            "--no-healthcheck",
            "--network",
            "host",
            "--cgroups",
            "disabled",
        ]
        # podman asks for more than this machine's user may have.
        line += [*options, "--ulimit", "nproc=30000:30000"]
        if sandbox is not None:
            line += leading_to(sandbox, folder)
        self._line = engine.line("podman", *line, image, *command)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(self.log[-6000:])
        if self._process is not None:
            self._engine.podman("kill", self._name, check=False)
            self._process.wait(PATIENCE)

    @property
    def log(self) -> str:
        """What the container has written."""
        return self._log.read_text(errors="replace")

    def start(self) -> None:
        """Start the container; `until_ready` waits for the service."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._line, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )

    def until_ready(self) -> None:
        """Wait until the command of HEALTHCHECK says that the service is healthy."""
        began = time.monotonic()
        self.until(lambda: self.is_healthy() or None, "the service answers")
        self.seconds_to_ready = time.monotonic() - began

    def is_healthy(self) -> bool:
        """Run the command of HEALTHCHECK."""
        return self.run(*self._healthcheck(), check=False).returncode == 0

    def _healthcheck(self) -> list[str]:
        found = json.loads(self._engine.podman("image", "inspect", self._image).stdout)[0]["Healthcheck"][
            "Test"
        ]
        assert found[0] == "CMD", "an image without a shell needs none for this either"
        return list(found[1:])

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as `docker exec` does."""
        return self._engine.podman("exec", self._name, *command, check=check)

    def orchestrator(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command of the program inside, which never ends in a traceback."""
        done = self.run("orchestrator", *arguments, check=check)
        assert "Traceback" not in done.stderr
        return done

    def account(self, name: str) -> dict[str, Any]:
        """Return what `list` says of an account."""
        listed = json.loads(self.orchestrator("list", "--json").stdout)
        (found,) = (one for one in listed if one["name"] == name)
        return dict(found)

    def scan(self, name: str, number: str, sandbox: SandboxProcess, folder: Path) -> None:
        """Scan an account's code with a phone."""
        picture = folder / f"{name}.png"

        def scanned() -> bool | None:
            path = self.account(name)["qr_path"]
            if path is None:
                return None
            copied = subprocess.run(
                self._engine.line("podman", "exec", self._name, "cat", path), capture_output=True, check=False
            )
            picture.write_bytes(copied.stdout)
            try:
                sandbox.client.scan(number, png=picture)
            except SandboxError:  # it has expired meanwhile
                return None
            return True

        self.until(scanned, f"{name} shows a code that can be scanned")

    def until_connected(self, name: str) -> None:
        """Wait until an account is connected."""
        self.until(lambda: self.account(name)["state"] == "connected" or None, f"{name} is connected")

    def until(self, condition: Callable[[], T | None], what: str) -> T:
        """Return what a condition returns as soon as that is something."""
        deadline = time.monotonic() + PATIENCE
        while (found := condition()) is None:
            assert self._process is not None
            assert self._process.poll() is None, f"the container has ended:\n{self.log[-4000:]}"
            assert time.monotonic() < deadline, f"not within {PATIENCE:g} s: {what}"
            time.sleep(0.2)
        return found

    def stop(self) -> int:
        """Stop the container as `docker stop` does, and return the exit code."""
        assert self._process is not None
        self._engine.podman("stop", self._name)
        code = self._process.wait(PATIENCE)
        self._process = None
        return code

    def memory(self) -> int:
        """Return the bytes that all processes of the container use (PSS), as root of this machine sees."""
        init = psutil.Process(
            int(self._engine.podman("inspect", "--format={{.State.Pid}}", self._name).stdout)
        )
        return sum(one.memory_full_info().pss for one in (init, *init.children(recursive=True)))


def leading_to(sandbox: SandboxProcess, folder: Path) -> list[str]:
    """Return the options that lead a container to a sandbox."""
    given: dict[str, str] = sandbox.about["environment"]
    certificate = folder / "ca.pem"
    certificate.write_bytes(Path(given["SSL_CERT_FILE"]).read_bytes())
    certificate.chmod(0o644)
    inside = {**given, "SSL_CERT_FILE": CERTIFICATE, "PYTHONPATH": f"{PACKAGE}/sandbox/hook"}
    options = ["--volume", f"{certificate}:{CERTIFICATE}:ro"]
    for name, value in inside.items():
        options += ["--env", f"{name}={value}"]
    return options
