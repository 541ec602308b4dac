"""Takes the gateway over, by a folder on PYTHONPATH: for tests only.

A copy of this file lies in a folder of its own, beside a file ``aims.json``, and the folder is on PYTHONPATH.
``aims.json`` has what the probe is aimed at, and what the gateway then asks the service for on its own port.
The gateway is the real one, with all that it gives up at its start. What came of it is in its own folder:
``probe-gateway.json``, and ``asked.json`` when all is over.
"""

import asyncio
import json
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

MODULE = "orchestrator.gateway.process"
AIMS = Path(__file__).with_name("aims.json")


class Finder:
    """Finds the module of the gateway as Python does, but has it changed once it is loaded."""

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
            change(module, ABOUT)

        spec.loader.exec_module = load_and_change  # type: ignore[method-assign]
        return spec


def change(process: Any, about: dict[str, Any]) -> None:  # noqa: ANN401 - what is in it is replaced
    """Have somebody else use the gateway's process, once it was told the configuration."""
    from orchestrator.errors import OrchestratorError
    from orchestrator.system.probe import attempts, report

    run = process.Gateway.run
    aims = report.Aims.from_json(json.dumps(about["aims"]))
    own = Path(aims.own[0])

    def keep(name: str, text: str) -> None:
        (own / f"{name}.new").write_text(text)
        (own / f"{name}.new").rename(own / name)

    async def ask(port: Any, command: str, arguments: dict[str, Any]) -> Any:  # noqa: ANN401
        try:
            if command == "watch":
                events = port.stream(command, **arguments)
                try:
                    return await asyncio.wait_for(anext(events), 20)
                finally:
                    await events.aclose()
            return await port.call(command, seconds=20, **arguments)
        except OrchestratorError as error:
            return {"refused": error.key}

    async def take_over(gateway: Any) -> None:  # noqa: ANN401
        await gateway._configured.wait()
        keep("probe-gateway.json", report.as_json(attempts.try_all(aims)))
        answers = [await ask(gateway._port, command, arguments) for command, arguments in about["asks"]]
        keep("asked.json", json.dumps(answers))

    async def run_taken_over(gateway: Any) -> None:  # noqa: ANN401
        task = asyncio.get_running_loop().create_task(take_over(gateway))
        await run(gateway)
        await asyncio.gather(task, return_exceptions=True)

    process.Gateway.run = run_taken_over


if __name__ == "sitecustomize" and AIMS.exists():
    # The process is not confined yet: what it will not be able to read is read here.
    ABOUT: dict[str, Any] = json.loads(AIMS.read_text())
    sys.meta_path.insert(0, Finder())
