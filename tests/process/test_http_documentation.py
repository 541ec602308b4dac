"""What docs/api.md shows works: its commands, and its configuration of proxies."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from support.http_api import RunningApi, running
from support.http_client import connect, in_loop, listener, raw, request
from support.ports import free_port

from orchestrator.consumers.settings import Http, Tcp

PAGE = (Path(__file__).resolve().parents[2] / "docs/api.md").read_text()
PUBLIC = "whatsapp.example.com"
SECONDS = 60


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


COMMANDS = [
    command
    for block in blocks("sh")
    for command in block.replace("\\\n", "").splitlines()
    if command.startswith("curl") and "--unix-socket" not in command
]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@in_loop
async def test_the_commands_of_the_page_work(tmp_path: Path) -> None:
    assert len(COMMANDS) > 30
    async with running(tmp_path, ["support"]) as api:
        host, port = api.address
        api.services.feed.add("support")
        api.services.feed.add_file("5577006791947779410", "support", b"x")
        api.services.parent.codes["sales"] = {"kind": "qr", "text": "2@x", "expires_at": 2e9}
        environment = {
            "API": f"http://{host}:{port}", "AUTH": f"Authorization: Bearer {api.token('crm')}",
            "PATH": "/usr/bin:/bin:/usr/local/bin", "HOME": str(tmp_path), "LC_ALL": "C.UTF-8",
        }  # fmt: skip
        (tmp_path / "receipt.pdf").write_bytes(b"%PDF-1.7")
        upload = await api.ask(
            "POST", "/api/accounts/support/media", token=api.token("up"), body=b"%PDF-1.7",
            headers={"Content-Type": "application/pdf"},
        )  # fmt: skip
        for command in COMMANDS:
            shown = command.replace('"media": "5577006791947779410"', f'"media": "{upload.json()["id"]}"')
            shown = shown.replace('"CURSOR"', '"[]"').replace("--max-time 5", "--max-time 1")
            process = await asyncio.create_subprocess_exec(
                "/bin/sh", "-c", shown, cwd=tmp_path, env=environment,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
            async with asyncio.timeout(SECONDS):
                output, _ = await process.communicate()
            assert process.returncode == 0, (command, output)


def nginx(folder: Path, port: int, upstream: int) -> list[str]:
    (block,) = blocks("nginx")
    block = re.sub(
        r"^ *ssl_.*\n", "", block.replace("listen 443 ssl", f"listen 127.0.0.1:{port}"), flags=re.MULTILINE
    )
    block = block.replace("127.0.0.1:8080", f"127.0.0.1:{upstream}")
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log stderr; events {{}}"
        f" http {{ access_log off; {temporary}\n{block} }}"
    )
    return ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]


def caddy(folder: Path, port: int, upstream: int) -> list[str]:
    (block,) = blocks("caddy")
    block = block.replace(f"{PUBLIC} {{", f"http://{PUBLIC}:{port} {{\n\tbind 127.0.0.1")
    block = block.replace("127.0.0.1:8080", f"127.0.0.1:{upstream}")
    (folder / "Caddyfile").write_text(f"{{\n\tadmin off\n\tauto_https off\n}}\n{block}")
    return ["caddy", "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]


PROXIES = {"nginx": nginx, "caddy": caddy}


@contextlib.asynccontextmanager
async def behind(
    folder: Path, make: Callable[[Path, int, int], list[str]]
) -> AsyncIterator[tuple[RunningApi, tuple[str, int]]]:
    sock = listener()
    http = Http((Tcp(*sock.getsockname()),), f"https://{PUBLIC}", trusted_proxies=("127.0.0.1",))
    async with running(folder, sock=sock, http=http) as api:
        port = free_port()
        command = make(folder, port, api.address[1])
        if shutil.which(command[0]) is None:
            pytest.skip(f"{command[0]} is not installed")
        process = await asyncio.create_subprocess_exec(
            *command, stderr=subprocess.DEVNULL, env={"PATH": _path(), "HOME": str(folder)}
        )
        try:
            async with asyncio.timeout(SECONDS):
                while True:
                    with contextlib.suppress(ConnectionError):
                        answer = await raw(("127.0.0.1", port), request("GET", "/healthz", host=PUBLIC))
                        if answer is not None and answer.status == 200:
                            break
                    await asyncio.sleep(0.05)
            yield api, ("127.0.0.1", port)
        finally:
            process.kill()  # Caddy waits for its clients otherwise
            await process.wait()


def _path() -> str:
    import os

    return os.environ["PATH"]


@pytest.mark.parametrize("make", PROXIES.values(), ids=PROXIES)
@in_loop
async def test_the_proxies_of_the_page_work(
    tmp_path: Path, make: Callable[[Path, int, int], list[str]]
) -> None:
    async with behind(tmp_path, make) as (api, address):
        token = api.token("good")

        async def ask(method: str, target: str, **more: object) -> tuple[int, bytes]:
            answer = await raw(address, request(method, target, host=PUBLIC, **more))  # type: ignore[arg-type]
            assert answer is not None
            return answer.status, answer.body

        assert (await ask("GET", "/api/accounts", token=token))[0] == 200
        body = {"to": "+4915100002", "text": "x" * 4000}
        assert (await ask("POST", "/api/accounts/support/messages", token=token, body=body))[0] == 200
        # The address of a client is the one that the proxy saw, whatever the client says.
        for number in range(30):
            headers = {"X-Forwarded-For": f"9.9.9.{number}"}
            status, _ = await ask("GET", "/api/accounts", token="orc_x", headers=headers)
        assert status == 429
        assert (await ask("GET", "/api/accounts", token=token))[0] == 200
        # Events go out at once.
        async with connect(address) as connection:
            connection.write(request("GET", "/api/events", host=PUBLIC, token=token))
            async with asyncio.timeout(SECONDS):
                await connection.reader.readuntil(b"id: ")
                event = api.services.feed.add("support")
                await connection.reader.readuntil(event.body)


HEAD = f"POST /api/accounts HTTP/1.1\r\nHost: {PUBLIC}\r\n".encode()
SMUGGLED = {
    "chunks and a length": HEAD + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
    "a length and chunks": HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\nG",
    "two lengths": HEAD + b"Content-Length: 3\r\nContent-Length: 30\r\n\r\nabc",
    "two hosts": b"GET /api/accounts HTTP/1.1\r\nHost: evil.example\r\nHost: "
    + PUBLIC.encode()
    + b"\r\n\r\n",
    "a folded line": HEAD + b"X: a\r\n Content-Length: 30\r\n\r\n",
    "bare line feeds": HEAD.replace(b"\r\n", b"\n") + b"Content-Length: 0\n\n",
    "an unknown coding": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("make", PROXIES.values(), ids=PROXIES)
@in_loop
async def test_nothing_is_smuggled_through_the_proxies_of_the_page(
    tmp_path: Path, make: Callable[[Path, int, int], list[str]]
) -> None:
    async with behind(tmp_path, make) as (api, address):
        token = api.token("good")
        for what, data in SMUGGLED.items():
            api.services.parent.asked.clear()
            answers = b""
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                async with connect(address) as connection:
                    connection.write(data + request("GET", "/api/accounts", host=PUBLIC, token=token)[1:])
                    connection.writer.write_eof()
                    answers = await connection.reader.read()
            # Caddy takes some for two requests, and so does the server. One that only the server sees has
            # an answer that its client does not get, but the next one.
            seen = len([one for one in api.services.parent.asked if one[1] == "list"])
            assert seen == answers.count(b'{"accounts":'), what
            answer = await raw(address, request("GET", "/api/accounts", host=PUBLIC, token=token))
            assert answer is not None
            assert answer.status == 200, what
