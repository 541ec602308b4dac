"""The filter of system calls: what it decides, by running its program, and the numbers of the calls."""

from __future__ import annotations

import errno
import os
import platform
import re
import signal
import socket
import struct
from pathlib import Path

import pytest

from orchestrator.system import seccomp

PID = 4711
ALLOWED = 0
ALL = {**seccomp.CALLS, **seccomp.OF_CHILDREN, **seccomp._CHECKED}
HEADERS = [
    (0, re.compile(r"#define __NR_(\w+)\s+(\d+)"), Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")),
    (1, re.compile(r"#define __NR(?:3264)?_(\w+)\s+(\d+)"), Path("/usr/include/asm-generic/unistd.h")),
]


def decide(
    machine: str,
    call: str | int,
    *arguments: int,
    pid: int | None = PID,
    audit: int = 0,
    network: bool = True,
) -> int:
    """Run the filter as the kernel would; return the number of the error, 0 for a call that is allowed."""
    architecture = seccomp.ARCHITECTURES[machine]
    number = ALL[call][architecture.column] if isinstance(call, str) else call
    assert number is not None
    values = [one & (1 << 64) - 1 for one in (*arguments, 0, 0, 0, 0, 0, 0)[:6]]
    data = struct.pack("<IIQ6Q", number, audit or architecture.audit, 0, *values)
    program, at, held = seccomp.make(machine, pid=pid, network=network), 0, 0
    while True:
        operation, if_true, if_false, value = program[at]
        at += 1
        match operation:
            case 0x20:
                (held,) = struct.unpack_from("<I", data, value)
            case 0x54:
                held &= value
            case 0x15:
                at += if_true if held == value else if_false
            case 0x35:
                at += if_true if held >= value else if_false
            case 0x45:
                at += if_true if held & value else if_false
            case 0x06:
                return 0 if value == 0x7FFF0000 else value & 0xFFFF
            case _:
                raise AssertionError(operation)


@pytest.mark.parametrize("machine", seccomp.ARCHITECTURES)
def test_what_no_account_needs_is_refused(machine: str) -> None:
    column = seccomp.ARCHITECTURES[machine].column
    for name, numbers in seccomp.CALLS.items():
        if numbers[column] is not None:
            assert decide(machine, name) == decide(machine, name, pid=None) == errno.EPERM, name
    for name, numbers in seccomp.OF_CHILDREN.items():
        if numbers[column] is not None:
            assert decide(machine, name) == errno.EPERM, name
            assert decide(machine, name, pid=None) == ALLOWED, name


@pytest.mark.parametrize("machine", seccomp.ARCHITECTURES)
def test_all_else_is_allowed(machine: str) -> None:
    column = seccomp.ARCHITECTURES[machine].column
    looked_at = {numbers[column] for numbers in ALL.values()}
    for number in range(500):
        if number not in looked_at:
            assert decide(machine, number, 1, 2, 3) == ALLOWED, number


@pytest.mark.parametrize("machine", seccomp.ARCHITECTURES)
@pytest.mark.parametrize("pid", [PID, None])
def test_sockets_are_of_the_internet(machine: str, pid: int | None) -> None:
    for family in range(50):
        wanted = ALLOWED if family in (socket.AF_INET, socket.AF_INET6) else errno.EAFNOSUPPORT
        assert decide(machine, "socket", family, socket.SOCK_STREAM, pid=pid) == wanted, family
        found = decide(machine, "socket", family, socket.SOCK_STREAM, pid=pid, network=False)
        assert found == errno.EAFNOSUPPORT, family
    for flags in (0, socket.SOCK_CLOEXEC, socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK):
        for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
            assert decide(machine, "socketpair", socket.AF_UNIX, kind | flags, pid=pid) == ALLOWED
        datagrams = socket.SOCK_DGRAM | flags
        assert decide(machine, "socketpair", socket.AF_UNIX, datagrams, pid=pid) == errno.EAFNOSUPPORT


@pytest.mark.parametrize("machine", seccomp.ARCHITECTURES)
def test_signals_are_for_oneself(machine: str) -> None:
    for number in (signal.SIGABRT, signal.SIGKILL, 0):
        assert decide(machine, "kill", PID, number) == ALLOWED
        assert decide(machine, "tgkill", PID, PID + 3, number) == ALLOWED, "to a thread of one's own"
        for other in (PID + 1, 1, 0, -1, -PID):
            assert decide(machine, "kill", other, number) == errno.EPERM, other
            assert decide(machine, "tgkill", other, other, number) == errno.EPERM, other
            assert decide(machine, "kill", other, number, pid=None) == ALLOWED
    assert decide(machine, "prlimit64", 0) == decide(machine, "prlimit64", PID) == ALLOWED
    assert decide(machine, "prlimit64", PID + 1) == errno.EPERM


@pytest.mark.parametrize("machine", seccomp.ARCHITECTURES)
def test_threads_are_made_and_processes_are_not(machine: str) -> None:
    thread = 0x3D0F00  # what the C library passes for a thread
    assert decide(machine, "clone", thread) == decide(machine, "clone", thread, pid=None) == ALLOWED
    fork = 0x1200011  # for a process
    assert decide(machine, "clone", fork) == errno.EPERM
    assert decide(machine, "clone", fork, pid=None) == ALLOWED
    for namespace in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        for flags in (thread, fork):
            assert decide(machine, "clone", flags | namespace) == errno.EPERM, hex(namespace)
            assert decide(machine, "clone", flags | namespace, pid=None) == errno.EPERM, hex(namespace)
    assert decide(machine, "clone3") == decide(machine, "clone3", pid=None) == errno.ENOSYS
    assert decide(machine, "openat2") == errno.ENOSYS


@pytest.mark.parametrize("machine", seccomp.ARCHITECTURES)
def test_a_file_that_may_be_read_is_not_emptied(machine: str) -> None:
    assert decide(machine, "openat", 0, 0, os.O_RDONLY | os.O_TRUNC | os.O_CLOEXEC) == errno.EPERM
    for flags in (os.O_RDONLY | os.O_CLOEXEC, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, os.O_RDWR | os.O_TRUNC):
        assert decide(machine, "openat", 0, 0, flags) == ALLOWED
    if machine == "x86_64":
        assert decide(machine, "open", 0, os.O_RDONLY | os.O_TRUNC) == errno.EPERM
        assert decide(machine, "open", 0, os.O_RDWR | os.O_CREAT) == ALLOWED


@pytest.mark.parametrize("machine", seccomp.ARCHITECTURES)
def test_a_terminal_is_not_typed_into_and_signals_are_not_ordered(machine: str) -> None:
    for request in (0x5412, 0x541C, 0x8901, 0x8902):
        assert decide(machine, "ioctl", 2, request) == errno.EPERM
    for request in (0x5401, 0x5413, 0x5421, 0x541B):
        assert decide(machine, "ioctl", 2, request) == ALLOWED
    for command in (8, 10, 15):
        assert decide(machine, "fcntl", 2, command) == errno.EPERM
    for command in (1, 2, 3, 4, 5, 6, 7, 1030, 1031):
        assert decide(machine, "fcntl", 2, command) == ALLOWED


def test_the_calls_of_another_architecture_are_refused() -> None:
    getpid = 39
    assert decide("x86_64", getpid) == ALLOWED
    assert decide("x86_64", getpid | 0x40000000) == errno.EPERM, "x32"
    assert decide("x86_64", 20, audit=0x40000003) == errno.EPERM, "32-bit x86"
    assert decide("aarch64", 20, audit=0x40000028) == errno.EPERM, "32-bit ARM"


@pytest.mark.parametrize(("column", "pattern", "header"), HEADERS)
def test_the_numbers_are_those_of_the_kernel_s_headers(
    column: int, pattern: re.Pattern[str], header: Path
) -> None:
    if not header.exists():
        pytest.skip(f"{header} is not installed")
    known = {name: int(number) for name, number in pattern.findall(header.read_text())}
    wanted = {name: numbers[column] for name, numbers in ALL.items() if numbers[column] is not None}
    compared = {name for name in wanted if name in known}
    assert {name: known[name] for name in compared} == {name: wanted[name] for name in compared}
    assert len(compared) > 90
    newer = {name: number for name, number in wanted.items() if name not in known}
    assert all(number and number > 450 for number in newer.values()), newer


@pytest.mark.parametrize("machine", sorted(seccomp.ARCHITECTURES))
@pytest.mark.parametrize("network", [True, False])
@pytest.mark.parametrize("pid", [None, 1, PID, 2**22 - 1])
def test_a_packed_filter_is_the_same_filter(machine: str, network: bool, pid: int | None) -> None:
    whole = seccomp.pack(seccomp.make(machine, pid=pid, network=network))
    assert seccomp.packed(machine, pid=pid, network=network) == whole
    assert seccomp.packed(machine, pid=PID + 1, network=network) != whole


def test_the_kernel_takes_the_filter_of_this_machine() -> None:
    if platform.machine() not in seccomp.ARCHITECTURES or not seccomp.is_available():
        pytest.skip("no filter can be had here")
    assert len(seccomp.make(platform.machine(), pid=PID)) < 4096
