"""A bot that somebody runs by hand: it is attached, answers, starts anew when its code changes, and ends."""

from __future__ import annotations

import contextlib
import json
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.conversation import Contact
from support.linked import wait_until
from support.service import PATIENCE, Service

from orchestrator.sandbox.process import SandboxProcess

NEEDLE = "xylophone"
BOT = """
from orchestrator.bots import Bot, Message
import helper

bot = Bot()

@bot.on_message()
async def answer(message: Message) -> None:
    await message.reply(helper.answer(message.text))
"""
HELPER = "def answer(text): return f'{} {text}'\n"


@pytest.fixture
def number(make_number: Callable[[], str]) -> str:
    return make_number()


@pytest.fixture
def service(sandbox: SandboxProcess, number: str, folder: Path) -> Iterator[Service]:
    (folder / "bots").mkdir()
    (folder / "bots/my_bot.py").write_text(BOT)
    write_helper(folder, "first")
    with Service(folder, sandbox, {"support": {"messages": {"allow": "*"}}}) as service:
        service.pair("support", number)
        yield service


def write_helper(folder: Path, word: str) -> None:
    (folder / "bots/helper.py").write_text(HELPER.replace("{}", word))


class Running:
    """A command that goes on, with its output."""

    def __init__(self, service: Service, *arguments: str) -> None:
        self.process = subprocess.Popen(
            service.command_line("bot", "run", "my_bot:bot", "--path", "bots", *arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=service.environment | {"PYTHONUNBUFFERED": "1"},
            cwd=service.folder,
            text=True,
        )
        self.lines: list[str] = []
        self._new: queue.Queue[str | None] = queue.Queue()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._new.put(line.rstrip("\n"))
        self._new.put(None)

    def says(self, text: str) -> str:
        """Wait for a line with a text in it."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                line = self._new.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                line = None
            assert line is not None, f"it never said {text!r}: {self.lines}"
            self.lines.append(line)
            if text in line:
                return line

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE)
        self._thread.join()
        while (line := self._new.get()) is not None:
            self.lines.append(line)
        return code


@contextlib.contextmanager
def running(service: Service, *arguments: str) -> Iterator[Running]:
    command = Running(service, *arguments)
    try:
        yield command
    finally:
        if command.process.poll() is None:
            command.process.kill()
        command.process.wait()
        command._thread.join()
        assert command.process.stdout is not None
        command.process.stdout.close()


def answers(ada: Contact) -> list[str]:
    return [one["text"] for one in ada.sandbox.inbox(ada.number) if one.get("text")]


def until_answered(ada: Contact, *wanted: str) -> None:
    wait_until(lambda: answers(ada) == list(wanted), f"not all of {wanted} is answered")


def test_a_bot_is_attached_answers_and_ends(service: Service, ada: Contact, number: str) -> None:
    ada.write(number, "before")
    wait_until(lambda: "before" in service.command("messages", "support").stdout, "it is not stored")
    with running(service, "--account", "support") as command:
        command.says("dev-my_bot: ready for support; Ctrl-C ends it")
        ada.write(number, NEEDLE)
        line = command.says("message.received text: answer has handled it")
        assert "evt_support_" in line
        until_answered(ada, f"first {NEEDLE}")  # and not what came before
        assert command.end() == 0
        assert NEEDLE not in "\n".join(command.lines)
        assert command.lines[-1] == line
    # The gateway was there for this bot alone.
    wait_until(
        lambda: json.loads(service.command("list", "--json").stdout) != [], "the service does not answer"
    )


def test_a_bot_starts_anew_when_its_code_changes(service: Service, ada: Contact, number: str) -> None:
    with running(service) as command:
        command.says("ready for all accounts")
        ada.write(number, "one")
        until_answered(ada, "first one")
        write_helper(service.folder, "second")
        command.says("helper.py has changed: starting anew")
        ada.write(number, "two")  # in between
        command.says("ready for all accounts")
        until_answered(ada, "first one", "second two")
        (service.folder / "bots/my_bot.py").write_text(BOT + "1 / 0\n")
        command.says("my_bot.py has changed: starting anew")
        command.says('my_bot.py", line 10, in <module>')
        command.says("ZeroDivisionError")
        command.says("the module my_bot cannot be imported")
        ada.write(number, "three")
        (service.folder / "bots/my_bot.py").write_text(BOT)
        command.says("my_bot.py has changed: starting anew")
        command.says("ready for all accounts")
        until_answered(ada, "first one", "second two", "second three")
        assert command.end() == 0


def test_texts_of_exceptions_are_shown_to_who_asks(service: Service, ada: Contact, number: str) -> None:
    (service.folder / "bots/helper.py").write_text("def answer(text): return {}[text]\n")
    with running(service) as command:
        command.says("ready for all accounts")
        ada.write(number, NEEDLE)
        command.says("answer failed: KeyError in helper.py:1 answer")
        assert command.end() == 0
        assert NEEDLE not in "\n".join(command.lines)
    with running(service, "--show-errors", "--name", "dev-other") as command:
        command.says("ready for all accounts")
        ada.write(number, NEEDLE)
        command.says(f"KeyError: '{NEEDLE}'")
        assert command.end() == 0


def test_a_bot_that_hangs_starts_anew(service: Service, ada: Contact, number: str) -> None:
    (service.folder / "bots/my_bot.py").write_text(
        "import time\nfrom orchestrator.bots import Bot\nbot = Bot()\n@bot.on_message\n"
        "def hang(message):\n    if message.attempt == 1:\n        time.sleep(1000)\n"
        "    message.reply('awake')\n"
    )
    with running(service, "--timeout", "1") as command:
        command.says("ready for all accounts")
        ada.write(number, "hello")
        command.says("hang failed: hang took longer than 1 s")
        command.says("a handler cannot be ended otherwise: starting anew")
        command.says("ready for all accounts")
        until_answered(ada, "awake")
        assert command.end(signal.SIGTERM) == 0


def test_what_is_wrong_is_said(service: Service) -> None:
    def refused(*arguments: str) -> str:
        done = service.command("bot", "run", *arguments, check=False)
        assert done.returncode in (1, 2, 5)
        return done.stderr

    assert "my_bot:bot" in refused("my_bot.py")
    assert "there is no module nobody in" in refused("nobody:bot", "--no-reload")
    assert "there is no account" in refused("my_bot:bot", "--path", "bots", "--account", "nobody")
    assert "name is no name" in refused("my_bot:bot", "--path", "bots", "--name", "../x")


def test_two_of_one_name_are_refused(service: Service) -> None:
    with running(service) as command:
        command.says("ready for all accounts")
        done = service.command("bot", "run", "my_bot:bot", "--path", "bots", check=False)
        assert done.returncode == 1
        assert "has the name dev-my_bot already" in done.stderr
        assert command.end() == 0


def test_a_bot_waits_for_the_next_gateway_and_ends_with_the_service(
    service: Service, ada: Contact, number: str
) -> None:
    with running(service) as command:
        command.says("ready for all accounts")
        for process in service.processes():
            with contextlib.suppress(Exception):
                if any("'orchestrator.gateway'" in part for part in process.cmdline()):
                    process.kill()
        command.says("the gateway is gone; waiting for the next one")
        ada.write(number, "again")
        command.says("ready for all accounts")
        until_answered(ada, "first again")
        service.stop()
        assert command.process.wait(PATIENCE) == 4
        service.start()
