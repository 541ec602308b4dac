"""A short soak of the real service, and that what a soak watches is really there to be seen."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from benchmarks.soak.checks import all_checks
from benchmarks.soak.observation import Finding, Observation
from benchmarks.soak.operator import Operator
from benchmarks.soak.plan import plan
from benchmarks.soak.watcher import Watcher
from benchmarks.soak.world import World
from orchestrator.sandbox.process import SandboxProcess

ROOT = Path(__file__).resolve().parents[2]
ACCOUNTS, MINUTES, SEED = 10, 2, 13
MUST_HAVE = {
    "kill-child", "stop-child", "kill-fork-server", "kill-service", "outage", "logout", "locked", "ban",
    "replaced", "hang", "go-crash", "kill-gateway", "receiver-away", "receiver-fails", "remove-add",
}  # fmt: skip
"""What the short soak must have in it; a plan changes with the list of kinds, and another seed may do."""
PATIENCE = 90.0


def test_the_short_soak_has_what_matters_in_it() -> None:
    assert {one.kind for one in plan(SEED, ACCOUNTS, MINUTES)} >= MUST_HAVE


@pytest.mark.timeout(1800)
def test_a_short_soak_violates_nothing(folder: Path) -> None:
    options = ["--accounts", str(ACCOUNTS), "--minutes", str(MINUTES), "--seed", str(SEED)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.soak", *options, "--folder", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1700,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^violations\n  number +0$", done.stdout, re.MULTILINE), done.stdout
    connected = rf"^  accounts connected in the end +{ACCOUNTS} of {ACCOUNTS}$"
    assert re.search(connected, done.stdout, re.MULTILINE), done.stdout
    assert not list(folder.iterdir())


class Watch:
    """Looks at a world again and again, as a soak does, until something is seen."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.watcher = Watcher(world)
        self.operator = Operator(world)
        self.checks = all_checks()

    def until(self, condition: Callable[[Observation, list[Finding]], bool]) -> None:
        found: list[Finding] = []
        began = self.world.clock.look()
        while True:
            seen = self.watcher.look()
            found += [finding for check in self.checks for finding in check.look(seen)]
            found += self.watcher.leaks()
            if condition(seen, found):
                return
            assert seen.at - began < PATIENCE, (seen, found)
            self.operator.look(seen)
            threading.Event().wait(0.1)

    def until_found(self, check: str) -> None:
        self.until(lambda _, found: check in {one.check for one in found})


@contextmanager
def running(world: World) -> Iterator[None]:
    world.start_service()
    try:
        yield
    finally:
        world.service.stop()


def test_what_a_soak_watches_can_be_seen(fresh_sandbox: SandboxProcess, folder: Path) -> None:
    world = World(folder, fresh_sandbox, 1)
    (name,) = world.names
    watch = Watch(world)
    with ExitStack() as cleanup:
        cleanup.callback(world.close)
        cleanup.callback(watch.operator.close)
        cleanup.enter_context(running(world))
        world.delays[name] = 1.0
        watch.until(lambda seen, _: name in seen.pictures)
        watch.until(lambda seen, _: bool(seen.links and seen.links.get(name)))
        # Everything that the checks look at, at one moment or another.
        watch.until(lambda seen, _: seen.accounts is not None and seen.accounts[name].state == "connected")
        watch.until(lambda seen, _: seen.identities.get(name) is not None)
        watch.until(lambda seen, _: bool(seen.files[name]))
        watch.until(lambda seen, _: any(one.helper for one in seen.processes or ()))
        watch.until(lambda seen, _: any(one.sessions == {name} for one in seen.processes or ()))
        watch.until(lambda seen, _: seen.parent is not None and seen.parent.children == 1)
        world.sandbox.client.fault("reset", world.numbers[name])
        watch.until(lambda seen, _: name in {dial.account for dial in seen.dials})
        watch.until(lambda seen, _: seen.accounts is not None and seen.accounts[name].state == "connected")

        # And what must not be is found by looking at the real thing.
        session = world.service.paths.session(name)
        marked = {**os.environ, "ORCHESTRATOR_TEST_SOAK": world.mark.partition("=")[2]}
        with session.open("rb") as file:
            second = subprocess.Popen(["sleep", "600"], stdin=file, env=marked)
        cleanup.callback(second.wait)
        cleanup.callback(second.kill)
        watch.until_found("two processes")
        watch.until_found("stray")
        (world.service.paths.qr / "left.png").write_bytes(b"no picture")
        watch.until_found("picture left")
        (world.service.paths.quarantine / f"{name}-20260101T000000Z-logged_out").mkdir(parents=True)
        watch.until_found("session lost")
        with world.service.log.open("a") as log:
            log.write(f"the number is {world.numbers[name]}\n")
        watch.until_found("secret")
        world.sandbox.client.fault("reset", world.numbers[name])  # of which nothing is known
        watch.until_found("disturbed")

        def is_back(seen: Observation, _: object) -> bool:
            up = seen.accounts is not None and seen.accounts[name].state == "connected"
            return up and bool(seen.links and seen.links.get(name))

        watch.until(is_back)
        # The ban's end is not awaited.
        world.expect_ban(name, 60.0)
        world.sandbox.client.fault("failure", world.numbers[name], reason=402, code=101, expire=60)
        world.sandbox.client.fault("reset", world.numbers[name])
        watch.until(lambda seen, _: name in seen.bans)
