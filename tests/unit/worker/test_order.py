"""Code that is put side by side before the fork: it does the same as before, and lies together."""

from __future__ import annotations

import asyncio
import functools
import gc
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from orchestrator.worker.library import order


def plain(value: int, *, key: str = "a default") -> tuple[int, str]:
    return value, key


def outer(value: int) -> Callable[[], list[int]]:
    def inner() -> list[int]:
        return [value + n for n in range(3)]

    return inner


def generate() -> Iterator[int]:
    yield from (n * n for n in range(4))


async def wait() -> str:
    await asyncio.sleep(0)
    return "waited"


@functools.lru_cache
def cached(value: int) -> list[int]:
    return [value]


@dataclass(frozen=True)
class Data:
    value: int

    @property
    def twice(self) -> int:
        return 2 * self.value

    @staticmethod
    def static() -> str:
        return "static"

    @classmethod
    def make(cls) -> Data:
        return cls(7)


class Base:
    def __init__(self) -> None:
        self.log = ["base"]


class Derived(Base):
    def __init__(self) -> None:
        super().__init__()
        self.log.append(__class__.__name__)  # type: ignore[name-defined]


def recurse(depth: int) -> int:
    return 0 if depth == 0 else 1 + recurse(depth - 1)


def fail() -> None:
    raise ValueError("as before")


NAMES = (
    "plain",
    "outer",
    "outer.<locals>.inner",
    "generate",
    "generate.<locals>.<genexpr>",
    "wait",
    "cached",
    "Data.twice",
    "Data.static",
    "Data.make",
    "Derived.__init__",
    "recurse",
    "fail",
    "__create_fn__.<locals>.__init__",
)


def results() -> list[object]:
    with pytest.raises(ValueError, match="as before") as failure:
        fail()
    return [
        plain(1, key="x"),
        plain(2),
        outer(5)(),
        list(generate()),
        asyncio.run(wait()),
        cached(3) is cached(3),
        Data(4).twice,
        Data.static(),
        Data.make(),
        Derived().log,
        recurse(50),
        [entry.name for entry in failure.traceback],
        failure.traceback[-1].lineno,
    ]


def test_copied_code_does_the_same() -> None:
    gc.unfreeze()  # these tests are frozen, so that they take less time
    made_before, before = outer(9), results()
    codes = [plain.__code__, outer.__code__, Derived.__init__.__code__]
    assert order.lay_together(f"{__name__}:{name}" for name in NAMES) >= len(NAMES) - 3
    after = [plain.__code__, outer.__code__, Derived.__init__.__code__]
    assert results() == before
    assert after == codes
    assert all(new is not old for new, old in zip(after, codes, strict=True))
    assert made_before() == [9, 10, 11], "what was made before has its own code"


@pytest.mark.parametrize("name", ["no.such.module:function", "os:no_such_function", "", ":", "os", "os:"])
def test_names_of_nothing_are_passed_over(name: str) -> None:
    assert order.lay_together([name]) == 0


def test_code_lies_together() -> None:
    """In the order in which it was asked for; a page takes some six pieces."""
    program = f"""
import gc, sys, types
sys.path[:0] = {sys.path!r}
import orchestrator.worker.main
from orchestrator.system import holes
from orchestrator.worker.library import order
def pages():
    found = order._by_name()
    codes = [function.__code__ for name in names for function in found.get(name, ())]
    return len({{id(code) // 4096 for code in codes}}), len(codes), sum(map(sys.getsizeof, codes)) // 4096
known = order._by_name()
names = [name for name in order.read() if name in known]
known.clear()
before = pages()
holes.fill()
order.lay_together(names)
print(*before, *pages())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    before, number, _, after, same, full = map(int, done.stdout.split())
    assert number == same > 300
    assert after < full * 1.4 + 40, "all sizes lie for themselves"
    assert after < before / 2


def test_the_file_names_each_function_once() -> None:
    names = order.read()
    assert all(re.fullmatch(r"[\w.]+:[\w.<>]+", name) for name in names)
    assert len(set(names)) == len(names) > 500


def test_the_file_names_functions_that_there_are() -> None:
    """On another version of Python some are missing, of Python's own."""
    import orchestrator.worker.main  # noqa: F401 - what brings them along

    gc.unfreeze()
    found = order._by_name()
    ours = [name for name in order.read() if name.startswith("orchestrator.worker.sending.")]
    missing = [name for name in ours if name.partition(".<locals>")[0] not in found and name not in found]
    assert [name for name in missing if "__create_fn__" not in name] == []
