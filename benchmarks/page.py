"""How fast the page for operators is with many accounts, and what it costs the gateway and the browser.

Run as ``python -m benchmarks.page [--accounts 500] [--changes 20] [--minutes 10] [--events 100]``. The HTTP
API is the real one, in a process of its own, with accounts that exist in memory only (`support.page_world`);
the browser is Debian's chromium. The table has:

- the first paint of a page that is opened anew, and when the accounts are there;
- the bytes of the stream's first state, and of all files of the page;
- how long an event takes from the moment it happens in the gateway to the screen, each by itself;
- what share of a core the gateway uses while nothing happens, with an open page and without one. The
  accounts' processes report what they use all the time, as in a service;
- the browser's memory for scripts while changes come, after each minute, once it has tidied up.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any, Final
from urllib.parse import urlsplit

import psutil
from playwright.sync_api import Page
from support.browser import Browser, Screens
from support.page_running import PageWorld

from benchmarks.machine import print_load, print_machine
from benchmarks.report import kilobytes, megabytes, percent, table
from orchestrator.accounts.states import State

IDLE_SECONDS: Final = 30.0
MOST_FIRST_PAINT: Final = 1.0
MOST_FIRST_STATE: Final = 150_000
MOST_EVENT: Final = 0.2
MOST_IDLE: Final = 0.01
_CONNECTED: Final = """() => [...document.querySelectorAll('#table tr[data-name]')]
    .filter((one) => one.textContent.includes('connected')).map((one) => one.dataset.name)"""
MOST_GROWTH: Final = 1.2
"""How much more memory the browser may have at the end than after the first minute."""


class Gateway:
    """A world in a process of its own.

    Args:
        pipe: Leads there.
        process: The process.
    """

    def __init__(self, pipe: Connection, process: psutil.Process) -> None:
        self._pipe = pipe
        self._process = process

    def ask(self, command: str, *arguments: object) -> Any:  # noqa: ANN401 - what the command returns
        """Have the world do something; return what it returns."""
        self._pipe.send((command, arguments))
        return self._pipe.recv()

    def cpu(self, seconds: float) -> float:
        """Return what share of a core it uses."""
        before = sum(self._process.cpu_times()[:2])
        time.sleep(seconds)
        return (sum(self._process.cpu_times()[:2]) - before) / seconds


@contextmanager
def gateway(count: int, changes: float) -> Iterator[Gateway]:
    """Run a world in a process of its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, count, changes))
    process.start()
    assert process.pid is not None
    try:
        yield Gateway(ours, psutil.Process(process.pid))
    finally:
        ours.close()
        process.join(30)
        process.kill()


def _serve(pipe: Connection, count: int, changes: float) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        PageWorld(Path(folder), count, consumers=True, beats=True, changes=changes) as world,
    ):
        while True:
            try:
                command, arguments = pipe.recv()
            except EOFError:
                return
            match command:
                case "login":
                    pipe.send(world.login())
                case "token":
                    pipe.send(world.do(world.running.running.token, "measurement"))
                case "fall":
                    name = arguments[0]
                    world.do(world.accounts.change, name, state=State.RECONNECTING, reason=arguments[1])
                    pipe.send(time.time())
                case "names":
                    pipe.send(list(world.accounts.views))


def first_state(origin: str, token: str) -> int:
    """Return how many bytes the stream has until everything was told once."""
    where = urlsplit(origin)
    assert where.hostname is not None
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=60)
    connection.request("GET", "/page/stream", headers={"Authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    size, missing = 0, {b"hello", b"accounts", b"consumers", b"facts"}
    while missing:
        line = answer.readline()
        size += len(line)
        if line.startswith(b"event: "):
            missing.discard(line.removeprefix(b"event: ").strip())
    while answer.readline().strip():
        pass
    connection.close()
    return size


def enter(page: Page, address: str) -> None:
    """Open the page and wait for its accounts."""
    page.goto(address)
    page.wait_for_selector("#table tr[data-name]")


def paint(page: Page) -> tuple[float, float]:
    """Open the page again; return the seconds to its first paint, and until accounts are there."""
    page.reload()
    page.wait_for_selector("#table tr[data-name]")
    there = page.evaluate("() => performance.now() / 1000")
    first = page.evaluate("() => performance.getEntriesByName('first-contentful-paint')[0].startTime / 1000")
    return float(first), float(there)


def files(page: Page) -> int:
    """Return the bytes of the files of the page."""
    sizes = """() => performance.getEntriesByType('resource').filter((one) => one.name.includes('/page/')
        && !one.name.includes('stream')).reduce((sum, one) => sum + one.decodedBodySize, 0)"""
    return int(page.evaluate(sizes))


def events(page: Page, world: Gateway, names: Sequence[str]) -> list[float]:
    """Return how many seconds each event takes to the screen."""
    page.evaluate(
        """() => {
            window.seenAt = {};
            new MutationObserver(() => {
                requestAnimationFrame(() => {
                    for (const line of document.querySelectorAll('#table tr[data-name]')) {
                        const { name } = line.dataset;
                        if (!(name in window.seenAt) && line.textContent.includes('reconnecting')) {
                            window.seenAt[name] = Date.now() / 1000;
                        }
                    }
                });
            }).observe(document.getElementById('table'),
                { subtree: true, childList: true, characterData: true });
        }"""
    )
    took = []
    for number, name in enumerate(names):
        happened = world.ask("fall", name, f"event {number}")
        seen = page.wait_for_function("(name) => window.seenAt[name]", arg=name).json_value()
        took.append(max(0.0, float(seen) - happened))
    return took


def heap(page: Page) -> int:
    """Return the bytes that scripts use, after they have been tidied up."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    found = session.send("Runtime.getHeapUsage")
    nodes = session.send("Memory.getDOMCounters")
    session.detach()
    assert isinstance(nodes["nodes"], int)
    return int(found["usedSize"])


def measure(options: argparse.Namespace) -> list[str]:
    """Measure, print, and return what is not as it should be."""
    browser = Browser()
    wrong: list[str] = []
    try:
        with gateway(options.accounts, 0.0) as world:
            _quiet(browser, world, options, wrong)
        with gateway(options.accounts, options.changes) as world:
            _busy(browser, world, options, wrong)
    finally:
        browser.stop()
    return wrong


def _quiet(browser: Browser, world: Gateway, options: argparse.Namespace, wrong: list[str]) -> None:
    address, token = world.ask("login"), world.ask("token")
    origin = address.partition("/#")[0]
    size = first_state(origin, token)
    screens = Screens(browser)
    page = browser.do(screens.open)
    browser.do(enter, page, address)
    paints = [browser.do(paint, page) for _ in range(options.repetitions)]
    first, there = median(one[0] for one in paints), median(one[1] for one in paints)
    bytes_of_files = browser.do(files, page)
    open_share = world.cpu(IDLE_SECONDS)
    shown = browser.do(page.evaluate, _CONNECTED)
    took = browser.do(events, page, world, shown[: options.events])
    browser.do(screens.close)
    closed_share = world.cpu(IDLE_SECONDS)
    table(
        f"{options.accounts} accounts, chromium {browser.version}",
        ("first paint", f"{first * 1000:.0f} ms"),
        ("accounts on the screen", f"{there * 1000:.0f} ms"),
        ("first state", kilobytes(size)),
        ("files of the page", kilobytes(bytes_of_files)),
        ("event on the screen, median", f"{median(took) * 1000:.0f} ms"),
        ("event on the screen, longest", f"{max(took) * 1000:.0f} ms"),
        ("gateway, idle, page open", percent(open_share)),
        ("gateway, idle, no page", percent(closed_share)),
    )
    wrong += screens.wrong
    for what, value, most in (
        ("first paint", first, MOST_FIRST_PAINT),
        ("first state", size, MOST_FIRST_STATE),
        ("event", median(took), MOST_EVENT),
        ("idle", open_share - closed_share, MOST_IDLE),
    ):
        if value > most:
            wrong.append(f"{what}: {value:g} is more than {most:g}")


def _busy(browser: Browser, world: Gateway, options: argparse.Namespace, wrong: list[str]) -> None:
    screens = Screens(browser)
    page = browser.do(screens.open)
    browser.do(enter, page, world.ask("login"))
    used = []
    for _ in range(max(2, options.minutes)):
        time.sleep(60)
        used.append(browser.do(heap, page))
    share = world.cpu(10)
    browser.do(screens.close)
    table(
        f"{options.changes:g} changes a second",
        ("browser's memory after a minute", megabytes(used[0])),
        (f"after {len(used)} minutes", megabytes(used[-1])),
        ("each minute", ", ".join(f"{one / 1e6:.1f}" for one in used)),
        ("gateway", percent(share)),
    )
    wrong += screens.wrong
    if used[-1] > used[0] * MOST_GROWTH:
        wrong.append(f"the browser's memory grows: {json.dumps(used)}")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--accounts", type=int, default=500)
    parser.add_argument("--changes", type=float, default=20.0, help="changes a second")
    parser.add_argument("--minutes", type=int, default=10, help="how long the browser's memory is watched")
    parser.add_argument("--events", type=int, default=20, help="how many events are followed to the screen")
    parser.add_argument("--repetitions", type=int, default=5, help="how often the page is opened")
    options = parser.parse_args()
    print_machine()
    wrong = measure(options)
    print_load()
    for one in wrong:
        print(f"wrong: {one}")
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
