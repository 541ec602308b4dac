"""What a client process needs so that it takes the sandbox for WhatsApp, and what happens without it."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import StartNeonize
from support.linked import PATIENCE, devices, link, log_in, proxy_of
from support.neonize_process import NeonizeProcess

from orchestrator.sandbox.environment import HOOK, ROOT_KEY_VARIABLE
from orchestrator.sandbox.process import SandboxProcess

PROXY_VARIABLES = ("HTTPS_PROXY", "https_proxy")

PROGRAM = """
import sys
from neonize.client import NewClient
from neonize.events import ConnectedEv

client = NewClient(sys.argv[1])

@client.event.qr
def show(_, text):
    print("CODE", text.decode(), flush=True)

@client.event(ConnectedEv)
def connected(_, __):
    print("CONNECTED", flush=True)

client.connect()
"""
"""A bot as a user of neonize would write it: nothing in it knows of a sandbox."""

PARENT = f"""
import multiprocessing
import sys

def child(database):
    sys.argv = ["bot", database]
    exec({PROGRAM!r}, {{}})

if __name__ == "__main__":
    process = multiprocessing.get_context(sys.argv[2]).Process(target=child, args=(sys.argv[1],))
    process.start()
    process.join()
"""


@contextmanager
def running(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Run a program and, in the end, kill it with all its children."""
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def said(process: subprocess.Popen[str], word: str) -> str:
    """Return what follows a word at the beginning of a line; the time limit is that of the test."""
    assert process.stdout is not None
    for line in process.stdout:
        # What neonize prints without a line feed may stand in front.
        _, found, rest = line.rstrip("\n").partition(word)
        if found:
            return rest.strip()
    raise AssertionError(f"the program ended without {word}: {process.wait()}")


def bare_environment() -> dict[str, str]:
    """What the system itself needs, and nothing of a sandbox."""
    return {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}


# Programs that know nothing of a sandbox


def test_a_program_with_nothing_but_the_printed_environment_connects(
    sandbox: SandboxProcess, number: str, tmp_path: Path
) -> None:
    bot = tmp_path / "bot.py"
    bot.write_text(PROGRAM)
    control = f"http://127.0.0.1:{sandbox.about['control_port']}"
    printed = subprocess.run(
        [sys.executable, "-m", "orchestrator", "sandbox", "env", "--control", control],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    ).stdout
    script = f'{printed}exec "$0" "$@"'
    command = ["sh", "-c", script, sys.executable, str(bot), str(tmp_path / "bot.sqlite3")]
    with running(command, bare_environment()) as process:
        sandbox.client.scan(number, text=said(process, "CODE"))
        said(process, "CONNECTED")
        assert list(devices(sandbox.client, number)) == [1]


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_the_children_of_a_program_connect_too(
    sandbox: SandboxProcess, number: str, tmp_path: Path, method: str
) -> None:
    parent = tmp_path / "parent.py"
    parent.write_text(PARENT)
    command = [sys.executable, str(parent), str(tmp_path / "bot.sqlite3"), method]
    with running(command, sandbox.environment(bare_environment())) as process:
        sandbox.client.scan(number, text=said(process, "CODE"))
        said(process, "CONNECTED")


# What must not be missing


def failure(bot: NeonizeProcess) -> str:
    """Return what connect() raises."""
    bot.command("connect")
    raised = bot.wait_for("connect_raised", PATIENCE)
    assert raised["class"] == "NeonizeError"
    return str(raised["message"])


@pytest.mark.parametrize("missing", [ROOT_KEY_VARIABLE, "PYTHONPATH"])
def test_without_the_key_or_the_hook_the_server_is_not_taken_for_whatsapp(
    sandbox: SandboxProcess, tmp_path: Path, missing: str
) -> None:
    environment = sandbox.environment()
    assert environment["PYTHONPATH"].split(os.pathsep)[0] == str(HOOK)
    del environment[missing]
    # Bots of other tests may be about to come back to this sandbox: this one is known by its user.
    environment |= dict.fromkeys(PROXY_VARIABLES, proxy_of(sandbox, f"without-{missing}"))
    since = sandbox.client.last_event()
    with NeonizeProcess(tmp_path / "bot.sqlite3", environment) as bot:
        assert failure(bot) == (
            "noise handshake failed: failed to verify server cert:"
            " failed to verify intermediate cert signature"
        )
        opened = sandbox.client.wait_for("opened", PATIENCE, since, user=f"without-{missing}")
        sandbox.client.wait_for("closed", PATIENCE, since, connection=opened["connection"])
    events = [e for e in sandbox.client.events(since) if e.get("connection") == opened["connection"]]
    assert [e["event"] for e in events] == ["opened", "closed"]  # it has said nothing of itself


def test_without_the_authority_the_server_is_not_trusted(sandbox: SandboxProcess, tmp_path: Path) -> None:
    environment = sandbox.environment()
    del environment["SSL_CERT_FILE"]
    since = sandbox.client.last_event()
    with NeonizeProcess(tmp_path / "bot.sqlite3", environment) as bot:
        assert "certificate signed by unknown authority" in failure(bot)
        refused = sandbox.client.wait_for("refused", PATIENCE, since)
    assert refused["why"].startswith("TLS: ")


# Proxies of a program's own


def opened_by(sandbox: SandboxProcess, user: str, since: int) -> list[dict[str, Any]]:
    """Return the connections that a user of the proxy has opened: other tests' bots may open some, too."""
    events = sandbox.client.events(since)
    return [event for event in events if event["event"] == "opened" and event.get("user") == user]


def test_an_http_proxy_with_a_user_is_recorded_with_every_connection(
    sandbox: SandboxProcess, neonize: StartNeonize, number: str
) -> None:
    since = sandbox.client.last_event()
    bot = neonize(proxy=proxy_of(sandbox, "sales-br"))
    linked = link(bot, sandbox.client, number)
    opened = opened_by(sandbox, "sales-br", since)
    assert [(e["proxy"], e["user"], e["host"], e["port"]) for e in opened] == [
        ("http", "sales-br", "web.whatsapp.com", 443),  # to be linked
        ("http", "sales-br", "web.whatsapp.com", 443),  # to log in
    ]
    connection = devices(sandbox.client, number)[linked.device]
    assert connection == opened[-1]["connection"]
    users = {one["connection"]: one["proxy_user"] for one in sandbox.client.connections()}
    assert users[connection] == "sales-br"


def test_a_socks_proxy_with_a_user_needs_no_other_proxy(
    sandbox: SandboxProcess, number: str, tmp_path: Path
) -> None:
    environment = sandbox.environment()
    for name in PROXY_VARIABLES:
        del environment[name]
    proxy = f"socks5://sales-fr:secret@127.0.0.1:{sandbox.port}"
    since = sandbox.client.last_event()
    database = tmp_path / "bot.sqlite3"
    with NeonizeProcess(database, environment, proxy=proxy) as bot:
        link(bot, sandbox.client, number)
    with NeonizeProcess(database, environment, proxy=proxy) as bot:
        log_in(bot)
    opened = opened_by(sandbox, "sales-fr", since)
    assert [(e["proxy"], e["user"], e["host"], e["port"]) for e in opened] == [
        ("socks5", "sales-fr", "web.whatsapp.com", 443)
    ] * 3


def test_a_socks_proxy_and_that_of_the_environment_are_chained(
    sandbox: SandboxProcess, neonize: StartNeonize
) -> None:
    # The client asks the one for the other, which is no host of WhatsApp's: a trap worth a clear record.
    since = sandbox.client.last_event()
    assert failure(neonize(proxy=f"socks5://chained:secret@127.0.0.1:{sandbox.port}"))
    opened = sandbox.client.wait_for("opened", PATIENCE, since, user="chained")
    assert opened["proxy"] == "socks5"
    refused = sandbox.client.wait_for("refused", PATIENCE, since, connection=opened["connection"])
    assert refused["why"] == f"127.0.0.1:{sandbox.port} is not WhatsApp"


# Where else a program calls


def test_another_host_is_refused_and_recorded(sandbox: SandboxProcess) -> None:
    since = sandbox.client.last_event()
    connection = http.client.HTTPSConnection("127.0.0.1", sandbox.port, timeout=PATIENCE)
    connection.set_tunnel("example.org", 443, {"Proxy-Authorization": "Basic bWU6c2VjcmV0"})
    with pytest.raises(OSError, match="Tunnel connection failed: 502 Bad Gateway"):
        connection.request("GET", "/")
    connection.close()
    opened = sandbox.client.wait_for("opened", PATIENCE, since, user="me")
    refused = sandbox.client.wait_for("refused", PATIENCE, since, connection=opened["connection"])
    assert (refused["host"], refused["why"]) == ("example.org", "example.org:443 is not WhatsApp")


def test_plain_http_through_the_proxy_is_refused_and_recorded(sandbox: SandboxProcess) -> None:
    since = sandbox.client.last_event()
    connection = http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=PATIENCE)
    connection.request("GET", "http://example.org/secret")
    assert connection.getresponse().status == 502
    connection.close()
    refused = sandbox.client.wait_for("refused", PATIENCE, since, host="example.org")
    assert refused["why"] == "GET instead of CONNECT"
