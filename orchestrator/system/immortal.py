"""Objects that Python never frees, so that nobody counts the references to them.

Python writes into an object whenever a reference to the object comes or goes. In a fork, the first write to
a page copies the page, so a process that only reads objects of its parent ends up with pages of its own.
Since version 3.12 Python knows objects that are immortal (PEP 683): None, small numbers, its own types. Their
counts hold a number that means "for ever", and nobody writes there. Nothing in Python's language makes an
object immortal, but every object may be: the count only needs that number.

Decision 026 has what this saves, and why it is safe.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from types import CodeType, FrameType
from typing import Any, Final

_VERSIONS: Final = ((3, 12), (3, 13))
"""Versions whose source was read: the count is an object's first word, of 64 bits. 3.14 has flags there."""
_FOR_EVER: Final = 0xFFFF_FFFF
"""The count of immortal objects on machines of 64 bits: `_Py_IMMORTAL_REFCNT` in Python's `object.h`."""
_PROBES: Final = 100


def make_all_immortal() -> bool:
    """Make all objects of this process immortal, as far as the garbage collector and code lead to them.

    Nothing of them is freed any more, in this process and in its forks. Call this where no other thread runs,
    when all is imported, before `gc.freeze` and before a fork.

    Returns:
        Whether this Python can do it. Where it cannot, nothing has changed.
    """
    if not _can():
        return False
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        _mark_from(gc.get_objects())
    finally:
        if was_enabled:
            gc.enable()
    return True


def is_immortal(item: object) -> bool:
    """Tell whether nobody counts the references to an object."""
    before = sys.getrefcount(item)
    more = [item] * _PROBES
    return len(more) == _PROBES and sys.getrefcount(item) == before


def _can() -> bool:
    """Tell whether this Python keeps its counts where they are expected, by those that it has itself."""
    if sys.implementation.name != "cpython" or sys.version_info[:2] not in _VERSIONS:
        return False
    # "t" is Python without its lock, which counts otherwise; "d" is a debug build, which checks counts.
    if sys.abiflags or sys.maxsize != 2**63 - 1 or _count(None).value != _FOR_EVER:
        return False
    probe = object()
    if is_immortal(probe) or _count(probe).value != sys.getrefcount(probe) - 1:
        return False
    _count(probe).value = _FOR_EVER
    return is_immortal(probe)


def _count(item: object) -> ctypes.c_uint64:
    return ctypes.c_uint64.from_address(id(item))


def _mark_from(roots: list[Any]) -> None:
    """Mark objects, and all to which they lead: a quarter of a million, and four times as many ways."""
    count_of, count = sys.getrefcount, ctypes.c_uint64.from_address
    for root in roots:
        # Python's own types are immortal already, and what they lead to is not.
        pending = [root, *_led_to(root)]
        while pending:
            item = pending.pop()
            if count_of(item) != _FOR_EVER and type(item) is not FrameType:
                count(id(item)).value = _FOR_EVER
                pending += _led_to(item)


def _led_to(item: Any) -> list[Any]:  # noqa: ANN401 - anything there is
    """Return the objects to which an object leads."""
    # The collector does not look into code. `isinstance` would ask the object itself for its class, and run
    # what stands there: a dead proxy raises, and a module that is imported when it is needed imports itself.
    if type(item) is CodeType:
        return [item.co_consts, item.co_names, item.co_filename, item.co_name, item.co_qualname]
    return gc.get_referents(item)
