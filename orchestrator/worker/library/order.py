"""The code that each account's process runs until it is connected, put side by side before the fork.

Python writes into code while it runs: it counts how often, and notes what it has found. A page that is
written to is no longer shared, and code that runs stands between code that does not. So the code that runs is
copied to one place, in the order in which it runs: `order.txt`, one `module:function` a line. What is not
there runs as well, and costs some KB more. `tests/e2e/test_child_work.py` sees that the file is not out of
date, and writes another one.
"""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from types import CodeType, FunctionType
from typing import Final

FILE: Final = Path(__file__).with_name("order.txt")


def read(file: Path = FILE) -> list[str]:
    """Return the functions in their order, as ``module:qualified.name``.

    Raises:
        OSError: The file cannot be read.
    """
    return file.read_text(encoding="utf-8").split()


def lay_together(names: Iterable[str]) -> int:
    """Give functions copies of their code that lie together; return how many pieces of code were copied.

    Call this before `gc.freeze`.

    Args:
        names: Of the functions, in the order in which their code is to lie. Functions within functions are
            found, too.
    """
    found = _by_name()
    wanted = dict.fromkeys(names)
    old, made = list[CodeType](), dict[int, CodeType]()
    for name in wanted:
        outer = name.partition(".<locals>")[0]
        for function in [*found.pop(name, ()), *found.pop(outer, ())]:
            code = function.__code__
            if id(code) not in made:
                old.append(code)  # a place that became free now would be taken by the next copy
                made[id(code)] = _copy(code, str(function.__globals__.get("__name__")), wanted)
            function.__code__ = made[id(code)]
    return len(made)


def _by_name() -> dict[str, list[FunctionType]]:
    """Return all functions, by the names of their code; those that were frozen are not found."""
    found = defaultdict[str, list[FunctionType]](list)
    for item in gc.get_objects():
        if type(item) is FunctionType:
            found[f"{item.__globals__.get('__name__')}:{item.__code__.co_qualname}"].append(item)
    return found


def _copy(code: CodeType, module: str, wanted: Iterable[str]) -> CodeType:
    """Return a copy of code, with copies of what is wanted of the code within it."""
    inner = [item for item in code.co_consts if isinstance(item, CodeType)]
    if not any(f"{module}:{item.co_qualname}" in wanted for item in inner):
        return code.replace()
    constants = [
        _copy(item, module, wanted) if isinstance(item, CodeType) else item for item in code.co_consts
    ]
    return code.replace(co_consts=tuple(constants))
