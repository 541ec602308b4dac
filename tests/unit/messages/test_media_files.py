"""Files of messages on the disk: names, leftovers, ageing, and what another process opens of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator.accounts.attachments import PERMANENT, Fault
from orchestrator.messages.media_files import MediaFiles, Usage, is_there, open_file, usage

ID, OTHER = "4611686018427387904", "17"


@pytest.fixture
def files(tmp_path: Path) -> MediaFiles:
    found = MediaFiles(tmp_path)
    found.make_folder()
    return found


def put(files: MediaFiles, media: str, data: bytes) -> Path:
    with files.unfinished(media) as (_, plain):
        plain.write(data)
        files.finish(media, plain)
    return files.path(media)


def names(files: MediaFiles) -> set[str]:
    return {one.name for one in files.folder.iterdir()}


def test_a_finished_file_is_the_only_one_and_nobody_elses(files: MediaFiles) -> None:
    path = put(files, ID, b"data")
    assert names(files) == {ID}
    assert path.read_bytes() == b"data"
    assert path.stat().st_mode & 0o777 == 0o600
    assert files.folder.stat().st_mode & 0o777 == 0o700
    assert files.is_there(ID)
    assert usage(files.folder.parent) == Usage(1, 4)


def test_a_file_that_was_not_finished_leaves_nothing(files: MediaFiles) -> None:
    def fail() -> None:
        with files.unfinished(ID) as (came, plain):
            came.write(b"x")
            plain.write(b"y")
            raise OSError

    with pytest.raises(OSError):  # noqa: PT011 - the one from above
        fail()
    assert names(files) == set()


def test_what_a_killed_process_left_is_removed_and_nothing_else(files: MediaFiles) -> None:
    put(files, ID, b"data")
    files.note_fault(OTHER, Fault.EXPIRED)
    for name in (f"{ID}.0.part", f"{ID}.1.part", "18.0.part", "x.part"):
        (files.folder / name).write_bytes(b"half")
    files.clean()
    assert names(files) == {ID, f"{OTHER}.expired"}


def test_a_file_that_was_left_is_no_obstacle(files: MediaFiles, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"untouched")
    (files.folder / f"{ID}.0.part").symlink_to(outside)
    (files.folder / f"{ID}.1.part").hardlink_to(outside)
    put(files, ID, b"data")
    assert outside.read_bytes() == b"untouched"
    assert files.path(ID).read_bytes() == b"data"


@pytest.mark.parametrize("fault", sorted(PERMANENT))
def test_a_fault_is_remembered_until_the_file_comes(files: MediaFiles, fault: Fault) -> None:
    assert files.fault(ID) is None
    files.note_fault(ID, fault)
    assert files.fault(ID) is fault
    assert not files.is_there(ID)
    assert usage(files.folder.parent) == Usage(0, 0)
    put(files, ID, b"data")
    assert files.fault(ID) is None
    assert names(files) == {ID}


def test_files_go_with_their_messages_and_with_time(files: MediaFiles) -> None:
    for media in ("1", "2", "3"):
        put(files, media, b"data")
    files.note_fault("4", Fault.EXPIRED)
    files.note_fault("5", Fault.EXPIRED)
    (files.folder / "notes.txt").write_text("an operator's")
    os.utime(files.path("2"), (1000, 1000))
    os.utime(files.folder / "4.expired", (1000, 1000))
    assert files.sweep(lambda media: media in ("1", "2", "4"), before=2000) == 2
    assert names(files) == {"1", "4.expired", "notes.txt"}


def test_an_error_of_the_inbox_deletes_nothing(files: MediaFiles) -> None:
    put(files, ID, b"data")

    def broken(_: str) -> bool:
        raise OSError("the inbox cannot be read")

    with pytest.raises(OSError, match="the inbox"):
        files.sweep(broken, before=0)
    assert names(files) == {ID}


def test_without_a_folder_there_is_nothing(tmp_path: Path) -> None:
    files = MediaFiles(tmp_path)
    files.clean()
    assert usage(files.folder.parent) == Usage(0, 0)
    assert files.sweep(lambda _: False, before=0) == 0
    assert not files.is_there(ID)
    assert not is_there(tmp_path, ID)


@pytest.mark.parametrize(
    "media", ["", "0", "..", "../inbox.sqlite3", "1/2", "a", "1.part", "1.expired", "1\0"]
)
def test_only_identifiers_are_names(files: MediaFiles, tmp_path: Path, media: str) -> None:
    with pytest.raises(ValueError, match="not the identifier"):
        files.path(media)
    with pytest.raises(ValueError, match="not the identifier"):
        open_file(tmp_path, media)


# What another process opens


def test_another_process_reads_a_file(files: MediaFiles, tmp_path: Path) -> None:
    put(files, ID, b"data")
    assert is_there(tmp_path, ID)
    with open_file(tmp_path, ID) as file:
        assert file.read() == b"data"


@pytest.mark.parametrize("kind", ["link", "hard link", "folder", "pipe", "linked folder", "nothing"])
def test_another_process_opens_nothing_that_is_no_file_of_the_account(
    files: MediaFiles, tmp_path: Path, kind: str
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"somebody else's")
    path = files.folder / ID
    match kind:
        case "link":
            path.symlink_to(secret)
        case "hard link":
            path.hardlink_to(secret)
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "linked folder":
            (tmp_path / "elsewhere").mkdir()
            (tmp_path / "elsewhere" / ID).write_bytes(b"somebody else's")
            files.folder.rmdir()
            files.folder.symlink_to(tmp_path / "elsewhere")
    assert not is_there(tmp_path, ID)
    with pytest.raises(OSError):  # noqa: PT011 - of several kinds
        open_file(tmp_path, ID)
