"""The gateway and bots as the service has them, with small real processes in their place."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.fleet import PATIENCE, Fleet, asynchronous, until
from support.ports import free_port

from orchestrator.accounts import deadlines
from orchestrator.accounts.settings import AccountSettings
from orchestrator.config.settings import Settings
from orchestrator.consumers import wire
from orchestrator.consumers.settings import BotSettings, Http, Listen, Systemd, Tcp, Unix, Webhook
from orchestrator.consumers.wire import GatewaySettings
from orchestrator.control.client import Client
from orchestrator.control.port import Port, Request
from orchestrator.errors import NotRunning, OrchestratorError
from orchestrator.service.aside import Aside
from orchestrator.service.companions import bots, gateway, machine, team
from orchestrator.service.companions import commands as companion_commands
from orchestrator.service.companions.pace import Pace
from orchestrator.service.companions.requests import Requests
from orchestrator.service.companions.team import Companions
from orchestrator.service.control import overview
from orchestrator.service.control.commands import Commands
from orchestrator.service.control.listening import ControlSocket
from orchestrator.service.control.server import ControlServer

Json = dict[str, Any]
TESTS = Path(__file__).resolve().parents[1]
IDLE = AccountSettings("a", enabled=False)


class NoTokens:
    def load(self) -> None:
        pass

    def principal(self, token_id: str, now: float) -> None:
        pass


class Team:
    """A service with companions."""

    def __init__(
        self, folder: Path, fleet: Fleet, companions: Companions, commands: Commands, requests: Requests
    ) -> None:
        self.requests = requests
        self.folder = folder
        self.fleet = fleet
        self.companions = companions
        self.commands = commands
        self.told_file = folder / "told"
        self.client = Client(fleet.paths.control_socket)

    @property
    def told(self) -> list[Json]:
        if not self.told_file.exists():
            return []
        return [json.loads(line) for line in self.told_file.read_text().splitlines()]

    def all(self, what: str) -> list[Json]:
        return [one for one in self.told if what in one]

    async def until_told(self, what: str, count: int = 1) -> list[Json]:
        await until(lambda: len(self.all(what)) >= count, f"{count} times {what}: {self.told}")
        return self.all(what)

    @property
    def state(self) -> str:
        about = self.companions.about()
        return "none" if about is None else str(about["gateway"]["state"])

    async def until_state(self, state: str) -> None:
        await until(lambda: self.state == state, f"the gateway is {state}: {self.companions.about()}")

    async def until_ready(self) -> None:
        await self.until_state("running")
        await until(lambda: self.companions._ready, "the gateway is configured")

    def change(self, **settings: Any) -> None:  # noqa: ANN401
        """Have another configuration, as a reload does."""
        roster = self.fleet.supervisor._roster
        roster.settings = replace(roster.settings, **settings)
        self.companions.reloaded()

    async def ask(self, command: str, **arguments: object) -> Json:
        """Have the gateway ask the service for something."""
        return await self.companions.port.call("ask", command=command, arguments=arguments)


@contextlib.asynccontextmanager
async def running(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *accounts: AccountSettings,
    orders: Json | None = None,
    **settings: Any,  # noqa: ANN401
) -> AsyncIterator[Team]:
    """Run a service with companions; what they do is in `orders`."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), str(TESTS.parent)]))
    monkeypatch.setenv("A_PASSWORD_OF_ANOTHER_PROGRAM", "secret")
    monkeypatch.setenv(
        "ORCHESTRATOR_TEST_COMPANION", json.dumps({"told": str(folder / "told"), **(orders or {})})
    )
    monkeypatch.setattr(gateway, "MODULE", "support.companion_program")
    monkeypatch.setattr(bots, "MODULE", "support.companion_program")
    async with Fleet(folder, *(accounts or (IDLE,)), **settings) as fleet:
        commands, aside = Commands(fleet.supervisor), Aside("companions")
        requests = Requests(commands, fleet.supervisor, fleet.supervisor._store.record, NoTokens(), aside)
        companions = Companions(
            lambda: fleet.supervisor.settings, fleet.paths, aside, requests.serve, log_level="DEBUG"
        )
        requests.by_hand = companions.by_hand
        companion_commands.add(commands, fleet.supervisor, companions)
        overview.add(commands, fleet.supervisor)
        server = ControlServer(ControlSocket(fleet.paths.control_socket), commands)
        await server.start()
        companions.start()
        try:
            yield Team(folder, fleet, companions, commands, requests)
        finally:
            await asyncio.wait_for(companions.stop(), PATIENCE)
            await server.close()
            aside.close()


def http(*listen: Listen) -> Http:
    return Http(listen=listen)


def free() -> Tcp:
    return Tcp("127.0.0.1", free_port())


HOOK = Webhook("crm", "https://crm.example/hook", secrets=(b"k" * 32,))


# Life


@asynchronous
async def test_nothing_runs_unless_it_is_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path, monkeypatch) as service:
        await asyncio.sleep(0.1)
        assert service.companions.about() is None
        assert not service.told
        with pytest.raises(NotRunning, match="configure"):
            await service.companions.ask("consumers", {}, 5)


@asynchronous
async def test_the_gateway_is_told_the_configuration_and_gets_its_sockets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tcp, unix = free(), Unix(tmp_path / "api.sock")
    bot = BotSettings("echo", "m:bot", tmp_path, env=(("KEY", "a secret of the bot"),))
    async with running(tmp_path, monkeypatch, http=http(tcp, unix), webhooks={"crm": HOOK}) as service:
        await service.until_ready()
        (told,) = await service.until_told("configured")
        settings = wire.load(GatewaySettings, told["configured"])
        assert settings.webhooks["crm"].secrets == HOOK.secrets
        assert settings.http == http(tcp, unix)
        assert set(settings.accounts) == {"a"}
        assert [one["address"] for one in told["listeners"]] == [str(tcp), str(unix)]
        with socket.create_connection((tcp.host, tcp.port)):
            pass
        about = service.companions.about()
        assert about is not None
        assert (
            about["gateway"]["isolation"]
            == "without file isolation (Landlock), isolation of signals (Landlock ABI 6)"
        )
        service.change(bots={"echo": bot})
        told = (await service.until_told("configured", 2))[1]
        assert "a secret of the bot" not in json.dumps(told)


@asynchronous
async def test_its_environment_is_a_list_and_no_core_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:password@localhost:1")
    async with running(tmp_path, monkeypatch, webhooks={"crm": HOOK}) as service:
        (began,) = await service.until_told("began")
        assert "A_PASSWORD_OF_ANOTHER_PROGRAM" not in began["began"]
        assert "HTTPS_PROXY" not in began["began"]  # its address may have a password
        assert "PATH" in began["began"]
        await service.until_ready()
        limits = psutil.Process(began["pid"]).rlimit(psutil.RLIMIT_CORE)
        assert limits == (0, 0)


@asynchronous
async def test_what_it_prints_is_in_the_log_under_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with running(tmp_path, monkeypatch, webhooks={"crm": HOOK}) as service:
        await service.until_ready()
    said = [(one.levelname, one.getMessage()) for one in caplog.records if one.name == "gateway"]
    assert ("WARNING", "a warning of +4915112345678") in said  # the handlers of the log redact it
    assert ("INFO", "plain words") in said


@asynchronous
async def test_a_gateway_that_is_killed_comes_back_and_nobody_is_refused_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tcp = free()
    async with running(tmp_path, monkeypatch, http=http(tcp)) as service:
        await service.until_ready()
        (first,) = service.all("configured")
        os.kill(first["pid"], signal.SIGKILL)
        await service.until_state("waiting")
        with socket.create_connection((tcp.host, tcp.port)):
            pass
        with pytest.raises(NotRunning, match="SIGKILL"):
            await service.companions.ask("consumers", {}, 5)
        second = (await service.until_told("configured", 2))[1]
        assert second["listeners"] == first["listeners"]
        await service.until_ready()
        assert await service.companions.ask("consumers", {"name": "x"}, 5) == {
            "consumers": [],
            "given": {"name": "x"},
        }


@asynchronous
async def test_a_command_waits_for_a_gateway_that_is_being_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, monkeypatch, webhooks={"crm": HOOK}) as service:
        assert not service.companions._ready
        assert (await service.companions.ask("consumers", {}, 5))["consumers"] == []


@asynchronous
@pytest.mark.parametrize(
    ("orders", "why"),
    [
        ({"does": "exits"}, "exit code 3"),
        ({"does": "garbage"}, "a frame of"),
        ({"does": "hangs"}, "sign of life"),
        ({"beats": 3}, "sign of life"),
        ({"refuse": True}, "a bug"),
    ],
)
async def test_one_that_fails_is_ended_and_tried_again_with_growing_pauses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, orders: Json, why: str
) -> None:
    monkeypatch.setattr(machine, "START_SECONDS", 3.0)
    monkeypatch.setattr(machine, "SILENCE_SECONDS", 0.5)
    async with running(tmp_path, monkeypatch, orders=orders, webhooks={"crm": HOOK}) as service:
        await service.until_told("began", 2)
        about = service.companions.about()
        assert about is not None
        await service.until_state("waiting")
        about = service.companions.about()
        assert about is not None
        assert why in about["gateway"]["reason"]
        assert about["gateway"]["restarts"] >= 1


@asynchronous
async def test_a_gateway_that_does_not_drain_is_killed_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(deadlines, "DRAINING", deadlines.Pair(0.1, 0.3))
    async with running(tmp_path, monkeypatch, orders={"drains": "never"}, webhooks={"crm": HOOK}) as service:
        await service.until_ready()
        await asyncio.wait_for(service.companions.stop(), 10)
        assert service.state == "off"
    assert "did not stop within 0.3 s" in caplog.text


@asynchronous
async def test_the_sockets_are_closed_even_if_somebody_does_not_end_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unix = Unix(tmp_path / "api.sock")
    async with running(tmp_path, monkeypatch, http=http(unix)) as service:
        await service.until_ready()
        assert unix.path.exists()
        with monkeypatch.context() as patched:
            patched.setattr(service.companions._gateway, "over", asyncio.Event().wait)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await service.companions.stop()
        assert not unix.path.exists()


@asynchronous
async def test_a_second_signal_does_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path, monkeypatch, orders={"drains": "never"}, webhooks={"crm": HOOK}) as service:
        await service.until_ready()
        stopping = asyncio.ensure_future(service.companions.stop())
        await service.until_told("drain")
        service.companions.hurry()
        await asyncio.wait_for(stopping, deadlines.DRAINING.outer - 1)


# A new configuration


@asynchronous
async def test_a_reload_tells_the_gateway_and_does_not_start_it_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tcp, unix = free(), Unix(tmp_path / "api.sock")
    async with running(tmp_path, monkeypatch, http=http(tcp)) as service:
        await service.until_ready()
        service.change(http=http(tcp, unix), webhooks={"crm": HOOK})
        first, second = await service.until_told("configured", 2)
        assert second["pid"] == first["pid"]
        assert second["listeners"][0] == first["listeners"][0]  # opened again only if they changed
        assert second["listeners"][1]["address"] == str(unix)
        service.change(http=None, webhooks={})
        await service.until_state("none")
        assert not unix.path.exists()
        service.change(webhooks={"crm": HOOK})
        await service.until_told("began", 2)


class Slowly:
    """A gateway that is told the configuration, and whose answer comes when `answers` is set.

    Attributes:
        told: Is set when it was told.
        answers: Is to be set when its answer may come.
        followed: Is set when the service has looked after the configuration and the sockets once more.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.told, self.answers, self.followed = asyncio.Event(), asyncio.Event(), asyncio.Event()
        configure, follow = gateway.Gateway.configure, Companions._follow

        async def configure_slowly(nature: gateway.Gateway, line: Port) -> object:
            answer = await configure(nature, line)
            self.told.set()
            await self.answers.wait()
            return answer

        async def follow_and_say(companions: Companions, news: bool) -> object:
            answer = await follow(companions, news)
            self.followed.set()
            return answer

        monkeypatch.setattr(gateway.Gateway, "configure", configure_slowly)
        monkeypatch.setattr(Companions, "_follow", follow_and_say)

    async def next(self) -> None:
        """Return when the service has looked once more."""
        self.followed.clear()
        await self.followed.wait()


@asynchronous
async def test_a_reload_while_the_gateway_starts_is_told_before_anybody_uses_the_gateway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(team, "LISTEN_SECONDS", 3600.0)  # only the reload has the service look
    tcp, bot = free(), BotSettings("echo", "m:bot", tmp_path)
    slowly = Slowly(monkeypatch)
    async with running(tmp_path, monkeypatch, webhooks={"crm": HOOK}) as service:
        await slowly.told.wait()
        await slowly.followed.wait()
        service.change(http=http(tcp), webhooks={}, bots={"echo": bot})
        await slowly.next()
        assert len(service.all("configured")) == 1
        slowly.answers.set()
        await service.until_ready()
        first, second = service.all("configured")
        assert second["pid"] == first["pid"]
        settings = wire.load(GatewaySettings, second["configured"])
        assert (settings.http, settings.webhooks, list(settings.bots)) == (http(tcp), {}, ["echo"])
        assert [one["address"] for one in second["listeners"]] == [str(tcp)]
        await service.until_told("bot")
        assert len(service.all("configured")) == 2, "no more often than needed"


@asynchronous
async def test_an_address_that_becomes_free_while_the_gateway_starts_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(team, "LISTEN_SECONDS", 0.05)
    tcp, slowly = free(), Slowly(monkeypatch)
    with socket.socket() as other:
        other.bind((tcp.host, tcp.port))
        other.listen()
        async with running(tmp_path, monkeypatch, http=http(tcp)) as service:
            await slowly.told.wait()
            other.close()
            await until(lambda: service.companions._listeners.all(), "the socket is open")
            await slowly.next()
            slowly.answers.set()
            await service.until_ready()
            assert [len(one["listeners"]) for one in service.all("configured")] == [0, 1]


@pytest.mark.parametrize("where", ["sockets", "handing over"])
@asynchronous
async def test_a_reload_that_could_not_be_told_is_told_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setattr(team, "LISTEN_SECONDS", 0.05)
    tcp, failed = free(), asyncio.Event()
    loop = asyncio.get_running_loop()
    async with running(tmp_path, monkeypatch, http=http(tcp)) as service:
        await service.until_ready()
        with monkeypatch.context() as patched:

            def fail(*_: object) -> None:
                loop.call_soon_threadsafe(failed.set)
                raise OSError(errno.EMFILE, "too many open files")

            if where == "sockets":
                patched.setattr(service.companions._listeners, "open", fail)
            else:
                patched.setattr(socket.socket, "dup", fail)
            service.change(webhooks={"crm": HOOK})
            await failed.wait()
            assert len(service.all("configured")) == 1
        _, second = await service.until_told("configured", 2)
        assert list(second["configured"]["webhooks"]) == ["crm"]


@asynchronous
async def test_a_reload_in_the_moment_in_which_the_sockets_are_looked_at_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(team, "LISTEN_SECONDS", 0.05)
    async with running(tmp_path, monkeypatch, http=http(free())) as service:
        await service.until_ready()
        changed = service.companions._changed
        wait = changed.wait

        async def time_is_up() -> None:
            monkeypatch.setattr(changed, "wait", wait)
            service.change(webhooks={"crm": HOOK})
            raise TimeoutError

        monkeypatch.setattr(changed, "wait", time_is_up)
        _, second = await service.until_told("configured", 2)
        assert list(second["configured"]["webhooks"]) == ["crm"]


@asynchronous
async def test_no_socket_is_handed_over_while_sockets_are_opened_and_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, monkeypatch, http=http(free())) as service:
        await service.until_ready()
        listeners = service.companions._listeners
        async with listeners.turn:
            told = asyncio.ensure_future(service.companions._nature.configure(service.companions.port))
            await asyncio.sleep(0)
            listeners.open([])  # the number of its descriptor may be another file's from now on
        await told
        assert [len(one["listeners"]) for one in service.all("configured")] == [1, 0]


@asynchronous
async def test_an_address_that_is_taken_is_told_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(team, "LISTEN_SECONDS", 0.05)
    tcp = free()
    with socket.socket() as other:
        other.bind((tcp.host, tcp.port))
        other.listen()
        async with running(tmp_path, monkeypatch, http=http(tcp)) as service:
            await service.until_ready()
            about = service.companions.about()
            assert about is not None
            assert "another program" in about["gateway"]["problems"][0]
            other.close()
            await until(lambda: service.all("configured")[-1]["listeners"], "it listens")


# Bots


@asynchronous
async def test_a_bot_runs_once_there_is_a_gateway_and_again_for_each_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = BotSettings("echo", "m:bot", tmp_path, accounts=frozenset({"a"}))
    async with running(tmp_path, monkeypatch, bots={"echo": bot}) as service:
        (told,) = await service.until_told("bot")
        assert told["bot"]["name"] == "echo"
        assert told["bot"]["accounts"] == ["a"]
        assert not told["bot"]["attached"]
        await until(lambda: any(one["asked"] == "hello" for one in service.all("asked")), "it says hello")
        os.kill(told["pid"], signal.SIGKILL)
        again = (await service.until_told("bot", 2))[1]
        assert again["pid"] != told["pid"]
        await until(
            lambda: (service.companions.about() or {})["bots"][0]["state"] == "running", "the bot runs"
        )
        service.change(bots={"echo": replace(bot, timeout=5.0)})
        changed = (await service.until_told("bot", 3))[2]
        assert changed["bot"]["timeout"] == 5.0
        service.change(bots={}, webhooks={"crm": HOOK})
        await until(lambda: not (service.companions.about() or {})["bots"], "the bot is gone")
        await until(lambda: not service.companions._leaving, "its process is gone")


@asynchronous
async def test_a_bot_that_is_run_by_hand_gets_a_port_and_another_one_for_the_next_gateway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, monkeypatch) as service:
        request = {"name": "mine", "accounts": ["a"], "events": ["message.*"], "timeout": 60}

        def attach() -> tuple[Any, Any]:
            stream = service.client.stream("attach", **request)
            return stream, iter(stream)

        stream, events = await asyncio.to_thread(attach)
        assert await asyncio.to_thread(next, events) == {"attached": "mine"}
        (fd,) = stream.take_fds()
        port = Port(socket.socket(fileno=fd))
        await port.call("hello")
        found = await service.ask("list", **{"as": {"bot": "mine"}})
        assert [one["name"] for one in found["accounts"]] == ["a"]
        (told,) = service.all("bot")
        assert told["bot"]["attached"]
        with pytest.raises(OrchestratorError) as taken:
            await asyncio.to_thread(lambda: next(iter(service.client.stream("attach", **request))))
        assert taken.value.key == "consumer_exists"
        os.kill(told["pid"], signal.SIGKILL)
        assert await asyncio.to_thread(next, events) == {"attached": "mine"}
        (other,) = stream.take_fds()
        os.close(other)
        port.close()
        stream.close()
        await service.until_state("none")


@pytest.mark.parametrize(
    ("request_", "key"),
    [
        ({"name": "../x"}, "bad_request"),
        ({"name": "x", "accounts": ["nobody"]}, "no_such_account"),
        ({"name": "x", "accounts": "a"}, "bad_request"),
        ({"name": "x", "events": ["nothing.*"]}, "bad_request"),
        ({"name": "x", "timeout": 1.5}, "bad_request"),
        ({"name": "x", "path": "/"}, "bad_request"),
    ],
)
@asynchronous
async def test_who_wants_to_attach_says_so_rightly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request_: Json, key: str
) -> None:
    async with running(tmp_path, monkeypatch) as service:
        with pytest.raises(OrchestratorError) as error:
            await asyncio.to_thread(lambda: next(iter(service.client.stream("attach", **request_))))
        assert error.value.key == key


# Over the control socket


@asynchronous
async def test_commands_about_consumers_are_handed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, monkeypatch, webhooks={"crm": HOOK}) as service:
        await service.until_ready()
        found = await asyncio.to_thread(service.client.call, "consumers", kind="webhook")
        assert found["given"] == {"kind": "webhook"}
        about = await asyncio.to_thread(service.client.call, "companions")
        assert about["companions"]["gateway"]["state"] == "running"
        with pytest.raises(OrchestratorError) as error:
            await asyncio.to_thread(service.client.call, "consumers", nonsense=1)
        assert error.value.key == "bad_request"


# What the gateway may ask for


@asynchronous
async def test_the_gateway_asks_as_itself_and_as_nobody_else_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = BotSettings("echo", "m:bot", tmp_path, accounts=frozenset({"b"}))
    others = AccountSettings("b", enabled=False)
    async with running(tmp_path, monkeypatch, IDLE, others, bots={"echo": bot}) as service:
        await service.until_ready()
        itself, echo = {"gateway": True}, {"bot": "echo"}
        service.requests.given = (Unix(tmp_path / "of-systemd.sock"),)  # which `http.listen` does not name
        found = await service.ask("list", **{"as": itself})
        assert [one["name"] for one in found["accounts"]] == ["a", "b"]
        found = await service.ask("list", **{"as": echo})
        assert [one["name"] for one in found["accounts"]] == ["b"]
        assert (await service.ask("explain", name="b", **{"as": echo}))["account"]["name"] == "b"
        service.change(http=http(Systemd()))
        await service.ask("list", **{"as": {"local": True}})
        service.change(http=None)
        for asker, command, arguments, key in [
            (echo, "explain", {"name": "a"}, "no_such_account"),
            (echo, "explain", {"name": "nobody"}, "no_such_account"),
            (echo, "start", {"name": "b"}, "permission_denied"),
            (itself, "start", {"name": "b"}, "permission_denied"),
            (itself, "code", {"name": "b"}, "permission_denied"),
            ({"token": "x"}, "list", {}, "permission_denied"),
            ({"local": True}, "list", {}, "permission_denied"),  # there is no UNIX socket
            ({"bot": "other"}, "list", {}, "permission_denied"),
            (None, "list", {}, "bad_request"),
            (itself, "reload", {}, "unknown_command"),
            (itself, "send", {"name": "b"}, "permission_denied"),
            (echo, "send", {"name": "a"}, "no_such_account"),
            (itself, "restore", {"name": "b"}, "unknown_command"),
        ]:
            with pytest.raises(OrchestratorError) as error:
                await service.ask(command, **arguments, **({} if asker is None else {"as": asker}))
            assert error.value.key == key, (asker, command)


@asynchronous
async def test_who_is_on_the_unix_socket_may_do_all_that_can_be_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = {"as": {"local": True}}
    file = tmp_path / "accounts.yaml"
    file.write_text(
        "confine: off\nhttp:\n  listen: unix:%s\naccounts:\n  a:\n    enabled: false\n"
        % (tmp_path / "api.sock")
    )
    async with running(tmp_path, monkeypatch, http=http(Unix(tmp_path / "api.sock"))) as service:
        await service.until_ready()
        assert (await service.ask("stop", name="a", **local))["account"]["state"] == "stopped"
        with pytest.raises(OrchestratorError) as error:
            await service.ask("start", name="a", **local)
        assert error.value.key == "account_disabled"
        with pytest.raises(OrchestratorError) as error:
            await service.ask("code", name="a", **local)
        assert error.value.key == "no_code"
        found = await service.ask("add", name="new", enabled=False, phone="+4915100000001", **local)
        assert found["account"]["name"] == "new"
        assert "+4915100000001" in file.read_text()
        for wrong in (
            {"phone": "12"},
            {"proxy": "socks5://u:pw@"},
            {"proxy_file": "/etc/passwd"},
            {"phone": 1},
        ):
            with pytest.raises(OrchestratorError) as error:
                await service.ask("add", name="other", **wrong, **local)
            assert error.value.key == "bad_request"
            assert "pw" not in str(error.value)
        with pytest.raises(OrchestratorError) as error:
            await service.ask("add", name="new", **local)
        assert error.value.key == "account_exists"
        await service.ask("remove", name="new", **local)
        assert "new" not in file.read_text()


@asynchronous
async def test_a_configuration_that_cannot_be_written_is_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = {"as": {"local": True}}
    async with running(tmp_path, monkeypatch, http=http(Unix(tmp_path / "api.sock"))) as service:
        await service.until_ready()
        nowhere = Path("/proc/1/accounts.yaml")  # where nobody can write, root included
        service.change(config_file=nowhere)
        with pytest.raises(OrchestratorError) as error:
            await service.ask("add", name="new", **local)
        assert error.value.key == "config_not_writable"
        assert "orchestrator add new" in str(error.value)


def test_settings_stay_as_they_were() -> None:
    assert gateway.of(Settings(Path("/c"), Path("/s"), Path("/q"))) == GatewaySettings()


GATEWAY: Json = {"as": {"gateway": True}}


@contextlib.contextmanager
def refused(key: str) -> Iterator[None]:
    with pytest.raises(OrchestratorError) as error:
        yield
    assert error.value.key == key


@asynchronous
async def test_the_accounts_hear_what_their_consumers_have_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(
        tmp_path, monkeypatch, AccountSettings("a"), AccountSettings("b"), webhooks={"crm": HOOK}
    ) as service:
        await service.until_ready()
        puppets = service.fleet.puppets
        await until(lambda: puppets.runs("a") and puppets.runs("b"), "it is heard")
        assert puppets.runs("a")[0]["taken"] == 0, "nobody has said yet that anybody had anything"
        await service.ask("taken", accounts={"a": 17, "b": None, "nobody": 3}, **GATEWAY)
        await until(lambda: puppets.taken("a") == [17] and puppets.taken("b") == [None], "it is heard")
        await service.ask("taken", accounts={"a": 17, "b": None}, **GATEWAY)
        await service.ask("taken", accounts={"a": 18}, **GATEWAY)
        await until(lambda: puppets.taken("a") == [17, 18], "it is heard")
        await service.ask("taken", accounts={}, waiting={"a": 4, "b": None, "nobody": 3}, **GATEWAY)
        waits = {one["name"]: one["waiting"] for one in (await service.ask("list", **GATEWAY))["accounts"]}
        assert waits == {"a": 4, "b": None}

        wrong: object
        for wrong in ({"a": -1}, {"a": True}, {"a": "17"}, {"a": 2**53 + 1}, {"a": 1.5}, [], None):
            with refused("bad_request"):
                await service.ask("taken", accounts=wrong, **GATEWAY)
        assert puppets.taken("a") == [17, 18]


@asynchronous
async def test_the_gateway_reads_what_has_happened_to_an_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, monkeypatch, AccountSettings("a"), webhooks={"crm": HOOK}) as service:
        await service.until_ready()
        await until(lambda: service.fleet.timeline("a", 9), "something has happened")
        first = await service.ask("history", name="a", after=0, limit=1, **GATEWAY)
        (entry,) = first["entries"]
        assert first["newest"] >= entry["n"] > 0
        rest = await service.ask("history", name="a", after=entry["n"], limit=1000, **GATEWAY)
        assert all(one["n"] > entry["n"] for one in rest["entries"])
        wrong: Json
        for wrong in ({"after": -1}, {"after": "1"}, {"limit": "1"}, {"limit": 1001}):
            with refused("bad_request"):
                await service.ask("history", **{"name": "a", "after": 0, "limit": 1, **wrong}, **GATEWAY)
        with refused("no_such_account"):
            await service.ask("history", name="nobody", after=0, limit=1, **GATEWAY)


# What concerns the fleet as a whole


@asynchronous
async def test_who_sees_some_accounts_gets_the_strips_of_these_and_no_facts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = (AccountSettings("a"), AccountSettings("b"))
    echo = BotSettings("echo", "m:bot", tmp_path, accounts=frozenset({"a"}))
    async with running(tmp_path, monkeypatch, *both) as service:
        roster = service.fleet.supervisor._roster
        roster.settings = replace(roster.settings, bots={"echo": echo})

        async def ask(asker: Json, command: str, **arguments: object) -> Json:
            answer = service.requests.serve(Request(command, {"as": asker, **arguments}))
            assert isinstance(answer, Awaitable)
            return await answer

        strips = service.fleet.supervisor.upkeep.strips
        looked: list[list[str]] = []
        paced: list[Pace] = []
        of, run = strips.of, Pace.run

        async def spy(names: Sequence[str], hours: int) -> Json:
            looked.append(list(names))
            return await of(names, hours)

        async def paced_run(self: Pace, work: Callable[[], Awaitable[Json]]) -> Json:
            paced.append(self)
            return await run(self, work)

        monkeypatch.setattr(strips, "of", spy)
        monkeypatch.setattr(Pace, "run", paced_run)
        assert list((await ask({"bot": "echo"}, "strips"))["accounts"]) == ["a"]
        # Nobody has the service work for accounts that are not theirs, or without a pause.
        assert (looked, len(paced)) == ([["a"]], 1)
        roster.settings = replace(roster.settings, bots={"echo": replace(echo, accounts=frozenset({"x"}))})
        assert (await ask({"bot": "echo"}, "strips"))["accounts"] == {}
        assert looked[1:] == [[]]
        roster.settings = replace(roster.settings, bots={"echo": echo})
        await ask({"bot": "echo"}, "list")
        assert len(set(map(id, paced))) == 2, "who asks for a list does not wait for strips"
        assert (await ask({"bot": "echo"}, "settings", name="a"))["settings"]
        for asker, command, arguments, key in (
            ({"bot": "echo"}, "strips", {"names": ["b"]}, "no_such_account"),
            ({"bot": "echo"}, "settings", {"name": "b"}, "no_such_account"),
            ({"bot": "echo"}, "facts", {}, "permission_denied"),
            ({"bot": "echo"}, "maintenance", {"on": True}, "permission_denied"),
            ({"gateway": True}, "maintenance", {"on": True}, "permission_denied"),
            ({"gateway": True}, "strips", {}, "permission_denied"),
        ):
            with pytest.raises(OrchestratorError) as error:
                await ask(asker, command, **arguments)
            assert error.value.key == key
        facts = await ask({"gateway": True}, "facts")
        assert [name for way in facts["ways"] for name, _ in way["members"]] == ["a", "b"]
        roster.settings = replace(roster.settings, http=http(Unix(tmp_path / "api.sock")))
        assert (await ask({"local": True}, "maintenance", on=True))["on"]
        assert (await ask({"gateway": True}, "facts"))["maintenance"]["on"]
        assert not (await ask({"local": True}, "maintenance", on=False))["on"]
