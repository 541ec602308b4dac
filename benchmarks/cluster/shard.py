"""A shard: the real service on a machine of its own, and what can befall a machine."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks.cluster.network import Network, Side, address
from benchmarks.service import Service
from benchmarks.soak import processes
from orchestrator.errors import OrchestratorError
from orchestrator.system import interpreter

_MARK: Final = "ORCHESTRATOR_TEST_RIG"
_GONE_SECONDS: Final = 30.0
_POLL: Final = 0.02


class Shard(Service):
    """A service with a network of its own.

    Args:
        number: Which machine, from 1.
        folder: Where everything of it goes; it must not exist.
        names: The accounts of the cluster.
        environment: Which WhatsApp it meets, and what else the process needs.
        settings: What the configuration says besides the accounts, of which there are none at first, and
            ``cluster.shard``.

    Attributes:
        name: What the cluster calls it.
        network: Its cables.
        address: Where WhatsApp sees its connections come from.
    """

    def __init__(
        self,
        number: int,
        folder: Path,
        names: Sequence[str],
        environment: Mapping[str, str],
        settings: Mapping[str, object],
    ) -> None:
        folder.mkdir(0o700)
        self.name = f"shard-{number}"
        self.network = Network(number)
        self.address = address(number, Side.WHATSAPP)
        self._mark = f"{folder.parent.name}-{number}"
        super().__init__(
            folder,
            {name: {} for name in names},
            {**environment, _MARK: self._mark},
            program=[*self.network.inside, *interpreter.program()],
        )
        self._cluster: dict[str, object] = {"shard": self.name}
        self.configure(settings, ())

    def configure(self, settings: Mapping[str, object], names: Sequence[str]) -> None:
        """Write the configuration; the service reads it when it starts, or is told to.

        Args:
            settings: What it says besides the accounts and ``cluster.shard``.
            names: The accounts.
        """
        given = settings.get("cluster", {})
        assert isinstance(given, Mapping)
        written = {
            **settings,
            "state_dir": str(self.paths.root),
            "cluster": {**given, **self._cluster},
            "accounts": {name: {} for name in names},
        }
        self.config_file.write_text(json.dumps(written))  # JSON is YAML, too

    def close(self) -> None:
        """End everything of it, whatever state it is in."""
        with contextlib.suppress(AssertionError):
            self.kill_all()
        self.network.close()

    # Its processes

    def pids(self) -> list[int]:
        """Return the ids of all processes that it or an earlier start of it has, the youngest last."""
        return sorted(one.pid for one in processes.marked(f"{_MARK}={self._mark}"))

    def children(self) -> list[int]:
        """Return the ids of the accounts' processes, which are children of the service's fork server."""
        found = list(processes.marked(f"{_MARK}={self._mark}"))
        ours = {one.pid for one in found} - {self.running_pid}
        return sorted(one.pid for one in found if one.parent in ours)

    def kill_all(self) -> None:
        """End all processes of it by SIGKILL, none of which sees another one end.

        Raises:
            AssertionError: Something does not end.
        """
        self._to_all(signal.SIGSTOP)
        self._to_all(signal.SIGKILL)
        process, self._process = self._process, None
        if process is not None:
            process.wait()
        self.until_gone()

    def until_gone(self, pids: Sequence[int] | None = None) -> float:
        """Wait until processes have ended; return how many seconds that took.

        Args:
            pids: The processes; all of this shard if not given.

        Raises:
            AssertionError: Some do not end; the message has the end of the log.
        """
        began = time.monotonic()
        while left := [pid for pid in self.pids() if pids is None or pid in pids]:
            if time.monotonic() > began + _GONE_SECONDS:
                raise self._failure(f"has left {len(left)} processes behind")
            time.sleep(_POLL)
        return time.monotonic() - began

    def freeze(self) -> list[int]:
        """Stop all processes of it as they are; return the ids of the accounts' processes."""
        self._to_all(signal.SIGSTOP)
        return self.children()

    def thaw(self) -> None:
        """Let all processes of it go on."""
        self._to_all(signal.SIGCONT, again=False)

    def _to_all(self, number: signal.Signals, *, again: bool = True) -> None:
        """Send all processes of it a signal, also those that have been made meanwhile."""
        sent: set[int] = set()
        while fresh := set(self.pids()) - sent:
            for pid in fresh:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            sent |= fresh
            if not again:
                return

    # What befalls a machine

    def power_off(self) -> None:
        """Switch the machine off: nobody hears of it any more, not even that its connections have ended."""
        self.network.pull(*Side)
        self.kill_all()

    def power_on(self) -> None:
        """Switch the machine on, with its cables in, and wait until the service answers."""
        self.network.plug(*Side)
        self.start()

    @property
    def runs(self) -> bool:
        """Whether the service was started, and neither stopped nor killed since."""
        return self.running_pid is not None

    def connected(self) -> list[str]:
        """Return the accounts that are connected, as the service says; none if it does not answer."""
        try:
            return [one["name"] for one in self.about() if one["state"] == "connected"]
        except OrchestratorError:
            return []
