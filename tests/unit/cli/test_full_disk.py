"""A full disk ends a command with a sentence that says what to do."""

import errno
import os
from typing import NoReturn

import pytest

from orchestrator import cli


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_file_that_cannot_be_written_is_named(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(**_: object) -> NoReturn:
        raise OSError(number, os.strerror(number), "/srv/state/orchestrator.lock")

    monkeypatch.setattr(cli, "app", full)
    assert cli._run() == 1
    said = capsys.readouterr().err
    assert said.startswith("orchestrator: /srv/state/orchestrator.lock cannot be written: ")
    assert "disk" in said
    assert "make room" in said
    assert os.strerror(number) not in said
