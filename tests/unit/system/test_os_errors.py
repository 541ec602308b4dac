"""What is said about an error of the operating system depends on the place."""

from __future__ import annotations

import errno
import os
from collections import Counter
from typing import get_args

import pytest

from orchestrator.system.os_errors import _TABLE, DISK_FULL, NO_MEMORY, At, advice, shortage, trouble


def error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize("at", get_args(At))
def test_every_place_has_words_for_every_number(at: At) -> None:
    for number in errno.errorcode:
        text = advice(error(number), at, user="me", folder="/f")
        assert text, number
        assert "{" not in text, number


@pytest.mark.parametrize("at", get_args(At))
def test_no_number_stands_twice_in_a_place(at: At) -> None:
    counts = Counter(number for one in _TABLE[at] for number in (one if isinstance(one, tuple) else (one,)))
    assert set(counts.values()) == {1}


def test_the_same_number_asks_for_something_else_in_another_place() -> None:
    texts = {advice(error(errno.EROFS), at, user="me", folder="/f") for at in get_args(At)}
    assert len(texts) == len(get_args(At))
    assert advice(error(errno.EACCES), "write config", folder="/f").startswith(
        "this user may not write in /f:"
    )


def test_a_place_without_words_says_what_the_machine_lacks() -> None:
    assert advice(error(errno.ENOMEM), "picture") == f"cannot be used for QR codes: {NO_MEMORY}"
    assert advice(error(errno.EPIPE), "read config") == "cannot be read: Broken pipe"


def test_what_the_machine_lacks_is_found_in_words_too() -> None:
    assert shortage(MemoryError()) == NO_MEMORY
    assert shortage(ImportError("libx.so: failed to map segment from shared object")) == NO_MEMORY
    assert shortage(RuntimeError("can't start new thread")) == shortage(error(errno.EAGAIN))
    assert shortage(ValueError("nothing of the kind")) is None
    assert shortage(error(errno.ENOENT)) is None
    assert trouble(error(errno.ENOSPC)) == DISK_FULL
    assert trouble(error(errno.ELOOP)) == "is a symbolic link: remove it"
    assert trouble(error(errno.ENOTDIR)) == "a file is where a folder is needed: move it away"
