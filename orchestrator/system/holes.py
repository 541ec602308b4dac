"""Free places in this process's memory filled, so that what its forks allocate lies together.

After many modules were imported, free places lie everywhere between what is in use. A fork that allocates
gets these places, and writes to a page for each that it would otherwise share: 4 KB for some bytes. Where no
place is free, Python and the C library open new pages, and what is allocated lies side by side.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Callable
from typing import Any, Final

_ALIGNMENT: Final = 16
_LARGEST: Final = 512
"""Python keeps objects of up to so many bytes in pools of its own; larger ones are the C library's."""
_POOL: Final = 1 << 14
_POOL_HEAD: Final = 48
"""Bytes of a pool of objects of one size, and of its head: `POOL_SIZE` and `POOL_OVERHEAD` in Python 3.11 to
3.13."""
_WHOLE: Final = 0.95
"""The part of a pool that counts as all of it: the numbers that this program works with lie in pools, too."""
_BYTES_HEAD: Final = 33
"""Bytes of a `bytes` without content."""
_MOST_OBJECTS: Final = 20_000
"""Of one size: more are no holes, but a Python whose objects are not in such pools (PYTHONMALLOC)."""

_M_ARENA_MAX: Final = -8
"""For mallopt(3): into how many areas the C library divides its memory."""
_SIZES: Final = (65536, 32768, 16384, 8192, 4096, 3072, 2048, *range(1528, 23, -_ALIGNMENT))
"""Bytes that are asked of the C library: all sizes of small pieces, and some larger ones."""

_kept: list[object] = []


def fill() -> None:
    """Fill the free places; call this before a fork, where no other thread runs.

    The memory stays taken for as long as this process and its forks live. It is memory that the process has
    already, and is not given back by it or by them anyway.
    """
    _fill_pools()
    # Nothing of this on another C library than glibc, or on one before 2.33 of 2021.
    with contextlib.suppress(AttributeError):
        _fill_blocks(ctypes.CDLL(None))


def _fill_pools() -> None:
    """Fill the pools that Python keeps for objects of each size."""
    for size in range(_ALIGNMENT, _LARGEST + 1, _ALIGNMENT):
        kept = _fill_pools_of(size)
        if kept is None:
            return
        _kept.extend(kept)


def _fill_pools_of(size: int) -> list[object] | None:
    """Fill those of one size; return what they are filled with, None if there are no such pools."""
    make, kept = _maker(size), list[object]()
    whole = (_POOL - _POOL_HEAD) // size * _WHOLE
    pool, row = 0, list[object]()
    for _ in range(_MOST_OBJECTS):
        item = make()
        if id(item) // _POOL != pool:
            kept.extend(row)
            pool, row = id(item) // _POOL, []
        row.append(item)
        if len(row) > whole:  # a pool that was empty: no other one had room
            return kept
    return None


def _maker(size: int) -> Callable[[], object]:
    """Return what makes objects of so many bytes which the collector does not look at."""
    if size < _BYTES_HEAD:
        return object if size == object.__sizeof__(object()) else _complex
    content = size - _BYTES_HEAD
    return lambda: bytes(content)


def _complex() -> complex:
    return complex(1, 1)  # 32 bytes


class _Info(ctypes.Structure):
    """What mallinfo2(3) returns."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks",
            "keepcost",
        )
    )  # fmt: skip


def _fill_blocks(libc: Any) -> None:  # noqa: ANN401 - ctypes has no type for a library
    """Fill what the C library has free below the end of its memory, and have it use that end alone.

    Threads would otherwise get an area each, of which each is used a little. An operator who has set the
    number of areas has a reason.

    Raises:
        AttributeError: The C library has nothing of the kind.
    """
    libc.mallinfo2.restype = _Info
    libc.sbrk.restype = libc.malloc.restype = ctypes.c_void_p
    libc.sbrk.argtypes, libc.malloc.argtypes = (ctypes.c_ssize_t,), (ctypes.c_size_t,)
    libc.free.argtypes = (ctypes.c_void_p,)
    if "MALLOC_ARENA_MAX" not in os.environ and "arena_max" not in os.environ.get("GLIBC_TUNABLES", ""):
        libc.mallopt(_M_ARENA_MAX, 1)
    info = libc.mallinfo2()
    # What is free in all, without what is free at the end; twice, for small pieces are not all counted.
    rest = 2 * (info.fordblks - info.keepcost)
    end = libc.sbrk(0) - info.keepcost
    for size in _SIZES:
        while rest > 0:
            block = libc.malloc(size)
            if block is None or block >= end:
                libc.free(block)
                break
            rest -= size
