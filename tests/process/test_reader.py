"""The gateway's reader: it writes nothing, outlives hostile inboxes, and leaves alone whose they are."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.inboxes import append, writing
from support.readers import after, bodies, reading, spec

from orchestrator.gateway.reader import client as client_module
from orchestrator.gateway.reader import serving
from orchestrator.gateway.reader.client import FeedError, ReaderClient, ReaderGone
from orchestrator.gateway.reader.maker import ORDER, start_reader
from orchestrator.gateway.reader.wire import Ask
from orchestrator.messages.database import DATABASE
from orchestrator.messages.inbox import Inbox
from orchestrator.store.inboxes import leave
from orchestrator.system import confinement
from orchestrator.system.inotify import open_watch

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@pytest.fixture(autouse=True)
def room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let readers have more memory: they are copies of this process, which other tests have made large."""
    monkeypatch.setattr(serving, "MEMORY", 1 << 36)


def killed_while_writing(state: Path, name: str, *kinds: str) -> None:
    """Store entries, and die with the log still beside the inbox."""
    pid = os.fork()
    if pid == 0:
        try:
            folder = state / "messages" / name
            folder.mkdir(parents=True, exist_ok=True)
            append(Inbox.open(folder), *kinds)
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)


def files(state: Path, name: str) -> set[str]:
    return {path.name for path in (state / "messages" / name).iterdir()}


def of_process(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text()


async def reader_of(client: ReaderClient) -> int:
    """Return the id of the reader's process."""
    await client.ask(Ask("newest", "nobody"))
    (pid,) = children(client)
    return pid


def children(client: ReaderClient) -> list[int]:
    """Return the readers, the oldest first."""
    return [*map(int, of_process(client.maker, f"task/{client.maker}/children").split())]


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_messages_are_read_while_they_are_written(tmp_path: Path) -> None:
    async def go() -> None:
        async with reading(tmp_path) as client:
            with writing(tmp_path, "a") as inbox:
                (first,) = append(inbox, "text")
                (event,) = [json.loads(one) for one in await bodies(client, "a")]
                assert event["id"] == f"evt_a_{first}"
                assert (event["account"], event["seq"], event["type"]) == ("a", first, "message.received")
                # The log begins anew, grows, and is looked into by one and the same reader.
                inbox._empty_log()
                (second,) = append(inbox, "text")
                assert [item.seq for item in (await after(client, "a")).items] == [first, second]
                assert (await client.ask(Ask("newest", "a"))).last == second
                assert client.deaths == 0

    asyncio.run(go())


def test_an_inbox_that_nobody_has_open_is_read_without_a_trace(tmp_path: Path) -> None:
    async def go() -> None:
        with writing(tmp_path, "a") as inbox:
            append(inbox, "text")
        assert files(tmp_path, "a") == {DATABASE}
        async with reading(tmp_path) as client:
            assert len(await bodies(client, "a")) == 1
            assert files(tmp_path, "a") == {DATABASE}
            # Somebody writes to it while it stays open.
            with writing(tmp_path, "a") as inbox:
                append(inbox, "text")
                assert len(await bodies(client, "a")) == 2
                append(inbox, "text")
                assert len(await bodies(client, "a")) == 3
            assert len(await bodies(client, "a")) == 3

    asyncio.run(go())


def test_what_a_killed_process_left_in_the_log_is_read(tmp_path: Path) -> None:
    async def go() -> None:
        killed_while_writing(tmp_path, "a", "text", "image")
        assert (tmp_path / "messages/a" / f"{DATABASE}-wal").stat().st_size
        async with reading(tmp_path) as client:
            assert len(await bodies(client, "a")) == 2

    asyncio.run(go())


def test_a_log_whose_index_is_gone_is_an_error_until_the_account_runs(tmp_path: Path) -> None:
    async def go() -> None:
        killed_while_writing(tmp_path, "a", "text")
        (tmp_path / "messages/a" / f"{DATABASE}-shm").unlink()
        async with reading(tmp_path) as client:
            with pytest.raises(FeedError):
                await bodies(client, "a")
            with writing(tmp_path, "a"):
                client._blame.worked("a", client._clock())
                assert len(await bodies(client, "a")) == 1

    asyncio.run(go())


def test_an_account_without_an_inbox_has_no_events(tmp_path: Path) -> None:
    async def go() -> None:
        (tmp_path / "messages").mkdir()
        leave(tmp_path / "messages" / "gone", 17)
        async with reading(tmp_path) as client:
            assert (await after(client, "never")).items == ()
            assert (await client.ask(Ask("newest", "never"))).last == 0
            assert (await client.ask(Ask("newest", "gone"))).last == 17
            assert (await after(client, "gone", 17)).last == 17

    asyncio.run(go())


def test_another_inbox_in_its_place_is_read(tmp_path: Path) -> None:
    async def go() -> None:
        with writing(tmp_path, "a") as inbox:
            append(inbox, "text", "text")
        async with reading(tmp_path) as client:
            assert len(await bodies(client, "a")) == 2
            (tmp_path / "messages/a").rename(tmp_path / "messages/b")
            assert len(await bodies(client, "a")) == 0
            with writing(tmp_path, "a") as inbox:
                append(inbox, "text")
                assert len(await bodies(client, "a")) == 1
            assert len(await bodies(client, "b")) == 2

    asyncio.run(go())


def test_batches_are_bounded_and_go_on(tmp_path: Path) -> None:
    async def go() -> None:
        async with reading(tmp_path) as client:
            with writing(tmp_path, "a") as inbox:
                append(inbox, *["text"] * 120)
                seen, last, more = [], 0, True
                while more:
                    answer = await after(client, "a", last, 50)
                    seen += [item.seq for item in answer.items]
                    last, more = answer.last, answer.more
                assert seen == [*range(1, 121)]

    asyncio.run(go())


def test_entries_that_are_none_hold_nobody_up(tmp_path: Path) -> None:
    async def go() -> None:
        async with reading(tmp_path) as client:
            with writing(tmp_path, "a") as inbox:
                append(inbox, *["text"] * 130)
                inbox._connection.execute("UPDATE entries SET source = 'evil' WHERE seq < 130")
                last, items, more = 0, [], True
                while more:
                    answer = await after(client, "a", last, 10)
                    last, more = answer.last, answer.more
                    items += [item.seq for item in answer.items]
                assert items == [130]

    asyncio.run(go())


def test_an_inbox_that_kills_the_reader_is_left_alone_and_the_others_go_on(tmp_path: Path) -> None:
    async def go() -> None:
        again: asyncio.Queue[str] = asyncio.Queue()
        async with reading(tmp_path, again.put_nowait) as client:
            with writing(tmp_path, "good") as good:
                append(good, "text")
                # Its process died in mid-work; another one empties the log's index: SIGBUS for whoever looks.
                killed_while_writing(tmp_path, "evil", "text")
                evil = tmp_path / "messages/evil"
                holder = sqlite3.connect(evil / DATABASE)
                holder.execute("SELECT count(*) FROM entries").fetchone()
                assert len(await bodies(client, "evil")) == 1  # the index is mapped now
                before = await reader_of(client)
                os.truncate(evil / f"{DATABASE}-shm", 0)
                with pytest.raises(FeedError):
                    await bodies(client, "evil")
                assert client.deaths == 1
                assert len(await bodies(client, "good")) == 1
                assert await reader_of(client) != before
                # Not even asked for a while, and then again.
                with pytest.raises(FeedError):
                    await bodies(client, "evil")
                assert client.deaths == 1
                assert await again.get() == "evil"
                # From now on it has a reader of its own, so that nobody waits for it any more.
                common = await reader_of(client)
                with pytest.raises(FeedError):
                    await bodies(client, "evil")
                assert len(await bodies(client, "good")) == 1
                assert children(client)[0] == common
                assert len(children(client)) == 2

    # The process that holds the inbox open would meet the same index: it is another one, and ends so.
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            asyncio.run(go())
            status = 0
        except BaseException:  # noqa: BLE001
            import traceback

            traceback.print_exc()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_reader_that_hangs_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def go() -> None:
        async with reading(tmp_path) as client:
            with writing(tmp_path, "good") as good, writing(tmp_path, "slow") as slow:
                append(good, "text")
                append(slow, "text")
                assert len(await bodies(client, "good")) == 1
                pid = await reader_of(client)
                os.kill(pid, signal.SIGSTOP)
                monkeypatch.setattr(client_module, "SECONDS", 0.2)
                with pytest.raises(FeedError):
                    await bodies(client, "slow")
                monkeypatch.setattr(client_module, "SECONDS", 60.0)
                assert len(await bodies(client, "good")) == 1
                assert is_gone(pid)
                assert client.deaths == 1

    asyncio.run(go())


def test_an_inbox_that_is_held_costs_the_others_a_moment(tmp_path: Path) -> None:
    async def go() -> None:
        async with reading(tmp_path) as client:
            with writing(tmp_path, "good") as good, writing(tmp_path, "held") as held:
                append(good, "text")
                append(held, "text")
                path = tmp_path / "messages/held" / DATABASE
                held.close()
                holder = sqlite3.connect(path, isolation_level=None)
                holder.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()
                holder.execute("BEGIN EXCLUSIVE")
                with pytest.raises(FeedError):
                    await bodies(client, "held")
                assert len(await bodies(client, "good")) == 1
                assert client.deaths == 0, "it gave up by itself"
                holder.close()

    asyncio.run(go())


def test_who_does_not_wait_for_an_answer_leaves_none_behind(tmp_path: Path) -> None:
    async def go() -> None:
        async with reading(tmp_path) as client:
            with writing(tmp_path, "a") as a, writing(tmp_path, "b") as b:
                append(a, *["text"] * 3)
                append(b, "text")
                asked = [asyncio.create_task(bodies(client, "a")) for _ in range(20)]
                await asyncio.sleep(0)
                for one in asked[::2]:
                    one.cancel()
                assert len(await bodies(client, "b")) == 1
                for one in asked[1::2]:
                    assert len(await one) == 3
                assert client.deaths == 0

    asyncio.run(go())


def test_the_reader_ends_with_the_gateway(tmp_path: Path) -> None:
    async def go() -> list[int]:
        async with reading(tmp_path) as client:
            return [client.maker, await reader_of(client)]

    maker, reader = asyncio.run(go())
    assert is_gone(maker)
    assert is_gone(reader)


def test_without_the_process_that_makes_readers_the_gateway_begins_anew(tmp_path: Path) -> None:
    async def go() -> None:
        client: Any
        async with reading(tmp_path) as client:
            pid = await reader_of(client)
            os.kill(client.maker, signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError):  # the reader may have noticed
                os.kill(pid, signal.SIGKILL)
            with pytest.raises(FeedError):
                await bodies(client, "a")
            client._blame.worked("a", client._clock())
            with pytest.raises(FeedError):
                await bodies(client, "a")

    with pytest.raises(ReaderGone):
        asyncio.run(go())


def test_a_reader_writes_nothing_and_reads_nothing_else(tmp_path: Path) -> None:
    async def go() -> None:
        async with reading(tmp_path) as client:
            pid = await reader_of(client)
            for process in (pid, client.maker):
                status = of_process(process, "status")
                assert "NoNewPrivs:\t1" in status
                assert "Seccomp:\t2" in status

    asyncio.run(go())


def test_signals_of_a_terminal_leave_the_reader_alone(tmp_path: Path) -> None:
    async def go() -> None:
        async with reading(tmp_path) as client:
            with writing(tmp_path, "a") as inbox:
                append(inbox, "text")
                pid = await reader_of(client)
                for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                    os.kill(pid, number)
                    os.kill(client.maker, number)
                assert len(await bodies(client, "a")) == 1
                assert client.deaths == 0

    asyncio.run(go())


def attempts(state: Path, parent: int) -> dict[str, Callable[[], object]]:
    """Return what a reader that strangers have taken over might try."""
    inbox = state / "messages/a" / DATABASE
    return {
        "read a session": lambda: (state / "sessions/a/session.sqlite3").read_bytes(),
        "read a token": lambda: (state / "tokens/tokens.json").read_bytes(),
        "list the state folder": lambda: os.scandir(state),
        "write to an inbox": lambda: inbox.open("ab").close(),
        "empty an inbox": lambda: os.truncate(inbox, 0),
        "make a file": lambda: (state / "messages/a/new").touch(),
        "remove an inbox": inbox.unlink,
        "open an inbox to other users": lambda: inbox.chmod(0o666),
        "reach the network": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
        "reach the service": lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM),
        "listen to others": lambda: open_watch(state / "messages") or forbidden(),
        "end the gateway": lambda: os.kill(parent, 0),
        "end its maker": lambda: os.kill(os.getppid(), 0),
        "make a process": os.fork,
        "run a program": lambda: os.execv("/bin/true", ["true"]),
        "read the gateway's memory": lambda: Path(f"/proc/{parent}/environ").read_bytes() or forbidden(),
    }


def forbidden() -> object:
    raise PermissionError


@pytest.mark.skipif(bool(confinement.missing()), reason="this kernel cannot isolate processes")
def test_a_reader_that_was_taken_over_can_do_nothing_but_read_messages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("messages/a", "sessions/a", "tokens"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "sessions/a/session.sqlite3").touch()
    (tmp_path / "tokens/tokens.json").touch()
    (tmp_path / f"messages/a/{DATABASE}").write_text("a message")
    parent = os.getpid()

    def try_all(sock: socket.socket, messages: Path, _: object) -> None:
        done = []
        for what, attempt in attempts(tmp_path, parent).items():
            with contextlib.suppress(OSError):
                attempt()
                done.append(what)
        read = (messages / "a" / DATABASE).read_text()
        sock.sendall(json.dumps({"done": done, "read": read}).encode())

    monkeypatch.setattr(serving, "serve", try_all)
    handle = start_reader(spec(tmp_path))
    try:
        handle.control.send(ORDER % (1, 0))
        _, (descriptor,), _, _ = socket.recv_fds(handle.control, 4096, 1)
        with socket.socket(fileno=descriptor) as sock:
            sock.settimeout(60)
            found = json.loads(sock.recv(65536))
    finally:
        handle.control.close()
        os.waitpid(handle.pid, 0)
        if handle.watch is not None:
            os.close(handle.watch)
    assert found == {"done": [], "read": "a message"}
