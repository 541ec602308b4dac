"""How long a QR code takes from the WhatsApp server to its picture in the folder that others watch.

Run as ``python -m benchmarks.code_to_png [--accounts 10] [--rounds 3]``.

Measured is the first code of a round: from the moment the sandbox gives an account's client its codes to the
rename that puts NAME.png in place, as a watcher of the folder is told by inotify. The later codes of a round
come out of neonize, which decides by a clock of its own when to hand out the next, without a word from the
server. In each round all accounts are new and start as the configuration paces them by default.
"""

from __future__ import annotations

import argparse
import ctypes
import math
import os
import select
import struct
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Self

from benchmarks.machine import print_load, print_machine
from benchmarks.report import table
from benchmarks.service import DEFAULT_PARALLEL, DEFAULT_SPREAD, Service
from orchestrator.sandbox.client import SandboxClient
from orchestrator.sandbox.process import SandboxProcess

PATIENCE = 120.0
"""Seconds until every account has shown a code; ten take about six."""
_MOVED_TO = 0x80
_CREATED = 0x100
_HEAD = struct.Struct("iIII")


@dataclass(frozen=True, slots=True)
class Appearance:
    """A picture that has come.

    Attributes:
        seen_at: When the watcher was told of the rename, in Unix seconds.
        issued_at: When the account's process got the code, in Unix seconds: the file's modification time.
    """

    seen_at: float
    issued_at: float


class Watcher:
    """Watches a folder, as programs do that show the pictures to somebody.

    Args:
        folder: The folder; it must exist.

    Attributes:
        appeared: The first appearance of each picture, by its account's name.
    """

    def __init__(self, folder: Path) -> None:
        self.appeared: dict[str, Appearance] = {}
        self._folder = folder
        self._news = threading.Condition()
        self._error: str | None = None
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = libc.inotify_init1(os.O_CLOEXEC)
        if libc.inotify_add_watch(self._descriptor, os.fsencode(folder), _MOVED_TO | _CREATED) < 0:
            raise OSError(ctypes.get_errno(), f"{folder} cannot be watched")
        self._end, self._ended = os.pipe()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._ended)
        self._thread.join()
        os.close(self._descriptor)
        os.close(self._end)

    def wait_for(self, count: int) -> Mapping[str, Appearance]:
        """Return the appearances once there are so many.

        Raises:
            AssertionError: They did not come in time, or a picture did not come by a rename.
        """
        with self._news:
            in_time = self._news.wait_for(lambda: self._error or len(self.appeared) >= count, PATIENCE)
            assert self._error is None, self._error
            assert in_time, f"only {len(self.appeared)} of {count} codes appeared"
            return dict(self.appeared)

    def _watch(self) -> None:
        while self._descriptor in select.select([self._descriptor, self._end], [], [])[0]:
            data = os.read(self._descriptor, 65536)
            now = time.time()
            with self._news:
                while data:
                    _, mask, _, size = _HEAD.unpack_from(data)
                    name = os.fsdecode(data[_HEAD.size : _HEAD.size + size].rstrip(b"\0"))
                    data = data[_HEAD.size + size :]
                    self._take(name, mask, now)
                self._news.notify_all()

    def _take(self, name: str, mask: int, now: float) -> None:
        account = name.removesuffix(".png")
        if account == name or account in self.appeared:
            return
        if mask & _CREATED:
            self._error = f"{name} was made in its place, not renamed"
        else:
            self.appeared[account] = Appearance(now, (self._folder / name).stat().st_mtime)


@dataclass(frozen=True, slots=True)
class Way:
    """One code's way, in seconds.

    Attributes:
        to_child: From the server's offer until the account's process has the code.
        to_folder: From then until the picture is in place: drawn, sent to the service, written, renamed.
    """

    to_child: float
    to_folder: float

    @property
    def whole(self) -> float:
        """From the server to the folder."""
        return self.to_child + self.to_folder


def offers(sandbox: SandboxClient, since: int) -> dict[str, float]:
    """Return when the server offered codes to each account, which is known by the name it gives the proxy."""
    names = {one["connection"]: one["proxy_user"] for one in sandbox.connections()}
    events = (one for one in sandbox.events(since) if one["event"] == "pairing")
    return {names[one["connection"]]: one["at"] for one in events if one["connection"] in names}


def measure(count: int) -> list[Way]:
    """Let so many new accounts show their first codes, and return what each took."""
    names = [f"account-{number:03d}" for number in range(count)]
    with tempfile.TemporaryDirectory(prefix="codes-") as name, SandboxProcess() as sandbox:
        folder = Path(name)
        proxies = {one: {"proxy": f"http://{one}:password@127.0.0.1:{sandbox.port}"} for one in names}
        service = Service(folder, proxies, sandbox.environment())
        pictures = service.paths.qr
        for path in (service.paths.root, pictures):
            path.mkdir(mode=0o700)
        with Watcher(pictures) as watcher, service.running():
            appeared = watcher.wait_for(count)
            offered = offers(sandbox.client, 0)
        return [Way(one.issued_at - offered[of], one.seen_at - one.issued_at) for of, one in appeared.items()]


def show(rounds: Sequence[Sequence[Way]]) -> None:
    """Print every round, and the median of the rounds."""
    rows = []
    parts = {
        "from the server to the folder": [[one.whole for one in ways] for ways in rounds],
        "  to the account's process": [[one.to_child for one in ways] for ways in rounds],
        "  from there to the folder": [[one.to_folder for one in ways] for ways in rounds],
    }
    for name, columns in parts.items():
        for what, value in (("median", median), ("worst", max)):
            cells = [value(column) for column in columns]
            rows.append((f"{name}, {what}", *(f"{1000 * cell:.1f} ms" for cell in [*cells, median(cells)])))
    heads = [f"round {number}" for number in range(1, len(rounds) + 1)]
    table(f"the first codes of {len(rounds[0])} accounts", ("", *heads, "median"), *rows)
    every = sorted(one.whole for ways in rounds for one in ways)
    rank = math.ceil(0.95 * len(every)) - 1
    print(
        f"\nall {len(every)} codes: 95 % within {1000 * every[rank]:.1f} ms, worst {1000 * every[-1]:.1f} ms"
    )


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--accounts", type=int, default=10, help="how many (default: 10)")
    parser.add_argument("--rounds", type=int, default=3, help="how often, with new accounts (default: 3)")
    arguments = parser.parse_args()
    print_machine()
    table(
        "accounts",
        ("kind", "neonize itself, unmodified, started by the service"),
        ("start", f"{DEFAULT_PARALLEL} at a time, up to {DEFAULT_SPREAD:g} s between two"),
        ("times", "the sandbox's to the millisecond, the others to the microsecond"),
    )
    show([measure(arguments.accounts) for _ in range(arguments.rounds)])
    print_load()


if __name__ == "__main__":
    main()
