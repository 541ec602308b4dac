"""Who has given a command: over the control socket, by the log-in that the kernel keeps, or by a signal."""

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest
from support.cli import Cli, wait_for
from support.fleet import Fleet, asynchronous

from orchestrator.access import token as form
from orchestrator.access import tokens
from orchestrator.access.tokens import Tokens
from orchestrator.accounts.orderers import STOPPED
from orchestrator.accounts.states import State
from orchestrator.control.port import Request
from orchestrator.service import who
from orchestrator.service.aside import Aside
from orchestrator.service.companions.requests import Requests
from orchestrator.service.control.commands import Commands

LOGIN = 4242
"""A user who does not exist, so that the machine that runs the tests does not matter."""
RANDOM = form.ID_BYTES + form.SECRET_BYTES
_CLIENT = """
import json, sys
from pathlib import Path
from orchestrator.control.client import Client
try:
    Path("/proc/self/loginuid").write_text(sys.argv[1])
except OSError:
    sys.exit("no log-in can be set")
print(json.dumps(Client(Path(sys.argv[2])).call(sys.argv[3], **json.loads(sys.argv[4]))))
"""


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


async def as_logged_in(fleet: Fleet, command: str, **arguments: Any) -> None:  # noqa: ANN401
    """Give a command as a program that somebody has started who had logged in."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _CLIENT, str(LOGIN), str(fleet.paths.control_socket)),
        *(command, json.dumps(arguments)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    if b"no log-in can be set" in errors:
        pytest.skip("this process has a log-in already, or the kernel keeps none")
    assert process.returncode == 0, errors.decode()


def told(fleet: Fleet, name: str) -> list[tuple[str, str | None]]:
    """Return the states that an account came into, and who has caused each."""
    return [(entry["to"], entry.get("by")) for entry in fleet.timeline(name, 100)]


@asynchronous
async def test_who_stops_starts_and_restarts_is_in_the_timeline(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    by = f"the user {LOGIN}" if os.geteuid() == LOGIN else f"the user {LOGIN}, as {_me()}"
    caplog.set_level(logging.INFO)
    fleet = Fleet(tmp_path, "a", control=True)
    fleet.has_session("a")
    async with fleet:
        await fleet.until("a", State.CONNECTED)
        before = told(fleet, "a")
        assert {by for _, by in before} == {None}, "the service started it by itself"
        await as_logged_in(fleet, "stop", names=["a"], wait=True)
        (stopped,) = told(fleet, "a")[len(before) :]
        assert stopped == ("stopped", by)
        assert fleet.timeline("a", 1)[0]["reason"] == STOPPED, "webhooks get no user's name"
        assert f"a: connected → stopped: stopped by {by}" in caplog.text
        await fleet.call("start", names=["a"])
        await fleet.until("a", State.CONNECTED)
        pid = fleet.pid("a")
        assert ("starting", who.peer(os.getpid(), os.geteuid())) in told(fleet, "a")
        await as_logged_in(fleet, "restart", names=["a"])
        await fleet.until("a", State.CONNECTED, after=pid)
        assert [by for to, by in told(fleet, "a")[-4:] if to == "starting"] == [by]
        assert told(fleet, "a")[-1] == ("connected", None), "its process said that, and nobody ordered it"


@asynchronous
async def test_clients_are_named_by_their_tokens_and_page_sessions(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    fleet = Fleet(tmp_path, "a", "b")
    for name in ("a", "b"):
        fleet.has_session(name)
    async with fleet:
        for name in ("a", "b"):
            await fleet.until(name, State.CONNECTED)
        folder = fleet.paths.tokens
        ops, text = form.make("ops", ["operate"], None, created=0.0, expires=None, random=os.urandom(RANDOM))
        page, code = form.make_of_page(
            ["operate"], {"b"}, created=0.0, code_until=4e9, expires=4e9, random=os.urandom(RANDOM)
        )
        guest, reader = (
            form.make(name, ["read"], only, created=0.0, expires=None, random=os.urandom(RANDOM))[0]
            for name, only in (("guest", {"b"}), ("reader", None))
        )
        for token in (ops, page, guest, reader):
            tokens.add(folder, token)
        aside = Aside("requests")
        commands, store = Commands(fleet.supervisor), fleet.supervisor._store
        requests = Requests(commands, fleet.supervisor, store.record, Tokens(folder), aside)

        async def ask(token: str, command: str, name: str) -> Any:  # noqa: ANN401
            answer = requests.serve(Request(command, {"as": {"token": token}, "name": name}))
            assert isinstance(answer, Awaitable)
            return await answer

        await ask(ops.id, "stop", "a")
        found = await ask(page.id, "stop", "b")
        await fleet.until("a", State.STOPPED)
        await fleet.until("b", State.STOPPED)
        assert told(fleet, "a")[-1] == ("stopped", "the token ops")
        assert told(fleet, "b")[-1] == ("stopped", f"the page session page-{page.id[:8]}")
        assert "stopped by the token ops" in caplog.text
        # The two have one number, as all stand-ins do; of the other one, the page's guest may not know.
        assert fleet.about("b")["same_phone"] == ["a"]
        assert found["account"]["same_phone"] == []
        # Nor may a guest know who runs the service, and which other tokens there are.
        by = {token: (await ask(token.id, "explain", "b"))["timeline"][-1] for token in (guest, reader)}
        assert (by[guest]["to"], by[guest].get("by")) == ("stopped", None)
        assert by[reader]["by"] == f"the page session page-{page.id[:8]}"
        for secret in (text, code):
            assert secret not in caplog.text + fleet.timeline_file("a").read_text()
        aside.close()


def _me() -> str:
    """Return how this user is named whose rights a command has."""
    name, _, _ = who.peer(os.getpid(), os.geteuid()).partition(" (")
    return name


def test_a_reload_says_which_keys_changed_and_who_wanted_it(cli: Cli) -> None:
    cli.configure("a: {tags: [one]}", "b: {}", "c: {}")
    with cli.service() as service:
        cli.configure("a: {tags: [two], proxy: 'http://ada:geheim@127.0.0.1:9'}", "b: {}", "d: {}")
        cli("reload")
        (line,) = (one for one in cli.log.read_text().splitlines() if "reload by " in one)
        assert line.endswith(": a: proxy, tags; added: d; removed: c"), line
        assert f"({os.geteuid()})" in line
        service.send_signal(signal.SIGHUP)
        said = "reload by the signal SIGHUP: nothing has changed"
        wait_for(lambda: said in cli.log.read_text(), "the reload is logged")
        assert "geheim" not in cli.log.read_text()
