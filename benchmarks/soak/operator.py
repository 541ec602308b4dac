"""What a person does who minds the accounts: scans codes, repairs what is locked."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from benchmarks.soak.observation import Observation
from benchmarks.soak.world import World
from orchestrator.errors import OrchestratorError
from orchestrator.sandbox.server.control import read_code
from orchestrator.sandbox.server.fields import Bad

SCANS_AT_ONCE = 4
"""A phone waits up to 30 s for a client that is busy."""


class Operator:
    """Looks after accounts that wait for somebody, each after the delay that the plan has for it.

    Args:
        world: The world.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._pool = ThreadPoolExecutor(SCANS_AT_ONCE, thread_name_prefix="operator")
        self._waits: dict[str, tuple[str, float]] = {}
        self._busy: dict[str, Future[None]] = {}

    def close(self) -> None:
        """Wait until everything begun is done."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def look(self, seen: Observation) -> None:
        """Take in what is seen, and begin to do what is needed."""
        for name, account in (seen.accounts or {}).items():
            if account.state == "pairing" and name in seen.pictures:
                wanted = "scan"
            elif account.state == "banned" and account.next_retry_at is None:
                wanted = "repair"
            elif account.state in ("failed", "replaced") and account.next_retry_at is None:
                wanted = "start"
            else:
                self._waits.pop(name, None)
                continue
            what, since = self._waits.get(name, ("", 0.0))
            if what != wanted:
                since = seen.at
                self._waits[name] = (wanted, since)
            busy = self._busy.get(name)
            delay = self._world.delays.get(name, 0.5)
            if seen.at - since >= delay and (busy is None or busy.done()):
                self._note_delay(name, delay)
                self._busy[name] = self._pool.submit(self._do, wanted, name)

    def _note_delay(self, name: str, delay: float) -> None:
        """Let it not count against the service that the operator took some time."""
        with self._world.lock:
            for record in self._world.records:
                victim = record.victims.get(name)
                if victim is not None and victim.recovered_at is None:
                    victim.waited = max(victim.waited, delay)

    def _do(self, wanted: str, name: str) -> None:
        try:
            if wanted == "scan":
                self._scan(name)
            elif wanted == "repair":
                with self._world.part(name, "repair"):
                    self._world.order("repair", name=name)
                self._world.tell("repaired", account=name)
            else:
                self._world.order("start", names=[name])
        except (OrchestratorError, OSError) as error:
            self._world.tell("not done", what=wanted, account=name, why=str(error))
        # The service's word may be a moment old: what was done must be seen before it is done again.
        time.sleep(0.5)

    def _scan(self, name: str) -> None:
        world = self._world
        picture: Path = world.service.paths.qr / f"{name}.png"
        try:
            png = picture.read_bytes()
            world.secrets.add_code(read_code(png), name)
        except (FileNotFoundError, Bad):
            return  # it was used, or has just been replaced
        number = world.numbers[name]
        device = world.sandbox.client.scan(number, png=png)["device"]
        world.tell("scanned", account=name, device=device)
        # A phone has room for four devices: those that are not used any more are taken out.
        for phone in world.sandbox.client.phones():
            if phone["phone"] == number:
                for one in phone["devices"]:
                    if one["device"] != device:
                        world.sandbox.client.unlink(number, one["device"])
