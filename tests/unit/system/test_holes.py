"""Free places that are filled before a fork: what the fork allocates then lies together."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from orchestrator.system import holes

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = """
import ctypes, os, sys
from orchestrator.system import holes

def own():
    with open("/proc/self/smaps_rollup") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Private_Dirty"))

def make(size):
    return bytes(size - 33)

size, number = {size}, {number}
things = [make(size) for _ in range(number)]
del things[::40]  # now each page of Python's and of the C library's has a hole
if {fills}:
    holes.fill()
child = os.fork()
if child == 0:
    more = [make(size) for _ in range(number // 40)]
    print(own(), flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""


def own(*, size: int, number: int, fills: bool) -> int:
    """Return how many KB a fork has of its own when it has allocated."""
    program = PROGRAM.format(size=size, number=number, fills=fills)
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    )
    return int(done.stdout)


@pytest.mark.parametrize(
    ("size", "number"),
    [(48, 80_000), (112, 80_000), (256, 40_000), (512, 20_000), (700, 20_000), (1200, 20_000)],
)
def test_what_a_fork_allocates_lies_together(size: int, number: int) -> None:
    scattered, together = (own(size=size, number=number, fills=fills) for fills in (False, True))
    pages = min(number // 40, number * size // 4096)  # with a free place; 4 KB each
    assert scattered - together > 2 * pages


def test_nothing_more_is_done_on_another_c_library(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other:
        """It has no function at all."""

    asked: list[object] = []

    def open_library(name: object) -> Other:
        asked.append(name)
        return Other()

    monkeypatch.setattr(ctypes, "CDLL", open_library)
    monkeypatch.setattr(holes, "_kept", [])
    holes.fill()
    assert asked == [None]


@pytest.mark.parametrize("pool", [1 << 12, 1 << 16, 1 << 20])
def test_pools_of_another_size_are_no_harm(pool: int, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[object] = []
    monkeypatch.setattr(holes, "_POOL", pool)
    monkeypatch.setattr(holes, "_kept", kept)
    monkeypatch.setattr(holes, "_fill_blocks", lambda _: None)
    holes.fill()
    assert sum(map(sys.getsizeof, kept)) < 8 * 1024 * 1024, "of 200 MB, if each size had what it may have"


@pytest.mark.parametrize("setting", ["PYTHONMALLOC=malloc", "PYTHONMALLOC=malloc_debug", "PYTHONDEVMODE=1"])
def test_a_python_without_pools_keeps_nothing(setting: str) -> None:
    name, _, value = setting.partition("=")
    program = "from orchestrator.system import holes; holes.fill(); print(len(holes._kept))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), name: value}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True)
    assert int(done.stdout) < 1000


@pytest.mark.parametrize(
    ("setting", "asked"),
    [
        ("", 1),
        ("MALLOC_ARENA_MAX=4", 0),
        ("GLIBC_TUNABLES=glibc.malloc.arena_max=4", 0),
        ("GLIBC_TUNABLES=glibc.malloc.tcache_count=0", 1),
    ],
)
def test_what_an_operator_has_set_stays(setting: str, asked: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Library:
        """The C library, without what would change this process."""

        def __init__(self) -> None:
            self.mallopt = lambda *_: calls.append(1)
            self.malloc = self.free = self.sbrk = self.mallinfo2 = types.SimpleNamespace()

    calls: list[int] = []
    for known in ("MALLOC_ARENA_MAX", "GLIBC_TUNABLES"):
        monkeypatch.delenv(known, raising=False)
    if setting:
        monkeypatch.setenv(*setting.split("=", 1))
    with pytest.raises(TypeError):  # nothing of this can be called
        holes._fill_blocks(Library())
    assert len(calls) == asked


def test_what_is_kept_has_each_size() -> None:
    for size in range(16, 513, 16):
        item = holes._maker(size)()
        assert (sys.getsizeof(item) + 15) // 16 * 16 == size
