"""The folder of codes and the other users of the machine: nobody else puts a code there, and no folder of
somebody's is opened for codes."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.errors import StateError
from orchestrator.store.codes import draw, folder
from orchestrator.store.codes.folder import QrFolder

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as others")

MALLORY = 65534
GROUP = "12345"
ISSUED = 1795354074.25
PNG, OTHER_PNG = draw.render("ours", ISSUED + 60), draw.render("hers", ISSUED + 60)


def mode(path: Path) -> tuple[int, int]:
    about = path.stat()
    return stat.S_IMODE(about.st_mode), about.st_gid


def hers(path: Path) -> None:
    os.chown(path, MALLORY, MALLORY)


def open_to_all(path: Path) -> None:
    path.chmod(0o757)


def sticky(path: Path) -> None:
    path.chmod(0o1777)


def open_to_a_group(path: Path) -> None:
    os.chown(path, -1, MALLORY)
    path.chmod(0o775)


CHANGES = [hers, open_to_all, sticky, open_to_a_group]


# Who may write


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("above", [False, True])
def test_a_folder_where_others_could_put_codes_is_refused(
    tmp_path: Path, change: Callable[[Path], None], above: bool
) -> None:
    place = tmp_path / "codes/qr"
    place.mkdir(parents=True)
    changed = place.parent if above else place
    one = QrFolder(place)
    one.prepare()
    one.show("support", PNG, ISSUED)
    change(changed)
    if above and change is sticky:
        one.prepare()  # what is ours there, nobody else can rename
        one.show("support", PNG, ISSUED)
        return
    before = mode(changed)
    for step in ("prepare", "show"):
        with pytest.raises(StateError, match="so others could put codes of their own there") as caught:
            one.prepare() if step == "prepare" else one.show("support", PNG, ISSUED)
        said = str(caught.value)
        assert str(changed) in said
        assert "`chown root " in said or "`chmod " in said
        assert caught.value.key == "qr_dir_unusable"
    assert mode(changed) == before
    # What was shown does not stay where others can change it.
    assert [path.name for path in place.iterdir()] == []


def test_a_folder_that_is_missing_is_not_made_where_others_could_rename_it(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(StateError, match=r"every user may write to .* \(mode 0777\)"):
        QrFolder(tmp_path / "qr").prepare()
    assert list(tmp_path.iterdir()) == []
    tmp_path.chmod(0o1777)
    QrFolder(tmp_path / "qr").prepare()
    assert mode(tmp_path / "qr")[0] == 0o700


def test_folders_above_that_are_made_are_nobody_elses(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        QrFolder(tmp_path / "a/b/qr", GROUP).prepare()
    finally:
        os.umask(before)
    assert [mode(tmp_path / path)[0] for path in ("a", "a/b", "a/b/qr")] == [0o755, 0o755, 0o750]


@pytest.mark.parametrize("what", ["link", "target's folder"])
def test_a_link_counts_with_what_it_leads_to(tmp_path: Path, what: str) -> None:
    (tmp_path / "real/qr").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real/qr")
    QrFolder(tmp_path / "link").prepare()
    if what == "link":
        tmp_path.chmod(0o777)
    else:
        (tmp_path / "real").chmod(0o777)
    with pytest.raises(StateError, match="every user may write to"):
        QrFolder(tmp_path / "link").prepare()


# Whom the folder is opened to


def test_a_folder_of_somebodys_files_is_not_opened(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir(0o700)
    for strange in ("diary.txt", "photo.png", ".hidden", "folder"):
        kept = victim / strange
        kept.mkdir() if strange == "folder" else kept.write_bytes(b"precious")
        with pytest.raises(StateError, match=r"holds 1 other files than codes.*is not let in") as caught:
            QrFolder(victim, GROUP).prepare(["support"])
        assert f"`chgrp {GROUP} {victim}`, `chmod 750 {victim}`" in str(caught.value)
        assert mode(victim) == (0o700, 0)
        assert kept.exists()
        kept.rmdir() if strange == "folder" else kept.unlink()
    QrFolder(victim).prepare()  # nobody is to be let in
    assert mode(victim) == (0o700, 0)


@pytest.mark.parametrize("name", [".ssh", ".config", "home"])
def test_a_folder_that_is_not_for_codes_is_not_opened_even_if_it_is_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    place = tmp_path / name
    place.mkdir(0o700)
    if name == "home":
        monkeypatch.setenv("HOME", str(place))
    with pytest.raises(StateError, match="so the group 12345"):
        QrFolder(place, GROUP).prepare()
    assert mode(place) == (0o700, 0)


@pytest.mark.parametrize("place", ["/root", "/", "/etc"])
def test_the_systems_folders_are_not_opened(place: str) -> None:
    before = mode(Path(place))
    one = QrFolder(Path(place), GROUP)
    descriptor = os.open(place, os.O_RDONLY)
    try:
        assert one._why_private(descriptor) is not None
    finally:
        os.close(descriptor)
    assert mode(Path(place)) == before


def test_a_folder_with_nothing_but_codes_is_opened(tmp_path: Path) -> None:
    place = tmp_path / "qr"
    place.mkdir(0o700)
    (place / "support.png").write_bytes(PNG)
    (place / ".sales.png.01234567.tmp").write_bytes(b"half a pic")
    QrFolder(place, GROUP).prepare()
    assert mode(place) == (0o750, int(GROUP))
    assert list(place.iterdir()) == []


def test_a_folder_that_an_operator_has_opened_is_taken_as_it_is(tmp_path: Path) -> None:
    place = tmp_path / "qr"
    place.mkdir()
    place.chmod(0o750)
    os.chown(place, 0, int(GROUP))
    (place / "notes.txt").touch()
    QrFolder(place, GROUP).prepare()
    assert mode(place) == (0o750, int(GROUP))


# What is in the place of a picture


@pytest.fixture
def shown(tmp_path: Path) -> QrFolder:
    one = QrFolder(tmp_path / "qr")
    one.prepare()
    one.show("support", PNG, ISSUED)
    return one


def another_file(path: Path) -> None:
    path.with_name("hers").write_bytes(OTHER_PNG)
    path.with_name("hers").rename(path)


def the_same_content(path: Path) -> None:
    path.with_name("hers").write_bytes(PNG)
    path.with_name("hers").rename(path)


def other_content(path: Path) -> None:
    about = path.stat()
    path.write_bytes(OTHER_PNG)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


def more_content(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def a_link(path: Path) -> None:
    path.with_name("hers").write_bytes(OTHER_PNG)
    path.unlink()
    path.symlink_to(path.with_name("hers"))


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("settled", [False, True])
@pytest.mark.parametrize(
    "change", [another_file, the_same_content, other_content, more_content, a_link, a_pipe]
)
def test_what_others_put_in_the_place_of_a_picture_is_removed(
    shown: QrFolder, change: Callable[[Path], None], settled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if settled:
        monkeypatch.setattr(folder, "_TICK", -1)  # as after a second in which nothing changed
    path = shown.path("support")
    assert not shown.guard("support")
    assert not shown.guard("support")
    change(path)
    assert shown.guard("support")
    assert not os.path.lexists(path)
    assert not shown.guard("support")
    path.write_bytes(OTHER_PNG)  # once more
    assert shown.guard("support")
    shown.show("support", OTHER_PNG, ISSUED)
    assert not shown.guard("support")
    assert path.read_bytes() == OTHER_PNG


def test_what_does_not_change_a_picture_does_no_harm(shown: QrFolder) -> None:
    path = shown.path("support")
    path.with_name("copy").hardlink_to(path)
    path.chmod(0o640)
    assert not shown.guard("support")
    path.unlink()  # a watcher is done with it
    assert not shown.guard("support")
    assert not shown.guard("nobody")


def test_what_cannot_be_removed_is_told(shown: QrFolder) -> None:
    path = shown.path("support")
    path.unlink()
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        shown.guard("support")
