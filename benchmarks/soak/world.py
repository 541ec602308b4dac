"""Everything that a soak acts on: the service, its configuration, WhatsApp, and what is known of them."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import yaml

from benchmarks.receiver import SECRET_LINE, Receiver
from benchmarks.service import Service
from benchmarks.soak import processes
from benchmarks.soak.leaks import Secrets
from benchmarks.soak.observation import Attention, Finding, Observation
from benchmarks.soak.plan import account_name
from benchmarks.soak.records import Record
from orchestrator.errors import NotRunning, OrchestratorError
from orchestrator.sandbox.client import SandboxError, SandboxUnreachable
from orchestrator.sandbox.process import SandboxProcess
from orchestrator.system import interpreter

PASSWORD = "proxy-password-of-the-soak"
GATEWAY = "orchestrator.gateway"
"""What the command line of the gateway has in it."""
TROUBLED = "troubled"
"""The webhook whose receiver fails."""
_QUERY = "key-in-the-url-of-a-webhook"
_HEADER = "header-of-a-webhook-in-the-soak"
SERVICE_PATIENCE = 90.0
"""Seconds for which an order waits for a service that is being started."""
SANDBOX_PATIENCE = 45.0
"""Seconds for which a fault waits for the sandbox, or for a connection that it can strike."""
CLI_SECONDS = 120.0
_POLL = 0.1


class Skipped(Exception):  # noqa: N818 - nothing is wrong
    """A fault cannot happen: what it is about is not there. The message says why."""


class World:
    """What there is, and what has been done to it.

    Args:
        folder: Where everything goes; it must exist.
        sandbox: WhatsApp; it runs.
        accounts: How many there are.

    Attributes:
        names: The accounts' names.
        numbers: Their phones' numbers, by name.
        service: The service.
        mark: An environment variable's text by which the service's processes are known.
        life: Which life of the sandbox it is, from 1.
        secrets: What must not be said.
        records: What has been done so far, oldest first.
        findings: What is wrong, each with the seconds since the beginning and the last faults before.
        ending: Set when nothing more is to be begun.
        up: Whether the service has been started, and nobody has ended it.
        clock: By which everything is judged.
        latest: What was seen last.
        lock: Protects the records and everything noted here.
        config_lock: Held by whoever edits the configuration.
        delays: After how many seconds the operator looks after an account.
        orphan_seconds: How long it took until nothing was left, for each end of the service.
        receivers: Those of the webhooks by name; things happen to `TROUBLED`, and nothing to the other.
    """

    def __init__(self, folder: Path, sandbox: SandboxProcess, accounts: int) -> None:
        self.folder = folder
        self.sandbox = sandbox
        self.names = [account_name(number) for number in range(accounts)]
        self.numbers = {name: f"+49157{index:08d}" for index, name in enumerate(self.names)}
        token = secrets.token_hex(8)
        self.mark = f"ORCHESTRATOR_TEST_SOAK={token}"
        environment = {**sandbox.environment(), "ORCHESTRATOR_TEST_SOAK": token}
        self.service = Service(folder, {}, environment)
        self.life = 1
        self.secrets = Secrets()
        self.secrets.add(PASSWORD, "a proxy's password")
        for name, number in self.numbers.items():
            self.secrets.add(number[1:], f"the number of {name}")
        self.records: list[Record] = []
        self.findings: list[tuple[float, Finding, list[str]]] = []
        self.ending = threading.Event()
        self.up = False
        self.clock = Attention(time.monotonic)
        self.latest = Observation(0.0, time.time())
        self.lock = threading.RLock()
        self.config_lock = threading.RLock()
        self._valid = threading.Lock()
        self.delays: dict[str, float] = {}
        self.orphan_seconds: list[float] = []
        self.receivers = {"steady": Receiver(), TROUBLED: Receiver()}
        self._changed = threading.Condition(self.lock)
        self._silent: dict[str, float] = {}
        self._parting: Counter[tuple[str, str]] = Counter()
        self._wishes = dict.fromkeys(self.names, "run")
        self._bans: dict[str, tuple[float, float]] = {}
        self._expires: dict[str, float] = {}
        self._journal: TextIO = (folder / "soak.jsonl").open("a", buffering=1)
        self._config: dict[str, Any] = {
            "state_dir": str(self.service.paths.root),
            "start": {"parallel": 4, "spread": "100ms"},
            "defaults": {
                "backoff": {"base": "1s", "factor": 2, "max": "10s", "jitter": 0.2, "reset_after": "5s"},
                "messages": {"allow": "*"},
            },
            "webhooks": self._webhooks(),
            "accounts": {name: {"proxy": self.proxy(name)} for name in self.names},
        }
        self.write_config()

    def close(self) -> None:
        """Close the journal, and end the receivers."""
        self._journal.close()
        for receiver in self.receivers.values():
            receiver.close()

    def proxy(self, name: str) -> str:
        """Return an account's proxy: the sandbox, which knows the account by the user's name."""
        return f"http://{name}:{PASSWORD}@127.0.0.1:{self.sandbox.port}"

    # What is known

    def publish(self, seen: Observation) -> None:
        """Make an observation the latest."""
        with self._changed:
            self.latest = seen
            self._changed.notify_all()

    def until(self, condition: Callable[[Observation], bool], seconds: float) -> bool:
        """Wait until something is seen; return whether it was in time."""
        with self._changed:
            return self._changed.wait_for(lambda: condition(self.latest), seconds)

    def excused(self) -> frozenset[str]:
        """Return whose connection may be interrupted now."""
        with self.lock:
            return frozenset(name for record in self.records for name in record.excuses())

    def silent(self) -> frozenset[str]:
        """Return whom WhatsApp answers nothing."""
        with self.lock:
            now = time.monotonic()
            return frozenset(name for name, until in self._silent.items() if now < until)

    def silence(self, names: list[str], seconds: float) -> None:
        """Note that WhatsApp answers nothing to these for so long."""
        with self.lock:
            for name in names:
                self._silent[name] = time.monotonic() + seconds

    def parting(self) -> Mapping[tuple[str, str], int]:
        """Return how often each session may have been given up, by name and reason."""
        with self.lock:
            return dict(self._parting)

    @contextlib.contextmanager
    def part(self, name: str, reason: str) -> Iterator[None]:
        """Note that a session may be given up once from now on, unless what is to bring that about fails."""
        with self.lock:
            self._parting[name, reason] += 1
        try:
            yield
        except BaseException:
            with self.lock:
                self._parting[name, reason] -= 1
            raise

    def wishes(self) -> Mapping[str, str]:
        """Return what is wanted of each account."""
        with self.lock:
            return dict(self._wishes)

    def wish(self, name: str, wish: str | None) -> None:
        """Note what is wanted of an account from now on; None while that changes."""
        with self.lock:
            if wish is None:
                self._wishes.pop(name, None)
            else:
                self._wishes[name] = wish

    def expect_ban(self, name: str, seconds: float) -> None:
        """Note how long the next ban of an account is."""
        with self.lock:
            self._expires[name] = seconds

    def banned(self, name: str, at: float) -> None:
        """Note that an account was banned at that Unix time."""
        with self.lock:
            self._bans[name] = (at, at + self._expires.get(name, 0.0))

    def bans(self) -> Mapping[str, tuple[float, float]]:
        """Return the latest ban of each account."""
        with self.lock:
            return dict(self._bans)

    def found(self, finding: Finding) -> None:
        """Take down that something is wrong."""
        with self.lock:
            struck = [one for one in self.records if one.began_at is not None]
            last = [str(one.strike) for one in struck if finding.account in (None, *one.victims)][-5:]
            self.findings.append((self.clock.now, finding, last))
        self.tell("violation", check=finding.check, account=finding.account, what=finding.what, last=last)

    def tell(self, event: str, **facts: object) -> None:
        """Write something down in the journal."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"at": at, "seconds": round(self.clock.now, 2), "event": event, **facts}
        with self.lock:
            self._journal.write(json.dumps(line) + "\n")

    # What can be done

    def pause(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(seconds)

    def fault(self, kind: str, target: str, **values: Any) -> int:  # noqa: ANN401 - any JSON value
        """Make WhatsApp fail, as soon as there is something to fail for; return the fault's number.

        Raises:
            Skipped: There is nothing.
        """
        deadline = time.monotonic() + SANDBOX_PATIENCE
        while True:
            try:
                return int(self.sandbox.client.fault(kind, target, **values)["id"])
            except SandboxError as error:
                if time.monotonic() > deadline:
                    raise Skipped(str(error)) from None
                if not isinstance(error, SandboxUnreachable) and error.status != 409:
                    raise
            time.sleep(_POLL)

    def order(self, command: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401
        """Give the service an order; if it is just being started, as soon as it takes one."""
        deadline = time.monotonic() + SERVICE_PATIENCE
        while True:
            try:
                return self.service.client.call(command, **arguments)
            except NotRunning:
                if time.monotonic() > deadline:
                    raise
            time.sleep(_POLL)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Give a command as an operator does, in a process of its own."""
        return subprocess.run(
            interpreter.program("--config", str(self.service.config_file), *arguments),
            env=interpreter.environment(os.environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=CLI_SECONDS,
            check=False,
        )

    def write_config(self) -> None:
        """Write the configuration as it should be."""
        with self.config_lock:
            text = yaml.safe_dump(self._config, sort_keys=False)
            temporary = self.service.config_file.with_suffix(".new")
            temporary.write_text(text)
            temporary.replace(self.service.config_file)

    def _webhooks(self) -> dict[str, Any]:
        """Return what the configuration says of the receivers, and note what of it must not be said."""
        secret = self.folder / "webhook.secret"
        secret.touch(mode=0o600)
        secret.write_text(SECRET_LINE + "\n")
        for text, what in (
            (SECRET_LINE, "a webhook's secret"),
            (_QUERY, "the query of a webhook's URL"),
            (_HEADER, "a header of a webhook"),
        ):
            self.secrets.add(text, what)
        return {
            name: {
                "url": f"{receiver.url}?key={_QUERY}",
                "secret_file": str(secret),
                "headers": {"x-key": _HEADER},
                "timeout": "5s",
            }
            for name, receiver in self.receivers.items()
        }

    def configure(self, name: str, **values: object) -> None:
        """Change what the configuration says of an account, and have it read."""
        with self.config_lock:
            self._config["accounts"][name].update(values)
            self.write_config()
            # Nobody may break the file before it was read.
            self.order("reload")

    @contextlib.contextmanager
    def _broken_config(self) -> Iterator[None]:
        """Have a configuration that is not valid for a moment, in which no service is started."""
        with self.config_lock, self._valid:
            self.service.config_file.write_text("start: {parallel: many}\naccounts: {Bad Name: {}}\n")
            try:
                yield
            finally:
                self.write_config()

    def start_service(self) -> None:
        """Start the service."""
        with self._valid:
            self.service.start()
        self.up = True

    def kill_service(self) -> None:
        """End the service's own process by SIGKILL."""
        self.up = False
        self.service.kill()

    def stop_service(self) -> int:
        """Stop the service in good order; return its exit code."""
        self.up = False
        return self.service.stop()

    def restart_sandbox(self, seconds: float) -> None:
        """Kill WhatsApp's server, and start it again after a while, with all faults forgotten."""
        self.sandbox.kill()
        self.pause(seconds)
        with self.lock:
            self._silent.clear()
            self.life += 1
        self.sandbox.start()

    def processes(self) -> list[int]:
        """Return the ids of all processes that belong to the service, or belonged to one before."""
        return [one.pid for one in processes.marked(self.mark)]

    def reload_fails(self) -> bool:
        """Have a configuration read that is not valid; return whether that was refused."""
        with self._broken_config():
            try:
                self.service.client.call("reload")
            except NotRunning:
                raise Skipped("the service did not run") from None
            except OrchestratorError:
                return True
        return False

    def end_processes(self) -> None:
        """End what is left of the service, for whoever goes on with something else."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
