"""The control socket of a real supervisor: what commands do, and what bad clients cannot do."""

import asyncio
import contextlib
import errno
import json
import os
import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.fleet import PATIENCE, QUICK, Fleet, asynchronous, open_files, until
from support.stand_in_child import NUMBER

from orchestrator import __version__
from orchestrator.accounts.settings import AccountSettings
from orchestrator.accounts.states import State
from orchestrator.control import client as client_module
from orchestrator.control.client import Client
from orchestrator.control.protocol import MAX_REQUEST
from orchestrator.errors import AlreadyRunning, NoSuchAccount, NotRunning, OrchestratorError, StateError
from orchestrator.service import recorder
from orchestrator.service.control import server
from orchestrator.service.control.listening import ControlSocket
from orchestrator.store import status

IDLE = AccountSettings("a", enabled=False)
"""An account without a process, for tests that are about something else."""


@contextmanager
def raw(fleet: Fleet) -> Iterator[socket.socket]:
    """A connection without a client: what is sent over it is the test's own."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(os.fspath(fleet.paths.control_socket))
        yield connection


def read_to_end(connection: socket.socket) -> bytes:
    data = b""
    try:
        while more := connection.recv(65536):
            data += more
    except ConnectionResetError:
        pass  # it was closed with something of ours unread
    return data


async def answer(fleet: Fleet, request: bytes, *, end: bool = False) -> dict[str, Any]:
    """Send bytes, and return the one line that comes back."""
    with raw(fleet) as connection:
        await asyncio.to_thread(connection.sendall, request)
        if end:
            connection.shutdown(socket.SHUT_WR)
        (line,) = (await asyncio.to_thread(read_to_end, connection)).splitlines()
    decoded: dict[str, Any] = json.loads(line)
    return decoded


class Listener:
    """Takes in the events of a command in a thread."""

    def __init__(self, fleet: Fleet, command: str, **arguments: object) -> None:
        self.events: list[dict[str, Any]] = []
        self.result: dict[str, Any] | None = None
        self.error: OrchestratorError | None = None
        self._stream = fleet.client.stream(command, **arguments)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        try:
            with self._stream as stream:
                self.events.extend(stream)
                self.result = stream.result
        except OrchestratorError as error:
            self.error = error

    @property
    def is_over(self) -> bool:
        return not self._thread.is_alive()

    def states(self) -> list[str]:
        return [event["account"]["state"] for event in self.events if "account" in event]

    def codes(self) -> list[str | None]:
        return [event["code"] and event["code"]["text"] for event in self.events if "code" in event]


# What commands do


@asynchronous
async def test_ping_says_who_is_there(tmp_path: Path) -> None:
    async with Fleet(tmp_path, IDLE, control=True) as fleet:
        about = await fleet.call("ping")
        assert (about["version"], about["neonize"], about["pid"]) == (__version__, "0.5.2", os.getpid())
        assert (about["accounts"], about["state_dir"]) == (1, str(fleet.paths.root))


@asynchronous
async def test_list_names_accounts_and_masks_their_numbers(tmp_path: Path) -> None:
    settings = AccountSettings("b", phone="4915100000001", enabled=False)
    async with Fleet(tmp_path, IDLE, settings, control=True) as fleet:
        found = (await fleet.call("list"))["accounts"]
        assert [account["name"] for account in found] == ["a", "b"]
        assert found[1]["phone"] == "+49…01"
        found = (await fleet.call("list", names=["b"], reveal=True))["accounts"]
        assert [account["phone"] for account in found] == ["+4915100000001"]
        with pytest.raises(NoSuchAccount, match='no account "x", "y"; `orchestrator list`'):
            await fleet.call("list", names=["x", "b", "y"])


@asynchronous
async def test_orders_are_reported_by_name(tmp_path: Path) -> None:
    disabled = AccountSettings("off", enabled=False)
    async with Fleet(tmp_path, "a", disabled, control=True) as fleet:
        await fleet.until("a", State.PAIRING)
        result = await fleet.call("stop", names=["a", "nobody", "a"], wait=True)
        assert result["done"] == ["a"]
        assert result["errors"].keys() == {"nobody"}
        error = result["errors"]["nobody"]
        assert (error["exit_code"], error["key"]) == (5, "no_such_account")
        assert [account["state"] for account in result["accounts"]] == ["stopped"]
        result = await fleet.call("start", names=["a", "off"])
        assert result["done"] == ["a"]
        assert "`orchestrator enable off` first" in result["errors"]["off"]["error"]
        await fleet.until("a", State.PAIRING)
        result = await fleet.call("restart", all=True)
        assert (result["done"], result["errors"]) == (["a"], {})
        await fleet.call("stop", names=["a"], wait=True)
        result = await fleet.call("restart", all=True)
        assert (result["done"], result["errors"]) == ([], {}), "an operator has stopped it on purpose"
        assert fleet.about("a")["state"] == "stopped"
        for arguments in ({}, {"names": ["a"], "all": True}):
            with pytest.raises(OrchestratorError, match="name the accounts"):
                await fleet.call("start", **arguments)


@asynchronous
async def test_an_order_that_cannot_be_written_down_is_carried_out_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Fleet(tmp_path, "a", control=True) as fleet:

        def save(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(status, "save", save)
        result = await fleet.call("stop", names=["a"], wait=True)
        assert [account["state"] for account in result["accounts"]] == ["stopped"]
        assert "status.json cannot be written" in result["warning"]


@asynchronous
async def test_explain_says_what_comes_next(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, AccountSettings("a", max_retries=0, backoff=QUICK), control=True)
    fleet.puppets.play("a", ["exit: 3"])
    async with fleet:
        await fleet.until("a", State.FAILED)
        found = await fleet.call("explain", name="a")
        assert found["account"] == fleet.about("a")
        assert found["outlook"]["next"] == "nothing until an operator acts"
        assert found["outlook"]["advice"]
        assert [entry["to"] for entry in found["timeline"]] == ["starting", "failed"]
        found = await fleet.call("explain", name="a", entries=1)
        assert [entry["to"] for entry in found["timeline"]] == ["failed"]


@asynchronous
async def test_reload_and_remove(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, AccountSettings("a"), AccountSettings("b"), control=True)
    fleet.has_session("a")
    fleet.has_session("b")
    async with fleet:
        for name in ("a", "b"):
            await fleet.until(name, State.CONNECTED)
        fleet.config_file.write_text("accounts: {a: {}, b: {}, c: {}}\n")
        assert (await fleet.call("reload"))["added"] == ["c"]
        with pytest.raises(OrchestratorError, match="is still in"):
            await fleet.call("remove", name="a")
        fleet.config_file.write_text("accounts: {b: {}}\n")
        await fleet.call("remove", name="a")
        assert "a" not in fleet.supervisor.names()
        assert fleet.sessions("a", reason="removed")
        fleet.config_file.write_text("accounts: {}\n")
        await fleet.call("remove", name="b", keep_session=True)
        assert fleet.paths.session("b").exists()
        fleet.config_file.write_text("accounts: 3\n")
        with pytest.raises(OrchestratorError, match="accounts"):
            await fleet.call("reload")


@asynchronous
async def test_repair_streams_states_and_codes_until_connected(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, "a", control=True)
    fleet.has_session("a")
    async with fleet:
        await fleet.until("a", State.CONNECTED)
        listener = Listener(fleet, "repair", name="a", wait=True)
        await fleet.until("a", State.PAIRING)
        await until(lambda: listener.codes(), "the code came")
        fleet.puppets.scan("a")
        await until(lambda: listener.is_over, "it is over")
        assert listener.error is None
        assert listener.result
        assert listener.result["account"]["state"] == "connected"
        # It was connected before, too, and that is not what was waited for.
        assert listener.states()[0] == "connected"
        assert listener.events[0]["stopping"]
        assert "pairing" in listener.states()
        assert str(listener.codes()[0]).startswith("2@a-1-")
        assert listener.codes()[-1] is None
        # Without waiting it returns at once.
        result = await fleet.call("repair", name="a")
        assert result["account"]["name"] == "a"


@asynchronous
async def test_repair_ends_when_the_account_gives_up(tmp_path: Path) -> None:
    settings = AccountSettings("a", phone=NUMBER, pairing_rounds=1, backoff=QUICK)
    fleet = Fleet(tmp_path, settings, "b", control=True)
    fleet.puppets.play("a", ["connecting: unpaired", "link_code", "await: end", "end: pairing_expired"])
    async with fleet:
        listener = Listener(fleet, "repair", name="a", pairing="code", wait=True)
        await until(lambda: "ABCD1234" in listener.codes(), "the code came")
        fleet.puppets.go("a", "end")
        await until(lambda: listener.is_over, "it is over")
        assert listener.result
        assert listener.result["account"]["state"] == "failed"
        with pytest.raises(OrchestratorError, match="needs `phone:`"):
            await fleet.call("repair", name="b", pairing="code", wait=True)


@asynchronous
async def test_a_repair_goes_on_without_the_client(tmp_path: Path) -> None:
    async with Fleet(tmp_path, "a", control=True) as fleet:
        await fleet.until("a", State.PAIRING)
        with fleet.client.stream("repair", name="a", wait=True) as stream:
            assert await asyncio.to_thread(next, iter(stream))
        await until(lambda: fleet.connections == 0, "the server has noticed")
        assert fleet.state("a") is State.PAIRING


@asynchronous
async def test_qr_shows_each_code_in_turn(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, "a", control=True)
    fleet.puppets.play(
        "a", ["connecting: unpaired", "code", "await: next", "code", "await: scanned", "paired"]
    )
    async with fleet:
        listener = Listener(fleet, "qr", name="a")
        await until(lambda: len(listener.codes()) == 1, "the first code came")
        fleet.puppets.go("a", "next")
        await until(lambda: len(listener.codes()) == 2, "the second code came")
        assert [str(code)[:6] for code in listener.codes()] == ["2@a-1-", "2@a-2-"]
        fleet.puppets.play("a", ["connecting", "connected", "idle"])
        fleet.puppets.scan("a")
        await until(lambda: listener.is_over, "it is over")
        assert listener.result
        with pytest.raises(OrchestratorError, match="is connected: there is no code"):
            await asyncio.to_thread(list, fleet.client.stream("qr", name="a"))
        await fleet.call("stop", names=["a"], wait=True)
        with pytest.raises(OrchestratorError, match="orchestrator start a"):
            await asyncio.to_thread(list, fleet.client.stream("qr", name="a"))


@asynchronous
async def test_watch_sends_everything_and_then_what_changes(tmp_path: Path) -> None:
    quiet = AccountSettings("quiet", enabled=False)
    fleet = Fleet(tmp_path, AccountSettings("a"), quiet, control=True)
    async with fleet:
        listener = Listener(fleet, "watch")
        await until(lambda: listener.events, "all came")
        assert [account["name"] for account in listener.events[0]["accounts"]] == ["a", "quiet"]

        def seen() -> list[tuple[str, str]]:
            events = listener.events[1:]
            return [(one["name"], one["state"]) for event in events for one in event["accounts"]]

        await until(lambda: ("a", "pairing") in seen(), "the change came")
        assert "quiet" not in dict(seen())
        numbers = Listener(fleet, "watch", numbers=True)
        await until(lambda: numbers.events, "somebody follows the numbers")
        account = fleet.supervisor._roster.accounts["a"].account
        account.heard_of_messages(1_700_000_000.0, None)
        told = "2023-11-14T22:13:20Z"
        await until(
            lambda: any(one["last_in_at"] == told for one in numbers.events[-1]["accounts"]),
            "the next heartbeat tells it",
        )
        fleet.config_file.write_text("accounts: {quiet: {enabled: false}}\n")
        await fleet.call("reload")
        await until(lambda: any("a" in event["gone"] for event in listener.events), "it is gone")
        await fleet.supervisor.stop()
        await fleet.server.close()
        await until(lambda: listener.is_over, "it is over")
        assert isinstance(listener.error, NotRunning)


@asynchronous
async def test_nothing_is_begun_while_the_service_stops(tmp_path: Path) -> None:
    async with Fleet(tmp_path, IDLE, control=True) as fleet:
        fleet.commands.stopping = True
        with pytest.raises(NotRunning, match="service is stopping"):
            await fleet.call("start", names=["a"])
        assert (await fleet.call("list"))["accounts"]


# Clients that misbehave


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (b"\n", "not JSON"),
        (b"nonsense\n", "not JSON"),
        (b"\xff\xfe\x00\n", "not JSON"),
        (b"[" * 50_000 + b"\n", "not JSON"),
        (b"[1]\n", "not a JSON object"),
        (b"{}\n", "does not know this command"),
        (b'{"command": ["list"]}\n', "does not know this command"),
        (b'{"command": "_list"}\n', "does not know this command"),
        (b'{"command": "list", "names": "a"}\n', "names must be a list"),
        (b'{"command": "list", "names": [1]}\n', "names must be a list"),
        (b'{"command": "list", "reveal": 1}\n', "reveal must be true or false"),
        (b'{"command": "list", "colour": "red"}\n', "does not take colour"),
        (b'{"command": "explain"}\n', "name must be"),
        (b'{"command": "explain", "name": "a", "entries": -1}\n', "whole number"),
        (b'{"command": "repair", "name": "a", "pairing": "pigeon"}\n', "pairing must be"),
        (b'{"command": "watch", "names": ["nobody"]}\n', "no account"),
        (b"x" * (MAX_REQUEST + 1), "longer than"),
    ],
)
@asynchronous
async def test_garbage_is_answered_with_an_error(tmp_path: Path, request_: bytes, message: str) -> None:
    async with Fleet(tmp_path, IDLE, control=True) as fleet:
        said = await answer(fleet, request_)
        assert message in said["error"]
        assert "bug" not in said["error"]
        assert (await fleet.call("ping"))["accounts"] == 1


@asynchronous
async def test_half_a_request_is_not_carried_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Fleet(tmp_path, IDLE, control=True) as fleet:
        said = await answer(fleet, b'{"command": "stop", "all": true}', end=True)
        assert "incomplete" in said["error"]
        assert fleet.state("a") is not State.STOPPED
        monkeypatch.setattr(server, "REQUEST_SECONDS", 0.1)
        assert "no request within" in (await answer(fleet, b'{"command"'))["error"]
        # One that says nothing and goes gets no answer.
        with raw(fleet):
            pass
        await until(lambda: fleet.connections == 0, "the server has noticed")


@asynchronous
async def test_a_client_that_sends_more_than_one_request_gets_one_answer(tmp_path: Path) -> None:
    async with Fleet(tmp_path, IDLE, control=True) as fleet:
        said = await answer(fleet, b'{"command": "ping"}\n{"command": "stop", "all": true}\n')
        assert said["result"]["accounts"] == 1
        with raw(fleet) as connection:
            connection.sendall(b'{"command": "watch"}\nmore\n')
            lines = (await asyncio.to_thread(read_to_end, connection)).splitlines()
        assert "one request" in json.loads(lines[-1])["error"]
        assert fleet.state("a") is not State.STOPPED


@asynchronous
async def test_a_client_that_floods_holds_up_nobody(tmp_path: Path) -> None:
    async with Fleet(tmp_path, IDLE, control=True) as fleet:
        with raw(fleet) as flooder, raw(fleet) as watcher:
            flooder.settimeout(0.2)
            watcher.sendall(b'{"command": "watch"}\n')

            def flood() -> None:
                with contextlib.suppress(OSError):
                    while True:
                        flooder.sendall(b'{"command": "ping"' * 1000)

            flooding = asyncio.ensure_future(asyncio.to_thread(flood))
            assert (await fleet.call("ping"))["accounts"] == 1
            await flooding
            assert (await fleet.call("ping"))["accounts"] == 1


@asynchronous
async def test_a_client_that_never_reads_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "SEND_SECONDS", 0.2)
    names = [f"account-{number}" for number in range(1500)]
    accounts = [AccountSettings(name, enabled=False) for name in names]
    async with Fleet(tmp_path, *accounts, control=True) as fleet:
        with raw(fleet) as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.sendall(b'{"command": "list"}\n')
            assert await asyncio.to_thread(deaf.recv, 1) == b"{"
            # Its answer is under way. Whoever does read must not be too slow for the test.
            monkeypatch.setattr(server, "SEND_SECONDS", PATIENCE)
            assert len((await fleet.call("list"))["accounts"]) == len(names)
            await until(lambda: fleet.connections == 0, "it was dropped")
        # An answer that would be too long is an error, not a service out of memory.
        monkeypatch.setattr(server, "MAX_LINE", 10_000)
        with pytest.raises(OrchestratorError, match="too long"):
            await fleet.call("list")


@asynchronous
async def test_connections_are_limited_and_free_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 3)
    async with Fleet(tmp_path, IDLE, control=True) as fleet:
        files = open_files()
        streams = [fleet.client.stream("watch") for _ in range(3)]
        watches = [iter(stream) for stream in streams]
        for events in watches:  # who has not been heard yet has to make room
            assert await asyncio.to_thread(next, events)
        with pytest.raises(OrchestratorError, match="too many commands"):
            await fleet.call("ping")
        for stream in streams:
            stream.close()
        await until(lambda: fleet.connections == 0, "all have gone")
        assert (await fleet.call("ping"))["accounts"] == 1
        await until(lambda: open_files() <= files, "nothing is left open")


@asynchronous
async def test_clients_come_and_go_in_the_middle_of_anything(tmp_path: Path) -> None:
    async with Fleet(tmp_path, "a", control=True) as fleet:
        requests = (b'{"command": "watch"}\n', b'{"command": "qr", "name": "a"}\n', b'{"comm', b"")

        def come_and_go() -> None:
            for request in requests * (server.MAX_CONNECTIONS // len(requests) - 1):
                with raw(fleet) as connection:
                    connection.sendall(request)

        await asyncio.to_thread(come_and_go)
        await until(lambda: fleet.connections == 0, "all have gone")
        assert (await fleet.call("ping"))["accounts"] == 1


@asynchronous
async def test_a_bug_is_logged_and_hurts_only_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(recorder, "SAVE_SECONDS", 3600.0)  # to write it down, it is described as well
    async with Fleet(tmp_path, IDLE, control=True) as fleet:

        def describe(*_: object, **__: object) -> None:
            raise KeyError(f"nobody has thought of {2 * 21}")

        monkeypatch.setattr(fleet.supervisor, "describe", describe)
        for command in ("list", "watch"):
            with pytest.raises(OrchestratorError, match="a bug in the service: KeyError"):
                await asyncio.to_thread(list, fleet.client.stream(command))
        monkeypatch.undo()
        assert (await fleet.call("list"))["accounts"]
    assert caplog.text.count("unhandled exception in the command") == 2
    assert caplog.text.count("test_control.py") == 2, "where that was"
    assert "thought of 42" not in caplog.text, "what it says may be of a message"


# The socket


@asynchronous
async def test_only_its_user_may_use_the_socket(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        async with Fleet(tmp_path, control=True) as fleet:
            mode = fleet.paths.control_socket.stat().st_mode
            assert stat.S_ISSOCK(mode)
            assert stat.S_IMODE(mode) == 0o600
            assert [path.name for path in fleet.paths.root.glob(".*")] == []
    finally:
        os.umask(old)


def test_a_dead_socket_is_replaced_and_a_live_one_never(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(os.fspath(path))
    first = ControlSocket(path)
    with pytest.raises(AlreadyRunning, match="another service listens"):
        ControlSocket(path)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(os.fspath(path))
    first.close()
    assert not path.exists()
    first.close()
    path.write_text("a letter")
    with pytest.raises(StateError, match="another file has"):
        ControlSocket(path)
    assert path.read_text() == "a letter"
    with pytest.raises(StateError, match="cannot be made"):
        ControlSocket(tmp_path / "nowhere" / "control.sock")


def test_a_socket_that_is_not_ours_any_more_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    first = ControlSocket(path)
    path.unlink()
    second = ControlSocket(path)
    first.close()
    assert path.exists()
    second.close()
    assert list(tmp_path.iterdir()) == []


# The client


def test_a_client_says_that_nobody_is_there(tmp_path: Path) -> None:
    client = Client(tmp_path / "control.sock")
    with pytest.raises(NotRunning, match="start the service with `orchestrator run`"):
        client.call("ping")
    told = Client(client.path, lambda: "systemctl start orchestrator")
    for give in (told.call, told.stream):
        with pytest.raises(NotRunning, match="start the service with `systemctl start orchestrator`"):
            give("ping")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(os.fspath(client.path))
    with pytest.raises(NotRunning):
        client.call("ping")


@pytest.mark.parametrize(
    ("said", "error", "message"),
    [
        (b"", NotRunning, "before it answered"),
        (b'{"event": {}}\n', NotRunning, "before it answered"),
        (b"nonsense\n", OrchestratorError, "not an orchestrator service"),
        (b"x" * 2_000_000, OrchestratorError, "not an orchestrator service"),
        (b'{"error": "no", "exit_code": 5}\n', NoSuchAccount, "no"),
        (b'{"error": "no", "exit_code": 4}\n', NotRunning, "no"),
        (b'{"error": "no", "exit_code": "?"}\n', OrchestratorError, "no"),
        (None, OrchestratorError, "does not answer"),
    ],
)
def test_a_client_stands_whatever_it_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    said: bytes | None,
    error: type[OrchestratorError],
    message: str,
) -> None:
    path = tmp_path / "control.sock"
    if said is None:
        monkeypatch.setattr(client_module, "ANSWER_SECONDS", 0.1)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(path))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                if said is None:
                    connection.recv(1)
                else:
                    with contextlib.suppress(OSError):  # it may have had enough
                        connection.sendall(said)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(error, match=message):
            Client(path, pytest.fail).call("ping")  # how it is started matters only where nobody listens
        thread.join(PATIENCE)
    with pytest.raises(OrchestratorError, match="name fewer accounts"):
        Client(path).call("list", names=["x" * 60] * 6000)
