"""What the service needs of a machine, judged by what the machine allows."""

from __future__ import annotations

import errno
import os
import resource
import signal
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import StateError
from orchestrator.service import needs
from orchestrator.store.layout import StatePaths
from orchestrator.system import groups


@pytest.fixture
def paths(tmp_path: Path) -> StatePaths:
    paths = StatePaths.of(tmp_path / "state", environ={})
    paths.prepare()
    return paths


def test_this_machine_lacks_nothing_and_nothing_is_left_behind(paths: StatePaths) -> None:
    before = sorted(paths.root.rglob("*"))
    needs.check(paths, 1)
    assert sorted(paths.root.rglob("*")) == before


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EPERM])
def test_a_system_call_that_is_refused_or_missing(
    paths: StatePaths, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "pidfd_open", refuse)
    with pytest.raises(StateError, match=r"^pidfd_open: .*Linux 5\.3 or newer.*seccomp"):
        needs.check(paths, 1)
    monkeypatch.undo()
    monkeypatch.setattr(signal, "pidfd_send_signal", refuse)
    assert needs.process_descriptors().lacks


def test_a_python_without_that_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    assert "this Python does not have it" in needs.process_descriptors().text


def test_no_descriptor_is_left_is_no_lasting_lack(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "pidfd_open", refuse)
    assert not needs.process_descriptors().lacks


def test_no_folder_for_temporary_files(paths: StatePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/nowhere"])
    with pytest.raises(StateError, match=r"^temporary files: .*\$TMPDIR"):
        needs.check(paths, 1)


def test_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert "TasksMax=" in needs.threads().advice


def test_all_that_is_lacking_is_said_at_once(paths: StatePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    monkeypatch.setattr(needs, "temporary_folder", lambda: needs.Need("temporary files", "none", "make one"))
    with pytest.raises(StateError) as caught:
        needs.check(paths, 1)
    assert len(str(caught.value).splitlines()) == 2


@given(accounts=st.integers(0, 5000), limit=st.integers(0, 100_000))
def test_limits_are_judged_by_the_number_of_accounts(accounts: int, limit: int) -> None:
    for need, base, each, size in (
        (needs.open_files(accounts, limit), needs.FILES_BASE, needs.FILES_PER_ACCOUNT, 1),
        (needs.tasks(accounts, limit, "x"), needs.TASKS_BASE, needs.TASKS_PER_ACCOUNT, 1),
        (needs.memory(accounts, limit << 20, "x"), needs.MEMORY_BASE, needs.MEMORY_PER_ACCOUNT, 1 << 20),
    ):
        assert need.lacks == (limit * size < base + each * accounts)


def test_no_limit_lacks_nothing() -> None:
    assert not needs.open_files(10_000, needs.UNLIMITED).lacks
    assert not needs.tasks(10_000, None, "").lacks
    assert not needs.memory(10_000, None, "").lacks
    assert not needs.file_size(needs.UNLIMITED).lacks
    assert not needs.addresses(needs.UNLIMITED).lacks


@pytest.mark.parametrize(
    ("need", "advice"),
    [
        (needs.file_size(1 << 20), "LimitFSIZE="),
        (needs.addresses(512 << 20), "LimitAS="),
        (needs.data(64 << 20), "LimitDATA="),
        (needs.tasks(10, 20, "x"), "TasksMax="),
        (needs.tasks(10, -5, "x"), "TasksMax="),
        (needs.memory(10, 100 << 20, "x"), "MemoryMax="),
        (needs.open_files(10, 100), "LimitNOFILE="),
    ],
)
def test_a_lack_says_what_to_do(need: needs.Need, advice: str) -> None:
    assert advice in need.advice


@pytest.mark.parametrize(
    ("own", "files"),
    [
        ("0::/a/b\n", {"a/pids.max": "40", "a/pids.current": "10"}),
        (
            "0::/a/b\n",
            {"a/b/pids.max": "max", "a/b/pids.current": "1", "a/pids.max": "40", "a/pids.current": "10"},
        ),
        ("4:pids:/a\n0::/\n", {"pids/a/pids.max": "40", "pids/a/pids.current": "10"}),
        ("0::/not/mounted/here\n", {"pids.max": "40", "pids.current": "10"}),
    ],
)
def test_control_groups_are_read_by_both_versions_up_to_the_outermost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str, files: dict[str, str]
) -> None:
    (tmp_path / "own").write_text(own)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    real = groups.folders
    monkeypatch.setattr(groups, "folders", lambda controller: real(controller, tmp_path / "own", tmp_path))
    monkeypatch.setattr(resource, "getrlimit", lambda _: (needs.UNLIMITED, needs.UNLIMITED))
    room, what = needs._room_for_tasks()
    assert room == 30
    assert "control group" in what


def test_a_folder_that_no_database_can_be_kept_in(paths: StatePaths) -> None:
    paths.sessions.rmdir()
    paths.sessions.symlink_to("/proc/self")
    need = needs.databases(paths.sessions)
    assert need.lacks
    assert "state_dir:" in need.advice


def test_a_place_where_no_socket_can_be_made(paths: StatePaths) -> None:
    for place in paths.meeting_places:
        place.touch()
    need = needs.sockets(paths)
    assert str(paths.meeting_places[0]) in need.text
    assert "RuntimeDirectory=" in need.advice


@pytest.mark.parametrize(
    ("own", "folder", "files"),
    [
        (
            "0::/a\n",
            "a",
            {
                "memory.max": "400000000",
                "memory.current": "300000000",
                "memory.stat": "anon 1\ninactive_file 50000000",
            },
        ),
        (
            "5:memory:/a\n",
            "memory/a",
            {
                "memory.limit_in_bytes": "400000000",
                "memory.usage_in_bytes": "300000000",
                "memory.stat": "inactive_file 9\ntotal_inactive_file 50000000",
            },
        ),
    ],
    ids=["version 2", "version 1"],
)
def test_memory_left_is_what_the_control_group_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str, folder: str, files: dict[str, str]
) -> None:
    (tmp_path / "own").write_text(own)
    (tmp_path / folder).mkdir(parents=True)
    for name, text in files.items():
        (tmp_path / folder / name).write_text(f"{text}\n")
    real = groups.folders
    monkeypatch.setattr(groups, "folders", lambda controller: real(controller, tmp_path / "own", tmp_path))
    enough, short = needs.available_memory(1), needs.available_memory(4)  # 150 MB are left
    assert not enough.lacks
    assert short.lacks
    assert short.text.startswith("143 MB allowed by the control group")
    assert "286 MB are in use" in short.text
    assert "164 MB needed for 4 accounts" in short.text
