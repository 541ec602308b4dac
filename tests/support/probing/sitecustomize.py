"""Puts the probe into the process of one account, by a folder on PYTHONPATH: for tests only.

A copy of this file lies in a folder of its own, beside a file ``aims.json``, and the folder is on PYTHONPATH,
behind the sandbox's. ``aims.json`` says for which account, what the probe is aimed at, and whether the
account loads neonize. It is read when a process of the account begins: it may be written while the service
runs.

The probe runs twice: on the main thread before anything is loaded, and then in a thread that is made after
everything is. The second one waits for a file ``probe-now`` in the account's own folder, if the account loads
neonize. The results are there, too: ``probe-main.json`` and ``probe-thread.json``.
"""

import json
import sys
import threading
import time
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

MODULE = "orchestrator.worker.main"
AIMS = Path(__file__).with_name("aims.json")
_POLL = 0.05


class Finder:
    """Finds the module of the accounts' processes as Python does, but has it changed once it is loaded."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != MODULE:
            return None
        finders: list[Any] = [one for one in sys.meta_path if one is not self]
        found = (one.find_spec(name, path, target) for one in finders)
        spec: ModuleSpec | None = next((one for one in found if one is not None), None)
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def load_and_change(module: ModuleType) -> None:
            load(module)
            change(module)

        spec.loader.exec_module = load_and_change  # type: ignore[method-assign]
        return spec


def change(main: Any) -> None:  # noqa: ANN401 - what is in it is replaced
    """Have the probe run in a process of an account."""
    run: Callable[..., None] = main.run

    def run_and_probe(spec: Any, connection: Any) -> None:  # noqa: ANN401
        # The process is not confined yet: what it will not be able to read is read here.
        aims = json.loads(AIMS.read_text()) if AIMS.exists() else {}
        if aims.get("account") == spec.name:
            put_in(main, aims)
        run(spec, connection)

    run_and_probe.__qualname__ = run_and_probe.__name__ = "run"
    run_and_probe.__module__ = MODULE
    main.run = run_and_probe


def put_in(main: Any, about: dict[str, Any]) -> None:  # noqa: ANN401
    """Replace what comes first on the main thread, and what comes first in the thread that loads."""
    from orchestrator.system.probe import attempts, report

    aims = report.Aims.from_json(json.dumps(about["aims"]))
    own = Path(aims.own[0])
    # What is imported later might be out of reach.
    outcome, load = main._outcome, main._load

    def probe(name: str) -> None:
        text = report.as_json(attempts.try_all(aims))
        (own / f"{name}.new").write_text(text)
        (own / f"{name}.new").rename(own / name)

    def wait_and_probe() -> None:
        while not (own / "probe-now").exists():
            time.sleep(_POLL)
        probe("probe-thread.json")

    def outcome_after_probe(*arguments: Any) -> Any:  # noqa: ANN401
        probe("probe-main.json")
        return outcome(*arguments)

    def load_and_probe(*arguments: Any) -> Any:  # noqa: ANN401
        if about["neonize"]:
            loaded = load(*arguments)
            threading.Thread(target=wait_and_probe, daemon=True).start()
            return loaded
        probe("probe-thread.json")
        while not (own / "probe-over").exists():
            time.sleep(_POLL)
        return None, main._failed(main.Kind.NETWORK, "probed")

    main._outcome, main._load = outcome_after_probe, load_and_probe


if __name__ == "sitecustomize":
    sys.meta_path.insert(0, Finder())
