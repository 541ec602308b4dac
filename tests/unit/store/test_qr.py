import errno
import grp
import io
import os
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import zxingcpp
from PIL import Image
from support.full_disk import fill, make_read_only, size_limit, small_disk
from support.inotify import Happening, Watcher

from orchestrator.errors import StateError
from orchestrator.store.codes import draw
from orchestrator.store.codes.folder import _HEAD, QrFolder
from orchestrator.system.os_errors import advice

TEXT = (
    "https://wa.me/settings/linked_devices#2@57t2FvZiwKKTDTQPkkfUptsTrKWbPFc8t/7JVp9iqOA0Fz+GBcMsXWAM07QGSYK4WnWZ0w"
    "SInLe1tEpI,wCh6LBqCBSTfT+JAwYXuYcC8RMEGJPWFAEq9QBkQkTE=,sbcoiV5xY1U5H8q1c7u2VnEbLZ9jGJUmQ98YuelZyS8=,Dy0FFcjl5G"
    "TsW2uiSYp97eu1iTyqitbIqbb73VIAESw=,6"
)  # fmt: skip
ISSUED = 1795354074.25
PNG = draw.render(TEXT, ISSUED + 60)
OTHER_PNG = draw.render(TEXT[:-1], ISSUED + 80)
GROUP = grp.getgrgid(os.getgid()).gr_name


def read(picture: Image.Image) -> str:
    found = zxingcpp.read_barcodes(picture)
    assert len(found) == 1
    return str(found[0].text)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture
def folder(tmp_path: Path) -> QrFolder:
    folder = QrFolder(tmp_path / "qr")
    folder.prepare()
    return folder


def names(folder: QrFolder) -> list[str]:
    return sorted(path.name for path in folder.path("x").parent.iterdir())


# Pictures


def test_a_picture_says_the_text_and_until_when() -> None:
    picture = Image.open(io.BytesIO(PNG))
    assert read(picture) == TEXT
    assert picture.info == {"Expires": "2026-11-22T13:28:54Z"}
    assert PNG.index(b"tEXtExpires") < _HEAD


def test_a_picture_says_until_when_it_holds() -> None:
    assert draw.until(PNG) == int(ISSUED + 60)
    for other in (b"", b"no picture", PNG[:50], PNG.replace(b"T13:", b"T99:"), PNG.replace(b":54Z", b":54 ")):
        assert draw.until(other) is None


def test_a_picture_is_fit_for_phones() -> None:
    picture = Image.open(io.BytesIO(PNG)).convert("L")
    assert set(picture.get_flattened_data()) == {0, 255}
    assert 400 < picture.width == picture.height < 800
    assert len(PNG) < 4000
    border = 4 * draw._BOX
    for box in ((0, 0, picture.width, border), (0, 0, border, picture.height)):
        assert set(picture.crop(box).get_flattened_data()) == {255}
    # From across the room, and by a camera that is not straight.
    assert read(picture.resize((picture.width // 3, picture.height // 3))) == TEXT
    assert read(picture.rotate(12, expand=True, fillcolor=255)) == TEXT


@pytest.mark.parametrize("text", ["1", "hello", "A" * 800, "ä…"])
def test_any_text_can_be_drawn(text: str) -> None:
    assert read(Image.open(io.BytesIO(draw.render(text, 0)))) == text


def test_a_terminal_shows_the_same_code() -> None:
    drawn = draw.terminal(TEXT)
    lines = drawn.split("\n")
    width = {len(line) for line in lines}
    assert len(width) == 1
    assert max(width) - len(draw.BLACK_ON_WHITE[0] + draw.BLACK_ON_WHITE[1]) <= 64
    halves = {" ": (255, 255), "▀": (0, 255), "▄": (255, 0), "█": (0, 0)}
    rows: list[list[int]] = []
    for line in lines:
        # The colours are said on every line, so that it does not depend on those of the terminal.
        assert line.startswith("\x1b[38;5;16;48;5;231m")
        assert line.endswith("\x1b[0m")
        pairs = [halves[char] for char in line[len(draw.BLACK_ON_WHITE[0]) : -len(draw.BLACK_ON_WHITE[1])]]
        rows += [[upper for upper, _ in pairs], [lower for _, lower in pairs]]
    picture = Image.new("L", (len(rows[0]), len(rows)))
    picture.putdata([pixel for row in rows for pixel in row])
    assert read(picture.resize((picture.width * 6, picture.height * 6), Image.Resampling.NEAREST)) == TEXT


def test_the_folder_needs_no_pictures_library(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from orchestrator.store.codes.folder import QrFolder\n"
        f"folder = QrFolder(Path({str(tmp_path / 'qr')!r}))\n"
        "folder.prepare(); folder.show('a', b'png', 1.0)\n"
        "folder.hide('a'); assert not {'qrcode', 'PIL'} & set(sys.modules), sys.modules.keys()"
    )
    root = Path(draw.__file__).parents[3]
    subprocess.run([sys.executable, "-c", script], check=True, cwd=root)


# The folder


def test_the_folder_is_made_for_this_user_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        folder = QrFolder(tmp_path / "a" / "qr")
        folder.prepare()
        folder.show("support", PNG, ISSUED)
    finally:
        os.umask(old)
    assert mode(tmp_path / "a" / "qr") == 0o700
    assert mode(folder.path("support")) == 0o600
    assert folder.path("support") == tmp_path / "a" / "qr" / "support.png"


def test_a_group_may_read_the_pictures(tmp_path: Path) -> None:
    for group in (GROUP, str(os.getgid())):
        folder = QrFolder(tmp_path / f"qr-{group}", group)
        old = os.umask(0o077)
        try:
            folder.prepare()
            folder.show("support", PNG, ISSUED)
        finally:
            os.umask(old)
        assert mode(tmp_path / f"qr-{group}") == 0o750
        assert mode(folder.path("support")) == 0o640
        assert folder.path("support").stat().st_gid == os.getgid()


def test_the_folder_is_open_to_the_group_once_it_can_be_seen(tmp_path: Path) -> None:
    with Watcher(tmp_path) as watcher:
        QrFolder(tmp_path / "qr", GROUP).prepare()
        assert mode(tmp_path / "qr") == 0o750
        happened = watcher.happenings()
    assert [event for event in happened if event.name == "qr"] == [Happening("moved_to", "qr")]
    assert [path.name for path in tmp_path.iterdir()] == ["qr"]


def test_nothing_is_left_of_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="there is no group"):
        QrFolder(tmp_path / "qr", "no-such-group").prepare()
    assert not list(tmp_path.iterdir())


def test_a_folder_that_somebody_else_makes_at_that_moment_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mkdir = Path.mkdir

    def make_both(path: Path, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        mkdir(path, mode, parents, exist_ok)
        if path.name.startswith("."):
            mkdir(tmp_path / "qr")
            (tmp_path / "qr/theirs").touch()

    monkeypatch.setattr(Path, "mkdir", make_both)
    QrFolder(tmp_path / "qr").prepare()
    assert [path.name for path in tmp_path.iterdir()] == ["qr"]
    assert (tmp_path / "qr/theirs").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files to any group")
def test_the_files_belong_to_the_group(tmp_path: Path) -> None:
    (tmp_path / "qr").mkdir(0o700)
    folder = QrFolder(tmp_path / "qr", "12345")
    folder.prepare()
    folder.show("support", PNG, ISSUED)
    assert (tmp_path / "qr").stat().st_gid == 12345
    assert mode(tmp_path / "qr") == 0o750
    assert folder.path("support").stat().st_gid == 12345


def test_a_folder_that_is_open_to_others_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "qr").mkdir()
    (tmp_path / "qr").chmod(0o2775)
    QrFolder(tmp_path / "qr", GROUP).prepare()
    assert mode(tmp_path / "qr") == 0o2775


def test_a_group_must_exist(tmp_path: Path) -> None:
    with pytest.raises(StateError, match=r'there is no group "no-such-group" on this machine.*qr_group'):
        QrFolder(tmp_path / "qr", "no-such-group").prepare()


def test_what_is_out_of_date_is_removed_and_nothing_else(tmp_path: Path) -> None:
    qr_folder = tmp_path / "qr"
    qr_folder.mkdir()
    foreign = io.BytesIO()
    Image.new("L", (5, 5)).save(foreign, "PNG")
    kept = [
        "photo.png",
        "notes.txt",
        ".x.part",
        ".notes.txt.01234567.tmp",
        ".support.0123456789abcdef.png",
        "Support.png",
        "text.png",
    ]
    for name in kept:
        (qr_folder / name).write_bytes(foreign.getvalue())
    (qr_folder / "text.png").write_bytes(b"tEXtExpires\0")
    (qr_folder / "Support.png").write_bytes(PNG)
    (tmp_path / "target.png").write_bytes(PNG)
    (qr_folder / "link.png").symlink_to(tmp_path / "target.png")
    (qr_folder / "folder.png").mkdir()
    os.mkfifo(qr_folder / "pipe.png")
    gone = ["support.png", "sales-br.2.png", ".support.png.01234567.tmp", "torn.png", "planted.png"]
    for name in gone[:3]:
        (qr_folder / name).write_bytes(PNG)
    (qr_folder / "torn.png").write_bytes(b"")
    (qr_folder / "planted.png").symlink_to(tmp_path / "target.png")
    folder = QrFolder(qr_folder)
    folder.prepare(["torn", "planted", "folder", "absent"])
    assert names(folder) == sorted([*kept, "link.png", "folder.png", "pipe.png"])
    assert (tmp_path / "target.png").read_bytes() == PNG


def test_a_file_in_place_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "qr").touch()
    with pytest.raises(StateError, match="is not a folder"):
        QrFolder(tmp_path / "qr").prepare()


def test_the_folder_may_be_an_operators_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(0o700)
    (tmp_path / "qr").symlink_to("real")
    folder = QrFolder(tmp_path / "qr")
    folder.prepare()
    folder.show("support", PNG, ISSUED)
    assert (tmp_path / "real" / "support.png").read_bytes() == PNG


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a link of somebody else's")
def test_the_folder_must_not_be_somebody_elses_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(0o700)
    (tmp_path / "qr").symlink_to("real")
    os.chown(tmp_path / "qr", 12345, 12345, follow_symlinks=False)
    folder = QrFolder(tmp_path / "qr")
    with pytest.raises(StateError, match="a symbolic link of another user"):
        folder.prepare()
    with pytest.raises(OSError, match="Not a directory"):
        folder.show("support", PNG, ISSUED)
    assert list((tmp_path / "real").iterdir()) == []


# Showing and hiding


def test_a_watcher_sees_one_rename_a_code(folder: QrFolder) -> None:
    with Watcher(folder.path("support").parent) as watcher:
        for png in (PNG, OTHER_PNG):
            folder.show("support", png, ISSUED)
            happened = watcher.happenings()
            assert [event for event in happened if event.name.endswith(".png")] == [
                Happening("moved_to", "support.png")
            ]
            assert all(event.name.startswith(".") for event in happened if event.kind != "moved_to")
            assert folder.path("support").read_bytes() == png
        folder.hide("support")
        folder.hide("support")
        assert watcher.happenings() == [Happening("deleted", "support.png")]


def test_a_watcher_never_sees_half_a_picture(folder: QrFolder) -> None:
    """A reader in another process, woken by the kernel, as image viewers and sync clients are."""
    script = (
        "import sys; from pathlib import Path; from support.inotify import Watcher\n"
        "folder = Path(sys.argv[1])\n"
        "with Watcher(folder, 'moved_to') as watcher:\n"
        "    print('ready', flush=True); seen = set()\n"
        "    while 'last.png' not in seen:\n"
        "        for event in watcher.wait_for(lambda event: True):\n"
        "            seen.add(event.name)\n"
        "            data = (folder / event.name).read_bytes()\n"
        "            assert data.endswith(b'IEND\\xaeB`\\x82'), len(data)\n"
        "assert seen == {'support.png', 'last.png'}, seen\n"
    )
    path = folder.path("support")
    command = [sys.executable, "-c", script, str(path.parent)]
    tests = Path(__file__).parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=tests) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        for number in range(200):
            folder.show("support", (PNG, OTHER_PNG)[number % 2], ISSUED + number)
        folder.show("last", PNG, ISSUED)
    assert process.returncode == 0


def test_the_time_of_the_file_is_when_the_code_was_issued(folder: QrFolder) -> None:
    folder.show("support", PNG, ISSUED)
    assert folder.path("support").stat().st_mtime == ISSUED


def test_accounts_do_not_touch_each_other(folder: QrFolder) -> None:
    folder.show("a", PNG, ISSUED)
    folder.show("a.b", OTHER_PNG, ISSUED)
    folder.hide("a")
    assert names(folder) == ["a.b.png"]


def test_the_folder_may_be_removed_and_made_again_meanwhile(folder: QrFolder) -> None:
    path = folder.path("support")
    folder.show("support", PNG, ISSUED)
    path.unlink()
    path.parent.rmdir()
    folder.hide("support")
    assert not path.parent.exists()
    folder.show("support", PNG, ISSUED)
    assert path.read_bytes() == PNG
    assert mode(path.parent) == 0o700
    path.parent.rename(path.parent.with_name("elsewhere"))
    path.parent.mkdir()
    folder.show("support", OTHER_PNG, ISSUED)
    assert names(folder) == ["support.png"]


def test_the_folder_may_be_removed_at_that_very_moment(
    folder: QrFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = os.rename, 0

    def rename(*args: object, **more: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            for left in folder.path("x").parent.iterdir():
                left.unlink()
            folder.path("x").parent.rmdir()
        real(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "rename", rename)
    folder.show("support", PNG, ISSUED)
    assert names(folder) == ["support.png"]


def test_planted_links_are_not_followed(folder: QrFolder, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    path = folder.path("support")
    path.symlink_to(target)
    folder.show("support", PNG, ISSUED)
    assert not path.is_symlink()
    assert path.read_bytes() == PNG
    path.unlink()
    path.symlink_to(target)
    folder.hide("support")
    assert not path.is_symlink()
    assert target.read_bytes() == b"precious"


def test_planted_temporary_files_are_not_used(
    folder: QrFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "target"
    monkeypatch.setattr("os.urandom", lambda _: bytes.fromhex("01234567"))
    (folder.path("x").parent / ".support.png.01234567.tmp").symlink_to(target)
    with pytest.raises(FileExistsError):
        folder.show("support", PNG, ISSUED)
    assert not target.exists()


def test_a_folder_in_the_pictures_place_is_told(folder: QrFolder) -> None:
    folder.path("support").mkdir()
    with pytest.raises(IsADirectoryError):
        folder.show("support", PNG, ISSUED)
    assert names(folder) == ["support.png"]
    with pytest.raises(IsADirectoryError):
        folder.hide("support")


def test_on_a_full_disk_nothing_is_left(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        folder = QrFolder(disk)
        folder.prepare()
        folder.show("support", PNG, ISSUED)
        filler = fill(disk)
        with pytest.raises(OSError, match="No space left on device"):
            folder.show("support", PNG * 4, ISSUED)
        assert names(folder) == [".filler"]
        folder.prepare()  # those that are linked need no codes
        filler.unlink()
        folder.show("support", PNG, ISSUED)
        assert names(folder) == ["support.png"]


def test_a_picture_that_does_not_get_done_leaves_nothing(folder: QrFolder) -> None:
    folder.show("support", PNG, ISSUED)
    with size_limit(1000), pytest.raises(OSError, match="File too large"):
        folder.show("support", PNG, ISSUED)
    assert names(folder) == []


def test_on_a_read_only_disk_it_says_so(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        folder = QrFolder(disk)
        folder.prepare()
        folder.show("support", PNG, ISSUED)
        make_read_only(disk)
        with pytest.raises(OSError, match="Read-only file system"):
            folder.show("support", OTHER_PNG, ISSUED)
        with pytest.raises(OSError, match="Read-only file system"):
            folder.hide("support")
        with pytest.raises(StateError, match=r"read-only file system: choose another folder with qr_dir"):
            folder.prepare()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_in_a_folder_that_may_not_be_written_it_says_so(folder: QrFolder) -> None:
    folder.show("support", PNG, ISSUED)
    folder.path("support").parent.chmod(0o500)
    with pytest.raises(PermissionError):
        folder.show("support", PNG, ISSUED)
    with pytest.raises(StateError, match="may not write there"):
        folder.prepare()
    folder.path("support").parent.chmod(0o700)


def test_an_error_after_writing_leaves_nothing(folder: QrFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.show("support", PNG, ISSUED)

    def fail(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "utime", fail)
        with pytest.raises(OSError, match="Input/output error"):
            folder.show("support", PNG, ISSUED)
    assert names(folder) == []


# Whatever step fails, for whatever reason: the cause and what to do


MEANINGS = {
    "ENOSPC": "the disk is full: make room",
    "EDQUOT": "the disk is full: make room",
    "EROFS": "is on a read-only file system: choose another folder with qr_dir",
    "EACCES": "this user may not write there: change the owner of the folder",
    "EPERM": "is protected from changes: run `chattr -i -a`",
    "EIO": "the disk does not work: see the system log",
    "EMFILE": "too many open files",
    "ENFILE": "too many open files",
    "ENOMEM": "no memory is left",
    "ENOTDIR": "is not a folder",
    "ELOOP": "is not a folder, or is a symbolic link",
    "EISDIR": "a folder is in the picture's place: remove it",
    "EBUSY": "something is mounted in the picture's place: unmount it",
    "ENOENT": "was removed, or is a link to nothing: make the folder",
    "ENAMETOOLONG": "its path is too long",
    "EFBIG": "a picture is larger than files may be",
    "ESTALE": "its file system is gone or does not answer: mount it again",
    "ENOTCONN": "its file system is gone or does not answer: mount it again",
    "EAGAIN": "another program holds the files there",
}


@pytest.mark.parametrize("step", ["open", "fchmod", "utime", "rename"])
@pytest.mark.parametrize("code", MEANINGS)
def test_every_step_that_fails_is_told_with_its_cause(
    folder: QrFolder, monkeypatch: pytest.MonkeyPatch, step: str, code: str
) -> None:
    number = getattr(errno, code)
    kept = step in ("fchmod", "utime") and code in ("EPERM", "EACCES")
    if kept and (step, code) != ("utime", "EACCES"):
        pytest.skip("what cannot be set is right already")

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, step, fail)
        with pytest.raises(OSError, match=r".") as failure:
            folder.show("support", PNG, ISSUED)
    assert MEANINGS[code] in advice(failure.value, "picture")
    assert "qr_group" not in advice(failure.value, "picture")
    assert names(folder) == []


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_modes_and_times_is_used_if_nobody_else_can_read_it(
    folder: QrFolder, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fchmod", fail)
    monkeypatch.setattr(os, "utime", fail)
    folder.show("support", PNG, ISSUED)
    assert names(folder) == ["support.png"]


@pytest.mark.parametrize("code", [errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_modes_where_others_could_read_is_refused(
    folder: QrFolder, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    real = os.fstat

    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    def open_to_all(descriptor: int) -> SimpleNamespace:
        about = real(descriptor)
        facts = {name: getattr(about, name) for name in dir(about) if name.startswith("st_")}
        return SimpleNamespace(**facts | {"st_mode": about.st_mode | 0o055})

    monkeypatch.setattr(os, "fchmod", fail)
    monkeypatch.setattr(os, "fstat", open_to_all)
    with pytest.raises(StateError, match="its file system keeps no modes") as shown:
        folder.show("support", PNG, ISSUED)
    with pytest.raises(StateError, match="its file system keeps no modes") as prepared:
        folder.prepare()
    assert "qr_group" not in str(shown.value) + str(prepared.value)
    assert names(folder) == []


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        (errno.EPERM, "cannot be given files by this user: make the user a member of the group"),
        (errno.EACCES, "cannot be given files by this user"),
        (errno.EINVAL, "does not exist inside this container"),
        (errno.EOPNOTSUPP, "the file system keeps no groups"),
        (errno.EIO, None),
    ],
)
def test_the_group_is_blamed_where_the_file_cannot_be_given_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, meaning: str | None
) -> None:
    (tmp_path / "qr").mkdir()
    (tmp_path / "qr").chmod(0o755)
    folder = QrFolder(tmp_path / "qr", "12345")

    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fchown", fail)
    if meaning is None:
        with pytest.raises(OSError, match="Input/output error"):
            folder.show("support", PNG, ISSUED)
    else:
        with pytest.raises(StateError, match=meaning) as failure:
            folder.show("support", PNG, ISSUED)
        assert "the group 12345 (qr_group)" in str(failure.value)
    assert names(folder) == []


def test_a_file_that_has_the_group_already_need_not_be_given_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "fchown", fail)
    folder = QrFolder(tmp_path / "qr", str(os.getgid()))
    folder.prepare()
    folder.show("support", PNG, ISSUED)
    assert names(folder) == ["support.png"]


@pytest.mark.parametrize("flag", ["i", "a"])
def test_a_protected_folder_is_told(folder: QrFolder, flag: str) -> None:
    qr_folder = folder.path("x").parent
    folder.show("support", PNG, ISSUED)
    if subprocess.run(["chattr", f"+{flag}", str(qr_folder)], check=False, capture_output=True).returncode:
        pytest.skip("folders cannot be protected here")
    try:
        with pytest.raises(OSError, match="not permitted") as failure:
            folder.show("support", OTHER_PNG, ISSUED)
        with pytest.raises(StateError, match="is protected from changes") as refusal:
            folder.prepare()
    finally:
        subprocess.run(["chattr", f"-{flag}", str(qr_folder)], check=True)
    for text in (advice(failure.value, "picture"), str(refusal.value)):
        assert "chattr -i -a" in text
        assert "qr_group" not in text


def test_a_mount_in_the_pictures_place_is_told(folder: QrFolder) -> None:
    path = folder.path("support")
    path.write_bytes(b"")
    if os.geteuid() or subprocess.run(["mount", "--bind", path, path], check=False).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        with pytest.raises(OSError, match="busy") as failure:
            folder.show("support", PNG, ISSUED)
    finally:
        subprocess.run(["umount", path], check=True)
    assert "something is mounted in the picture's place" in advice(failure.value, "picture")
