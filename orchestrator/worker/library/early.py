"""Go's library loaded before a fork, and Go started after it.

2 MB of the library are addresses that the linker fills in, and each process that loads the library has a copy
of its own. Filled in before the fork, all processes share one. What does not survive a fork is Go's runtime,
and that begins in the functions that the linker calls at the end (`elf.Constructors`). So the fork server
loads a copy whose list of these functions is empty, and each child calls them.

The copy is in memory, sealed: nobody can change it any more, not even the process that made it, and nothing
of it is left when the processes are gone. It needs no folder that can be written to, no room on a disk, and
no file system from which code may be loaded.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from orchestrator.system import certificates
from orchestrator.worker.library import elf, integrity, package
from orchestrator.worker.seal import Seal

_SEALS: Final = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_NO_PROGRAM: Final = 0x8
"""MFD_NOEXEC_SEAL, of Linux 6.3: the copy can be mapped, but not be run as a program."""
_PIECE: Final = 1024 * 1024
_LINK_MAP: Final = 2
"""RTLD_DI_LINKMAP."""
_AT_NULL, _AT_RANDOM = 0, 25
_RANDOM_BYTES: Final = 16
_ARGV0: Final = b"neonize"

_kept: list[Any] = []
"""What Go reads for as long as it runs."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A checked library, in memory.

    Attributes:
        descriptor: What it can be opened by.
        seal: Which file it is a copy of.
        constructors: What the linker does not call.
    """

    descriptor: int
    seal: Seal
    constructors: elf.Constructors


class EarlyLibrary(ctypes.CDLL):
    """Neonize's library, loaded without starting Go: no function may be called before `start`.

    Args:
        copy: The library.
        version: What its ``GetVersion`` is to return.

    Raises:
        OSError: The copy cannot be loaded.
        elf.NotUnderstoodError: It is not where its file says.
    """

    def __init__(self, copy: Copy, version: str) -> None:
        super().__init__(f"/proc/self/fd/{copy.descriptor}")
        self.seal = copy.seal
        self._version = version
        self._started = False
        # Read now: a child cannot open this any more.
        self._auxiliary = Path("/proc/self/auxv").read_bytes()
        # Looked for now: to compare all certificates takes some milliseconds.
        self._certificates = certificates.complete(os.environ)
        self._functions = tuple(_addresses(self._handle, copy.constructors))
        self.GetVersion: Any = lambda: version.encode()

    def start(self) -> None:
        """Start Go, in this process, with this process's environment; a second time does nothing.

        Go is told to read each certificate once, if it would read them several times.

        Raises:
            LibraryChangedError: It is another version's.
        """
        if self._started:
            return
        self._started = True
        more = {} if self._certificates is None else self._certificates.variables()
        arguments = process_start({**os.environb, **more}, self._auxiliary)
        _kept.append(arguments)
        call = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
        for address in self._functions:
            call(address)(1, arguments.argv, arguments.envp)
        del self.GetVersion
        self.GetVersion.restype = ctypes.c_char_p
        if (found := self.GetVersion().decode()) != self._version:
            raise package.LibraryChangedError(
                f"neonize {self._version} has a library of version {found}: {package.UPDATE}"
            )


def copy_library() -> Copy:
    """Copy the library of the installed neonize into memory, without what starts Go, and check the copy.

    Raises:
        LibraryError: It is not what the package has.
        elf.NotUnderstoodError: It cannot be loaded without starting Go.
        OSError: It cannot be read, or there is no memory for it.
    """
    seal, path, checksum = integrity.library()
    descriptor = _memory_file(path.name)
    try:
        _fill(descriptor, path)
        with mmap.mmap(descriptor, 0, prot=mmap.PROT_READ) as data:
            found = elf.constructors(data)
            original = data[found.field : found.field + 8]
        os.pwrite(descriptor, bytes(8), found.field)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
        # What is checked is what is used: nobody can change it any more.
        if not checksum.fits(_pieces(descriptor, found.field, original)):
            raise integrity.altered(path)
        if integrity.look() != seal:
            raise package.LibraryChangedError(f"neonize has changed while it was copied: {package.UPDATE}")
    except BaseException:
        os.close(descriptor)
        raise
    return Copy(descriptor, seal, found)


def _memory_file(name: str) -> int:
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    with contextlib.suppress(OSError):
        return os.memfd_create(name, flags | _NO_PROGRAM)
    return os.memfd_create(name, flags)  # an older kernel, or the same error once more


def _fill(descriptor: int, path: Path) -> None:
    for piece in integrity.pieces(path):
        rest = memoryview(piece)
        while rest:
            rest = rest[os.write(descriptor, rest) :]


def _pieces(descriptor: int, field: int, original: bytes) -> Iterator[bytes]:
    """Yield the copy as the file was: with what stood in the field that was changed."""
    offset = 0
    while piece := os.pread(descriptor, _PIECE, offset):
        begin, end = field - offset, field + len(original) - offset
        if end > 0 and begin < len(piece):
            changed = bytearray(piece)
            first, last = max(0, begin), min(len(piece), end)
            changed[first:last] = original[first - begin : last - begin]
            piece = bytes(changed)
        yield piece
        offset += len(piece)


def _addresses(handle: int, constructors: elf.Constructors) -> Iterator[int]:
    """Yield the addresses of a loaded library's constructors, which the linker has filled in."""
    libc = ctypes.CDLL(None, use_errno=True)
    link_map = ctypes.POINTER(ctypes.c_size_t)()
    if libc.dlinfo(ctypes.c_void_p(handle), _LINK_MAP, ctypes.byref(link_map)) != 0:
        raise OSError(errno.ENOSYS, "the linker does not say where the library is")
    base = link_map[0]  # the first field of a struct link_map is l_addr
    for address in (ctypes.c_size_t * constructors.count).from_address(base + constructors.address):
        if not constructors.is_code(address - base):
            raise elf.NotUnderstoodError("a function that runs when it is loaded is not in its code")
        yield address


@dataclass(frozen=True, slots=True)
class ProcessStart:
    """What the kernel puts on a process's stack, made anew.

    Attributes:
        argv: Address of the list of arguments.
        envp: Address of the list of variables.
        memory: What both of them are in.
    """

    argv: int
    envp: int
    memory: tuple[Any, ...]


def process_start(environ: Mapping[bytes, bytes], auxiliary: bytes) -> ProcessStart:
    """Make for Go what the kernel hands to a program that starts: arguments, environment, auxiliary vector.

    The three follow each other in one list, and Go reads on from one to the next. Of what the kernel has
    noted, one thing is made anew: 16 random bytes, of which all processes of a fork server have the same.
    From them Go draws what need not be secret, such as how long to wait before the next try.

    Args:
        environ: The variables.
        auxiliary: What ``/proc/self/auxv`` has.
    """
    texts = [ctypes.create_string_buffer(name + b"=" + value) for name, value in environ.items()]
    command = ctypes.create_string_buffer(_ARGV0)
    chance = ctypes.create_string_buffer(os.urandom(_RANDOM_BYTES), _RANDOM_BYTES)
    words = [ctypes.addressof(command), 0, *map(ctypes.addressof, texts), 0]
    pairs = struct.Struct("=QQ").iter_unpack(auxiliary[: len(auxiliary) // 16 * 16])
    for kind, value in pairs:
        if kind == _AT_NULL:
            break
        words += [kind, ctypes.addressof(chance) if kind == _AT_RANDOM else value]
    words += [_AT_NULL, 0]
    memory = (ctypes.c_size_t * len(words))(*words)
    argv = ctypes.addressof(memory)
    return ProcessStart(argv, argv + 2 * ctypes.sizeof(ctypes.c_size_t), (memory, command, chance, *texts))
