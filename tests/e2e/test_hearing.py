"""Whatever bytes the library hands over, they are stored or counted, and can be shown; nothing breaks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import jsonschema
from conftest import StartNeonize
from support.linked import link

from orchestrator.messages.inbox import Reader
from orchestrator.messages.rendering import form, render
from orchestrator.sandbox.process import SandboxProcess
from orchestrator.worker.library import protobufs

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "tests/support/hearing.py"
EXAMPLES = 3000
LONGEST = 1500.0
"""Seconds for what takes half a minute on an idle machine."""


def test_whatever_comes(neonize: StartNeonize, sandbox: SandboxProcess, number: str, tmp_path: Path) -> None:
    bot = neonize()
    link(bot, sandbox.client, number)
    bot.stop()
    folder = tmp_path / "messages"
    folder.mkdir(mode=0o700)
    environment = sandbox.environment()
    path = [environment.get("PYTHONPATH", ""), str(ROOT), str(ROOT / "tests")]
    environment["PYTHONPATH"] = os.pathsep.join(one for one in path if one)
    done = subprocess.run(
        [sys.executable, PROGRAM, bot.database, folder, str(EXAMPLES)],
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=LONGEST,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-6000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    assert min(seen[what] for what in ("stored", "refused", "nothing")) > EXAMPLES / 50, seen
    protobufs.load()
    with closing(Reader.open(folder)) as reader:
        shown = stored = last = 0
        while found := reader.after(last):
            for one in found:
                event = render(one, "support", lambda _, id_: next(iter(reader.find(id_)), None))
                if event is not None:
                    jsonschema.Draft202012Validator(form.schema(event["type"])).validate(event)
                    shown += 1
            stored, last = stored + len(found), found[-1].seq
    assert stored == seen["entries"] > EXAMPLES / 50
    assert shown > stored / 2
