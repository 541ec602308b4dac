"""A bot's process: how it runs, how it ends, what it logs, what it can reach."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from support.bot_process import ECHO, BotProcess, Event, go, until

from orchestrator.consumers.outcomes import Delivered, Failed
from orchestrator.control.companions import BotExit

NEEDLE = "needle-of-the-peer"
HEAD = "import asyncio, os, time\nfrom orchestrator.bots import Bot, Message\nbot = Bot()\n"


def test_a_bot_answers_and_ends_when_it_is_asked_to(tmp_path: Path) -> None:
    async def test() -> None:
        async with BotProcess(tmp_path).running() as bot:
            assert await bot.deliver() == Delivered()
            assert bot.service.texts == ["You said Hello"]
            assert os.read(bot.beat, 9) == b"."
            bot.process.terminate()
            assert await bot.end() == BotExit.ASKED
        assert bot.said == ""

    go(test)


def test_a_bot_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    code = HEAD + (
        "@bot.on_message()\n"
        "async def answer(message: Message) -> None:\n"
        "    await message.reply(f'{message.text} {os.getpid()}')\n"
        "    if message.attempt == 1:\n"
        "        await asyncio.Event().wait()\n"
    )

    async def test() -> None:
        bot = BotProcess(tmp_path, code)
        events = [Event(text=str(number), number=number) for number in range(5)]
        async with bot.running():
            waiting = [asyncio.ensure_future(bot.deliver(one)) for one in events]
            await until(lambda: len(bot.service.texts) == 5)
            bot.process.kill()
            await bot.end()
        async with bot.running():
            # None of the five is known to have ended the process, so all of them come once more.
            await until(lambda: len(bot.endpoint.running) == 5)
            bot.process.kill()
            await bot.end()
        outcomes = await asyncio.gather(*waiting)
        assert {type(one) for one in outcomes} == {Failed}
        async with bot.running():
            assert await asyncio.gather(*(bot.deliver(one, 2) for one in events)) == [Delivered()] * 5
        # What was sent in the first attempt was not sent again.
        assert len(bot.service.texts) == 5

    go(test)


def test_a_plain_function_that_hangs_ends_the_process(tmp_path: Path) -> None:
    code = HEAD + (
        "@bot.on_message(text='hang')\n"
        "def hang(message: Message) -> None:\n"
        "    time.sleep(1000)\n"
        "@bot.on_message()\n"
        "async def other(message: Message) -> None:\n"
        "    await asyncio.sleep(0.2)\n"
        "    await message.reply(message.text)\n"
    )

    async def test() -> None:
        bot = BotProcess(tmp_path, code, seconds=1.0)
        async with bot.running():
            outcome = await bot.deliver(Event(text=f"hang {NEEDLE}"))
            assert outcome == Failed("hang took longer than 1 s")
            other = asyncio.ensure_future(bot.deliver(Event(number=18)))  # to this process, or the next one
            assert await bot.end() == BotExit.HUNG
        assert "a handler cannot be ended, so the process ends" in bot.said
        assert 'my_bot.py", line 6 in hang' in bot.said
        assert NEEDLE not in bot.said
        async with bot.running():
            assert await other == Delivered()

    go(test)


def test_a_coroutine_that_blocks_the_event_loop_ends_the_process(tmp_path: Path) -> None:
    code = HEAD + (
        "@bot.on_message()\n"
        "async def hang(message: Message) -> None:\n"
        "    if message.attempt == 1:\n"
        "        time.sleep(1000)\n"
    )

    async def test() -> None:
        bot = BotProcess(tmp_path, code, seconds=1.0)
        async with bot.running():
            assert await bot.deliver(Event(text=NEEDLE)) == Failed(
                "the bot's process ended while it handled the event"
            )
            assert await bot.end() == BotExit.BUG
        assert 'my_bot.py", line 7 in hang' in bot.said
        assert NEEDLE not in bot.said
        async with bot.running():
            assert await bot.deliver(number=2) == Delivered()

    go(test)


def test_no_text_of_a_message_or_an_exception_is_logged(tmp_path: Path) -> None:
    code = HEAD + (
        "@bot.on_message()\n"
        "def fail(message: Message) -> None:\n"
        "    try:\n"
        "        {}[message.text]\n"
        "    except KeyError:\n"
        "        raise ValueError(message.text)\n"
    )

    async def test() -> None:
        bot = BotProcess(tmp_path, code, log_level="DEBUG")
        async with bot.running():
            assert await bot.deliver(Event(text=NEEDLE)) == Failed("ValueError in my_bot.py:9 fail")
            bot.process.terminate()
            await bot.end()
        assert NEEDLE not in bot.said
        assert "event evt_support_17: fail failed, attempt 1: ValueError, at\n" in bot.said
        assert "my_bot.py:9 fail" in bot.said
        assert "KeyError was raised before, at" in bot.said

    go(test)


def test_no_text_of_an_exception_is_logged_wherever_it_is_raised(tmp_path: Path) -> None:
    code = HEAD + (
        "import logging, threading\n"
        "tasks = set()\n"
        "class Thing:\n"
        "    def __init__(self, text): self.text = text\n"
        "    def __del__(self): raise ValueError(self.text)\n"
        "def fail(text): raise ValueError(text)\n"
        "async def fail_later(text): fail(text)\n"
        "@bot.on_message()\n"
        "async def look(message: Message) -> None:\n"
        "    try:\n"
        "        fail(message.text)\n"
        "    except ValueError:\n"
        "        logging.getLogger('my').exception('mine')\n"
        "    thread = threading.Thread(target=fail, args=(message.text,))\n"
        "    thread.start()\n"
        "    thread.join()\n"
        "    asyncio.create_task(fail_later(message.text))\n"
        "    asyncio.get_running_loop().call_soon(fail, message.text)\n"
        "    Thing(message.text)\n"
        "    await asyncio.sleep(0.1)\n"
    )

    async def test() -> None:
        bot = BotProcess(tmp_path, code, log_level="DEBUG")
        async with bot.running():
            assert await bot.deliver(Event(text=NEEDLE)) == Delivered()
            bot.process.terminate()
            await bot.end()
        assert NEEDLE not in bot.said
        assert bot.said.count("ValueError, at") == 5
        assert bot.said.count("my_bot.py:9 fail\n") == 4
        assert "my: mine" in bot.said

    go(test)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise ValueError('needle-of-the-peer')\n", "my_bot.py:1 <module>"),
        ("bot = 7\n", "my_bot:bot is no Bot"),
        ("import nowhere\n", "Python does not find nowhere"),
    ],
    ids=["raises", "no bot", "missing"],
)
def test_a_bot_that_cannot_be_loaded_says_why(tmp_path: Path, code: str, said: str) -> None:
    async def test() -> None:
        async with BotProcess(tmp_path, code).running() as bot:
            assert await bot.end() == BotExit.UNUSABLE
        assert said in bot.said
        assert NEEDLE not in bot.said

    go(test)


def test_a_bot_ends_when_the_gateway_is_gone(tmp_path: Path) -> None:
    async def test() -> None:
        async with BotProcess(tmp_path).running() as bot:
            assert await bot.deliver() == Delivered()
            bot.endpoint.detach()
            assert await bot.end() == BotExit.NO_GATEWAY
        async with BotProcess(tmp_path).running() as bot:
            bot.endpoint.detach()  # before it is there
            assert await bot.end() == BotExit.NO_GATEWAY

    go(test)


def test_a_bot_has_an_environment_and_a_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", NEEDLE)
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:{NEEDLE}@proxy")
    code = HEAD + (
        "import json, tempfile\nfrom pathlib import Path\n"
        "@bot.on_message()\n"
        "def look(message: Message) -> None:\n"
        "    Path('here.txt').write_text('x')\n"
        "    with tempfile.TemporaryFile() as file:\n"
        "        file.write(b'x')\n"
        "    message.reply(json.dumps([dict(os.environ), os.getcwd()]))\n"
    )

    async def test() -> None:
        bot = BotProcess(tmp_path, code, environment={"MY_KEY": "mine"})
        async with bot.running():
            assert await bot.deliver() == Delivered()
        (text,) = bot.service.texts
        assert NEEDLE not in text
        assert "ORCHESTRATOR" not in text
        assert '"MY_KEY": "mine"' in text
        assert f'"HOME": "{bot.scratch}"' in text
        assert (bot.scratch / "here.txt").exists()

    go(test)


def test_a_bot_that_takes_too_much_memory_fails_alone(tmp_path: Path) -> None:
    code = HEAD + (
        "@bot.on_message(text='big')\n"
        "def big(message: Message) -> None:\n"
        "    bytearray(600 * 1024 * 1024)\n"
        "@bot.on_message()\n"
        "async def small(message: Message) -> None:\n"
        "    await message.reply('fine')\n"
    )

    async def test() -> None:
        bot = BotProcess(tmp_path, code, memory_limit=256 * 1024 * 1024)
        async with bot.running():
            assert await bot.deliver(Event(text="big")) == Failed("MemoryError in my_bot.py:6 big")
            assert await bot.deliver(Event(number=18)) == Delivered()

    go(test)


def test_a_bot_beside_the_configuration_reads_its_modules_and_nothing_else(tmp_path: Path) -> None:
    code = HEAD + (
        "import helper, pack.inner\nfrom pathlib import Path\n"
        "@bot.on_message()\n"
        "def look(message: Message) -> None:\n"
        "    found = []\n"
        "    for name in ('accounts.yaml', 'state/sessions/support', 'crm.secret', 'my_bot.py'):\n"
        "        try:\n"
        "            found.append((Path(__file__).parent / name).read_text()[:6])\n"
        "        except OSError as error:\n"
        "            found.append(type(error).__name__)\n"
        "    import late\n"
        "    message.reply(f'{found} {helper.X} {pack.inner.Y} {late.Z}')\n"
    )
    (tmp_path / "pack").mkdir()
    (tmp_path / "state/sessions").mkdir(parents=True)
    for name, text in {
        "accounts.yaml": "secret", "crm.secret": "secret", "state/sessions/support": "secret",
        "helper.py": "X = 1", "late.py": "Z = 3", "pack/__init__.py": "", "pack/inner.py": "Y = 2",
    }.items():  # fmt: skip
        (tmp_path / name).write_text(text)

    async def test() -> None:
        bot = BotProcess(tmp_path, code, path=tmp_path, closed=(tmp_path / "state", tmp_path))
        async with bot.running():
            assert await bot.deliver() == Delivered()
        refused = "'PermissionError', 'PermissionError', 'PermissionError'"
        assert bot.service.texts == [f"[{refused}, 'import'] 1 2 3"]

    go(test)


def test_a_bot_survives_signals_of_a_terminal(tmp_path: Path) -> None:
    async def test() -> None:
        async with BotProcess(tmp_path, ECHO).running() as bot:
            assert await bot.deliver() == Delivered()
            bot.process.send_signal(signal.SIGINT)
            assert await bot.end() == BotExit.ASKED

    go(test)
