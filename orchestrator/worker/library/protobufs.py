"""Loads the definitions of neonize's protobuf messages, and nothing else of neonize.

Stored messages are read by commands and by processes that connect no account. Importing neonize loads Go's
library there, starts a thread, and takes 0.5 s and 58 MB. The definitions alone take 30 ms and 9 MB
(measured with neonize 0.5.2), so they are imported without the package around them. Where neonize has been
imported, its own modules are the ones that are used: a second set would be registered for the same names.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

from orchestrator.errors import OrchestratorError
from orchestrator.messages.rendering import classes
from orchestrator.system.os_errors import shortage
from orchestrator.worker.library import integrity
from orchestrator.worker.library.package import LibraryAlteredError, LibraryError, package, reinstall


def load() -> ModuleType:
    """Load the definitions of neonize's messages, unless this process has them.

    Returns:
        Neonize_pb2, with a class for each of neonize's messages.

    Raises:
        OrchestratorError: neonize is not installed, or its files are damaged or not its own.
    """
    try:
        folder = package()
        if (loaded := classes.find()) is not None:
            return _neonizes(loaded, folder)
        integrity.check_sources()
        return _import(folder / "proto")
    except LibraryAlteredError as error:
        raise OrchestratorError(str(error), key="library_altered") from None
    except LibraryError as error:
        raise OrchestratorError(f"{error}: {reinstall('neonize')}", key="library_unusable") from None
    except (MemoryError, OSError) as error:
        if isinstance(error, MemoryError) or shortage(error) is not None:
            raise  # this machine lacks something, and the files may be as they should be
        raise _broken(error) from None
    except Exception as error:  # noqa: BLE001 - generated code of any version, and protobuf's checks of it
        raise _broken(error) from None


def _import(folder: Path) -> ModuleType:
    """Import the definitions from neonize's folder for them, where they look for each other."""
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        importlib.invalidate_caches()
        module = importlib.import_module(classes.MODULE)
    except BaseException:
        # What is half there would be taken for whole by the next one who asks.
        for name in set(sys.modules) - before:
            if _is_within(sys.modules[name], folder):
                del sys.modules[name]
        raise
    finally:
        sys.path.remove(str(folder))
    return _neonizes(module, folder)


def _neonizes(module: ModuleType, folder: Path) -> ModuleType:
    if not _is_within(module, folder):
        raise LibraryAlteredError(
            f"a module {classes.MODULE} of another package stands in the way of neonize's: look for a"
            " sitecustomize.py, a .pth file or a PYTHONPATH that brings the module along"
        )
    return module


def _is_within(module: ModuleType | None, folder: Path) -> bool:
    origin = getattr(module, "__file__", None)
    return isinstance(origin, str) and Path(origin).is_relative_to(folder)


def _broken(error: BaseException) -> OrchestratorError:
    return OrchestratorError(
        f"the definitions of neonize's messages do not load ({type(error).__name__}: {error}): install"
        f" neonize and protobuf again: {reinstall('neonize', 'protobuf')}",
        key="library_unusable",
    )
