"""Tells whether neonize can be loaded, in a throw-away process: this one must stay without it."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from importlib import metadata

from orchestrator.errors import OrchestratorError
from orchestrator.system import interpreter
from orchestrator.worker.library.diagnosis import reinstall

LOAD_SECONDS = 60.0
"""How long loading may take; it takes about one second, and many on a machine that is starting everything."""

_SCRIPT = """\
import json, sys, time

def end(**values):
    print(flush=True)
    print(json.dumps(values))
    sys.exit()

from orchestrator.worker.library.package import forbid_download
started = time.monotonic()
try:
    import magic
    forbid_download()
    import neonize
    # What calls back into Python needs memory that can be written and run, which a system may forbid.
    import ctypes
    ctypes.CFUNCTYPE(None)(lambda: None)
except BaseException as error:
    from orchestrator.worker.library.diagnosis import diagnose
    found = diagnose(error)
    end(failed=found.text, lacks_libmagic=found.lacks_libmagic)
end(version=neonize.__version__, seconds=time.monotonic() - started)
"""


class LibraryError(OrchestratorError):
    """neonize cannot be used on this machine; the message says what to install.

    Attributes:
        lacks_libmagic: Whether it is the system's libmagic that is missing.
    """

    def __init__(self, message: str, *, lacks_libmagic: bool = False) -> None:
        super().__init__(message)
        self.lacks_libmagic = lacks_libmagic


@dataclass(frozen=True, slots=True)
class Library:
    """A neonize that works.

    Attributes:
        version: Its version, which its Go half has confirmed.
        seconds: How long it took to load.
    """

    version: str
    seconds: float


def check_library() -> Library:
    """Load neonize once, without letting it download anything.

    Children that would each find out by themselves would all fail, or download at the same time.

    Raises:
        LibraryError: It does not load.
    """
    try:
        done = subprocess.run(
            interpreter.script(_SCRIPT),
            env=interpreter.environment(os.environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LOAD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise LibraryError(
            f"neonize was not loaded within {LOAD_SECONDS:.0f} s: is this machine, or its disk, overloaded?"
        ) from None
    except OSError as error:
        raise LibraryError(f"no process can be started to load neonize: {error.strerror}") from None
    try:
        found = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        end = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise LibraryError(
            f"neonize ends the process that loads it (exit code {done.returncode}:"
            f" {end or 'without a word'}), as a damaged library does: {reinstall('neonize')}"
        ) from None
    if "version" in found:
        return Library(found["version"], found["seconds"])
    raise LibraryError(found["failed"], lacks_libmagic=found["lacks_libmagic"])


def installed_version() -> str | None:
    """Return the version of neonize that is installed, without loading it; None if it cannot be told now."""
    try:
        return metadata.version("neonize")
    except (metadata.PackageNotFoundError, OSError):
        return None
