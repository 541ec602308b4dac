"""Doors that are files, folders and sockets."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from orchestrator.system.probe.calls import call
from orchestrator.system.probe.doors import Absent, Attempt, Door
from orchestrator.system.probe.report import Aims, By

_SECONDS = 5.0
_name = f"orchestrator-probe-{os.getpid()}"


def doors(aims: Aims) -> Iterator[Door]:
    """Return what is tried on files, folders and sockets."""
    own = Path(aims.own[0]) if aims.own else None
    for folder in aims.own:
        yield from _own(Path(folder))
    for door, paths in aims.files.items():
        for path in map(Path, paths):
            yield from _file(door, path, own)
    for path in map(Path, aims.decoys):
        yield from _decoy(path, own)
    for folder in aims.folders:
        yield from _outside(Path(folder))
    for door, address in aims.sockets.items():
        by: By = "abstract" if address.startswith("@") else "calls"
        yield Door(door, f"connect to {address}", partial(_connect, address), by=by)
    for family in ("AF_UNIX", "AF_NETLINK", "AF_PACKET", "AF_VSOCK", "AF_ALG"):
        yield Door("other sockets", f"make a socket of {family}", partial(_socket, family), by="calls")
    yield Door("other sockets", "send a datagram to any UNIX socket", _send_from_pair, by="calls")


def _own(folder: Path) -> Iterator[Door]:
    path = folder / _name

    def write() -> None:
        path.write_bytes(b"probe")
        with path.open("r+b") as file:
            file.truncate(2)
            os.fsync(file.fileno())

    def rename() -> None:
        path.rename(path.with_suffix(".renamed"))
        path.with_suffix(".renamed").unlink()

    yield Door("own folder", f"list {folder}", lambda: os.listdir(folder), wanted="open")  # noqa: PTH208
    yield Door("own folder", f"write, cut and sync a file in {folder}", write, wanted="open")
    yield Door("own folder", f"rename and remove a file in {folder}", rename, wanted="open")
    yield Door(
        "own folder", f"make a device in {folder}", lambda: _make_node(folder, stat.S_IFCHR), by="kernel"
    )


def _file(door: str, path: Path, own: Path | None) -> Iterator[Door]:
    is_folder = _is_folder(path)
    yield Door(door, f"see that there is {path}", lambda: path.lstat(), wanted="either")
    if is_folder:
        yield Door(door, f"list {path}", lambda: os.listdir(path))  # noqa: PTH208
        yield Door(door, f"make a file in {path}", lambda: _create(path))
        yield Door(door, f"make a folder in {path}", lambda: _make_folder(path))
        yield Door(
            door, f"make a file without a name in {path}", lambda: _open(path, os.O_TMPFILE | os.O_WRONLY)
        )
        yield Door(door, f"make a link in {path}", lambda: _make_link(path))
        yield Door(door, f"make a fifo in {path}", lambda: _make_node(path, stat.S_IFIFO))
        yield Door(door, f"bind a socket in {path}", lambda: _bind(path))
        yield Door(door, f"make a socket in {path}", lambda: _make_node(path, stat.S_IFSOCK))
        yield Door(door, f"watch {path}", lambda: _watch(path), by="calls")
        yield Door(door, f"remove something like {path}", lambda: _passes(errno.EISDIR, path.unlink))
        if own is not None:
            yield Door(door, f"move a file of its own into {path}", lambda: _move_in(own, path))
    else:
        yield Door(door, f"read {path}", lambda: _open(path, os.O_RDONLY))
        yield Door(door, f"open {path} to write", lambda: _open(path, os.O_WRONLY))
        yield Door(door, f"open {path} to append", lambda: _open(path, os.O_WRONLY | os.O_APPEND))
        yield Door(door, f"remove something like {path}", lambda: _passes(errno.ENOTDIR, path.rmdir))
        if own is not None:
            yield Door(door, f"link {path} into its own folder", lambda: _link(path, own))
            yield Door(door, f"read {path} through a symbolic link", lambda: _through_symlink(path, own))
            yield Door(door, f"read {path} through a descriptor without rights", lambda: _through_path(path))
    if own is not None:
        yield Door(
            door, f"move something like {path} away", lambda: _move_like(path, own, is_folder=is_folder)
        )
    yield Door(door, f"change the mode of {path}", lambda: _change_mode(path), by="calls")
    yield Door(
        door, f"change the owner of {path}", lambda: os.chown(path, path.stat().st_uid, -1), by="calls"
    )
    yield Door(door, f"change the times of {path}", lambda: _change_times(path), by="calls")
    yield Door(door, f"change attributes of {path}", lambda: _change_attributes(path), by="calls")


def _decoy(path: Path, own: Path | None) -> Iterator[Door]:
    door = "decoy"

    def there(attempt: Callable[[], object]) -> Attempt:
        def tried() -> None:
            try:
                path.lstat()
            except FileNotFoundError:
                raise Absent from None
            attempt()

        return tried

    def overwrite() -> None:
        assert own is not None
        (own / _name).write_bytes(b"")
        try:
            (own / _name).replace(path)
        finally:
            (own / _name).unlink(missing_ok=True)

    yield Door(door, f"cut {path}", there(lambda: os.truncate(path, 0)))
    yield Door(door, f"open {path} and empty it", there(lambda: _open(path, os.O_WRONLY | os.O_TRUNC)))
    if own is not None:
        yield Door(door, f"put another file in the place of {path}", there(overwrite))
        yield Door(door, f"move {path} away", there(partial(_move_away, path, own)))
    yield Door(door, f"remove {path}", there(path.unlink))


def _outside(folder: Path) -> Iterator[Door]:
    door = "writing outside"
    yield Door(door, f"make a file in {folder}", lambda: _create(folder))
    yield Door(door, f"make a folder in {folder}", lambda: _make_folder(folder))
    yield Door(
        door, f"make a file without a name in {folder}", lambda: _open(folder, os.O_TMPFILE | os.O_WRONLY)
    )


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def _passes(number: int, attempt: Callable[[], object]) -> None:
    """Try what must fail, in the end: with another error where it is refused."""
    try:
        attempt()
    except OSError as error:
        if error.errno != number:
            raise


def _open(path: Path, flags: int) -> None:
    os.close(os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK, 0o600))


def _create(folder: Path) -> None:
    path = folder / _name
    _open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    path.unlink()


def _make_folder(folder: Path) -> None:
    path = folder / f"{_name}-folder"
    path.mkdir()
    path.rmdir()


def _make_link(folder: Path) -> None:
    path = folder / f"{_name}-link"
    path.symlink_to("nowhere")
    path.unlink()


def _make_node(folder: Path, kind: int) -> None:
    path = folder / f"{_name}-node"
    os.mknod(path, 0o600 | kind, os.makedev(1, 3))
    path.unlink()


def _bind(folder: Path) -> None:
    path = folder / f"{_name}.s"
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(f"/proc/self/fd/{descriptor}/{path.name}")  # the path may be too long for a socket
        path.unlink()
    finally:
        os.close(descriptor)


def _watch(path: Path) -> None:
    watcher = call("inotify_init1", os.O_CLOEXEC)
    try:
        call("inotify_add_watch", watcher, os.fsencode(path) + b"\0", 0x100)  # IN_CREATE
    finally:
        os.close(watcher)


def _link(path: Path, own: Path) -> None:
    (own / _name).hardlink_to(path)
    (own / _name).unlink()


def _move_in(own: Path, folder: Path) -> None:
    source = own / _name
    source.write_bytes(b"")
    try:
        source.rename(folder / _name)
        (folder / _name).unlink()
    finally:
        source.unlink(missing_ok=True)


def _move_away(path: Path, own: Path) -> None:
    path.rename(own / _name)
    (own / _name).rename(path)


def _move_like(path: Path, own: Path, *, is_folder: bool) -> None:
    """Move it to a place where it cannot be, so that it stays: a file onto a folder, or the other way."""
    target = own / f"{_name}-target"
    if is_folder:
        target.write_bytes(b"")
    else:
        target.mkdir()
    try:
        _passes(errno.ENOTDIR if is_folder else errno.EISDIR, lambda: path.rename(target))
    finally:
        if is_folder:
            target.unlink()
        else:
            target.rmdir()


def _through_symlink(path: Path, own: Path) -> None:
    link = own / f"{_name}-link"
    link.symlink_to(path)
    try:
        _open(link, os.O_RDONLY)
    finally:
        link.unlink()


def _through_path(path: Path) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        _open(Path(f"/proc/self/fd/{descriptor}"), os.O_RDONLY)
    finally:
        os.close(descriptor)


def _change_mode(path: Path) -> None:
    path.chmod(stat.S_IMODE(path.stat().st_mode))


def _change_times(path: Path) -> None:
    about = path.stat()
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


def _change_attributes(path: Path) -> None:
    try:
        call("removexattr", os.fsencode(path) + b"\0", b"user.orchestrator-probe\0")
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            raise Absent from None  # the file system has none
        if error.errno != errno.ENODATA:
            raise


def _connect(address: str) -> str:
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(_SECONDS)
        if address.startswith("@"):
            one.connect(b"\0" + address[1:].encode())
            return ""
        folder = os.open(Path(address).parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            one.connect(f"/proc/self/fd/{folder}/{Path(address).name}")
        finally:
            os.close(folder)
        if not address.endswith("control.sock"):
            return ""
        with contextlib.suppress(OSError):
            one.sendall(b'{"command":"ping"}\n')
            if b'"result"' in one.recv(4096):
                return "a command was answered"
    return ""


def _socket(family: str) -> None:
    kinds = {"AF_NETLINK": socket.SOCK_RAW, "AF_PACKET": socket.SOCK_RAW, "AF_ALG": socket.SOCK_SEQPACKET}
    socket.socket(getattr(socket, family), kinds.get(family, socket.SOCK_STREAM)).close()


def _send_from_pair() -> None:
    """Send a datagram to another socket than the one at the other end."""
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with one, other:
        _passes(errno.ENOENT, lambda: one.sendto(b"", f"/{_name}"))
