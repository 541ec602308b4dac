"""The feed: what is new is heard at once, and what it hands on is what was kept."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from support.entries import ENTRIES, MEDIA_ID, SHA256
from support.inboxes import append, writing
from support.protobufs import ADA
from support.readers import reap, spec

from orchestrator.control.view import AccountView
from orchestrator.errors import NoSuchAccount, NotRunning, OrchestratorError
from orchestrator.gateway import news
from orchestrator.gateway.feed import Feed, FeedError
from orchestrator.gateway.reader import serving
from orchestrator.gateway.reader.maker import start_reader
from orchestrator.messages.database import DATABASE
from orchestrator.messages.rendering import form
from orchestrator.store import inboxes
from orchestrator.store.timeline import Timeline, TimelineEntry

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

VALIDATOR = jsonschema.Draft202012Validator(form.schema())
FILE = b"file"
ASKER = {"bot": "echo"}
OTHER_MEDIA = "4611686018427387000"


@pytest.fixture(autouse=True)
def room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let readers have more memory: they are copies of this process, which other tests have made large."""
    monkeypatch.setattr(serving, "MEMORY", 1 << 36)


class Service:
    """What the feed needs of the service."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.timeline = Timeline(state / "timeline")
        self.failure: OrchestratorError | None = None
        self.fetched: list[tuple[Any, str, str]] = []

    async def ask(self, asker: Any, command: str, /, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401
        if self.failure is not None:
            raise self.failure
        if command == "history":
            name, after, limit = (arguments[key] for key in ("name", "after", "limit"))
            entries = self.timeline.after(name, after, limit)
            return {"entries": entries, "newest": self.timeline.newest(name)}
        assert command == "media"
        self.fetched.append((asker, arguments["name"], arguments["media"]))
        path = put_file(self.state, arguments["name"], arguments["media"])
        return {"path": str(path)}


WHO = {"bot": "echo"}


class Ear:
    """Listens to a feed."""

    def __init__(self, feed: Feed) -> None:
        self._heard: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self.stop = feed.watch(lambda account, stream: self._heard.put_nowait((account, stream)))

    async def hears(self, account: str, stream: str = "messages") -> None:
        while await self._heard.get() != (account, stream):
            pass

    @property
    def is_quiet(self) -> bool:
        return self._heard.empty()

    def forget(self) -> None:
        while not self.is_quiet:
            self._heard.get_nowait()


def put_file(state: Path, account: str, media: str, data: bytes = FILE) -> Path:
    folder = state / "messages" / account / "media"
    folder.mkdir(exist_ok=True)
    path = folder / media
    path.write_bytes(data)
    return path


def view(name: str, state: str = "connected", **more: Any) -> AccountView:  # noqa: ANN401
    return AccountView(name, state, **more)


@asynccontextmanager
async def feeding(state: Path, *, watch: bool = True) -> AsyncIterator[tuple[Feed, Service, Ear]]:
    (state / "messages").mkdir(exist_ok=True)
    handle = start_reader(spec(state))
    if not watch and handle.watch is not None:
        os.close(handle.watch)
        handle = type(handle)(handle.pid, handle.control)
    service = Service(state)
    feed = Feed(state / "messages", handle, service)
    feed.changed([view("a"), view("b")])
    running = asyncio.create_task(feed.run())
    try:
        yield feed, service, Ear(feed)
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await feed.close()
        reap(handle)


@pytest.fixture
def no_looking(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave nothing but what the kernel tells."""
    monkeypatch.setattr(news, "SLOW_SECONDS", 1e6)
    return iter(())


@pytest.mark.usefixtures("no_looking")
def test_the_kernel_tells_what_is_new(tmp_path: Path) -> None:
    async def go() -> None:
        async with feeding(tmp_path) as (feed, _, ear):
            with writing(tmp_path, "a") as a:
                await ear.hears("a")  # its folder was made
                seq = 0
                for _ in range(20):
                    append(a, "text")
                    await ear.hears("a")
                    # Whoever was told finds the entry: the writer rings after SQLite shows it.
                    batch = await feed.after("a", "messages", seq, 10)
                    assert [event.seq for event in batch.events] == [seq + 1]
                    seq = batch.last
                    ear.forget()
            (tmp_path / "messages/a").rename(tmp_path / "messages/b")
            await ear.hears("b")
            ear.stop()

    asyncio.run(go())


def test_the_chat_of_a_message_is_found_by_its_id(tmp_path: Path) -> None:
    async def go() -> None:
        async with feeding(tmp_path) as (feed, _, _):
            assert await feed.chat_of("a", "3EB01") is None
            with writing(tmp_path, "a") as a:
                append(a, "text", id="3EB01")
                # Somebody else pretends to have sent a message of the same id, later.
                append(a, "text", id="3EB01", chat="111111111111111@lid", sender="111111111111111@lid")
                append(a, "status_read", id="3EB02")
            assert await feed.chat_of("a", "3EB01") == ENTRIES["text"].chat
            for other in ("3EB02", "3EB0UNKNOWN", "", "x" * 129, "no id"):
                assert await feed.chat_of("a", other) is None
            with pytest.raises(NoSuchAccount):
                await feed.chat_of("..", "3EB01")

    asyncio.run(go())


def test_without_the_kernel_inboxes_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(news, "FAST_SECONDS", 0.05)

    async def go() -> None:
        async with feeding(tmp_path, watch=False) as (feed, _, ear):
            with writing(tmp_path, "a") as a:
                for number in range(1, 4):
                    append(a, "text")
                    while (await feed.newest("a", "messages")) != number:
                        await ear.hears("a")
                    await ear.hears("a")

    asyncio.run(go())


def test_what_is_not_new_is_not_told_for_ever(tmp_path: Path) -> None:
    heard: list[str] = []
    told = news.News(tmp_path / "messages", None, lambda: ["a"], heard.append)
    with writing(tmp_path, "a") as inbox:
        for _ in range(10):
            told.look("a")
        assert len(heard) == news.LOOKS
        append(inbox, "text")
        for _ in range(10):
            told.look("a")
        assert len(heard) == 2 * news.LOOKS


def test_messages_are_events_of_the_promised_form(tmp_path: Path) -> None:
    async def go() -> None:
        async with feeding(tmp_path) as (feed, _, _):
            with writing(tmp_path, "a") as a:
                numbers = append(a, *ENTRIES)
                batch = await feed.after("a", "messages", 0, 500)
                assert batch.last == numbers[-1]
                assert not batch.more
                for event in batch.events:
                    body = json.loads(event.body)
                    VALIDATOR.validate(body)
                    assert event.body.isascii()
                    assert (event.id, event.type, event.seq) == (body["id"], body["type"], body["seq"])
                    assert (body["account"], event.account, event.stream) == ("a", "a", "messages")
                    assert await feed.one("a", "messages", event.seq) == event
                assert await feed.one("a", "messages", numbers[-1] + 1) is None
                assert await feed.one("a", "messages", 0) is None
                lanes = {event.lane for event in batch.events}
                assert len(lanes) > 1
                of_ada = await feed.after("a", "messages", 0, 500, chat=ADA)
                assert {event.lane for event in of_ada.events} == {ADA}
                assert set(of_ada.events) == {event for event in batch.events if event.lane == ADA}

    asyncio.run(go())


def test_what_no_client_can_mean_is_nothing(tmp_path: Path) -> None:
    async def go() -> None:
        async with feeding(tmp_path) as (feed, _, _):
            with writing(tmp_path, "a") as a:
                append(a, "text")
                for seq in (-1, 2**53, 2**63 - 1, 2**63, 10**30):
                    assert (await feed.after("a", "messages", seq, 10)).events == ()
                    assert (await feed.after("a", "account", seq, 10)).events == ()
                for chat in ("x" * 10_000, "", "'; DROP TABLE entries", "\ud800@lid"):
                    assert (await feed.after("a", "messages", 0, 10, chat)).events == ()
                assert len((await feed.after("a", "messages", 0, 10**9)).events) == 1
                assert len((await feed.after("a", "messages", 0, -5)).events) == 1
                for name in ("../a", "", "A", "a/b"):
                    with pytest.raises(NoSuchAccount):
                        await feed.after(name, "messages", 0, 10)
                    assert feed.renamed(name) is None
                assert feed.reader.deaths == 0

    asyncio.run(go())


def test_what_happens_to_an_account_is_a_stream_of_its_own(tmp_path: Path) -> None:
    async def go() -> None:
        async with feeding(tmp_path) as (feed, service, ear):
            assert await feed.newest("a", "account") == 0
            changes = [
                ("stopped", "starting"), ("starting", "connecting"), ("connecting", "connected"),
                ("connected", "reconnecting"), ("reconnecting", "connected"),
            ]  # fmt: skip
            for second, (before, after) in enumerate(changes):
                service.timeline.append("a", TimelineEntry(100.0 + second, before, after))
            ear.forget()
            feed.changed([view("a", "reconnecting")])
            await ear.hears("a", "account")
            assert ear.is_quiet
            feed.changed([view("a", "reconnecting", memory_bytes=5)])
            assert ear.is_quiet, "nothing has happened"
            for more in (
                {"restricted": "new"},
                {"restricted": "new", "restricted_until": "2027-01-15T08:00:00Z"},
            ):
                feed.changed([view("a", "reconnecting", **more)])
                await ear.hears("a", "account")

            batch = await feed.after("a", "account", 0, 4)
            assert [event.type for event in batch.events] == ["account.connected", "account.disconnected"]
            assert (batch.last, batch.more) == (103, True)
            batch = await feed.after("a", "account", batch.last, 4)
            (event,) = batch.events
            assert (event.id, event.seq, event.lane) == ("evt_a_account_104", 104, "")
            assert not batch.more
            VALIDATOR.validate(json.loads(event.body))
            assert await feed.newest("a", "account") == 104
            assert await feed.one("a", "account", 104) == event
            assert await feed.one("a", "account", 101) is None
            assert (await feed.after("a", "account", 0, 4, chat=ADA)).events == ()

            service.failure = NotRunning("the service ends")
            with pytest.raises(FeedError):
                await feed.after("a", "account", 0, 4)
            service.failure = NoSuchAccount("there is no account")
            assert (await feed.after("a", "account", 7, 4)).last == 7

    asyncio.run(go())


def test_accounts_come_and_go(tmp_path: Path) -> None:
    async def go() -> None:
        async with feeding(tmp_path) as (feed, _, ear):
            assert feed.accounts() == {"a", "b"}
            feed.changed([view("c")], ["b"])
            await ear.hears("c")
            await ear.hears("c", "account")
            await ear.hears("b")
            assert feed.accounts() == {"a", "c"}
            feed.changed([], ["b"])  # which is no news
            assert ear.is_quiet
            with writing(tmp_path, "old") as old:
                append(old, "text")
            inboxes.take_out(tmp_path / "messages/old", tmp_path / "messages/new")
            inboxes.leave(tmp_path / "messages/old", 1, "new")
            assert not feed.is_put_away("old")
            inboxes.leave(tmp_path / "messages/removed", 1)
            assert feed.is_put_away("removed")
            assert not feed.is_put_away("a")
            assert feed.renamed("old") == "new"
            assert feed.renamed("a") is None
            for name, later in (
                ("first", "second"),
                ("second", "third"),
                ("here", "there"),
                ("there", "here"),
            ):
                inboxes.leave(tmp_path / "messages" / name, 1, later)
            assert feed.renamed("first") == "third", "nobody looked in between"
            assert feed.renamed("here") == "there", "and back again"

    asyncio.run(go())


def test_the_file_of_a_message_is_opened_if_it_is_what_it_should_be(tmp_path: Path) -> None:
    assert hashlib.sha256(FILE).digest() == SHA256

    async def go() -> None:
        async with feeding(tmp_path) as (feed, service, _):
            with writing(tmp_path, "a") as a:
                append(a, "image")
                with (await feed.media("a", MEDIA_ID, WHO)).file as file:
                    assert file.read() == FILE
                assert service.fetched == [(WHO, "a", MEDIA_ID)]
                found = await feed.media("a", MEDIA_ID, WHO)
                with found.file:
                    assert (found.size, found.sha256) == (4, SHA256.hex())
                    assert found.about["id"] == MEDIA_ID
                assert len(service.fetched) == 1

                path = put_file(tmp_path, "a", MEDIA_ID, b"evil")
                with pytest.raises(OrchestratorError) as caught:
                    await feed.media("a", MEDIA_ID, WHO)
                assert caught.value.key == "media_altered"
                for make in (link, two_names, fifo):
                    path.unlink(missing_ok=True)
                    make(path, tmp_path)
                    with pytest.raises(OrchestratorError) as caught:
                        await feed.media("a", MEDIA_ID, WHO)
                    assert caught.value.key == "media_altered", make

    asyncio.run(go())


def link(path: Path, folder: Path) -> None:
    (folder / "elsewhere").write_bytes(FILE)
    path.symlink_to(folder / "elsewhere")


def two_names(path: Path, folder: Path) -> None:
    (folder / "other").write_bytes(FILE)
    path.hardlink_to(folder / "other")


def fifo(path: Path, _folder: Path) -> None:
    os.mkfifo(path)


def test_an_attachment_is_found_among_the_accounts_that_may_have_it(tmp_path: Path) -> None:
    async def go() -> None:
        async with feeding(tmp_path) as (feed, _, _):
            with writing(tmp_path, "a"), writing(tmp_path, "b") as b:
                append(b, "image")
                for _ in range(2):
                    account, about = await feed.find_media(MEDIA_ID, {"a", "b"})
                    assert (account, about["id"]) == ("b", MEDIA_ID)
                for media, accounts in (
                    (MEDIA_ID, {"a"}),
                    (MEDIA_ID, set[str]()),
                    (OTHER_MEDIA, {"a", "b"}),
                    ("../../etc/passwd", {"a", "b"}),
                    ("0", {"a", "b"}),
                ):
                    with pytest.raises(OrchestratorError) as caught:
                        await feed.find_media(media, accounts)
                    assert caught.value.key == "media_unknown"
                damaged = tmp_path / "messages/c"
                damaged.mkdir(0o700)
                (damaged / DATABASE).write_bytes(b"no database" * 1000)
                with pytest.raises(FeedError):  # it may have it: nobody knows
                    await feed.find_media(OTHER_MEDIA, {"a", "b", "c"})
                assert (await feed.find_media(MEDIA_ID, {"a", "b", "c"}))[0] == "b"

    asyncio.run(go())
