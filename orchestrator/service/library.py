"""Tells whether neonize loads, in a process of its own: the service never loads neonize."""

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
"""How long loading may take. It takes about one second, and many seconds while a machine boots."""

_SCRIPT = """\
import json, sys, time

def end(**values):
    print(flush=True)
    print(json.dumps(values))
    sys.exit()

from orchestrator.system.confinement import keep_out_of_cores
from orchestrator.worker.library.package import forbid_download
keep_out_of_cores()
started = time.monotonic()
try:
    import magic
    forbid_download()
    import neonize
    # Go calls back into Python, which needs memory that is writable and executable. A system may forbid that.
    import ctypes
    ctypes.CFUNCTYPE(None)(lambda: None)
except BaseException as error:
    from orchestrator.worker.library.diagnosis import diagnose
    found = diagnose(error)
    end(failed=found.text, lacks_libmagic=found.lacks_libmagic)
end(version=neonize.__version__, seconds=time.monotonic() - started)
"""


class LibraryError(OrchestratorError):
    """neonize does not load on this machine. The message says what to install."""

    key = "library_unusable"


@dataclass(frozen=True, slots=True)
class Library:
    """A neonize that works.

    Attributes:
        version: Its version, which its Go half has confirmed.
        seconds: How long loading took.
    """

    version: str
    seconds: float


def check_library() -> Library:
    """Load neonize once, without letting it download anything.

    Otherwise each account's process would fail, or download, at the same time.

    Raises:
        LibraryError: neonize does not load.
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
            f"neonize did not load within {LOAD_SECONDS:.0f} s: is this machine, or its disk, overloaded?"
        ) from None
    except OSError as error:
        raise LibraryError(
            f"cannot start a process to load neonize: {error.strerror}", key="cannot_start"
        ) from None
    try:
        found = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        end = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise LibraryError(
            f"the process that loads neonize crashed (exit code {done.returncode}: {end or 'no message'})."
            f" neonize's library may be damaged: {reinstall('neonize')}"
        ) from None
    if "version" in found:
        return Library(found["version"], found["seconds"])
    raise LibraryError(found["failed"], key="library_missing_libmagic" if found["lacks_libmagic"] else None)


def installed_version() -> str | None:
    """Return the version of neonize that is installed, without loading it; None if it is unknown now."""
    try:
        return metadata.version("neonize")
    except (metadata.PackageNotFoundError, OSError):
        return None
