"""Stops a process at a step of a send, so that a test can kill whom it likes there: by the environment alone.

With this folder on PYTHONPATH, behind the sandbox's, a process looks at each step for a file
STOPS/stop, which names a role and a step, such as ``account:handed``. A process of that role that comes to
the step stands still, until the file names something else. It makes a file ``stopped`` first: beside the
other, or in its own folder for temporary files, if it may write nowhere else.

A role is ``account``, ``service`` or ``gateway``. The steps of an outbox's writer are

    asked      the row is about to be written
    written    it is on the disk, or in the database, and nobody was told
    handed     it is `sending` with its secret on the disk, and the library has nothing of it
    made       the message is ready, and the library is about to be called
    acked      WhatsApp's acknowledgment was read, and the row is still `sending`
    noted      the row is `sent` on the disk, and nobody was told

Those of the gateway are ``asking`` (the request was read, and the service was not asked) and ``answered``
(the service has answered, and the client was not).
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.abc import Loader
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

STOPS = "ORCHESTRATOR_TEST_STOPS"
OUTBOX = "orchestrator.messages.outbox"
REMOTE = "orchestrator.messages.remote"
COMPOSER = "orchestrator.worker.composing.composer"
CLIENT = "orchestrator.worker.library.client"
GATEWAY = "orchestrator.gateway.parent"
_POLL = 0.02


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


def wrap(kind: Any, name: str, before: str | None, after: str | None) -> None:  # noqa: ANN401 - a class
    """Have a method be a step before it runs, and another one once it has."""
    method: Callable[..., Any] = getattr(kind, name)

    def stop_and_do(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401
        if before is not None:
            step(before)
        done = method(*arguments, **named)
        if after is not None:
            step(after)
        return done

    setattr(kind, name, stop_and_do)


def change_outbox(module: Any) -> None:  # noqa: ANN401 - a module
    change_writer(module.Outbox)


def change_remote(module: Any) -> None:  # noqa: ANN401
    change_writer(module.RemoteOutbox)


def change_writer(kind: Any) -> None:  # noqa: ANN401 - a class
    wrap(kind, "add", "asked", "written")
    wrap(kind, "hand_over", None, "handed")
    wrap(kind, "sent", None, "noted")


def change_composer(module: Any) -> None:  # noqa: ANN401
    wrap(module.Ready, "hand_over", "made", None)


def change_client(module: Any) -> None:  # noqa: ANN401
    wrap(module.Client, "send", None, "acked")


def change_gateway(module: Any) -> None:  # noqa: ANN401
    ask = module.Parent.ask

    async def stop_and_ask(self: Any, by: Any, command: str, /, **named: Any) -> Any:  # noqa: ANN401
        if command == "send":
            step("asking")
        answer = await ask(self, by, command, **named)
        if command == "send":
            step("answered")
        return answer

    module.Parent.ask = stop_and_ask


CHANGES = {
    OUTBOX: change_outbox,
    REMOTE: change_remote,
    COMPOSER: change_composer,
    CLIENT: change_client,
    GATEWAY: change_gateway,
}


def role() -> str:
    if "orchestrator.gateway.main" in sys.modules:
        return "gateway"
    from multiprocess import current_process

    return "service" if current_process().name == "MainProcess" else "account"


def step(name: str) -> None:
    """Stand still here, if that is wanted."""
    folder = Path(os.environ[STOPS])
    if not wanted(folder, name):
        return
    try:
        (folder / "stopped").touch()
    except OSError:
        Path(tempfile.gettempdir(), "stopped").touch()
    while wanted(folder, name):
        time.sleep(_POLL)


def wanted(folder: Path, name: str) -> bool:
    try:
        return (folder / "stop").read_text() == f"{role()}:{name}"
    except OSError:
        return False


if STOPS in os.environ:
    sys.meta_path.insert(0, Finder())
