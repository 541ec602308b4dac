"""Makes callbacks slow, or never return, when a message comes in: for tests, by their environment alone.

With this folder on PYTHONPATH, behind the sandbox's, every account's process looks, for each message that
comes in, for a file SLOW_CALLBACKS/ACCOUNT/word. What is in it decides:

    slow    the callback takes five seconds, as all that follow do
    sleep   it never returns; the file is removed first, so that the next process is not concerned
    hold    the same, in C, with the GIL held

What is in it may also be

    deaf    Python hears of no log-out: neonize's connect() never tells of one that comes before it listens
    loop    the main thread hangs from its next heartbeat on, and callbacks wait for a file `go`; the file is
            called `hangs` from then on
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
LOOP = "orchestrator.worker.loop"
INTAKE = "orchestrator.worker.intake"
LOGGED_OUT = 6
"""The number by which neonize tells Python of a log-out."""


class Finder:
    """Finds modules as Python does, but has some of them changed once they are loaded."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name in CHANGES else None
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def load_and_change(module: ModuleType) -> None:
            load(module)
            CHANGES[name](module)

        loader: Loader = spec.loader
        loader.exec_module = load_and_change  # type: ignore[method-assign]
        return spec


def be_deaf(module: Any) -> None:  # noqa: ANN401 - neonize has no types
    """Have neonize's entry for all of Go's events hear no log-out, if it is asked to."""
    execute = module.Event.execute

    def maybe_execute(self: Any, uuid: bytes, binary: int, size: int, code: int) -> None:  # noqa: ANN401
        if code != LOGGED_OUT or word(self.client.uuid.decode()) != "deaf":
            execute(self, uuid, binary, size, code)

    module.Event.execute = maybe_execute


def be_slow(module: Any) -> None:  # noqa: ANN401 - a module
    """Have wait first what takes messages in."""
    take = module.Intake.take

    def wait_and_take(self: Any, source: str, *event: object) -> None:  # noqa: ANN401 - neonize has no types
        if source == "message":
            wait(account())
        take(self, source, *event)

    module.Intake.take = wait_and_take


def hang(module: Any) -> None:  # noqa: ANN401 - a module
    """Have the main thread hang at a heartbeat, if it is asked to."""
    module.open_files = hang_if_asked


CHANGES = {MODULE: be_deaf, INTAKE: be_slow, LOOP: hang}


def account() -> str:
    from multiprocess import current_process

    return str(current_process().name)


def hang_if_asked() -> int:
    place = folder(account())
    if word(account()) == "loop":
        (place / "word").rename(place / "hangs")
        time.sleep(3600)
    return 0


def folder(account: str) -> Path:
    return Path(os.environ["ORCHESTRATOR_TEST_SLOW_CALLBACKS"]) / account


def word(account: str) -> str:
    file = folder(account) / "word"
    return file.read_text() if file.exists() else ""


def wait(account: str) -> None:
    file = folder(account) / "word"
    while (file.parent / "hangs").exists() and not (file.parent / "go").exists():
        time.sleep(0.01)
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
