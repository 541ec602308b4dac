"""Makes neonize slow, or never return, when it hands over a message: for tests, by their environment alone.

With this folder on PYTHONPATH, behind the sandbox's, every process that loads neonize looks, for each message
that comes in, for a file SLOW_CALLBACKS/ACCOUNT/word. What is in it decides:

    slow    the callback takes five seconds, as all that follow do
    sleep   it never returns; the file is removed first, so that the next process is not concerned
    hold    the same, in C, with the GIL held

What is in it may also be

    deaf    Python hears of no log-out: neonize's connect() never tells of one that comes before it listens
"""

import os
import sys
import time
from collections.abc import Sequence
from importlib.abc import Loader
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

MODULE = "neonize.events"
MESSAGE = 17
"""The number by which neonize tells Python that a message came in."""
LOGGED_OUT = 6
"""The same for a log-out."""


class Finder:
    """Finds neonize's module of events as Python does, but has it changed once it is loaded."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name == MODULE else None
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def load_and_change(module: ModuleType) -> None:
            load(module)
            change(module.Event)

        loader: Loader = spec.loader
        loader.exec_module = load_and_change  # type: ignore[method-assign]
        return spec


def change(event: Any) -> None:  # noqa: ANN401 - neonize has no types
    """Have neonize's entry for all of Go's events wait first."""
    execute = event.execute

    def wait_and_execute(self: Any, uuid: bytes, binary: int, size: int, code: int) -> None:  # noqa: ANN401
        if code == LOGGED_OUT and word(self.client.uuid.decode()) == "deaf":
            return
        if code == MESSAGE:
            wait(self.client.uuid.decode())
        execute(self, uuid, binary, size, code)

    event.execute = wait_and_execute


def word(account: str) -> str:
    file = Path(os.environ["ORCHESTRATOR_TEST_SLOW_CALLBACKS"]) / account / "word"
    return file.read_text() if file.exists() else ""


def wait(account: str) -> None:
    file = Path(os.environ["ORCHESTRATOR_TEST_SLOW_CALLBACKS"]) / account / "word"
    match word(account):
        case "slow":
            with (file.parent / "calls").open("a") as calls:
                calls.write("x")
            time.sleep(5)
        case "sleep":
            file.unlink()
            time.sleep(3600)
        case "hold":
            file.unlink()
            hold()


def hold() -> None:
    import ctypes

    ctypes.PyDLL(None).sleep(3600)


if "ORCHESTRATOR_TEST_SLOW_CALLBACKS" in os.environ:
    sys.meta_path.insert(0, Finder())
