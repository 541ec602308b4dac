"""What a bot can reach, tried from inside of one."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path

import pytest
from support.bot_process import BotProcess, go
from support.probed import abstract_socket, as_nobody, give, not_closed, python_path

from orchestrator.consumers.outcomes import Delivered
from orchestrator.system.probe import report
from orchestrator.system.probe.report import Aims

PROBE = """
from pathlib import Path
from orchestrator.bots import Bot, Message
from orchestrator.system.probe import attempts, report

bot = Bot()

@bot.on_message()
def probe(message: Message) -> None:
    aims = report.Aims.from_json((Path(__file__).parent / "aims.json").read_text())
    Path("findings.json").write_text(report.as_json(attempts.try_all(aims)))
"""
SIBLING = (
    "import time\nfrom orchestrator.system import cores\n"
    "cores.keep_out_of_cores()\nprint('ready', flush=True)\ntime.sleep(600)\n"
)
"""Any other process of the service's."""
NUMBERS = "list /proc/PID/fd"
"""Root sees how many files others have open: their numbers, and nothing of what they are."""


@pytest.mark.timeout(120)
@pytest.mark.parametrize("user", ["nobody", "root"])
def test_a_bot_reaches_nothing_but_its_own_folder(tmp_path: Path, user: str) -> None:
    if user == "root" and os.geteuid() != 0:
        pytest.skip("this is not root")
    python = as_nobody() if user == "nobody" else [sys.executable]
    state = tmp_path / "state"
    secrets = {
        "sessions": [state / "sessions/support/support.sqlite3"],
        "messages": [state / "messages/support/inbox.sqlite3"],
        "tokens": [state / "tokens/tokens.json"],
        "gateway": [state / "gateway/consumers.sqlite3"],
        "configuration": [tmp_path / "config/accounts.yaml", tmp_path / "config/crm.secret"],
        "another bot's folder": [state / "bots/other/kept"],
    }
    for path in (*(path for paths in secrets.values() for path in paths), state / "sessions/decoy"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("somebody else's")
    bot = BotProcess(
        tmp_path,
        PROBE,
        python=python,
        environment={"PYTHONPATH": python_path()},
        closed=(state, tmp_path / "config"),
    )
    if user == "nobody":
        tmp_path.chmod(0o755)
        give(tmp_path)

    async def test() -> None:
        with (
            abstract_socket() as abstract,
            socket.socket(socket.AF_UNIX) as control,
        ):
            control.bind(str(state / "control.sock"))
            control.listen()
            sibling = await asyncio.create_subprocess_exec(
                *python,
                "-P",
                "-c",
                SIBLING,
                cwd="/",
                env={"PYTHONPATH": python_path()},
                stdout=asyncio.subprocess.PIPE,
            )
            assert sibling.stdout is not None
            assert await sibling.stdout.readline()
            aims = Aims(
                own=(str(bot.scratch),),
                files={
                    "state folder": (str(state),),
                    **{door: tuple(map(str, paths)) for door, paths in secrets.items()},
                },
                decoys=(str(state / "sessions/decoy"),),
                folders=("/tmp", "/var/tmp", "/dev/shm", str(bot.path)),
                processes={"service": os.getpid(), "sibling": sibling.pid},
                sockets={"control socket": str(state / "control.sock"), "abstract socket": abstract},
            )
            (bot.path / "aims.json").write_text(aims.as_json())
            if user == "nobody":
                give(tmp_path)
            try:
                async with bot.running():
                    outcome = await bot.deliver()
                    assert outcome == Delivered(), f"{outcome}\n{bot.said}"
            finally:
                sibling.kill()
                await sibling.wait()

    go(test, 100)
    findings = report.from_json((bot.scratch / "findings.json").read_text())
    log = {f"file, write, {bot.log}", f"file, read and write, {bot.log}"}
    left = [
        one
        for one in not_closed(findings)
        if one.detail not in log and (user != "root" or one.what != NUMBERS)
    ]
    assert left == []
