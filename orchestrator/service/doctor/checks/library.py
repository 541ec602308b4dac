"""Whether neonize's files are those of its package, and whether neonize loads."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.service.doctor.check import Check, Finding, fail, ok
from orchestrator.service.doctor.context import Context
from orchestrator.service.library import LibraryError, check_library


def find(_: Context) -> Iterator[Finding]:
    """Check neonize's files by their checksums, and load neonize in a process of its own."""
    try:
        library = check_library()
    except LibraryError as error:
        yield fail(str(error))
        return
    yield ok(f"{library.version} loads, in {library.seconds:.1f} s")


CHECK = Check("neonize", "neonize", "Whether neonize has the right checksums, and loads.", find)
