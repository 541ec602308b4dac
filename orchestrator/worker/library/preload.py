"""What the fork server imports before it forks, so that children share it: all but Go's library."""

from __future__ import annotations

import contextlib
import gc
import importlib
import logging
import os
import sys
from types import TracebackType

from orchestrator.accounts.failure import EXIT_CODES, Kind
from orchestrator.system import holes, immortal, multiprocess_private
from orchestrator.system.os_errors import shortage
from orchestrator.worker import confining
from orchestrator.worker.library import loading, order, rehearsal

MODULES = (
    # neonize 0.5.2's own imports, but for those that are left out
    "asyncio",
    "concurrent.futures.process",
    "concurrent.futures.thread",
    "ctypes.util",
    "google.protobuf.descriptor",
    "google.protobuf.descriptor_pool",
    "google.protobuf.internal.builder",
    "google.protobuf.internal.containers",
    "google.protobuf.message",
    "google.protobuf.runtime_version",
    "google.protobuf.symbol_database",
    "PIL.Image",
    "PIL.ImageSequence",
    "platform",
    "shlex",
    "uuid",
    # ours
    "cryptography.hazmat.primitives.ciphers.algorithms",
    "cryptography.hazmat.primitives.ciphers.modes",
    "h11",
    "multiprocess.connection",
    "multiprocess.popen_forkserver",
    "qrcode",
    "sqlite3",
    "orchestrator.store.codes.draw",
    "orchestrator.worker.main",
)
"""One that is missing or broken is no harm here: the child that needs it says so, and the next one comes from
another fork server."""

log = logging.getLogger(__name__)


def load() -> None:
    """Import them, arrange memory so that most of it stays shared, and give up all other files."""
    sys.excepthook = _uncaught
    for name in MODULES:
        with contextlib.suppress(Exception, SystemExit):
            importlib.import_module(name)
    loading.import_before_fork()
    rehearsal.rehearse()
    multiprocess_private.bear_hang_ups()
    _share()
    confining.confine_maker()


def _share() -> None:
    """See that children write to as few as possible of the pages that they share; decision 026."""
    for step in (holes.fill, _lay_together, rehearsal.number_classes, _make_immortal, holes.fill):
        try:
            step()
        except Exception as error:
            if shortage(error) is not None:
                raise
            log.warning("memory cannot be arranged: each account takes more of it", exc_info=True)
    gc.freeze()


def _lay_together() -> None:
    try:
        names = order.read()
    except (OSError, UnicodeError) as error:
        if shortage(error) is not None:
            raise
        log.warning(
            "each account takes more memory, as the installed package is not in order (%s): install it again",
            error,
        )
    else:
        order.lay_together(names)


def _make_immortal() -> None:
    gc.collect()
    if immortal.make_all_immortal():
        return
    if sys.version_info >= (3, 12):
        log.warning("this Python counts references to all objects: each account takes 5 MB more memory")
    # The names in it are counted, and a child that looks up others lets go of them.
    sys._clear_type_cache()  # noqa: SLF001 - Python's documentation has it


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """End without a word where the machine lacks something: the parent says so, and starts another."""
    if shortage(error) is None:
        sys.__excepthook__(kind, error, trace)
    else:
        os._exit(EXIT_CODES[Kind.MACHINE])


load()
