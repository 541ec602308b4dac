"""Who can put another file in the place of one."""

from __future__ import annotations

import os
import pwd
import stat
import struct
import subprocess
from pathlib import Path

import pytest
from support.full_disk import make_read_only, small_disk

from orchestrator.system import trust
from orchestrator.system.trust import Place, Way, find_owner, find_weak, is_private, read_way

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
ADA, MALLORY = 1000, 1001
NOBODY = 65534


def folder(path: str, uid: int = 0, mode: int = 0o755, *groups: int) -> Place:
    return Place(Path(path), uid, stat.S_IFDIR | mode, groups)


def file(path: str, uid: int = 0, mode: int = 0o644, *groups: int) -> Place:
    return Place(Path(path), uid, stat.S_IFREG | mode, groups)


def link(path: str, uid: int = 0) -> Place:
    return Place(Path(path), uid, stat.S_IFLNK | 0o777)


ROOT, HOME, TMP = folder("/"), folder("/home"), folder("/tmp", 0, 0o1777)


def weak(*places: Place, whole: bool = True, private: tuple[int, ...] = ()) -> str | None:
    """Return what is weak for ada."""
    found = find_weak(Way(places, whole), owners={0, ADA}, is_private=private.__contains__)
    return None if found is None else f"{found.who} {found.place.path}"


@pytest.mark.parametrize(
    ("places", "found"),
    [
        ([ROOT, HOME, folder("/home/ada", ADA), file("/home/ada/f", ADA)], None),
        ([ROOT, HOME, folder("/home/ada", ADA), file("/home/ada/f")], None),
        ([ROOT, HOME, folder("/home/ada", MALLORY), file("/home/ada/f", ADA)], "owner /home/ada"),
        ([ROOT, HOME, folder("/home/ada", ADA), file("/home/ada/f", MALLORY)], "owner /home/ada/f"),
        ([ROOT, folder("/srv", 0, 0o757), file("/srv/f", ADA)], "everybody /srv"),
        ([ROOT, folder("/srv", 0, 0o777), folder("/srv/a", ADA), file("/srv/a/f", ADA)], "everybody /srv"),
        ([ROOT, folder("/srv"), file("/srv/f", 0, 0o646)], "everybody /srv/f"),
        # Sticky: nobody but the owner can rename what is there, but anybody can make something.
        ([ROOT, TMP, file("/tmp/f", ADA)], None),
        ([ROOT, TMP, folder("/tmp/a", ADA), file("/tmp/a/f", ADA)], None),
        ([ROOT, TMP, file("/tmp/f", MALLORY)], "owner /tmp/f"),
        ([ROOT, TMP, folder("/tmp/a", MALLORY), file("/tmp/a/f", ADA)], "owner /tmp/a"),
        ([ROOT, folder("/tmp", MALLORY, 0o1777), file("/tmp/f", ADA)], "owner /tmp"),
        ([ROOT, TMP], "everybody /tmp"),
        ([ROOT, TMP, file("/tmp/f", ADA, 0o1646)], "everybody /tmp/f"),
        # Links: the link's owner decides where it leads, whatever its mode.
        ([ROOT, TMP, link("/tmp/l", ADA), folder("/srv"), file("/srv/f", ADA)], None),
        ([ROOT, TMP, link("/tmp/l", MALLORY), folder("/srv"), file("/srv/f", ADA)], "owner /tmp/l"),
        ([ROOT, link("/l"), folder("/srv", MALLORY), file("/srv/f", ADA)], "owner /srv"),
        # Groups.
        ([ROOT, HOME, folder("/home/ada", ADA, 0o775, 7), file("/home/ada/f", ADA)], None),
        ([ROOT, HOME, folder("/home/ada", ADA, 0o775, 8), file("/home/ada/f", ADA)], "group /home/ada"),
        ([ROOT, folder("/srv", 0, 0o3775, 8), file("/srv/f", ADA)], None),
        ([ROOT, folder("/srv"), file("/srv/f", ADA, 0o664, 8)], "group /srv/f"),
    ],
)
def test_the_first_place_that_others_can_change(places: list[Place], found: str | None) -> None:
    assert weak(*places, private=(7,)) == found


def test_what_is_missing_can_be_made_in_a_sticky_folder_only_by_whoever_makes_it() -> None:
    assert weak(ROOT, TMP, whole=False) is None
    assert weak(ROOT, folder("/srv", 0, 0o777), whole=False) == "everybody /srv"
    assert weak(ROOT, TMP, folder("/tmp/a", ADA), file("/tmp/a/f", MALLORY)) == "owner /tmp/a/f"
    way = Way((ROOT, TMP, folder("/tmp/a", ADA), file("/tmp/a/f", MALLORY)), whole=True)
    assert find_weak(way.above, owners={0, ADA}) is None
    assert way.above.above == way.above


def test_users_of_an_access_control_list() -> None:
    place = Place(Path("/srv"), 0, stat.S_IFDIR | 0o775, (), (ADA,))
    assert weak(ROOT, place) is None
    found = find_weak(Way((ROOT, place), whole=True), owners={0})
    assert found is not None
    assert (found.who, found.id) == ("user", ADA)


def test_folders_of_users_outside_of_a_user_namespace_are_trusted_and_files_are_not() -> None:
    theirs = folder("/", NOBODY)
    for unmapped, found in ((True, None), (False, "owner")):
        way = Way((theirs, folder("/srv", NOBODY), file("/srv/f", ADA)), whole=True)
        one = find_weak(way, owners={0, ADA}, unmapped=unmapped)
        assert (one and one.who) == found
    way = Way((theirs, file("/f", NOBODY)), whole=True)
    assert find_weak(way, owners={0, ADA}, unmapped=True) is not None
    open_to_all = Way((folder("/", NOBODY, 0o777), file("/f", ADA)), whole=True)
    assert find_weak(open_to_all, owners={0, ADA}, unmapped=True) is not None


@pytest.mark.parametrize(
    ("places", "owner"),
    [
        ([ROOT, folder("/var"), folder("/var/o", MALLORY, 0o700)], MALLORY),  # systemd's StateDirectory=
        ([ROOT, HOME, folder("/home/m", MALLORY), folder("/home/m/s", MALLORY)], MALLORY),
        ([ROOT, link("/l"), folder("/var"), folder("/var/o", MALLORY, 0o700)], MALLORY),
        ([ROOT, folder("/var"), folder("/var/o", ADA, 0o700)], ADA),
        ([ROOT, TMP, folder("/tmp/o", 0, 0o700)], 0),
        ([ROOT, TMP, folder("/tmp/o", MALLORY, 0o700)], None),  # anybody may have been first
        ([ROOT, TMP, folder("/tmp/m", MALLORY), folder("/tmp/m/s", MALLORY)], None),
        ([ROOT, TMP, link("/tmp/l", ADA), folder("/tmp/m", MALLORY)], None),
        ([ROOT, TMP, link("/tmp/l", MALLORY), folder("/var"), folder("/var/o", MALLORY)], None),
        ([ROOT, folder("/srv", 0, 0o777), folder("/srv/o", MALLORY)], None),
        ([ROOT, folder("/home/b", 7), folder("/home/b/o", MALLORY)], None),
        ([ROOT, folder("/var"), folder("/var/o", MALLORY, 0o777)], None),
    ],
)
def test_whose_the_service_of_a_folder_may_be(places: list[Place], owner: int | None) -> None:
    assert find_owner(Way(tuple(places), whole=True), ADA) == owner
    assert find_owner(Way(tuple(places), whole=False), ADA) is None
    unmapped = Way((ROOT, folder("/o", NOBODY)), whole=True)
    assert find_owner(unmapped, ADA, unmapped=True) is None
    assert find_owner(unmapped, ADA, unmapped=False) == NOBODY


# Looking


def test_a_way_is_what_the_kernel_goes(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/f").touch()
    (tmp_path / "absolute").symlink_to(tmp_path / "a")
    (tmp_path / "a/relative").symlink_to("../a/./b")
    way = read_way(tmp_path / "absolute/relative/f")
    assert way.whole
    assert [place.path for place in way.places if place.path.is_relative_to(tmp_path)] == [
        tmp_path,
        tmp_path / "absolute",
        *([tmp_path, tmp_path / "a"]),
        tmp_path / "a/relative",
        tmp_path / "a",
        tmp_path / "a/b",
        tmp_path / "a/b/f",
    ]
    assert way.places[0].path == Path("/")
    assert way.places[-1].uid == os.getuid()


def test_a_way_ends_where_nothing_is(tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "nowhere").symlink_to("gone")
    (tmp_path / "file").touch()
    for name, last in {"circle": "circle", "nowhere": "nowhere", "gone/x": ".", "file/x": "file"}.items():
        way = read_way(tmp_path / name)
        assert not way.whole
        assert way.places[-1].path == tmp_path / last


@as_root
def test_links_and_files_are_judged_by_who_they_belong_to(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    (tmp_path / "l").symlink_to("f")
    assert trust.weak_for_us(read_way(tmp_path / "l")) is None
    os.chown(tmp_path / "l", NOBODY, NOBODY, follow_symlinks=False)
    found = trust.weak_for_us(read_way(tmp_path / "l"))
    assert found is not None
    assert found.text == f"{tmp_path / 'l'} belongs to nobody"
    assert found.advice() == f"`chown -h root {tmp_path / 'l'}`"
    subprocess.run(["sh", "-c", found.advice().strip("`")], check=True)
    assert trust.weak_for_us(read_way(tmp_path / "l")) is None
    os.chown(tmp_path / "f", NOBODY, NOBODY)
    found = trust.weak_for_us(read_way(tmp_path / "l"))
    assert found is not None
    assert found.advice() == f"`chown root {tmp_path / 'f'}`"
    assert found.advice(4321) == f"`chown 4321 {tmp_path / 'f'}`", "a user without a name"
    assert trust.weak_for_us(read_way(tmp_path / "l"), NOBODY) is None


@as_root
@pytest.mark.parametrize("mode", [0o757, 0o775])
def test_the_advice_helps(tmp_path: Path, mode: int) -> None:
    place = tmp_path / "d"
    place.mkdir()
    os.chown(place, 0, NOBODY)
    place.chmod(mode)
    found = trust.weak_for_us(read_way(place / "f"))
    assert found is not None
    assert f"may write to {place} (mode 0{mode:o})" in found.text
    subprocess.run(["sh", "-c", found.advice().strip("`")], check=True)
    assert trust.weak_for_us(read_way(place / "f")) is None


@as_root
def test_for_root_alone_no_group_is_private(tmp_path: Path) -> None:
    tmp_path.chmod(0o775)
    assert trust.weak_for_us(read_way(tmp_path)) is None
    found = trust.weak_for_root(read_way(tmp_path))
    assert found is not None
    assert found.text.startswith("the group root may write to ")


@as_root
@pytest.mark.parametrize(("tag", "who"), [(0x02, "nobody"), (0x08, "the group 4000000")])
def test_an_access_control_list_counts(tmp_path: Path, tag: int, who: str) -> None:
    which = NOBODY if tag == 0x02 else 4_000_000
    entries = [(0x01, 7, -1), (0x02, 5, 1), (0x04, 5, -1), (tag, 7, which), (0x10, 7, -1), (0x20, 5, -1)]
    data = struct.pack("<I", 2) + b"".join(
        struct.pack("<HHI", tag, allowed, which & 0xFFFFFFFF) for tag, allowed, which in sorted(entries)
    )
    try:
        os.setxattr(tmp_path, "system.posix_acl_access", data)
    except OSError as error:
        pytest.skip(f"this file system has no access control lists: {error}")
    found = trust.weak_for_us(read_way(tmp_path))
    assert found is not None
    assert found.text.startswith(f"{who} may write to {tmp_path}")
    subprocess.run(["sh", "-c", found.advice().strip("`")], check=True)
    assert trust.weak_for_us(read_way(tmp_path)) is None


@as_root
def test_nobody_may_write_where_the_file_system_is_read_only(tmp_path: Path) -> None:
    """As in a ConfigMap of Kubernetes, whose folder has mode 0777."""
    with small_disk(tmp_path / "disk") as disk:
        disk.chmod(0o777)
        (disk / "f").touch()
        assert trust.weak_for_us(read_way(disk / "f")) is not None
        make_read_only(disk)
        assert trust.weak_for_us(read_way(disk / "f")) is None
        assert read_way(disk / "f").whole


def test_a_group_is_private_if_its_members_are_trusted() -> None:
    nobody = pwd.getpwnam("nobody")
    assert not is_private(nobody.pw_gid, {0})
    assert is_private(nobody.pw_gid, {0, nobody.pw_uid} | {
        one.pw_uid for one in pwd.getpwall() if one.pw_gid == nobody.pw_gid
    })  # fmt: skip
    assert is_private(0, {one.pw_uid for one in pwd.getpwall() if one.pw_gid == 0})
    assert not is_private(4_000_000, {0})  # nobody knows who is in it


@as_root
def test_a_group_without_a_name_is_private_if_it_is_our_own() -> None:
    """As that of a volume in a container, which the container's lists of users do not have."""
    before = os.getgroups()
    os.setgroups([*before, 4_000_000])
    try:
        assert is_private(4_000_000, {0})
    finally:
        os.setgroups(before)
