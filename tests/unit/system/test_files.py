"""Files: nothing but a regular file is opened, and one takes another's place whole or not at all."""

import errno
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.full_disk import fill, size_limit, small_disk

from orchestrator.system.files import (
    first_closed,
    is_temporary,
    open_file,
    read_file,
    remove_folder,
    replacing,
    sync,
    sync_folder,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "file.json"


@pytest.fixture(autouse=True)
def folder(path: Path) -> Path:
    path.parent.mkdir()
    return path.parent


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    target = tmp_path / "precious"
    target.write_text("as it was")
    return target


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - no paths are needed


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# Opening


def test_what_is_opened_can_be_read_and_is_not_inherited(path: Path) -> None:
    path.write_text("text")
    descriptor = open_file(path)
    assert os.read(descriptor, 10) == b"text"
    assert not os.get_inheritable(descriptor)
    os.close(descriptor)


def test_what_is_made_is_private_from_the_first_moment(path: Path) -> None:
    before = os.umask(0)
    try:
        os.close(open_file(path, os.O_RDWR | os.O_CREAT))
    finally:
        os.umask(before)
    assert mode(path) == 0o600


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_RDWR, os.O_RDWR | os.O_CREAT, os.O_WRONLY | os.O_CREAT])
@pytest.mark.parametrize("target", ["precious", "absent", "file.json"])
def test_no_link_is_followed(path: Path, precious: Path, target: str, flags: int) -> None:
    path.symlink_to(precious.with_name(target))
    with pytest.raises(OSError, match="symbolic links") as caught:
        open_file(path, flags)
    assert caught.value.errno == errno.ELOOP
    assert not precious.with_name("absent").exists()


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_RDWR, os.O_RDWR | os.O_CREAT])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_pipe_and_a_folder_are_refused_without_waiting(
    path: Path, make: Callable[[Path], None], flags: int
) -> None:
    make(path)
    before = descriptors()
    with pytest.raises(OSError, match=r"is not a regular file|Is a directory"):
        open_file(path, flags)
    assert descriptors() == before


def test_a_device_is_refused() -> None:
    with pytest.raises(OSError, match="is not a regular file") as caught:
        read_file("/dev/zero", 10)
    assert (caught.value.errno, caught.value.filename) == (errno.EINVAL, "/dev/zero")


def test_what_is_missing_is_told(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_file(path, 10)


def test_no_more_is_read_than_was_asked_for(path: Path) -> None:
    path.write_bytes(b"x" * 100_000)
    before = descriptors()
    assert read_file(path, 70_000) == b"x" * 70_000
    assert len(read_file(path, 200_000)) == 100_000
    assert descriptors() == before


def test_a_name_can_be_one_in_an_open_folder(path: Path, tmp_path: Path, precious: Path) -> None:
    path.write_text("text")
    (tmp_path / path.name).write_text("another")
    (path.parent / "link").symlink_to(precious)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        path.parent.rename(tmp_path / "elsewhere")
        assert read_file(path.name, 10, dir_fd=folder) == b"text"
        with pytest.raises(OSError, match="symbolic links"):
            read_file("link", 10, dir_fd=folder)
    finally:
        os.close(folder)


# Replacing


@pytest.mark.parametrize("before", [None, "a longer text than the new one"])
def test_a_file_is_replaced_at_the_end_and_not_before(path: Path, folder: Path, before: str | None) -> None:
    if before:
        path.write_text(before)
        path.chmod(0o644)
    with replacing(path) as file:
        file.write(b"new")
        sync(file)
        assert (path.read_text() if path.exists() else None) == before
    assert path.read_text() == "new"
    assert mode(path) == 0o600
    assert list(folder.iterdir()) == [path]


def test_the_new_one_is_private_until_it_is_told_otherwise(path: Path, folder: Path) -> None:
    before = os.umask(0)
    try:
        with replacing(path) as file:
            (new,) = folder.iterdir()
            assert mode(new) == 0o600
            assert is_temporary(new.name)
            os.fchmod(file.fileno(), 0o640)
    finally:
        os.umask(before)
    assert mode(path) == 0o640


def test_a_link_is_replaced_and_not_followed(path: Path, precious: Path) -> None:
    path.symlink_to(precious)
    with replacing(path) as file:
        file.write(b"new")
    assert not path.is_symlink()
    assert (path.read_text(), precious.read_text()) == ("new", "as it was")


def test_a_link_in_the_new_ones_place_is_not_followed(
    path: Path, precious: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "urandom", lambda _: b"\x01\x23\xab\xcd")
    planted = path.with_name(".file.json.0123abcd.tmp")
    planted.symlink_to(precious)
    with pytest.raises(FileExistsError), replacing(path):
        pytest.fail("it was opened")
    assert planted.is_symlink()  # it is not ours to remove
    assert precious.read_text() == "as it was"


def put(path: Path, data: bytes, error: BaseException | None = None) -> None:
    with replacing(path) as file:
        file.write(data)
        sync(file)
        if error is not None:
            raise error


def assert_as_it_was(path: Path) -> None:
    assert path.read_text() == "as it was"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt])
def test_after_an_error_the_old_one_is_there_and_nothing_else(path: Path, error: type[BaseException]) -> None:
    path.write_text("as it was")
    before = descriptors()
    with pytest.raises(error):
        put(path, b"new", error())
    assert_as_it_was(path)
    assert descriptors() == before


def test_an_error_between_writing_and_replacing_leaves_the_old_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    path.write_text("as it was")
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="Input/output error"):
            put(path, b"new")
    assert_as_it_was(path)


def test_a_folder_is_not_replaced(path: Path) -> None:
    path.mkdir()
    (path / "inside").touch()
    with pytest.raises(IsADirectoryError):
        put(path, b"new")
    assert list(path.parent.rglob("*")) == [path, path / "inside"]


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_a_write_that_fails_leaves_the_old_one(path: Path, size: int) -> None:
    """The smaller one is still in a buffer when the context ends."""
    path.write_text("as it was")
    with size_limit(5), pytest.raises(OSError, match="File too large"), replacing(path) as file:
        file.write(bytes(size))
    assert_as_it_was(path)


def test_a_full_disk_leaves_the_old_one(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        path = disk / "file.json"
        path.write_text("as it was")
        filler = fill(disk)
        with pytest.raises(OSError, match="No space left on device"):
            put(path, bytes(5000))
        filler.unlink()
        assert_as_it_was(path)


def test_a_folder_that_is_gone_is_told(path: Path, folder: Path) -> None:
    folder.rmdir()
    with pytest.raises(FileNotFoundError), replacing(path):
        pytest.fail("it was opened")


@pytest.mark.parametrize(
    "name",
    [
        "file.json",
        ".file.json",
        "x.tmp",
        ".x.0123abcg.tmp",
        ".x.0123abc.tmp",
        ".0123abcd.tmp",
        "a.b.0123abcd.tmp",
    ],
)
def test_other_names_are_not_temporary(name: str) -> None:
    assert not is_temporary(name)


# Onto the disk


def test_what_is_synced_is_the_file_and_the_folder(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []

    def note(descriptor: int) -> None:
        about = os.fstat(descriptor)
        synced.append((about.st_ino, about.st_size if stat.S_ISREG(about.st_mode) else None))

    monkeypatch.setattr(os, "fsync", note)
    with path.open("wb") as file:
        file.write(b"text")
        sync(file)
    before = descriptors()
    sync_folder(path.parent)
    assert synced == [(path.stat().st_ino, 4), (path.parent.stat().st_ino, None)]
    assert descriptors() == before


# What keeps others from it


@pytest.fixture
def way() -> Iterator[Path]:
    """A folder that everybody can enter; pytest's own are closed."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.parametrize(
    ("folder_mode", "file_mode", "closed"),
    [
        (0o700, 0o644, "folder"),
        (0o711, 0o640, "folder/file"),
        (0o711, 0o604, None),
        (0o001, 0o004, None),
        (0o776, 0o777, "folder"),
    ],
)
def test_others_need_to_enter_the_folders_and_to_read_the_file(
    way: Path, folder_mode: int, file_mode: int, closed: str | None
) -> None:
    (way / "folder").mkdir()
    (way / "folder/file").touch()
    (way / "folder/file").chmod(file_mode)
    (way / "folder").chmod(folder_mode)
    found = first_closed(way / "folder/file", -1, ())
    modes = {"folder": folder_mode, "folder/file": file_mode}
    assert found == (closed and (way / closed, modes[closed]))


def test_a_folder_at_the_end_is_to_be_listed(way: Path) -> None:
    (way / "folder").mkdir()
    (way / "folder").chmod(0o2751)
    assert first_closed(way / "folder", -1, ()) == (way / "folder", 0o2751)
    (way / "folder").chmod(0o755)
    assert first_closed(way / "folder", -1, ()) is None


def test_whose_it_is_decides_which_bits_count(way: Path) -> None:
    """As the kernel does: the owner's bits count for the owner alone, even if others may do more."""
    file = way / "file"
    file.touch()
    file.chmod(0o040)
    about = file.stat()
    assert first_closed(file, -1, (about.st_gid,)) is None
    assert first_closed(file, about.st_uid, (about.st_gid,)) == (file, 0o040)
    assert first_closed(file, -1, ()) == (file, 0o040)
    file.chmod(0o404)
    assert first_closed(file, about.st_uid, ()) is first_closed(file, -1, ()) is None
    assert first_closed(file, -1, (about.st_gid,)) == (file, 0o404)


def test_of_several_that_are_closed_the_uppermost_is_found(way: Path) -> None:
    (way / "upper/lower").mkdir(parents=True)
    (way / "upper/lower").chmod(0o700)
    (way / "upper").chmod(0o710)
    assert first_closed(way / "upper/lower/file", -1, ()) == (way / "upper", 0o710)


def test_a_place_that_is_missing_is_named(way: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        first_closed(way / "absent" / "file", -1, ())
    assert str(caught.value.filename) == str(way / "absent")


def dig(folder: Path, depth: int) -> None:
    """Make so many folders in each other, below a folder."""
    top = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=top)
        inner = os.open("d", os.O_RDONLY, dir_fd=top)
        os.close(top)
        top = inner
    os.close(top)


def test_a_folder_is_removed_however_deep_it_is(folder: Path, precious: Path) -> None:
    dig(folder, 3000)
    (folder / "closed" / "inner").mkdir(parents=True)
    (folder / "closed" / "inner" / "file").write_text("x")
    (folder / "closed" / "link").symlink_to(precious.parent)
    (folder / "closed" / "inner").chmod(0)
    (folder / "closed").chmod(0)
    (folder / "link").symlink_to(precious)
    os.mkfifo(folder / "pipe")
    folder.chmod(0)
    remove_folder(folder)
    assert not folder.exists()
    assert precious.read_text() == "as it was"
    with pytest.raises(FileNotFoundError):
        remove_folder(folder)
    folder.symlink_to(precious.parent)
    with pytest.raises(NotADirectoryError):
        remove_folder(folder)
