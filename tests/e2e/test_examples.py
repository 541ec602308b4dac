"""The examples do what they say, with a service and a phone."""

from __future__ import annotations

import base64
import http.client
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.conversation import Contact
from support.linked import wait_until
from support.ports import free_port
from support.service import PATIENCE, ROOT, Service

from orchestrator.sandbox.process import SandboxProcess

EXAMPLES = ROOT / "examples"


@contextmanager
def running(*command: str, **environment: str) -> Iterator[Callable[[], str]]:
    """Run a program; yield what returns its next line."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}, start_new_session=True
    )
    lines: queue.Queue[str] = queue.Queue()
    assert process.stdout is not None
    output = process.stdout

    def read() -> None:
        for line in output:
            lines.put(line)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield lambda: lines.get(timeout=PATIENCE)
    finally:
        os.killpg(process.pid, 9)
        process.wait()
        thread.join()
        output.close()


def test_the_examples_get_what_a_phone_writes(
    sandbox: SandboxProcess, folder: Path, ada: Contact, make_number: Callable[[], str]
) -> None:
    if shutil.which("curl") is None:
        pytest.skip("there is no curl")
    number, api, hook = make_number(), free_port(), free_port()
    bots = folder / "bots"
    bots.mkdir()
    shutil.copy(EXAMPLES / "echo_bot.py", bots)
    secret = folder / "crm.secret"
    secret.write_text(f"whsec_{base64.b64encode(os.urandom(32)).decode()}\n")
    secret.chmod(0o600)
    settings: dict[str, Any] = {
        "http": {"listen": f"127.0.0.1:{api}"},
        "bots": {"echo": {"app": "echo_bot:bot", "path": str(bots)}},
        "webhooks": {"crm": {"url": f"http://127.0.0.1:{hook}/", "secret_file": str(secret)}},
    }
    receiver = (sys.executable, str(EXAMPLES / "webhook_receiver.py"), str(secret), str(hook))
    with (
        running(*receiver) as received,
        Service(folder, sandbox, {"support": {"messages": {"allow": "*"}}}, **settings) as service,
    ):
        service.pair("support", number)
        token = service.command("token", "add", "puller", "--scope", "read").stdout.split()[-1]
        pull = ("sh", str(EXAMPLES / "pull.sh"), "shell")
        with running(*pull, TOKEN=token, URL=f"http://127.0.0.1:{api}") as pulled:
            service.wait_for_log("the bot is ready")
            wait_until(
                lambda: "shell" in service.command("consumer", "list").stdout,
                "the script has fetched nothing",
            )
            ada.write(number, "Hello")
            wait_until(
                lambda: [one.get("text") for one in ada.sandbox.inbox(ada.number)] == ["You said Hello"],
                "the bot does not answer",
            )
            while not (line := received()).endswith("message.received\n"):
                assert line.startswith("evt_support_")
            while '"text":"Hello"' not in (line := pulled()):
                assert line.startswith('{"events":[')
        assert "shell" in service.command("consumer", "list").stdout


def test_an_own_bot_answers_by_the_commands_of_the_page(tmp_path: Path) -> None:
    page = (ROOT / "docs/bots.md").read_text()
    (part,) = re.findall(r"^## Try one without a phone$(.*?)^## ", page, re.DOTALL | re.MULTILINE)
    serve, service, bot, phone = re.findall(r"^```sh\n(.*?)^```", part, re.DOTALL | re.MULTILINE)
    port, control = free_port(), free_port()
    around = {
        "HOME": str(tmp_path), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "ORCHESTRATOR_SANDBOX_CONTROL": f"http://127.0.0.1:{control}", "PYTHONUNBUFFERED": "1",
    }  # fmt: skip
    serve = f"{serve.rstrip()} --port {port} --control-port {control}"
    with running("sh", "-ec", serve, **around) as served:
        while "listens for clients" not in served():
            pass
        with (
            running("sh", "-ec", service, **around),
            running("sh", "-ec", f"until [ -d ~/echo ]; do sleep 0.1; done\n{bot}", **around) as said,
        ):
            while "ready for all accounts" not in said():
                pass
            *writing, reading = phone.splitlines()
            subprocess.run(["sh", "-ec", "\n".join(writing)], env={**os.environ, **around}, check=True)

            def inbox() -> str:
                command = ["sh", "-ec", reading]
                return subprocess.run(
                    command, env={**os.environ, **around}, check=True, stdout=subprocess.PIPE, text=True
                ).stdout

            wait_until(lambda: "You said Hello" in inbox(), "the bot does not answer")


def test_the_receiver_refuses_what_is_not_signed(tmp_path: Path) -> None:
    secret, port = tmp_path / "secret", free_port()
    secret.write_text("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")
    with running(sys.executable, str(EXAMPLES / "webhook_receiver.py"), str(secret), str(port)):
        for signature in ("", "v1,", "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="):
            end = time.monotonic() + PATIENCE
            while True:
                client = http.client.HTTPConnection("127.0.0.1", port)
                try:
                    client.request("POST", "/", b"{}", {
                        "webhook-id": "evt_support_1", "webhook-timestamp": str(int(time.time())),
                        "webhook-signature": signature,
                    })  # fmt: skip
                    assert client.getresponse().status == 401
                    break
                except ConnectionRefusedError:  # it has just been started
                    assert time.monotonic() < end
                    time.sleep(0.05)
                finally:
                    client.close()


def test_the_tests_of_the_bots_pass() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-c",
            os.devnull,
            "-p",
            "no:cacheprovider",
            "test_echo_bot.py",
            "test_order_bot.py",
        ],
        cwd=EXAMPLES,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_bot_is_as_short_as_is_said() -> None:
    assert len((EXAMPLES / "echo_bot.py").read_text().splitlines()) <= 10
    code = (EXAMPLES / "webhook_receiver.py").read_text().splitlines()
    assert len([line for line in code if line]) <= 20
