"""Who can put another file in the place of one: the owners and writers of a file and of the folders above it.

Whoever may write to a folder can rename what is in it. So a file is as safe as the least safe folder on the
way to it, as sshd(8) says under StrictModes. `find_weak` decides and looks at nothing; `read_way` looks.

A group may write where nobody but trusted users is in it, as in Debian's sshd: Many systems give each user a
group of the same name, and make new files writable for that group.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from orchestrator.system.folders import UNMAPPED, user_name

_MAX_LINKS: Final = 40
"""How many symbolic links Linux follows on the way to a file."""
_ACL: Final = "system.posix_acl_access"
_ENTRY: Final = struct.Struct("<HHI")
"""An entry of an access control list: tag, permissions, id; see linux/posix_acl_xattr.h."""
_USER, _OWNING_GROUP, _GROUP = 0x02, 0x04, 0x08
_EVERYBODY: Final = f"0 0 {2**32 - 1}"
"""The map of users outside of a user namespace."""


@dataclass(frozen=True, slots=True)
class Place:
    """What is known of a file, a folder or a symbolic link on the way to a file.

    Attributes:
        path: Where it is.
        uid: Its owner.
        mode: Its type and permissions, as in `os.stat_result`.
        groups: The groups that may write to it.
        users: The users that may write to it by an access control list.
    """

    path: Path
    uid: int
    mode: int
    groups: tuple[int, ...] = ()
    users: tuple[int, ...] = ()

    @property
    def is_sticky(self) -> bool:
        """Whether it is a folder in which users can only rename what is their own."""
        return stat.S_ISDIR(self.mode) and bool(self.mode & stat.S_ISVTX)


@dataclass(frozen=True, slots=True)
class Way:
    """Everything on the way to a file, from the root folder on, with each symbolic link and what it leads to.

    Attributes:
        places: What is there.
        whole: Whether the file itself is among them. If not, it or something above it is missing, cannot be
            looked at, or is a link in a circle.
    """

    places: tuple[Place, ...]
    whole: bool

    @property
    def above(self) -> Way:
        """The same without the file itself."""
        return Way(self.places[:-1], whole=False) if self.whole else self


@dataclass(frozen=True, slots=True)
class Weak:
    """A place that somebody else may change.

    Attributes:
        place: The place.
        who: Whether that is its owner, a group, a user of an access control list, or everybody.
        id: The user or the group; -1 for everybody.
    """

    place: Place
    who: Literal["owner", "group", "user", "everybody"]
    id: int = -1

    @property
    def text(self) -> str:
        """What is wrong, for people."""
        path, mode = self.place.path, f"(mode {stat.S_IMODE(self.place.mode):04o})"
        match self.who:
            case "owner":
                return f"{path} belongs to {user_name(self.id)}"
            case "group":
                return f"the group {group_name(self.id)} may write to {path} {mode}"
            case "user":
                return f"{user_name(self.id)} may write to {path} by an access control list"
            case "everybody":
                return f"every user may write to {path} {mode}"

    def advice(self, owner: int = 0) -> str:
        """Say what to do.

        Args:
            owner: Who is to have the place.
        """
        if self.who == "owner":
            no_link = "-h " if stat.S_ISLNK(self.place.mode) else ""
            name = user_name(owner)
            # A user without a name is known to the command by the number alone.
            whom = name if " " not in name else str(owner)
            return f"`chown {no_link}{whom} {self.place.path}`"
        # The group's bits are the mask of an access control list, too.
        return f"`chmod {'o' if self.who == 'everybody' else 'g'}-w {self.place.path}`"


def find_weak(
    way: Way,
    *,
    owners: Collection[int],
    is_private: Callable[[int], bool] = lambda _: False,
    unmapped: bool = False,
) -> Weak | None:
    """Return the first place on a way that users can change who are not trusted.

    A folder that others may write to does no harm if it is sticky and what comes next is a trusted user's:
    nobody else can rename that. So such a folder must not be the end of the way.

    Args:
        way: The way.
        owners: The users who are trusted.
        is_private: Tells whether a group has no members but these users.
        unmapped: Whether `UNMAPPED` owns what belongs to users outside of this user namespace. Folders of
            theirs are trusted: without trust in those who made the namespace there is none.
    """
    for number, place in enumerate(way.places, 1):
        is_folder = stat.S_ISDIR(place.mode)
        if place.uid not in owners and not (unmapped and is_folder and place.uid == UNMAPPED):
            return Weak(place, "owner", place.uid)
        if stat.S_ISLNK(place.mode):
            continue  # whoever may rename a link may write to its folder
        if place.is_sticky and not (way.whole and number == len(way.places)):
            continue
        if place.mode & 0o002:
            return Weak(place, "everybody")
        for group in place.groups:
            if not is_private(group):
                return Weak(place, "group", group)
        for user in place.users:
            if user not in owners:
                return Weak(place, "user", user)
    return None


def read_way(path: Path) -> Way:
    """Look at everything on the way to a file, as the kernel goes it.

    POSIX access control lists count, those of NFS 4 do not: Linux has no common way to read them. Nobody may
    write where the file system is mounted read-only.

    Args:
        path: The file, absolute.
    """
    here = Path("/")
    places: list[Place] = []
    left = list(reversed(path.parts))  # the first one is the root folder
    links = 0
    while left:
        part = left.pop()
        if part == "..":
            here = here.parent
            continue
        try:
            place = look(here / part)
            target = place.path.readlink() if stat.S_ISLNK(place.mode) else None
        except OSError:
            return Way(tuple(places), whole=False)
        places.append(place)
        if target is None:
            here = place.path
            continue
        links += 1
        if links > _MAX_LINKS:
            return Way(tuple(places), whole=False)
        left.extend(reversed(target.parts))
    return Way(tuple(places), whole=True)


def weak_for_us(way: Way, *owners: int) -> Weak | None:
    """Return the first place on a way that others than root, this user and some more can change.

    Args:
        way: The way.
        owners: Further users who are trusted.
    """
    trusted = {0, os.geteuid(), *owners}
    return find_weak(
        way,
        owners=trusted,
        is_private=lambda group: is_private(group, trusted),
        unmapped=in_user_namespace(),
    )


def weak_for_root(way: Way) -> Weak | None:
    """Return the first place on a way that anybody but root can change. Any group counts as others."""
    return find_weak(way, owners={0})


def owner_of(folder: Path) -> int | None:
    """Return the user a folder belongs to, None if others than root, this user and the owner put it there.

    Root talks to the service of another user by such a folder, as that of systemd's StateDirectory=.

    Args:
        folder: The folder, absolute.
    """
    return find_owner(read_way(folder), os.geteuid(), in_user_namespace())


def find_owner(way: Way, us: int, unmapped: bool = False) -> int | None:
    """Return the owner of the folder at the end of a way, if nobody but root, us and the owner put it there.

    In a folder that everybody may write to, sticky or not, anybody may have made the owner's folder.

    Args:
        way: The way to the folder.
        us: This user.
        unmapped: As in `find_weak`.
    """
    if not way.whole:
        return None
    owner = way.places[-1].uid
    if unmapped and owner == UNMAPPED:
        return None  # that may be anybody
    trusted = {0, us, owner}
    weak = find_weak(way, owners=trusted, is_private=lambda one: is_private(one, trusted), unmapped=unmapped)
    if weak is not None:
        return None
    sticky = {place.path for place in way.places if place.is_sticky}
    if any(place.path.parent in sticky and place.uid not in (0, us) for place in way.places):
        return None
    return owner


def is_private(group: int, users: Collection[int]) -> bool:
    """Tell whether a group has no members but some users, as far as this machine's lists of users say.

    A group that is in no list is private if it is this process's, as a container's often is.
    """
    import grp  # a place that a group may write to is rare
    import pwd

    try:
        names = grp.getgrgid(group).gr_mem
    except KeyError:
        if group not in (os.getegid(), *os.getgroups()):
            return False
        names = []
    known = pwd.getpwall()
    members = {user.pw_uid for user in known if user.pw_gid == group or user.pw_name in names}
    listed = {user.pw_name for user in known}
    return members <= set(users) and listed.issuperset(names)


def group_name(group: int) -> str:
    """Return a group's name, or its number if it has none."""
    import grp

    try:
        return grp.getgrgid(group).gr_name
    except KeyError:
        return str(group)


def in_user_namespace() -> bool:
    """Tell whether this process is in a user namespace that does not know all users."""
    try:
        return Path("/proc/self/uid_map").read_text().split() != _EVERYBODY.split()
    except OSError:
        return False


def look(path: Path) -> Place:
    """Look at a file, a folder or a symbolic link.

    Raises:
        OSError: It cannot be looked at.
    """
    about = path.lstat()
    mode = about.st_mode
    if not stat.S_ISLNK(mode) and mode & 0o022 and os.statvfs(path).f_flag & os.ST_RDONLY:
        mode &= ~0o022  # such as a ConfigMap of Kubernetes, which has mode 0777
    if stat.S_ISLNK(mode) or not mode & 0o020:
        return Place(path, about.st_uid, mode)
    # With a list, the group's bits are those of its mask: what named users and groups can have at most.
    groups, users = [], []
    entries = list(_acl(path))
    for tag, which in entries:
        if tag == _USER:
            users.append(which)
        else:
            groups.append(about.st_gid if tag == _OWNING_GROUP else which)
    return Place(path, about.st_uid, mode, tuple(groups) if entries else (about.st_gid,), tuple(users))


def _acl(path: Path) -> Iterator[tuple[int, int]]:
    """Yield the groups and the named users that may write by an access control list, as tag and id."""
    try:
        data = os.getxattr(path, _ACL, follow_symlinks=False)
    except OSError:
        return
    for tag, allowed, which in _ENTRY.iter_unpack(data[4 : 4 + (len(data) - 4) // _ENTRY.size * _ENTRY.size]):
        if allowed & 0o2 and tag in (_USER, _OWNING_GROUP, _GROUP):
            yield tag, which
