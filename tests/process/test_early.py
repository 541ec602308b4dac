"""Go's library is loaded before the fork, from a copy that nobody can change, and Go starts after it."""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import mmap
import os
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from orchestrator.accounts.settings import Confine
from orchestrator.system import kernel
from orchestrator.worker.library import early, elf, integrity
from orchestrator.worker.library.package import LibraryAlteredError, LibraryChangedError, package
from orchestrator.worker.spec import VARIABLE, MakerSpec

ROOT = Path(__file__).resolve().parents[2]


def python(
    program: str, *, preload: bool = True, variables: Mapping[str, str] | None = None
) -> tuple[list[str], str]:
    """Run a program as the fork server is; return its lines, and what it and Go have said besides."""
    lines = ["import os, sys", program]
    if preload:
        lines.insert(1, "import orchestrator.worker.library.preload")
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)],
        env={**os.environ, "PYTHONPATH": str(ROOT), **(variables or {})},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout.splitlines(), done.stderr


@pytest.fixture
def copy() -> Iterator[early.Copy]:
    made = early.copy_library()
    yield made
    os.close(made.descriptor)


def test_the_copy_is_the_library_but_for_what_starts_go(copy: early.Copy) -> None:
    (path,) = package().glob(integrity.LIBRARY)
    theirs, ours = path.read_bytes(), os.pread(copy.descriptor, 1 << 30, 0)
    field = copy.constructors.field
    assert ours[:field] == theirs[:field]
    assert ours[field : field + 8] == bytes(8)
    assert ours[field + 8 :] == theirs[field + 8 :]
    assert copy.seal == integrity.look()


def test_nobody_can_change_a_byte_of_the_copy(copy: early.Copy) -> None:
    before = hashlib.sha256(os.pread(copy.descriptor, 1 << 30, 0)).digest()
    again = os.open(f"/proc/self/fd/{copy.descriptor}", os.O_RDWR)
    for descriptor in (copy.descriptor, again):
        with pytest.raises(PermissionError):
            os.pwrite(descriptor, b"x", 4096)
        with pytest.raises(PermissionError):
            os.ftruncate(descriptor, 0)
        with pytest.raises(PermissionError):
            mmap.mmap(descriptor, 0, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        with pytest.raises(PermissionError):
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, 0)
    os.close(again)
    assert hashlib.sha256(os.pread(copy.descriptor, 1 << 30, 0)).digest() == before


def test_the_copy_runs_as_no_program(copy: early.Copy) -> None:
    assert os.fstat(copy.descriptor).st_mode & 0o111 in (0, 0o111)  # 0 from Linux 6.3 on
    with pytest.raises(OSError, match=r"."):
        subprocess.run([f"/proc/{os.getpid()}/fd/{copy.descriptor}"], check=False)


def write(path: Path, data: bytes) -> None:
    path.unlink()
    path.write_bytes(data)


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A library in front of the installed one, which may be changed."""
    origin = package()
    folder = tmp_path / "neonize"
    folder.mkdir()
    for path in origin.iterdir():
        if path.name != "__pycache__":
            (folder / path.name).symlink_to(path)
    (info,) = origin.parent.glob("neonize-*.dist-info")
    (tmp_path / info.name).symlink_to(info)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    (path,) = folder.glob(integrity.LIBRARY)
    return path


@pytest.mark.parametrize("place", [0, 4096, -1], ids=["first", "in the middle", "last"])
def test_a_library_with_another_byte_is_not_copied(library: Path, place: int) -> None:
    data = bytearray(library.read_bytes())
    data[place] ^= 1
    write(library, bytes(data))
    with pytest.raises((LibraryAlteredError, elf.NotUnderstoodError)):
        early.copy_library()


def test_an_operator_vouches_for_a_library_without_checksums(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for info in library.parent.parent.glob("*.dist-info"):
        info.unlink()
    digest = hashlib.sha256(library.read_bytes()).hexdigest()
    monkeypatch.setenv(integrity.VARIABLE, digest.upper())
    os.close(early.copy_library().descriptor)
    monkeypatch.setenv(integrity.VARIABLE, digest[::-1])
    with pytest.raises(LibraryAlteredError, match="its checksum differs"):
        early.copy_library()
    monkeypatch.delenv(integrity.VARIABLE)
    with pytest.raises(LibraryAlteredError, match="has no RECORD"):
        early.copy_library()


@pytest.mark.usefixtures("library")
def test_a_byte_that_changes_while_it_is_copied_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even one of those that are changed on purpose: what is compared is what was there before."""
    real = early._fill

    def read_and_change(descriptor: int, path: Path) -> None:
        real(descriptor, path)
        os.pwrite(descriptor, b"\x18", elf.constructors(path.read_bytes()).field)

    monkeypatch.setattr(early, "_fill", read_and_change)
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208 - their names
    with pytest.raises(LibraryAlteredError, match="its checksum differs"):
        early.copy_library()
    assert set(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


@pytest.mark.usefixtures("library")
def test_a_library_that_is_replaced_while_it_is_copied_is_not_taken_for_the_old_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = early._fill

    def read_and_replace(descriptor: int, path: Path) -> None:
        real(descriptor, path)
        write(path, path.read_bytes())

    monkeypatch.setattr(early, "_fill", read_and_replace)
    with pytest.raises(LibraryChangedError):
        early.copy_library()


@pytest.mark.parametrize("size", [1, 100, 1 << 20])
def test_the_field_is_put_back_wherever_a_piece_ends(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    data = bytes(range(40)) * 5
    descriptor = os.memfd_create("data")
    os.write(descriptor, data[:97] + bytes(8) + data[105:])
    monkeypatch.setattr(early, "_PIECE", size)
    assert b"".join(early._pieces(descriptor, 97, data[97:105])) == data
    os.close(descriptor)


def test_a_fork_server_has_the_library_and_runs_one_thread() -> None:
    program = """
import neonize.client
print(type(neonize.client.gocode).__name__, len(os.listdir("/proc/self/task")))
print(sorted({line.split(maxsplit=5)[5].strip() for line in open("/proc/self/maps") if "neonize-" in line}))
print([os.readlink(f"/proc/self/fd/{number}") for number in range(3, 50)
       if os.path.exists(f"/proc/self/fd/{number}") or os.path.islink(f"/proc/self/fd/{number}")])
"""
    lines, _ = python(program)
    assert lines[0] == "EarlyLibrary 1"
    (name,) = package().glob(integrity.LIBRARY)
    assert lines[1] == str([f"/memfd:{name.name} (deleted)"])
    assert "neonize" not in lines[2], "no child has the file itself"


CHILDREN = """
import resource
from orchestrator.worker.library import loading
import neonize.client
for name in ("first", "second"):
    child = os.fork()
    if child == 0:
        os.environ["GODEBUG"] = "inittrace=1" if name == "second" else ""
        loading.complete()
        loading.complete()
        print(name, neonize.client.gocode.GetVersion().decode(), len(os.listdir("/proc/self/task")) > 3)
        sys.stdout.flush()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""


def test_go_starts_in_each_child_with_an_environment_of_its_own() -> None:
    lines, said = python(CHILDREN)
    names = [line.split() for line in lines]
    assert [(name, threads) for name, _, threads in names] == [("first", "True"), ("second", "True")]
    # Go says so once for each of its packages, where its environment wants it.
    assert said.count("init runtime @") == 1


def parse(start: early.ProcessStart) -> tuple[list[bytes], list[bytes], dict[int, int]]:
    """Read arguments, variables and auxiliary vector as a program does."""
    words = iter(start.memory[0])
    lists = [[ctypes.string_at(word) for word in iter(lambda: next(words), 0)] for _ in range(2)]
    pairs = dict(iter(lambda: (next(words), next(words)), (0, 0)))
    return lists[0], lists[1], pairs


def test_a_start_looks_like_the_kernel_s() -> None:
    auxiliary = struct.pack("=QQQQQQQQ", 6, 4096, 25, 1234, 33, 99, 0, 0) + b"left over"
    variables = {b"GOGC": b"50", b"EMPTY": b"", b"\xff": b"a=b"}
    start = early.process_start(variables, auxiliary)
    arguments, environment, pairs = parse(start)
    assert arguments == [b"neonize"]
    assert environment == [b"GOGC=50", b"EMPTY=", b"\xff=a=b"]
    assert {kind: value for kind, value in pairs.items() if kind != 25} == {6: 4096, 33: 99}
    assert start.envp - start.argv == 16
    assert ctypes.cast(start.argv, ctypes.POINTER(ctypes.c_size_t))[0] == start.memory[0][0]


def test_each_process_has_random_bytes_of_its_own() -> None:
    auxiliary = Path("/proc/self/auxv").read_bytes()
    found = {ctypes.string_at(parse(early.process_start({}, auxiliary))[2][25], 16) for _ in range(20)}
    assert len(found) == 20


MERGED = """
from orchestrator.system import kernel
child = os.fork()
if child == 0:
    os._exit(kernel.prctl(kernel.PR_GET_MEMORY_MERGE))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.parametrize("merge", [False, True])
@pytest.mark.parametrize("confine", ["auto", "off"])
def test_memory_may_be_merged_only_where_the_configuration_says_so(confine: Confine, merge: bool) -> None:
    spec = MakerSpec(confine, (), (), tuple(sys.path), merge)
    try:
        kernel.prctl(kernel.PR_GET_MEMORY_MERGE)
        wanted = int(merge)
    except OSError:
        pytest.skip("this kernel merges no memory")
    lines, _ = python(MERGED, variables={VARIABLE: spec.as_text()})
    assert lines == [str(wanted)]


def test_a_kernel_that_cannot_merge_is_told_and_no_obstacle() -> None:
    harm = "from orchestrator.system import merging\ndef fail(): raise OSError(22, os.strerror(22))"
    spec = MakerSpec("off", (), (), tuple(sys.path), merge=True)
    program = f"{harm}\nmerging.allow = fail\nimport orchestrator.worker.library.preload\nprint('goes on')"
    lines, said = python(program, preload=False, variables={VARIABLE: spec.as_text()})
    assert lines == ["goes on"]
    assert "the accounts' memory cannot be merged: Invalid argument" in said


FALLEN_BACK = """
import neonize.client
print(type(neonize.client.gocode).__name__)
child = os.fork()
if child == 0:
    from orchestrator.worker.library import loading
    loading.complete()
    print(neonize.client.gocode.IsLoggedIn(b"nobody"))
    sys.stdout.flush()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""
WITHOUT = "library cannot be shared: each account"
TROUBLES = {
    "no copies in memory": (
        "def fail(*_): raise OSError(38, os.strerror(38))\nos.memfd_create = fail",
        "cannot be shared (Function not implemented)",
    ),
    "no room for it": (
        "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))",
        "cannot be shared (File too large)",
    ),
    "an unknown form": (
        "def fail(_): raise elf.NotUnderstoodError('it is no shared library')\nelf.constructors = fail",
        "cannot be shared (it is no shared library)",
    ),
    "it cannot be loaded": (
        "def fail(*_): raise OSError('failed to map segment')\nearly.EarlyLibrary.__init__ = fail",
        WITHOUT,
    ),
    "go does not start": ("early.EarlyLibrary.start = lambda self: os.kill(os.getpid(), 11)", WITHOUT),
    "go hangs": (
        """
import signal, time
def hang(self):
    if signal.getitimer(signal.ITIMER_REAL)[0]:
        signal.alarm(1)  # the end is set, and comes sooner for the test
    time.sleep(300)
early.EarlyLibrary.start = hang
""",
        WITHOUT,
    ),
    "go starts too early": (
        """
class Started(early.EarlyLibrary):
    def __init__(self, *rest):
        super().__init__(*rest)
        self.start()
loading.EarlyLibrary = Started
""",
        WITHOUT,
    ),
}


@pytest.mark.parametrize(("harm", "said"), TROUBLES.values(), ids=TROUBLES.keys())
def test_where_it_cannot_be_shared_each_child_loads_it(harm: str, said: str) -> None:
    first = (
        "import logging\nlogging.basicConfig()\nfrom orchestrator.worker.library import early, elf, loading\n"
    )
    lines, errors = python(
        f"{first}{harm}\nimport orchestrator.worker.library.preload\n{FALLEN_BACK}", preload=False
    )
    assert lines == ["LateLibrary", "False"]
    assert said in errors
    assert "takes 2 MB more" in errors
