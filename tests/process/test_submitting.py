"""How messages of clients reach the service: with their files, once, and not too many at a time."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.http_api import StandInOutboxes, StandInParent, no_pause
from support.http_client import in_loop, until

from orchestrator.access.scopes import LOCAL, bot
from orchestrator.accounts.acts import BadAct
from orchestrator.consumers.settings import Http, Tcp
from orchestrator.errors import NotRunning, OrchestratorError
from orchestrator.gateway import previews
from orchestrator.gateway import sending as module
from orchestrator.gateway.links import Links
from orchestrator.gateway.sending import NotSent, NumberUnknown, Submitter, check
from orchestrator.gateway.uploads import Uploads
from orchestrator.sending.row import State
from orchestrator.sending.turns import NOT_ON_WHATSAPP

TO = "+4915100002"
TEXT = {"to": TO, "text": "Hi"}


class Setting:
    """A submitter, and what is around it."""

    def __init__(self, folder: Path, port: int = 80) -> None:
        http = Http((Tcp("127.0.0.1", 1),), link_ports=(port,), link_networks=("127.0.0.0/8",))
        self.parent = StandInParent(["support", "sales"])
        self.uploads = Uploads(folder)
        self.links = Links(ssl.create_default_context(), lambda: http, pause=no_pause)
        self.submitter = Submitter(
            self.parent, self.uploads, self.links, StandInOutboxes(self.parent), lambda _: 1000
        )

    async def upload(self, data: bytes, name: str | None = None) -> str:
        async def pieces() -> AsyncIterator[bytes]:
            yield data

        return (await self.uploads.save(pieces(), "support", "local local", most=1 << 20, name=name)).id

    @property
    def sent(self) -> list[Any]:
        return [arguments for _, command, arguments in self.parent.asked if command == "send"]


def stored(folder: Path) -> list[Path]:
    return list(folder.rglob("uploads/*"))


async def key_of(work: Awaitable[object]) -> str:
    with pytest.raises(OrchestratorError) as caught:
        await work
    return caught.value.key


@in_loop
async def test_a_text_goes_to_the_service_as_it_is(tmp_path: Path) -> None:
    one = Setting(tmp_path)
    done = await one.submitter.submit(LOCAL, "support", {**TEXT, "tag": "t"}, expires=60.0)
    assert (done.row["row"], done.row["state"], done.again) == (1, "queued", False)
    assert one.sent == [{"name": "support", "message": {**TEXT, "tag": "t"}, "wait": 0, "expires": 60.0}]
    assert "Hi" not in repr(done)
    with pytest.raises(BadAct):
        await one.submitter.submit(LOCAL, "support", {"to": TO, "text": ""})
    assert len(one.sent) == 1


@in_loop
async def test_a_file_goes_along_and_a_document_has_its_name(tmp_path: Path) -> None:
    one = Setting(tmp_path)
    media = await one.upload(b"%PDF-1.7", "bill.pdf")
    for more, name in (({}, "bill.pdf"), ({"file_name": "other.pdf"}, "other.pdf")):
        await one.submitter.submit(LOCAL, "support", {"to": TO, "kind": "document", "media": media, **more})
        assert one.parent.files[-1] == b"%PDF-1.7"
        assert one.sent[-1]["message"]["file_name"] == name
    await one.submitter.submit(LOCAL, "support", {"to": TO, "kind": "image", "media": media})
    assert "file_name" not in one.sent[-1]["message"]
    assert await key_of(
        one.submitter.submit(LOCAL, "sales", {"to": TO, "kind": "image", "media": media})
    ) == ("file_missing")
    large = await one.upload(bytes(1001))
    assert await key_of(
        one.submitter.submit(LOCAL, "support", {"to": TO, "kind": "document", "media": large})
    ) == ("file_too_large")
    assert len(one.sent) == 3


async def serve(bodies: list[bytes]) -> tuple[asyncio.Server, int]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = bodies.pop(0)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


@in_loop
async def test_a_link_is_fetched_once_for_a_key(tmp_path: Path) -> None:
    bodies = [b"first", b"second", b"third"]
    server, port = await serve(bodies)
    one = Setting(tmp_path, port)
    message = {"to": TO, "kind": "document", "link": f"http://127.0.0.1:{port}/a/bill.txt"}
    first = await one.submitter.submit(LOCAL, "support", message, "key-1")
    again = await one.submitter.submit(LOCAL, "support", message, "key-1")
    assert (first.again, again.again, first.row["row"], again.row["row"]) == (False, True, 1, 1)
    assert one.parent.files == [b"first", b"first"]
    assert bodies == [b"second", b"third"]
    assert "link" not in one.sent[0]["message"]
    assert one.sent[0]["message"]["file_name"] == "bill.txt"
    # Another client's key is another key, and without a key the file is gone once it was sent.
    await one.submitter.submit(bot("echo", None), "support", message, "key-1")
    await one.submitter.submit(LOCAL, "support", message)
    assert one.parent.files[2:] == [b"second", b"third"]
    assert len(stored(tmp_path)) == 2
    server.close()


@in_loop
async def test_a_link_to_a_file_that_is_too_large_for_its_kind_is_refused(tmp_path: Path) -> None:
    server, port = await serve([bytes(1001)])
    one = Setting(tmp_path, port)
    message = {"to": TO, "kind": "image", "link": f"http://127.0.0.1:{port}/"}
    assert await key_of(one.submitter.submit(LOCAL, "support", message)) == "file_too_large"
    for link in ("file:///etc/passwd", "/etc/passwd", "http://169.254.169.254/"):
        assert await key_of(one.submitter.submit(LOCAL, "support", {**message, "link": link})) == (
            "link_unusable"
        )
    assert one.sent == []
    assert stored(tmp_path) == []
    server.close()


PAGE = b"""<html><head><title>The shop</title><meta name="description" content="All there is">
<meta property="og:image" content="/picture.jpg"></head>"""


@contextlib.asynccontextmanager
async def pages(answers: dict[str, tuple[str, bytes]]) -> AsyncIterator[tuple[int, list[str]]]:
    """Run a server with these pages; yield its port, and what it was asked for."""
    asked: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
        asked.append(path)
        kind, body = answers.get(path, ("", b""))
        status = b"200 OK" if kind else b"404 Not Found"
        head = f"Content-Type: {kind}\r\nContent-Length: {len(body)}".encode()
        writer.write(b"HTTP/1.1 " + status + b"\r\n" + head + b"\r\n\r\n" + body)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], asked
    finally:
        server.close()


@in_loop
async def test_a_link_is_shown_with_what_its_page_says(tmp_path: Path) -> None:
    async with pages({"/": ("text/html; charset=utf-8", PAGE), "/picture.jpg": ("image/jpeg", b"JPEG")}) as (
        port,
        asked,
    ):
        one = Setting(tmp_path, port)
        link = f"http://127.0.0.1:{port}/"
        for wanted in (False, True):
            message = {"to": TO, "text": f"Look: {link}.", "link_preview": wanted}
            await one.submitter.submit(LOCAL, "support", message)
        assert asked == ["/", "/picture.jpg"]
        ((preview, picture),) = one.parent.previews
        assert preview == {"url": link, "title": "The shop", "description": "All there is"}
        assert picture == b"JPEG"
        assert len(one.sent) == 2
        # A client cannot write a preview by itself.
        with pytest.raises(BadAct):
            await one.submitter.submit(LOCAL, "support", {**TEXT, "preview": preview})


@pytest.mark.parametrize(
    ("path", "answers", "shown"),
    [
        ("/", {"/": ("text/html", PAGE)}, True),  # its picture is not there
        ("/", {"/": ("text/html", PAGE), "/picture.jpg": ("image/jpeg", bytes(3 << 20))}, True),
        ("/", {"/": ("text/html", PAGE + b" " * (1 << 20))}, True),
        ("/", {"/": ("text/html", b" " * (1 << 20) + PAGE)}, False),
        ("/", {"/": ("text/html", bytes(9 << 20))}, False),
        ("/", {"/": ("text/plain", PAGE)}, False),
        ("/", {"/": ("image/jpeg", PAGE)}, False),
        ("/nothing", {}, False),
    ],
)
@in_loop
async def test_a_text_is_sent_whatever_becomes_of_its_preview(
    path: str, answers: dict[str, tuple[str, bytes]], shown: bool, tmp_path: Path
) -> None:
    async with pages(answers) as (port, _):
        one = Setting(tmp_path, port)
        message = {"to": TO, "text": f"http://127.0.0.1:{port}{path}", "link_preview": True}
        done = await one.submitter.submit(LOCAL, "support", message)
        assert done.row["state"] == "queued"
        assert [picture for _, picture in one.parent.previews] == ([b""] if shown else [])


@in_loop
async def test_a_page_inside_is_not_looked_at_and_a_picture_inside_is_not_either(tmp_path: Path) -> None:
    inside = PAGE.replace(b"/picture.jpg", b"http://169.254.169.254/secret")
    async with pages({"/": ("text/html", inside)}) as (port, asked):
        one = Setting(tmp_path, port)
        for link in ("http://169.254.169.254/", "http://10.0.0.1/", f"http://127.0.0.1:{port}/"):
            await one.submitter.submit(LOCAL, "support", {"to": TO, "text": link, "link_preview": True})
        assert asked == ["/"]
        assert [picture for _, picture in one.parent.previews] == [b""]


@in_loop
async def test_a_page_that_drips_holds_a_text_up_for_so_long_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(previews, "SECONDS", 0.3)

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.01)
        writer.close()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    one = Setting(tmp_path, port)
    message = {"to": TO, "text": f"http://127.0.0.1:{port}/", "link_preview": True}
    assert (await one.submitter.submit(LOCAL, "support", message)).row["state"] == "queued"
    assert one.parent.previews == []
    server.close()
    await until(lambda: not server._active_count)  # type: ignore[attr-defined]


@in_loop
async def test_a_key_that_is_under_way_is_not_used_again(tmp_path: Path) -> None:
    one = Setting(tmp_path)
    one.parent.go.clear()
    first = asyncio.ensure_future(one.submitter.submit(LOCAL, "support", TEXT, "key-1"))
    await until(lambda: one.sent)
    assert await key_of(one.submitter.submit(LOCAL, "support", TEXT, "key-1")) == "idempotency_running"
    others = [
        asyncio.ensure_future(one.submitter.submit(*who, TEXT, key))
        for who, key in (((LOCAL, "sales"), "key-1"), ((bot("echo", None), "support"), "key-1"),
                         ((LOCAL, "support"), "key-2"))
    ]  # fmt: skip
    await until(lambda: len(one.sent) == 4)
    one.parent.go.set()
    assert not (await first).again
    assert not any(done.again for done in await asyncio.gather(*others))
    assert (await one.submitter.submit(LOCAL, "support", TEXT, "key-1")).again
    assert await key_of(one.submitter.submit(LOCAL, "support", {**TEXT, "text": "Ho"}, "key-1")) == (
        "idempotency_conflict"
    )
    one.parent.errors["send"] = NotRunning("x")
    assert await key_of(one.submitter.submit(LOCAL, "support", TEXT, "key-3")) == "not_running"
    del one.parent.errors["send"]
    assert not (await one.submitter.submit(LOCAL, "support", TEXT, "key-3")).again


@in_loop
async def test_one_account_does_not_take_all_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_AT_ONCE", 2)
    one = Setting(tmp_path)
    one.parent.go.clear()
    waiting = [asyncio.ensure_future(one.submitter.submit(LOCAL, "support", TEXT)) for _ in range(2)]
    await until(lambda: len(one.sent) == 2)
    assert await key_of(one.submitter.submit(LOCAL, "support", TEXT)) == "service_busy"
    waiting.append(asyncio.ensure_future(one.submitter.submit(LOCAL, "sales", TEXT)))
    await until(lambda: len(one.sent) == 3)
    one.parent.go.set()
    await asyncio.gather(*waiting)
    await one.submitter.submit(LOCAL, "support", TEXT)


@in_loop
async def test_a_long_wait_is_made_here_and_ends_with_the_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.001)
    one = Setting(tmp_path)
    waiting = asyncio.ensure_future(one.submitter.submit(LOCAL, "support", TEXT, wait=1000.0))
    await until(lambda: one.parent.rows.get("support"))
    assert one.sent[0]["wait"] == 2.0
    (row,) = one.parent.rows["support"]
    for state in (State.SENDING, State.UNKNOWN):
        one.parent.rows["support"][0] = replace(row, state=state)
        await asyncio.sleep(0.01)
        assert not waiting.done()
    one.parent.rows["support"][0] = replace(row, state=State.SENT, message="3EB0")
    done = await waiting
    assert (done.row["state"], done.row["id"]) == ("sent", "3EB0")
    # The wait is over before the row: it is as it was.
    assert (await one.submitter.submit(LOCAL, "support", TEXT, wait=2.01)).row["state"] == "queued"


@pytest.mark.parametrize("state", State)
def test_a_row_that_is_not_sent_is_an_error(state: State) -> None:
    row = {"row": 1, "state": str(state), "why": "x"}
    if state in (State.FAILED, State.EXPIRED, State.TAKEN_BACK):
        with pytest.raises(NotSent) as caught:
            check(row)
        assert caught.value.row == row
        assert caught.value.key == "not_sent"
        with pytest.raises(NumberUnknown) as caught:
            check({**row, "why": NOT_ON_WHATSAPP})
        assert caught.value.key == "number_unknown"
    else:
        check(row)
