"""The gateway and bots of a running service, with a paired account beside them that never notices."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from support.ports import free_port
from support.service import PATIENCE, Json, Service

from orchestrator.sandbox.process import SandboxProcess

BOT = """\
from orchestrator.bots import Bot, Message

bot = Bot()


@bot.on_message()
async def answer(message: Message) -> None:
    await message.reply(f"You said {message.text}")
"""


def get(port: int, path: str = "/healthz") -> str:
    """Ask over HTTP; return the status line."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
        connection.settimeout(PATIENCE)
        connection.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode()
        )
        return connection.recv(100).partition(b"\r\n")[0].decode()


def beside(service: Service) -> Json:
    about: Json = service.client.call("companions")["companions"]
    return about


def until(service: Service, condition: Callable[[Json], object], what: str) -> Json:
    deadline = time.monotonic() + PATIENCE
    while True:
        about = beside(service)
        if condition(about):
            return about
        assert time.monotonic() < deadline, f"not within {PATIENCE:g} s: {what}: {about}"
        time.sleep(0.05)


def until_running(service: Service, *, after: int | None = None) -> Json:
    def runs(about: Json) -> bool:
        everyone = (about["gateway"], *about["bots"])
        return all(one["state"] == "running" for one in everyone) and about["gateway"]["pid"] != after

    return until(service, runs, "the gateway and the bots run")


class Running:
    def __init__(self, service: Service, port: int, settings: Json, number: str) -> None:
        self.service = service
        self.port = port
        self.settings = settings
        self.number = number


@pytest.fixture(scope="module")
def running(
    shared_sandbox: SandboxProcess, make_number: Callable[[], str], make_folder: Callable[[], Path]
) -> Iterator[Running]:
    folder, port, number = make_folder(), free_port(), make_number()
    (folder / "bots").mkdir(0o700)
    (folder / "bots" / "my_bot.py").write_text(BOT)
    settings: Json = {
        "http": {"listen": [f"127.0.0.1:{port}", f"unix:{folder / 'api.sock'}"]},
        "bots": {"echo": {"app": "my_bot:bot", "path": str(folder / "bots")}},
    }
    with Service(folder, shared_sandbox, {"one": {}}, **settings) as service:
        service.pair("one", number)
        yield Running(service, port, settings, number)


def test_list_and_doctor_say_how_they_are(running: Running) -> None:
    service = running.service
    until_running(service)
    assert "gateway: running, 1 bot" in service.command("list").stdout
    assert [one["name"] for one in json.loads(service.command("list", "--json").stdout)] == ["one"]
    said = service.command("doctor", "--only", "companions").stdout
    assert "gateway: running" in said
    assert "bot echo: running" in said


def test_killing_them_touches_no_account_and_refuses_nobody(running: Running) -> None:
    service = running.service
    about = until_running(service)
    account = service.about("one")
    answers: list[str] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            try:
                answers.append(get(running.port))
            except ConnectionResetError:
                answers.append("reset")  # the killed one had taken it
            except ConnectionRefusedError:
                answers.append("refused")
            time.sleep(0.01)

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        for number in (signal.SIGKILL, signal.SIGTERM):
            os.kill(about["gateway"]["pid"], number)
            about = until_running(service, after=about["gateway"]["pid"])
    finally:
        stop.set()
        asker.join()
    assert "refused" not in answers
    # What the two that were ended had taken may be lost, one request each; the asker sends one after another.
    assert answers.count("HTTP/1.1 200 OK") >= len(answers) - 2, answers
    os.kill(about["bots"][0]["pid"], signal.SIGKILL)
    until(service, lambda now: now["bots"][0]["pid"] not in (None, about["bots"][0]["pid"]), "another bot")
    until_running(service)
    after = service.about("one")
    assert (after["pid"], after["state"], after["restarts"]) == (
        account["pid"],
        "connected",
        account["restarts"],
    )


def test_a_reload_keeps_their_processes(running: Running) -> None:
    service = running.service
    before = until_running(service)
    other = free_port()
    http = {"listen": [*running.settings["http"]["listen"], f"127.0.0.1:{other}"]}
    service.configure({"one": {}}, **{**running.settings, "http": http})
    service.client.call("reload")
    until(service, lambda about: len(about["gateway"]["listens"]) == 3, "it listens there, too")
    deadline = time.monotonic() + PATIENCE
    while not get(other).endswith("200 OK"):
        assert time.monotonic() < deadline
    assert get(running.port).endswith("200 OK")
    after = beside(service)
    assert after["gateway"]["pid"] == before["gateway"]["pid"]
    assert after["bots"][0]["pid"] == before["bots"][0]["pid"]
    service.configure({"one": {}}, **running.settings)
    service.client.call("reload")
    until(service, lambda about: len(about["gateway"]["listens"]) == 2, "it listens there no more")


def test_nobody_else_can_read_their_memory_and_their_environment_is_a_list(running: Running) -> None:
    about = until_running(running.service)
    for one in (about["gateway"], *about["bots"]):
        process = psutil.Process(one["pid"])
        assert process.rlimit(psutil.RLIMIT_CORE) == (0, 0)
        assert process.cwd() != str(running.service.folder)


def test_the_service_ends_with_them_in_good_order_and_without_it_they_end_too(running: Running) -> None:
    service = running.service
    until_running(service)
    began = time.monotonic()
    assert service.stop() == 0  # which sees that nothing is left
    assert time.monotonic() - began < PATIENCE
    assert not (service.folder / "api.sock").exists()
    log = "\n".join(service.log)
    assert log.rindex("bot echo: its process has ended") < log.rindex("gateway: its process has ended")
    service.start()
    service.wait_for_state("one", "connected")
    until_running(service)
    service.kill()  # which sees that all of them follow
    service.start()
    service.wait_for_state("one", "connected")
    until_running(service)
