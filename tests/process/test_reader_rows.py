"""The gateway's reader reads outboxes, too: while they are written, after a kill, and of hostile accounts."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from support.inboxes import append, writing
from support.outboxes import CHAT, new, outbox_of
from support.readers import bodies, reading

from orchestrator.errors import NoSuchAccount
from orchestrator.gateway.outboxes import Outboxes
from orchestrator.gateway.reader import serving
from orchestrator.gateway.reader.client import FeedError
from orchestrator.messages.outbox import NoRow, Outbox, alone
from orchestrator.messages.outbox_reader import Tally
from orchestrator.sending.memory import Memory
from orchestrator.sending.row import Pace, State
from orchestrator.store.layout import OUTBOX

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@pytest.fixture(autouse=True)
def room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let readers have more memory: they are copies of this process, which other tests have made large."""
    monkeypatch.setattr(serving, "MEMORY", 1 << 36)


def files(state: Path, name: str) -> set[str]:
    return {path.name for path in (state / "messages" / name).iterdir()}


def test_rows_are_read_while_they_are_written(tmp_path: Path) -> None:
    async def go() -> None:
        async with reading(tmp_path) as client:
            outboxes = Outboxes(client)
            with outbox_of(tmp_path, "a") as outbox:
                for number in range(120):
                    outbox.add(new(f"text {number}"))
                outbox.take_back(3)
                outbox.hand_over(1, None)
                outbox.sent(1, "3EB0A1")
                page = await outboxes.rows("a", limit=500)
                assert [row.number for row in page.rows] == [*range(1, 121)]
                assert not page.more
                assert (page.rows[0].state, page.rows[0].message) == (State.SENT, "3EB0A1")
                assert page.rows[5].to == CHAT
                some = await outboxes.rows("a", after=1, limit=60, states={State.QUEUED})
                assert [row.number for row in some.rows] == [2, *range(4, 63)]
                assert some.more
                assert (await outboxes.rows("a", states=())).rows == []
                assert (await outboxes.row("a", 3)).state is State.TAKEN_BACK
                assert client.deaths == 0

    asyncio.run(go())


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    async def go() -> None:
        async with reading(tmp_path) as client:
            outboxes = Outboxes(client)
            assert (await outboxes.rows("nobody")).rows == []
            with outbox_of(tmp_path, "a") as outbox:
                outbox.add(new())
            for number in (2, 0, -1, 2**63):
                with pytest.raises(NoRow):
                    await outboxes.row("a", number)
            with pytest.raises(NoSuchAccount):
                await outboxes.rows("../a")

    asyncio.run(go())


def test_an_outbox_that_nobody_has_open_is_read_without_a_trace_and_closed_at_once(tmp_path: Path) -> None:
    async def go() -> None:
        with outbox_of(tmp_path, "a") as outbox:
            outbox.add(new())
        async with reading(tmp_path) as client:
            outboxes = Outboxes(client)
            assert len((await outboxes.rows("a")).rows) == 1
            assert files(tmp_path, "a") == {OUTBOX}
            with alone(tmp_path / "messages/a") as outbox:  # the service has it for itself
                outbox.add(new("another"))
            assert len((await outboxes.rows("a")).rows) == 2
            with outbox_of(tmp_path, "a"):
                assert len((await outboxes.rows("a")).rows) == 2

    asyncio.run(go())


def test_what_a_killed_process_left_in_the_log_is_read(tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            folder = tmp_path / "messages/a"
            folder.mkdir(parents=True)
            Outbox.open(folder).add(new())
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    assert (tmp_path / "messages/a" / f"{OUTBOX}-wal").stat().st_size

    async def go() -> None:
        async with reading(tmp_path) as client:
            assert [row.number for row in (await Outboxes(client).rows("a")).rows] == [1]

    asyncio.run(go())


def test_a_row_that_is_none_is_left_out(tmp_path: Path) -> None:
    with outbox_of(tmp_path, "a") as outbox:
        for number in range(8):
            outbox.add(new(str(number)))
    with closing(sqlite3.connect(tmp_path / "messages/a" / OUTBOX)) as connection, connection:
        for number, change in enumerate(
            ("kind = 'evil'", "state = 'evil'", "why = char(27)", "chat = 'evil'", "created_at = 'evil'",
             "code = 'evil'", "message = ' '"), 1
        ):  # fmt: skip
            connection.execute(f"UPDATE rows SET {change} WHERE number = {number}")

    async def go() -> None:
        async with reading(tmp_path) as client:
            assert [row.number for row in (await Outboxes(client).rows("a")).rows] == [8]

    asyncio.run(go())


@pytest.mark.parametrize("damage", [b"not a database" * 100, b"SQLite format 3\0" + b"\xff" * 8000])
def test_an_outbox_that_cannot_be_read_leaves_the_messages_readable(tmp_path: Path, damage: bytes) -> None:
    async def go() -> None:
        with writing(tmp_path, "a") as inbox:
            append(inbox, "text")
        (tmp_path / "messages/a" / OUTBOX).write_bytes(damage)
        async with reading(tmp_path) as client:
            for _ in range(3):
                with pytest.raises(FeedError) as caught:
                    await Outboxes(client).rows("a")
                assert caught.value.key == "outbox_unusable"
                assert len(await bodies(client, "a")) == 1
            assert client.deaths == 0

    asyncio.run(go())


def test_how_much_there_is_is_told_while_it_is_written(tmp_path: Path) -> None:
    async def go() -> None:
        async with reading(tmp_path) as client:
            outboxes = Outboxes(client)
            assert await outboxes.tally("nobody") == Tally({}, {}, None, None, None)
            with outbox_of(tmp_path, "a") as outbox:
                rows = [outbox.add(new(f"text {number}")).row for number in range(5)]
                outbox.schedule(rows[1].number, Pace.NEW, rows[0].created_at + 60)
                outbox.schedule(rows[2].number, Pace.NEW, rows[0].created_at + 50)
                outbox.schedule(rows[3].number, Pace.KNOWN, None)
                outbox.hand_over(rows[4].number, Pace.KNOWN)
                outbox.remember(Memory("device", "number", desk='{"flow":1}').dump())
                assert await outboxes.tally("a") == Tally(
                    {State.QUEUED: 4, State.SENDING: 1},
                    {None: 1, Pace.NEW: 2, Pace.KNOWN: 1},
                    rows[0].created_at,
                    rows[0].created_at + 50,
                    '{"flow":1}',
                )
            assert client.deaths == 0
            with pytest.raises(NoSuchAccount):
                await outboxes.tally("../a")

    asyncio.run(go())


def test_of_rows_that_are_none_and_of_a_memory_that_is_none_nothing_is_told(tmp_path: Path) -> None:
    with outbox_of(tmp_path, "a") as outbox:
        for number in range(3):
            outbox.add(new(str(number)))
    with closing(sqlite3.connect(tmp_path / "messages/a" / OUTBOX)) as connection, connection:
        connection.execute("UPDATE rows SET state = 'evil' WHERE number = 1")
        connection.execute("UPDATE rows SET pace = 'evil' WHERE number = 2")
        connection.execute("UPDATE rows SET created_at = 'evil' WHERE number = 3")
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('memory', x'00ff')")

    async def go() -> None:
        async with reading(tmp_path) as client:
            found = await Outboxes(client).tally("a")
            assert (found.states, found.paces, found.memory) == ({State.QUEUED: 1}, {None: 1}, None)
            with closing(sqlite3.connect(tmp_path / "messages/a" / OUTBOX)) as connection, connection:
                connection.execute("UPDATE rows SET created_at = -1")
            with pytest.raises(FeedError) as error:
                await Outboxes(client).tally("a")
            assert error.value.key == "outbox_unusable"

    asyncio.run(go())
