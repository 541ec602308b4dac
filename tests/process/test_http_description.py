"""The API does what its description says: schemathesis tries, with what fits and with what does not."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi import checks
from support.http_api import RunningApi, running

from orchestrator.gateway.http.app import make_app
from orchestrator.gateway.http.describing import describe

DESCRIPTION = describe(make_app(None))  # type: ignore[arg-type]
SCHEMA = schemathesis.openapi.from_dict(DESCRIPTION)
OPERATIONS: list[Any] = [found.ok() for found in SCHEMA.get_all_operations()]  # type: ignore[union-attr]
OPERATIONS = [one for one in OPERATIONS if one.path != "/api/events"]  # which never ends
CHECKS = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
]
EXAMPLES = 12
"""For each route and each way."""


@dataclass
class Server:
    url: str
    token: str
    loop: asyncio.AbstractEventLoop
    api: RunningApi


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Run the API in a thread: schemathesis waits for answers."""
    ready: threading.Event = threading.Event()
    found: list[Server] = []
    stop: list[asyncio.Event] = []

    async def run(folder: Path) -> None:
        async with running(folder) as api:
            host, port = api.address
            api.services.dispatcher.add("support")
            api.services.feed.add_file("17", "support", b"x")
            stop.append(asyncio.Event())
            found.append(Server(f"http://{host}:{port}", api.token("good"), asyncio.get_running_loop(), api))
            ready.set()
            await stop[0].wait()

    with tempfile.TemporaryDirectory() as folder:
        thread = threading.Thread(target=asyncio.run, args=(run(Path(folder)),))
        thread.start()
        assert ready.wait(60)
        yield found[0]
        found[0].loop.call_soon_threadsafe(stop[0].set)
        thread.join()


MODES = {"fitting": GenerationMode.POSITIVE, "unfitting": GenerationMode.NEGATIVE}


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: f"{one.method.upper()} {one.path}")
def test_every_answer_is_described(operation: Any, mode: GenerationMode, server: Server) -> None:  # noqa: ANN401
    cases = operation.as_strategy(generation_mode=mode)

    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.data())
    def try_all(data: st.DataObject) -> None:
        case = data.draw(cases)
        if set(case.query or ()) - {one.name for one in operation.query}:
            return  # parameters that are not known are ignored, as on any server
        if isinstance(case.query.get("wait"), int | float):
            case.query["wait"] = min(case.query["wait"], 0.01)
        headers = {"Authorization": f"Bearer {server.token}"}
        response = case.call(base_url=server.url, headers=headers, timeout=30)
        case.validate_response(response, checks=CHECKS)

    try:
        try_all()
    except Unsatisfiable:  # where nothing is taken, nothing can be wrong
        assert not operation.path_parameters
        assert operation.method == "get"
