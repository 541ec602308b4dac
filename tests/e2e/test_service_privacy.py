"""Nothing that the service says, in any place, gives away what is secret or somebody's own."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from support.onlooker import read_code
from support.service import PATIENCE, Json, Service
from support.terminal import Terminal

from orchestrator.sandbox.process import SandboxProcess

pytestmark = pytest.mark.both_stores

TEXT = "meet me at the old bridge at noon"
CAPTION = "the bridge as it was in spring"
SECRET_WORD = "proxy-password-8341"
SENDER = "Ada Lovelace of London"


def process_lines(service: Service) -> list[str]:
    """Return what `ps` shows anybody of the service's processes."""
    lines = []
    for process in service.processes():
        try:
            lines.append(f"{process.pid} {process.name()} {' '.join(process.cmdline())}")
        except psutil.NoSuchProcess:
            continue
    return lines


def test_no_secret_is_said_anywhere(
    sandbox: SandboxProcess, make_number: Callable[[], str], folder: Path
) -> None:
    client = sandbox.client
    support, sales, ada = make_number(), make_number(), make_number()
    accounts: dict[str, Json] = {
        "support": {"proxy": f"http://user:{SECRET_WORD}@127.0.0.1:{sandbox.port}"},
        "sales": {"phone": sales},
    }
    secrets: dict[str, str] = {"a text": TEXT, "a caption": CAPTION, "a password": SECRET_WORD}
    secrets |= {
        f"number of {who}": number[1:] for who, number in (("us", support), ("sales", sales), ("ada", ada))
    }
    said: dict[str, str] = {}

    def hide_code(text: str) -> None:
        parts = text.rpartition("#")[2].split(",")
        for number, part in enumerate((text, *parts[:4])):
            secrets[f"part {number} of the code after {len(secrets)} others"] = part

    with Service(folder, sandbox, accounts, log_level="debug") as service:

        def ask(*arguments: str) -> None:
            done = service.command(*arguments, check=False)
            said[f"orchestrator {' '.join(arguments)}"] = done.stdout + done.stderr

        # Linked by a picture, and by characters.
        png = service.wait_for_code("support").read_bytes()
        hide_code(read_code(png))
        said["ps while pairing"] = "\n".join(process_lines(service))
        for name in accounts:
            ask("explain", name)
        ask("list")
        # The same again, if the machine is not very slow.
        png = service.wait_for_code("support").read_bytes()
        hide_code(read_code(png))
        client.scan(support, png=png)
        service.wait_for_state("support", "connected")
        with Terminal(
            service.command_line("repair", "sales", "--yes", "--code"), service.environment, folder
        ) as terminal:
            terminal.until(lambda text: re.search(r"\b\w{4}-\w{4}\b", text), "a code")
            code = re.findall(r"\b\w{4}-\w{4}\b", terminal.text)[-1]
            secrets |= {"a pairing code": code, "its characters": code.replace("-", "")}
            said["ps while pairing by code"] = "\n".join(process_lines(service))
            ask("explain", "sales")
            ask("list", "--json")
            client.enter_code(sales, code)
            assert terminal.exit_code() == 0
        # The code itself was for this terminal's eyes.
        said["orchestrator repair"] = terminal.text.replace(code, "")

        # Messages: to both, from one who is known and one who is not.
        client.add_phone(ada, SENDER)
        since = client.last_event()
        texts = {client.send_text(sender, support, TEXT) for sender in (ada, sales)}
        texts.add(client.send_media(ada, support, "image", b"\x89PNG no picture" * 50, caption=CAPTION))
        for message in texts:
            client.wait_for("receipt", PATIENCE, since, id=message)
        for name in accounts:
            for number, key in enumerate(service.kept.secrets(name)):
                secrets[f"key {number} of {name}"] = key

        # What goes wrong is told in more words than what goes well.
        for fault in ("reset", "stream-error"):
            since = client.last_event()
            client.fault(fault, support)
            client.wait_for("online", PATIENCE, since, phone=support)
            service.wait_for_state("support", "connected")
        client.fault("failure", sales, reason=409, message=f"not {sales} again")
        ask("restart", "sales")
        service.wait_for_entry("sales", kind="refused")
        service.wait_for_state("sales", "connected")
        pid = service.child("support")
        client.unlink(support)
        hide_code(read_code(service.wait_for_code("support", after=pid).read_bytes()))
        for arguments in (
            ("list",),
            ("list", "--json"),
            ("list", "--check"),
            ("explain", "support"),
            ("explain", "support", "--json"),
            ("explain", "sales", "--entries", "1000"),
            ("doctor",),
            ("doctor", "--json"),
            ("reload",),
            ("repair", "support", "--yes", "--no-wait"),
        ):
            ask(*arguments)
        service.config_file.write_text(
            service.config_file.read_text().replace("phone: ", "phone: 0").replace("http://", "ttp://")
        )
        ask("reload")
        said["ps"] = "\n".join(process_lines(service))
        service.stop()
        ask("list")
        ask("run")
        ask("explain", "support")

        said["the log"] = "\n".join(service.log)
        assert service.kept.status("support")["linked_phone"] == support[1:]
        said |= dict(service.kept.texts())

    # It is the library's whole log, and it was there when things happened.
    for sign in ("Emitting QR code", "<message ", "Successfully paired", "Uploading"):
        assert sign in said["the log"]
    kept = {"status.json", "timeline/support.jsonl", "timeline/sales.jsonl"}
    if service.kept is not service.files:
        kept = {"orchestrator.status", "orchestrator.history"}
    assert kept <= said.keys()
    assert len(secrets) > 200
    found = [
        f"{what} in {where}"
        for where, text in said.items()
        for what, secret in secrets.items()
        if secret in text
    ]
    assert not found
    assert not [where for where, text in said.items() if SENDER in text]
