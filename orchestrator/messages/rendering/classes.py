"""Finds the classes of neonize's protobuf messages in this process; does not load them.

An account's process has them because it has imported neonize. All others have them once
`orchestrator.worker.library.protobufs.load` has run, which also sees that neonize's files are its own.
"""

from __future__ import annotations

import sys
from types import ModuleType

MODULE = "Neonize_pb2"
"""The module that has them, by the name under which neonize's folder for definitions knows it."""
_NAMES = (f"neonize.proto.{MODULE}", MODULE)


def find() -> ModuleType | None:
    """Return the module that has the classes, None if this process has not loaded them."""
    for name in _NAMES:
        module = sys.modules.get(name)
        # While one thread imports the module, others see a part of it.
        if module is not None and not getattr(getattr(module, "__spec__", None), "_initializing", False):
            return module
    return None


def get() -> ModuleType:
    """Return the module that has the classes.

    Raises:
        RuntimeError: This process has not loaded them.
    """
    module = find()
    if module is None:
        raise RuntimeError("call orchestrator.worker.library.protobufs.load() before messages are rendered")
    return module
