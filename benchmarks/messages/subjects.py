"""What is measured: the service with a webhook, and a script for each account that posts by itself."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import psutil

from benchmarks.meter import Memory, cpu_seconds
from benchmarks.receiver import SECRET_LINE
from benchmarks.service import Service
from orchestrator.sandbox.client import SandboxClient, SandboxError
from orchestrator.sandbox.process import SandboxProcess

PATIENCE = 300.0
_GATEWAY = "orchestrator.gateway"
_SCRIPT = Path(__file__).with_name("script.py")


class Subject(Protocol):
    """What is measured."""

    name: str

    def start(self) -> None:
        """Start, and wait until all accounts are online."""

    def stop(self) -> None:
        """Stop in good order."""

    def cpu(self) -> Mapping[str, float]:
        """Return the CPU seconds so far, by what they were spent on."""

    def kill(self, whom: str) -> None:
        """Kill one of those that `victims` names."""

    def victims(self) -> Sequence[str]:
        """Return what can be killed."""


def await_online(client: SandboxClient, count: int) -> None:
    """Wait until so many clients are online."""
    deadline = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(SandboxError):
            if sum(one["state"] == "online" for one in client.connections()) >= count:
                return
        assert time.monotonic() < deadline, "not all are online"
        time.sleep(0.1)


class Ours:
    """The service, with webhooks.

    Args:
        service: It, with its accounts; it does not run.
        sandbox: Their WhatsApp.
        urls: Where events go, by webhook.
    """

    name = "orchestrator"

    def __init__(self, service: Service, sandbox: SandboxProcess, urls: Mapping[str, str]) -> None:
        self.service = service
        self._sandbox = sandbox
        self._urls = dict(urls)
        self._secret = service.folder / "webhook.secret"
        self._secret.write_text(SECRET_LINE + "\n")
        self._secret.chmod(0o600)

    def configure(self, urls: Mapping[str, str]) -> None:
        """Write the configuration, with these webhooks."""
        self._urls = dict(urls)
        hooks = {name: {"url": url, "secret_file": str(self._secret)} for name, url in self._urls.items()}
        backoff = {"base": "500ms", "factor": 1, "max": "500ms", "jitter": 0, "reset_after": "1s"}
        content = {
            "start": {"parallel": 4, "spread": "0s"},
            "defaults": {"backoff": backoff, "messages": {"allow": "*"}},
            "webhooks": hooks,
            "accounts": {name: {} for name in self.service.names},
        }
        self.service.config_file.write_text(json.dumps(content))

    def start(self) -> None:
        """See `Subject`."""
        self.configure(self._urls)
        self.service.start()
        self.service.until_connected()
        await_online(self._sandbox.client, len(self.service.names))

    def stop(self) -> None:
        """See `Subject`."""
        self.service.stop()

    def reload(self, urls: Mapping[str, str]) -> None:
        """Have other webhooks."""
        self.configure(urls)
        self.service.client.call("reload")

    def gateway(self) -> list[psutil.Process]:
        """Return the gateway's process, and those that it made."""
        while True:
            with contextlib.suppress(psutil.Error):  # one that was killed just now
                every = psutil.Process(self.service.pid).children()
                mine = [one for one in every if _GATEWAY in " ".join(one.cmdline())]
                if mine:
                    return [*mine, *(child for one in mine for child in one.children(recursive=True))]
            time.sleep(0.05)

    def accounts(self) -> list[int]:
        """Return the accounts' processes."""
        return [one["pid"] for one in self.service.about() if one["pid"] is not None]

    def cpu(self) -> Mapping[str, float]:
        """See `Subject`."""
        gateway, *readers = self.gateway()
        return {
            "accounts": sum(map(cpu_seconds, self.accounts())),
            "gateway": cpu_seconds(gateway.pid),
            "its reader": sum(cpu_seconds(one.pid) for one in readers),
            "service": cpu_seconds(self.service.pid),
        }

    def memory(self) -> Mapping[str, Memory]:
        """Return the memory of the gateway, and of the processes that it made."""
        first, *others = self.gateway()
        return {
            "gateway": Memory.of(first.pid),
            "its reader": sum((Memory.of(one.pid) for one in others), Memory()),
        }

    def victims(self) -> Sequence[str]:
        """See `Subject`."""
        return ("account", "gateway", "service")

    def kill(self, whom: str) -> None:
        """See `Subject`."""
        match whom:
            case "account":
                os.kill(self.accounts()[0], signal.SIGKILL)
            case "gateway":
                os.kill(self.gateway()[0].pid, signal.SIGKILL)
            case "service":
                self.service.kill()
                self.service.start()
        self._await_accounts()
        await_online(self._sandbox.client, len(self.service.names))

    def _await_accounts(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while not all(one["state"] == "connected" for one in self.service.about()):
            assert time.monotonic() < deadline, "not all are connected"
            time.sleep(0.1)


class Theirs:
    """A script for each account.

    Args:
        service: The service whose sessions they use; it does not run any more.
        sandbox: Their WhatsApp.
        url: Where they post.
    """

    name = "a neonize script for each account"

    def __init__(self, service: Service, sandbox: SandboxProcess, url: str) -> None:
        self._sandbox = sandbox
        self._url = url
        self._folder = service.folder / "scripts"
        self._folder.mkdir()
        self._names = service.names
        for name in service.names:
            shutil.copytree(service.paths.session(name).parent, self._folder / name)
        self._database = service.paths.session(service.names[0]).name
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """See `Subject`."""
        for name in self._names:
            self._start(name)
        await_online(self._sandbox.client, len(self._names))

    def _start(self, name: str) -> None:
        with (self._folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, str(_SCRIPT), str(self._folder / name / self._database), self._url],
                cwd=self._folder,
                env=self._sandbox.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def stop(self) -> None:
        """See `Subject`."""
        for one in self._processes.values():
            one.kill()  # they take no notice of SIGTERM
        for one in self._processes.values():
            one.wait()

    def cpu(self) -> Mapping[str, float]:
        """See `Subject`."""
        return {"scripts": sum(cpu_seconds(one.pid) for one in self._processes.values())}

    def victims(self) -> Sequence[str]:
        """See `Subject`."""
        return ("account",)

    def kill(self, whom: str) -> None:  # noqa: ARG002 - as `Subject`
        """See `Subject`."""
        name = self._names[0]
        self._processes[name].kill()
        self._processes[name].wait()
        time.sleep(0.5)  # as the service's back-off
        self._start(name)
        await_online(self._sandbox.client, len(self._names))
