"""Who may not read an inbox is told what to do, and nothing else is said of it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from support.inboxes import append, writing

from orchestrator.cli.inbox import reading, tracing
from orchestrator.cli.inbox.kept import InFolders
from orchestrator.errors import StateError
from orchestrator.store.layout import StatePaths


@contextmanager
def another_user() -> Iterator[None]:
    """Be somebody else in this process for a moment."""
    if os.geteuid() != 0:
        pytest.skip("only root can be somebody else")
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_another_user_is_told_whose_command_this_is(tmp_path: Path) -> None:
    with writing(tmp_path, "a") as inbox:
        append(inbox, "text")
    paths = StatePaths.of(tmp_path, environ={})
    (tmp_path / "messages").chmod(0o700)
    with reading.Events(InFolders(paths), "a", lambda _: None) as events, another_user():
        looks = (
            events.open,
            lambda: tracing.trace(InFolders(paths), "3EB0", "a"),
            lambda: tracing.trace(InFolders(paths), "3EB0"),
            lambda: tracing.trace(InFolders(paths), "evt_a_1"),
        )
        for look in looks:
            with pytest.raises(StateError, match="sudo -u") as caught:
                look()
            assert caught.value.key == "permission_denied"


@pytest.mark.parametrize("kind", ["garbage", "another form", "link"])
def test_an_inbox_that_cannot_be_read_hides_no_messages_of_others(tmp_path: Path, kind: str) -> None:
    for name in ("a", "b", "c"):
        with writing(tmp_path, name) as inbox:
            append(inbox, "text")
    paths = StatePaths.of(tmp_path, environ={})
    with reading.Events(InFolders(paths), "a", lambda _: None) as events:
        assert events.open()
        (message,) = [event["data"]["id"] for event in events.last(1)]
    file = paths.message_folder("b") / "inbox.sqlite3"
    match kind:
        case "garbage":
            file.write_bytes(b"garbage" * 1000)
        case "link":
            file.unlink()
            file.symlink_to(paths.message_folder("a") / "inbox.sqlite3")
        case _:
            with closing(sqlite3.connect(file)) as connection:
                connection.execute("CREATE VIEW v AS SELECT 1")
    told: list[str] = []
    assert [one.account for one in tracing.trace(InFolders(paths), message, None, told.append)] == ["a", "c"]
    assert len(told) == 1
    assert str(file) in told[0]
    with pytest.raises(StateError):
        tracing.trace(InFolders(paths), message, "b")


def test_what_waits_is_told_that_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    with os.fdopen(write, "w") as output:
        monkeypatch.setattr("sys.stdout", output)
        assert reading.wait_for_reader(0.01)
        os.close(read)
        assert not reading.wait_for_reader(60)
