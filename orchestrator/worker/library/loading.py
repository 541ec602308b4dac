"""neonize's Python half before a fork, its Go half after it.

Importing neonize loads Go's library and starts a thread, and neither survives a fork. All the rest does, and
is most of what a child would have to import for itself. So the fork server imports neonize with a stand-in
for the library, which each child replaces by the real one.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import logging
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from orchestrator.worker.library import integrity, left_out, package

_MODULE = "orchestrator.worker.library.client"
"""What brings neonize along."""
_BINDER = "neonize._binder"
_UPDATE = "is it being updated? If not, install it again"
_postponed: list[threading.Thread] = []

log = logging.getLogger(__name__)


class LateLibrary:
    """Stands in for a library that is loaded later, and takes note of its functions' types until then.

    Args:
        path: The library's file.
        version: What its ``GetVersion`` is to return.
    """

    def __init__(self, path: str, version: str) -> None:
        self._path = path
        self._version = version
        self._real: ctypes.CDLL | None = None
        self.GetVersion: Any = lambda: version.encode()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - a function of the library, in the end
        if name.startswith("_"):
            raise AttributeError(name)
        function = SimpleNamespace() if self._real is None else getattr(self._real, name)
        setattr(self, name, function)
        return function

    def load(self) -> None:
        """Load the library, and put its functions in the place of what stood in for them.

        Raises:
            LibraryChangedError: It is gone, or another version's.
            OSError: It cannot be loaded.
        """
        if not Path(self._path).exists():
            raise package.LibraryChangedError(f"neonize {self._version} has lost its library: {_UPDATE}")
        self._real = ctypes.CDLL(self._path)
        for name, noted in vars(self).copy().items():
            if name.startswith("_"):
                continue
            delattr(self, name)
            with contextlib.suppress(AttributeError):  # neonize asks for some that need not be there
                function = getattr(self, name)
                for key, value in vars(noted).items():
                    setattr(function, key, value)
        if (found := self.GetVersion().decode()) != self._version:
            raise package.LibraryChangedError(
                f"neonize {self._version} has a library of version {found}: {_UPDATE}"
            )


def import_before_fork() -> None:
    """Import neonize and what of ours needs it, without its library and without a thread.

    A fork server that had Go's library in it would give nothing but dead children, and there is no way to
    unload it. So this is first tried in a process of its own; where it does not work as expected, nothing is
    imported, and each child imports all of it itself.
    """
    trial = os.fork()
    if trial == 0:
        os._exit(_try())
    if os.waitpid(trial, 0)[1] == 0:
        _import()
    else:
        log.warning("this neonize cannot be shared: each account loads it for itself, and takes more memory")


def _import() -> None:
    prepare()
    with _late_libraries(), _no_threads(), package.without_shell():
        importlib.import_module(_MODULE)


def prepare() -> None:
    """See that neonize can be imported: that its files are its own, and that it fetches no others.

    What neonize imports and nobody uses is left out of this process from now on; see `left_out`.

    Raises:
        LibraryError: It must not be.
    """
    package.forbid_connections()
    if _MODULE not in sys.modules:
        integrity.check_sources()
        left_out.leave_out(integrity.version())
    package.forbid_download()


def _try() -> int:
    """Return 0 if neonize can be imported before a fork, 1 if not."""
    try:
        _import()
        is_late = isinstance(sys.modules[_BINDER].__dict__["gocode"], LateLibrary)
        is_loaded = f"{package.package()}/" in Path("/proc/self/maps").read_text()
        return 0 if is_late and not is_loaded and len(list(Path("/proc/self/task").iterdir())) == 1 else 1
    except BaseException:  # noqa: BLE001 - whatever it is, the child that meets it again says what to do
        return 1


def complete() -> None:
    """Load the library and start the threads that were left out before the fork.

    Raises:
        LibraryChangedError: The library does not fit.
        OSError: It cannot be loaded.
    """
    stand_in = sys.modules[_BINDER].__dict__["gocode"]
    if isinstance(stand_in, LateLibrary):
        stand_in.load()
    while _postponed:
        asked = _postponed.pop(0)
        # A new thread that does the same: one that was made before the fork counts as ended after it, and
        # Python 3.13 refuses to start it.
        threading.Thread(target=asked.run, name=asked.name, daemon=asked.daemon).start()


@contextlib.contextmanager
def _late_libraries() -> Iterator[None]:
    real = ctypes.CDLL
    folder = package.package()

    def open_library(name: Any, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - as CDLL has it
        if name and Path(name).parent == folder:
            return LateLibrary(name, sys.modules["neonize.download"].__dict__["__GONEONIZE_VERSION__"])
        return real(name, *args, **options)

    ctypes.CDLL = open_library  # type: ignore[assignment, misc]
    try:
        yield
    finally:
        ctypes.CDLL = real  # type: ignore[misc]


@contextlib.contextmanager
def _no_threads() -> Iterator[None]:
    def postpone(thread: threading.Thread) -> None:
        _postponed.append(thread)

    real = threading.Thread.start
    threading.Thread.start = postpone  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        threading.Thread.start = real  # type: ignore[method-assign]
