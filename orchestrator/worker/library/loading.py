"""neonize's Python half before a fork, and of its Go half all that survives one.

Importing neonize loads Go's library, which starts Go, and starts a thread; neither survives a fork. All the
rest does, and is most of what a child would have to import for itself. So the fork server imports neonize
with a copy of the library that does not start Go, and each child starts Go (`early`). Where that is not
possible, the fork server imports neonize with a stand-in, which each child replaces by the library.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from orchestrator.worker.library import integrity, left_out, package
from orchestrator.worker.library.early import Copy, EarlyLibrary, copy_library
from orchestrator.worker.library.elf import NotUnderstoodError
from orchestrator.worker.seal import Seal

_MODULE = "orchestrator.worker.library.client"
"""What brings neonize along."""
_BINDER = "neonize._binder"
_TRIAL_SECONDS = 60
"""How long a trial may take, which takes a second: one that hangs is ended by the kernel."""
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
            raise package.LibraryChangedError(
                f"neonize {self._version} has lost its library: {package.UPDATE}"
            )
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
                f"neonize {self._version} has a library of version {found}: {package.UPDATE}"
            )


def import_before_fork() -> None:
    """Import neonize and what of ours needs it, without starting Go and without a thread.

    A fork server that had Go in it would give nothing but dead children, and there is no way to unload it. So
    this is first tried in a process of its own. Where it does not work as expected with the library, it is
    done without; where that does not work, nothing is imported, and each child imports all of it itself.
    """
    copy = _copy()
    if copy is not None:
        try:
            if _works(copy):
                _import(copy)
                return
        finally:
            os.close(copy.descriptor)
        log.warning("this neonize's library cannot be shared: each account loads it, and takes 2 MB more")
    if _works(None):
        _import(None)
    else:
        log.warning("this neonize cannot be shared: each account loads it for itself, and takes more memory")


def _copy() -> Copy | None:
    try:
        return copy_library()
    except package.LibraryError:
        return None  # the child that meets this again says what to do
    except (NotUnderstoodError, OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        log.warning(
            "neonize's library cannot be shared (%s): each account loads it, and takes 2 MB more", why
        )
        return None


def _works(copy: Copy | None) -> bool:
    trial = os.fork()
    if trial == 0:
        os._exit(_try(copy))
    return os.waitpid(trial, 0)[1] == 0


def _import(copy: Copy | None) -> None:
    prepare()
    with _libraries(copy), _no_threads(), package.without_shell():
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


def _try(copy: Copy | None) -> int:
    """Return 0 if neonize can be imported before a fork, 1 if not."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(_TRIAL_SECONDS)
    try:
        _import(copy)
        library = sys.modules[_BINDER].__dict__["gocode"]
        is_loaded = f"{package.package()}/" in Path("/proc/self/maps").read_text()
        if is_loaded or len(list(Path("/proc/self/task").iterdir())) != 1:
            return 1
        if copy is None:
            return 0 if isinstance(library, LateLibrary) else 1
        return 0 if isinstance(library, EarlyLibrary) and _starts(library) else 1
    except BaseException:  # noqa: BLE001 - whatever it is, the child that meets it again says what to do
        return 1


def _starts(library: EarlyLibrary) -> bool:
    """Tell whether Go starts in a fork of this process, as it will in each account's."""
    child = os.fork()
    if child == 0:
        signal.alarm(_TRIAL_SECONDS)  # which a fork does not inherit
        try:
            library.start()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(child, 0)[1] == 0


def expect(seal: Seal | None) -> None:
    """See that the library which is about to be used was checked.

    Args:
        seal: What `integrity.check` has returned elsewhere. None: it is checked here and now, unless this
            process has one that was.

    Raises:
        LibraryError: It is another one.
    """
    binder = sys.modules.get(_BINDER)
    library = None if binder is None else binder.__dict__.get("gocode")
    if not isinstance(library, EarlyLibrary):
        integrity.expect(seal)
    elif seal not in (None, library.seal):
        raise integrity.unchecked()


def complete() -> None:
    """Start Go, and the threads that were left out before the fork.

    Raises:
        LibraryChangedError: The library does not fit.
        OSError: It cannot be loaded.
    """
    library = sys.modules[_BINDER].__dict__["gocode"]
    if isinstance(library, LateLibrary):
        library.load()
    elif isinstance(library, EarlyLibrary):
        library.start()
    while _postponed:
        asked = _postponed.pop(0)
        # A new thread that does the same: one that was made before the fork counts as ended after it, and
        # Python 3.13 refuses to start it.
        threading.Thread(target=asked.run, name=asked.name, daemon=asked.daemon).start()


@contextlib.contextmanager
def _libraries(copy: Copy | None) -> Iterator[None]:
    """While neonize is imported: give it the copy of its library, or what stands in for the library."""
    real = ctypes.CDLL
    folder = package.package()

    def open_library(name: Any, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - as CDLL has it
        if name and Path(name).parent == folder:
            version = sys.modules["neonize.download"].__dict__["__GONEONIZE_VERSION__"]
            return LateLibrary(name, version) if copy is None else EarlyLibrary(copy, version)
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
