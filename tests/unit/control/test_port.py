"""Two ends of a port, and what becomes of those who break its rules."""

from __future__ import annotations

import array
import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.control import frames, port, port_sender
from orchestrator.control.frames import Answer, Asked, Cancel
from orchestrator.control.port import Port, Request, refuse
from orchestrator.control.protocol import Json
from orchestrator.errors import NoSuchAccount, NotRunning, OrchestratorError

Test = Callable[[], Awaitable[None]]


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


async def echo(request: Request) -> Json:
    return {"command": request.command, **request.arguments}


def pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)


@contextlib.asynccontextmanager
async def ports(
    serve: port.Serve = echo,
    serve_other: port.Serve = refuse,
    **options: Any,  # noqa: ANN401
) -> AsyncIterator[tuple[Port, Port]]:
    """Yield the end that asks, and the one that serves."""
    ours, theirs = pair()
    one, other = Port(ours, serve_other), Port(theirs, serve, **options)
    try:
        yield one, other
    finally:
        one.close()
        other.close()
        await asyncio.sleep(0)


def test_both_ends_ask_and_answer() -> None:
    async def run() -> None:
        async with ports(echo, echo) as (one, other):
            answers = await asyncio.gather(
                *(one.call("a", number=number) for number in range(300)),
                *(other.call("b", number=number) for number in range(300)),
            )
        assert [answer["number"] for answer in answers] == [*range(300), *range(300)]

    asyncio.run(run())


def test_no_more_is_asked_at_once_than_the_other_end_takes() -> None:
    busy = most = 0

    async def slow(_: Request) -> Json:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await asyncio.sleep(0)
        busy -= 1
        return {}

    async def run() -> None:
        async with ports(slow) as (one, other):
            await asyncio.gather(*(one.call("a") for _ in range(3 * port.MAX_CALLS)))
            assert other.is_open
        assert 1 < most <= port.MAX_CALLS

    asyncio.run(run())


def test_errors_keep_their_class_and_key() -> None:
    async def serve(request: Request) -> Json:
        if request.command == "bug":
            raise ValueError("a secret")
        if request.command == "known":
            raise OrchestratorError("words", key="not_connected")
        raise NoSuchAccount("none")

    async def run() -> None:
        async with ports(serve) as (one, _):
            with pytest.raises(NoSuchAccount):
                await one.call("missing")
            with pytest.raises(OrchestratorError) as known:
                await one.call("known")
            assert known.value.key == "not_connected"
            with pytest.raises(OrchestratorError) as bug:
                await one.call("bug")
            assert bug.value.key == "internal_error"
            assert "secret" not in str(bug.value)
            with pytest.raises(OrchestratorError) as refused:
                await _.call("anything")
            assert refused.value.key == "unknown_command"

    asyncio.run(run())


def test_a_large_answer_arrives_and_one_too_large_says_so() -> None:
    async def serve(request: Request) -> Json:
        return {"text": "x" * request.arguments["size"]}

    async def run() -> None:
        async with ports(serve) as (one, _):
            answers = await asyncio.gather(*(one.call("a", size=2_000_000) for _ in range(10)))
            assert {len(answer["text"]) for answer in answers} == {2_000_000}
            with pytest.raises(OrchestratorError) as error:
                await one.call("a", size=frames.MAX_FRAME)
            assert error.value.key == "answer_too_long"
            with pytest.raises(OrchestratorError) as error:
                await one.call("a", text="x" * frames.MAX_REQUEST)
            assert error.value.key == "request_too_long"
            assert (await one.call("a", size=1)) == {"text": "x"}

    asyncio.run(run())


# Events


def test_events_come_in_order_and_a_slow_asker_holds_up_nobody_else() -> None:
    made = 0

    async def count(request: Request) -> AsyncGenerator[Json, None]:
        nonlocal made
        for number in range(request.arguments["most"]):
            made += 1
            yield {"number": number}

    def serve(request: Request) -> Awaitable[Json] | AsyncGenerator[Json, None]:
        return count(request) if request.command == "count" else echo(request)

    async def run() -> None:
        async with ports(serve) as (one, _):
            events = one.stream("count", most=1000)
            found = [(await anext(events))["number"]]
            for _ in range(50):
                await one.call("ping")  # the stream is not read meanwhile
            assert made <= port.WINDOW + 2
            found += [event["number"] async for event in events]
            assert found == list(range(1000))
            assert await one.call("count", most=100) == {}

    asyncio.run(run())


def test_a_stream_that_is_closed_ends_at_the_other_end() -> None:
    ended = asyncio.Event()

    async def forever(_: Request) -> AsyncGenerator[Json, None]:
        try:
            while True:
                yield {}
                await asyncio.sleep(0)
        finally:
            ended.set()

    async def run() -> None:
        async with ports(forever) as (one, other):
            events = one.stream("watch")
            await anext(events)
            await events.aclose()
            await ended.wait()
            assert other.is_open

    asyncio.run(run())


def test_a_stream_that_is_given_up_before_it_began_does_not_begin() -> None:
    async def run() -> None:
        begun: list[int] = []

        async def forever(_: Request) -> AsyncGenerator[Json, None]:
            while True:
                begun.append(1)
                yield {}

        ours, theirs = pair()
        one = Port(ours, forever)
        theirs.setblocking(False)
        theirs.send(frames.write(Asked(1, "watch", {})) + frames.write(Cancel(1)))
        loop, answer = asyncio.get_running_loop(), frames.Reader()
        answer.feed(await loop.sock_recv(theirs, 1000))
        assert answer.next() == Answer(1, {"result": {}})
        assert not begun
        one.close()
        theirs.close()

    asyncio.run(run())


def test_an_event_that_is_too_long_ends_its_stream_only() -> None:
    async def much(_: Request) -> AsyncGenerator[Json, None]:
        yield {"text": "x" * frames.MAX_FRAME}

    async def run() -> None:
        async with ports(much) as (one, other):
            with pytest.raises(OrchestratorError) as error:
                async for _ in one.stream("watch"):
                    pass
            assert error.value.key == "internal_error"
            assert other.is_open

    asyncio.run(run())


# Giving up


def test_whoever_gives_up_gets_an_error_and_its_place_back_once_the_answer_came() -> None:
    async def run() -> None:
        release = asyncio.Event()

        async def stuck(_: Request) -> Json:
            await release.wait()
            return {"done": True}

        async with ports(stuck) as (one, other):
            for _ in range(port.MAX_CALLS):
                with pytest.raises(OrchestratorError) as error:
                    await one.call("a", seconds=0)
                assert error.value.key == "no_answer"
            late = asyncio.ensure_future(one.call("b"))
            await asyncio.sleep(0)
            release.set()
            assert await late == {"done": True}
            assert other.is_open

    asyncio.run(run())


@pytest.mark.parametrize("finish", [True, False])
def test_a_request_that_has_begun_is_finished_unless_the_port_says_otherwise(finish: bool) -> None:
    async def run() -> None:
        release, ended = asyncio.Event(), asyncio.Queue[str]()

        begun = asyncio.Event()

        async def change(_: Request) -> Json:
            begun.set()
            try:
                await release.wait()
                ended.put_nowait("done")
            except asyncio.CancelledError:
                ended.put_nowait("canceled")
                raise
            return {}

        async with ports(change, finish=finish) as (one, _):
            call = asyncio.ensure_future(one.call("a"))
            await begun.wait()
            call.cancel()
            await asyncio.wait([call])
            for _turn in range(20):
                await asyncio.sleep(0)
            release.set()
            assert await ended.get() == ("done" if finish else "canceled")

    asyncio.run(run())


def test_whoever_waits_learns_that_the_other_end_is_gone() -> None:
    async def run() -> None:
        lost = asyncio.Event()
        ours, theirs = pair()
        one = Port(ours, refuse, lost.set, peer="the gateway")
        calls = [asyncio.ensure_future(one.call("a")) for _ in range(2 * port.MAX_CALLS)]
        await asyncio.sleep(0)
        theirs.close()
        await lost.wait()
        for error in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(error, NotRunning)
            assert "the gateway" in str(error)
        with pytest.raises(NotRunning):
            await one.call("a")
        assert not one.is_open

    asyncio.run(run())


def test_closing_calls_nobody() -> None:
    async def run() -> None:
        lost: list[int] = []
        ours, theirs = pair()
        one = Port(ours, refuse, lambda: lost.append(1))
        one.close()
        one.close()
        await asyncio.sleep(0)
        theirs.close()
        assert not lost

    asyncio.run(run())


# Descriptors


def test_descriptors_arrive_and_those_that_nobody_takes_are_closed() -> None:
    async def run() -> None:
        async def take(request: Request) -> Json:
            if request.command == "leave":
                return {"count": len(request.fds)}
            (fd,) = request.take_fds()
            os.write(fd, request.arguments["text"].encode())
            os.close(fd)
            return {}

        before = open_files()
        async with ports(take) as (one, _):
            for text in ("a", "b"):
                read, write = os.pipe()
                await one.call("write", fds=[write], text=text)
                os.close(write)
                assert os.read(read, 10) == text.encode()
                assert os.read(read, 10) == b""  # the copies are closed, too
                os.close(read)
            read, write = os.pipe()
            answer = await one.call("leave", fds=[write] * frames.MAX_FDS)
            os.close(write)
            assert answer == {"count": frames.MAX_FDS}
            assert os.read(read, 1) == b""
            os.close(read)
            with pytest.raises(OrchestratorError):
                await one.call("leave", fds=[0] * (frames.MAX_FDS + 1))
            assert await one.call("leave") == {"count": 0}
        assert open_files() == before

    asyncio.run(run())


def test_descriptors_that_were_not_sent_are_closed_with_the_port() -> None:
    async def run() -> None:
        ours, theirs = pair()
        one = Port(ours)
        read, write = os.pipe()
        big = asyncio.ensure_future(one.call("a", text="x" * 900_000))
        await asyncio.sleep(0)
        call = asyncio.ensure_future(one.call("b", fds=[write]))
        await asyncio.sleep(0)
        os.close(write)
        one.close()
        theirs.close()
        await asyncio.wait([big, call])
        assert all(isinstance(one.exception(), NotRunning) for one in (big, call))
        assert os.read(read, 1) == b""
        os.close(read)

    asyncio.run(run())


# Those who break the rules


async def attack(data: bytes, fds: tuple[int, ...] = (), *, close: bool = False) -> Port:
    """Send bytes to a port, and return it once it has ended; the port beside it must go on."""
    async with ports() as (beside, _):
        lost = asyncio.Event()
        ours, theirs = pair()
        theirs.setblocking(False)
        one = Port(ours, echo, lost.set)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        view = memoryview(data)
        while view and one.is_open:
            try:
                view = view[theirs.sendmsg([view], rights) :]
                rights = []
            except BlockingIOError:
                await asyncio.sleep(0)
            except OSError:
                break
        if close:
            theirs.close()
        await lost.wait()
        theirs.close()
        assert await beside.call("ping") == {"command": "ping"}
        return one


def framed(value: Json) -> bytes:
    data = json.dumps(value).encode()
    return frames.LENGTH.pack(len(data)) + data


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "bytes"),
        (b"\xff" * 100, "bytes"),
        (frames.LENGTH.pack(2) + b"[]", "JSON object"),
        (framed({"id": 1, "result": {}}), "not asked"),
        (framed({"id": 1, "event": {}}), "nobody has asked"),
        (framed({"id": 1, "command": "a", "arguments": {}, "fds": 2}), "descriptors"),
        (framed({"id": 7, "command": "x", "arguments": {}, "fds": 0}) * 2, "taken"),
        (
            b"".join(frames.write(Asked(number, "a", {})) for number in range(1, port.MAX_CALLS + 2)),
            "too many requests",
        ),
    ],
)
def test_whoever_breaks_a_rule_loses_this_port_and_no_other(data: bytes, why: str) -> None:
    async def run() -> None:
        one = await attack(data)
        assert why in one.why

    # Requests that are answered at once never pile up: here nothing is answered before all have come.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(port, "_TURN", 1000)
        asyncio.run(run())


def test_half_a_frame_and_the_end_is_told_from_the_end() -> None:
    async def run() -> None:
        assert (await attack(b"", close=True)).why == ""
        assert "half" in (await attack(b"\x00\x00", close=True)).why
        assert "half" in (await attack(frames.write(Answer(1, {"result": {}}))[:-1], close=True)).why

    asyncio.run(run())


def test_half_a_frame_is_not_waited_for_forever() -> None:
    async def run() -> None:
        assert "half" in (await attack(b"\x00\x00\x00\x09{")).why

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(port, "STALL_SECONDS", 0.05)
        asyncio.run(run())


def test_whoever_does_not_read_loses_the_port() -> None:
    async def run() -> None:
        async def much(_: Request) -> Json:
            return {"text": "x" * 100_000}

        lost = asyncio.Event()
        ours, theirs = pair()
        one = Port(ours, much, lost.set)
        theirs.sendall(b"".join(frames.write(Asked(number, "a", {})) for number in range(1, 100)))
        await lost.wait()
        assert "read" in one.why
        theirs.close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(port_sender, "STALL_SECONDS", 0.05)
        asyncio.run(run())


@pytest.mark.parametrize("count", [1, frames.MAX_FDS, 2 * frames.MAX_FDS, 250])
def test_descriptors_that_nobody_wants_end_the_port_and_are_closed(count: int) -> None:
    async def run() -> None:
        read, write = os.pipe()
        one = await attack(frames.write(Answer(1, {"result": {}})), (write,) * count)
        assert one.why
        os.close(write)
        assert os.read(read, 1) == b""
        os.close(read)

    asyncio.run(run())


def test_a_flood_has_to_wait_and_others_have_not() -> None:
    async def run() -> None:
        async with ports(most_a_second=50) as (one, other):
            flood = [asyncio.ensure_future(one.call("a")) for _ in range(1000)]
            async with ports() as (beside, _):
                for _turn in range(100):
                    await beside.call("ping")
            assert sum(call.done() for call in flood) < 1000
            assert other.is_open
            one.close()
            await asyncio.gather(*flood, return_exceptions=True)

    asyncio.run(run())


def test_whoever_sends_much_at_a_time_has_to_wait_too() -> None:
    async def run() -> None:
        ours, theirs = pair()
        theirs.setblocking(False)
        one = Port(ours, refuse, most_bytes_a_second=10_000)
        asked = [frames.write(Asked(number, "a", {"a": "x" * 100_000})) for number in range(1, 100)]
        left = memoryview(b"".join(asked))
        before = len(left)
        for _ in range(2000):
            with contextlib.suppress(BlockingIOError):
                left = left[theirs.send(left[:65_536]) :]
            await asyncio.sleep(0)
        assert one.is_open
        assert before - len(left) < 2 * 1024 * 1024  # what is read at once, and what fits into the socket
        one.close()
        theirs.close()

    asyncio.run(run())


@settings(max_examples=200)
@given(st.lists(st.binary(max_size=60) | st.sampled_from([frames.write(Asked(9, "a", {}))]), max_size=5))
def test_garbage_never_does_more_than_end_the_port(pieces: list[bytes]) -> None:
    async def run() -> None:
        ours, theirs = pair()
        lost = asyncio.Event()
        one = Port(ours, echo, lost.set)
        theirs.sendall(b"".join(pieces))
        theirs.close()
        await lost.wait()
        assert not one.is_open

    asyncio.run(run())
