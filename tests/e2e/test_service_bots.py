"""Bots that the service runs, with a sandbox's phones: answers, failures, ends, and bots run by hand."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image
from support.cli import bare
from support.conversation import Contact
from support.linked import wait_until
from support.probed import abstract_socket, not_closed
from support.service import Service

from orchestrator.sandbox.process import SandboxProcess
from orchestrator.system.probe import report
from orchestrator.system.probe.report import Aims

NEEDLE = "xylophone"
ECHO = """
import asyncio, os, time
from pathlib import Path
from orchestrator.bots import Bot, Contact, Document, Image, Location, Message, Poll

bot = Bot()

@bot.on_message(text="^hang$")
def hang(message: Message) -> None:
    if message.attempt == 1:
        time.sleep(1000)
    message.reply("hung once")

@bot.on_message(text="^fail$")
async def fail(message: Message) -> None:
    await message.reply("once")
    if message.attempt < 5:
        raise ValueError(message.text)
    await message.reply(f"attempt {message.attempt}")

@bot.on_message(text="^all$")
async def everything(message: Message) -> None:
    async with message.typing():
        await message.mark_read()
        await message.react("\\N{THUMBS UP SIGN}")
    sent = await message.reply("done")
    assert sent.id

@bot.on_message(text="^show$")
async def show(message: Message) -> None:
    await message.reply(Image(Path(__file__).with_name("cat.png"), caption="A cat"))
    await message.reply(Document(b"%PDF-1.7", name="bill.pdf"), quote=False)
    await message.reply(Location(52.52, 13.405, "Berlin"))
    await message.reply(Contact("Grace", ["+15550199"]))
    await message.reply(Poll("When?", ["Now", "Later"]))
    text = await message.reply("first")
    await text.edit("second")
    await text.react("\N{SPARKLES}")
    gone = await message.reply("gone")
    await gone.revoke()
    found = (await bot.find_numbers("support", message.chat.phone, "+15559999999")).value
    await message.reply(" ".join(str(one.exists) for one in found))

@bot.on_message(text="^group$")
def make_group(message: Message) -> None:
    groups = bot.groups("support")
    group = groups.create("Bots", message.chat.phone).value
    bot.send("support", group.id, f"{len(groups.get(group.id).value.members)} of us")
    message.reply(groups.invite_link(group.id).value)

@bot.on_message()
async def answer(message: Message) -> None:
    await message.reply(f"You said {message.text}")
"""

PROBE = """
from pathlib import Path
from orchestrator.bots import Bot, Message
from orchestrator.system.probe import attempts, report

bot = Bot()

@bot.on_message()
def probe(message: Message) -> None:
    aims = report.Aims.from_json((Path(__file__).parent / "aims.json").read_text())
    Path("findings.json").write_text(report.as_json(attempts.try_all(aims)))
    message.reply("probed")
"""


@pytest.fixture
def number(make_number: Callable[[], str]) -> str:
    return make_number()


def make(sandbox: SandboxProcess, folder: Path, **settings: Any) -> Service:  # noqa: ANN401
    return Service(folder, sandbox, {"support": {"messages": {"allow": "*"}}}, **settings)


@pytest.fixture
def service(sandbox: SandboxProcess, number: str, folder: Path) -> Iterator[Service]:
    (folder / "bots").mkdir()
    (folder / "bots/my_bot.py").write_text(ECHO)
    Image.new("RGB", (320, 200), "teal").save(folder / "bots/cat.png")
    bots = {"echo": {"app": "my_bot:bot", "path": str(folder / "bots"), "timeout": "15s"}}
    with make(sandbox, folder, bots=bots) as service:
        service.pair("support", number)
        service.wait_for_log("the bot is ready")
        yield service


def answers(ada: Contact) -> list[str]:
    """Return the texts that came to a phone."""
    return [one["text"] for one in ada.sandbox.inbox(ada.number) if one.get("text")]


def until_answered(ada: Contact, *wanted: str) -> None:
    wait_until(lambda: answers(ada) == list(wanted), f"not all of {wanted} is answered")


def test_a_bot_answers_a_phone(service: Service, ada: Contact, number: str) -> None:
    ada.write(number, f"{NEEDLE} one")
    until_answered(ada, f"You said {NEEDLE} one")
    ada.write(number, "all")
    until_answered(ada, f"You said {NEEDLE} one", "done")
    assert NEEDLE not in "\n".join(service.log)


@pytest.mark.usefixtures("service")
def test_a_phone_sees_all_that_a_bot_can_do(ada: Contact, number: str, folder: Path) -> None:
    ada.write(number, "show")
    wait_until(lambda: "True False" in answers(ada), "the handler does not come to its end")
    asked, *seen, gone, last = ada.sandbox.messages(ada.number, number)
    assert [one["kind"] for one in seen] == ["image", "document", "location", "contact", "poll", "text"]
    image, bill, place, card, poll, text = seen
    cat = (folder / "bots/cat.png").read_bytes()
    assert (image["sha256"], image["caption"]) == (hashlib.sha256(cat).hexdigest(), "A cat")
    assert (bill["file_name"], bill["mime"], bill.get("quote")) == ("bill.pdf", "application/pdf", None)
    assert (place["name"], card["name"], poll["options"]) == ("Berlin", "Grace", ["Now", "Later"])
    assert (text["text"], text["reactions"]) == ("second", {number: "\N{SPARKLES}"})
    assert gone["deleted_by"] == number
    assert last["quote"]["id"] == asked["id"]
    ada.write(number, "group")
    wait_until(lambda: any(one.startswith("https://chat.") for one in answers(ada)), "there is no link")
    assert "2 of us" in answers(ada)


def test_a_handler_that_fails_is_tried_again_and_sends_nothing_twice(
    service: Service, ada: Contact, number: str
) -> None:
    ada.write(number, "fail")
    # The second attempt comes after 5 s, the third one after 30 s, the fifth one after many minutes.
    service.wait_for_log("fail failed, attempt 2")
    assert answers(ada) == ["once"]
    said = "\n".join(service.log)
    assert "fail failed, attempt 1: ValueError, at" in said
    assert "my_bot.py:18 fail" in said
    assert service.command("consumer", "pause", "echo").stdout.startswith("echo: paused, ")

    def try_now() -> bool:
        service.command("consumer", "resume", "echo")
        return answers(ada) == ["once", "attempt 5"]

    wait_until(try_now, "it is not tried at once")
    assert service.command("consumer", "dead", "echo").stdout == "echo has no dead letters\n"
    done = service.command("consumer", "replay", "echo", "evt_support_1", check=False)
    said = bare(done.stderr)
    assert "echo has no dead letter of this event: `orchestrator consumer dead echo` lists" in said


def test_a_handler_that_hangs_is_ended_and_others_are_not_lost(
    service: Service, ada: Contact, number: str, make_number: Callable[[], str]
) -> None:
    (bot,) = bots_of(service)
    ada.write(number, "hang")
    other = Contact(make_number(), ada.sandbox)
    ada.sandbox.add_phone(other.number, "Bob")
    other.write(number, "and me?")
    until_answered(other, "You said and me?")
    service.wait_for_log("a handler cannot be ended, so the process ends")
    until_answered(ada, "hung once")
    assert bots_of(service) != [bot]


def test_a_bot_that_is_killed_loses_nothing(service: Service, ada: Contact, number: str) -> None:
    wanted = []
    for part in range(3):
        for count in range(5):
            ada.write(number, f"{part} {count}")
            wanted.append(f"You said {part} {count}")
        for pid in bots_of(service):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: set(answers(ada)) == set(wanted), "something is lost")
    assert list(dict.fromkeys(answers(ada))) == wanted


def test_a_gateway_that_is_killed_loses_nothing(service: Service, ada: Contact, number: str) -> None:
    wanted = []
    for part in range(3):
        for count in range(5):
            ada.write(number, f"{part} {count}")
            wanted.append(f"You said {part} {count}")
        for pid in processes_of(service, "orchestrator.gateway"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    wait_until(lambda: set(answers(ada)) == set(wanted), "something is lost")
    assert list(dict.fromkeys(answers(ada))) == wanted


def bots_of(service: Service) -> list[int]:
    return processes_of(service, "orchestrator.bots")


def processes_of(service: Service, module: str) -> list[int]:
    """Return the processes of the service that run a package."""
    found = []
    for process in service.processes():
        with contextlib.suppress(psutil.Error):
            if any(f"{module!r}" in part for part in process.cmdline()):
                found.append(process.pid)
    return found


def test_a_bot_of_the_service_reaches_nothing_but_its_folder(
    sandbox: SandboxProcess, folder: Path, ada: Contact, number: str
) -> None:
    """The probe runs in a bot that the service has started."""
    (folder / "bots").mkdir()
    (folder / "bots/my_bot.py").write_text(PROBE)
    bots = {"echo": {"app": "my_bot:bot", "path": str(folder / "bots"), "timeout": "60s"}}
    with make(sandbox, folder, bots=bots) as service:
        service.pair("support", number)
        service.wait_for_log("the bot is ready")
        (bot,) = bots_of(service)
        own = service.state / "bots/echo"
        others = {
            one.name().replace(" ", "-") + f"-{one.pid}": one.pid
            for one in service.processes()
            if one.pid not in (bot, service.pid)
        }
        files: dict[str, list[str]] = {"configuration": [str(service.config_file)]}
        for path in sorted(service.state.rglob("*")):
            if not path.is_relative_to(own) and not own.is_relative_to(path) and not path.is_socket():
                files.setdefault(path.relative_to(service.state).parts[0], []).append(str(path))
        with abstract_socket() as abstract:
            aims = Aims(
                own=(str(own),),
                files={
                    "state folder": (str(service.state),),
                    **{door: tuple(paths) for door, paths in files.items()},
                },
                folders=("/tmp", "/var/tmp", "/dev/shm", str(folder), str(folder / "bots")),
                processes={"service": service.pid, **others},
                sockets={"control socket": str(service.client.path), "abstract socket": abstract},
            )
            (folder / "bots/aims.json").write_text(aims.as_json())
            ada.write(number, "probe")
            until_answered(ada, "probed")
        assert {"sessions", "messages", "gateway", "configuration"} <= {*files}
        findings = report.from_json((own / "findings.json").read_text())
    # Root sees how many files others have open: their numbers, and nothing of what they are.
    assert [one for one in not_closed(findings) if one.what != "list /proc/PID/fd"] == []
