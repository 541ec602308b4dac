"""What a kernel lacks, in words; the processes themselves are in tests/process."""

from __future__ import annotations

import errno

import pytest

from orchestrator.accounts import pipe
from orchestrator.system import confinement
from orchestrator.system.confinement import Kernel

FULL = Kernel(7, filters=True)


@pytest.mark.parametrize(
    ("kernel", "words"),
    [
        (FULL, ""),
        (Kernel(6, filters=True), ""),
        (Kernel(1, filters=True), ""),  # the filter does what this version of Landlock does not
        (Kernel(0, filters=True, error=errno.ENOSYS), "files"),
        (Kernel(7, filters=False), "calls"),
        (Kernel(5, filters=False), "calls signals"),
        (Kernel(2, filters=False), "calls signals truncation"),
        (Kernel(0, filters=False, error=errno.EOPNOTSUPP), "files calls signals"),
    ],
)
def test_what_a_kernel_lacks(kernel: Kernel, words: str) -> None:
    lacks = confinement.lacks(kernel)
    assert confinement.words(lacks) == words
    assert all(lack.text and lack.advice for lack in lacks)
    assert pipe.decode(pipe.encode(pipe.Loading(words))) == pipe.Loading(words)


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (errno.ENOSYS, "Linux 5.13"),
        (errno.EOPNOTSUPP, "lsm="),
        (errno.EPERM, "install-unit"),
    ],
)
def test_what_to_do_about_landlock(error: int, advice: str) -> None:
    (lack,) = confinement.lacks(Kernel(0, filters=True, error=error))
    assert advice in lack.advice
    assert "file isolation (Landlock)" in confinement.refusal([lack])
    assert advice in confinement.refusal([lack])
    assert "confine: auto" in confinement.refusal([lack])


def test_a_machine_without_a_filter_is_named() -> None:
    (lack,) = confinement.lacks(Kernel(7, filters=False, machine="riscv64"))
    assert "riscv64" in lack.advice


@pytest.mark.parametrize(
    "missing", [" ", "a  b", "A", "a" * 17, "a b c d e f g h i", "files\n", "ä", "\x1b[2J", 1]
)
def test_a_process_cannot_say_anything_else(missing: object) -> None:
    data = pipe.encode(pipe.Connecting(paired=True)).replace(
        b'"paired": true', b'"missing": ' + repr(missing).encode()
    )
    with pytest.raises(pipe.MessageError):
        pipe.decode(data.replace(b"Connecting", b"Loading").replace(b"'", b'"'))
