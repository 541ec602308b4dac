"""Tells whether neonize loads, in a process of its own: the service never loads neonize."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from dataclasses import dataclass
from importlib import metadata

from orchestrator.errors import OrchestratorError
from orchestrator.system import interpreter
from orchestrator.worker.library import integrity
from orchestrator.worker.library.package import LibraryError as PackageError
from orchestrator.worker.library.package import reinstall
from orchestrator.worker.seal import Seal

LOAD_SECONDS = 60.0
"""How long loading may take. It takes about one second, and many seconds while a machine boots."""

_SCRIPT = """\
import json, sys, time

def end(**values):
    print(flush=True)
    print(json.dumps(values))
    sys.exit()

from orchestrator.system.cores import keep_out_of_cores
keep_out_of_cores()
from orchestrator.worker.library import integrity, loading
started = time.monotonic()
try:
    seal = integrity.check()
    loading.prepare()
    import neonize
    # Go calls back into Python, which needs memory that is writable and executable. A system may forbid that.
    import ctypes
    ctypes.CFUNCTYPE(None)(lambda: None)
except BaseException as error:
    from orchestrator.worker.library.diagnosis import diagnose
    found = diagnose(error)
    end(failed=found.text, altered=found.altered)
end(version=neonize.__version__, seconds=time.monotonic() - started, seal=[seal.version, seal.files])
"""


class LibraryError(OrchestratorError):
    """neonize does not load on this machine. The message says what to install."""

    key = "library_unusable"


@dataclass(frozen=True, slots=True)
class Installed:
    """What of neonize is installed.

    Attributes:
        version: The version that the installer has noted.
        seal: Which files its libraries are.
    """

    version: str
    seal: Seal


@dataclass(frozen=True, slots=True)
class Library:
    """A neonize that works.

    Attributes:
        version: Its version, which its Go half has confirmed.
        seconds: How long loading took.
        seal: Which files they were that had the right checksums; None for files that nobody has checked.
    """

    version: str
    seconds: float
    seal: Seal | None = None


def check_library() -> Library:
    """Check the files of neonize by their checksums, and load neonize once without letting it download.

    Otherwise each account's process would fail, or download, at the same time.

    Raises:
        LibraryError: neonize does not load, or is not what its package has.
    """
    try:
        done = subprocess.run(
            interpreter.script(_SCRIPT),
            env=interpreter.helper_environment(os.environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LOAD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _too_slow() from None
    except OSError as error:
        raise _no_process(error) from None
    return _read(done.returncode, done.stdout, done.stderr)


async def check_library_aside() -> Library:
    """Do the same without blocking; if it is canceled, the process that loads neonize is killed.

    Raises:
        LibraryError: neonize does not load, or is not what its package has.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *interpreter.script(_SCRIPT),
            env=interpreter.helper_environment(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except (OSError, RuntimeError) as error:  # there is no process, or no thread to wait for it
        raise _no_process(error) from None
    try:
        async with asyncio.timeout(LOAD_SECONDS):
            output, errors = await process.communicate()
    except TimeoutError:
        raise _too_slow() from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return _read(process.returncode, output, errors)


def _read(code: int, output: bytes, errors: bytes) -> Library:
    """Return what the process has found that loads neonize."""
    try:
        found = json.loads(output.splitlines()[-1])
    except (IndexError, ValueError):
        end = errors.decode(errors="replace").strip().rpartition("\n")[2]
        raise LibraryError(
            f"the process that loads neonize crashed (exit code {code}: {end or 'no message'})."
            f" neonize's library may be damaged: {reinstall('neonize')}"
        ) from None
    if "version" in found:
        version, files = found["seal"]
        return Library(found["version"], found["seconds"], Seal(version, tuple(map(tuple, files))))
    if found["altered"]:
        raise LibraryError(found["failed"], key="library_altered")
    raise LibraryError(found["failed"])


def _too_slow() -> LibraryError:
    return LibraryError(
        f"neonize did not load within {LOAD_SECONDS:.0f} s: is this machine, or its disk, overloaded?"
    )


def _no_process(error: OSError | RuntimeError) -> LibraryError:
    why = error.strerror if isinstance(error, OSError) else error
    return LibraryError(f"cannot start a process to load neonize: {why}", key="cannot_start")


def installed() -> Installed | None:
    """Return what of neonize is installed, without loading or reading it; None if that is unknown now."""
    try:
        return Installed(metadata.version("neonize"), integrity.look())
    except (metadata.PackageNotFoundError, PackageError, OSError):
        return None
