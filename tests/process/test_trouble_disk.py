"""The disk is full or read-only, folders vanish, links are planted: nothing is lost, and it passes by itself.

The supervisor is the real one, with real processes; what is in them is a stand-in for the one with neonize.
"""

import asyncio
import json
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from support.fleet import Fleet, asynchronous, until
from support.full_disk import fill, read_only, small_disk

from orchestrator.accounts.events import Order
from orchestrator.accounts.states import State
from orchestrator.errors import StateError
from orchestrator.service import codes as pictures
from orchestrator.service import recorder
from orchestrator.service.control.listening import ControlSocket
from orchestrator.store import status
from orchestrator.store.layout import StatePaths
from orchestrator.store.lock import InstanceLock, read_holder

CODES = [
    "connecting: unpaired",
    "code",
    "await: second",
    "code",
    "await: third",
    "code",
    "await: fourth",
    "code",
]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "RETRY_SECONDS", 0.1)
    monkeypatch.setattr(recorder, "RETRY_SECONDS", 0.1)


async def next_code(fleet: Fleet, word: str) -> str:
    """Let the account "p" show another code; return its text."""
    before = fleet.supervisor.code("p")
    fleet.puppets.go("p", word)
    await fleet.until_true(lambda: fleet.supervisor.code("p") is not before, "there is another code")
    code = fleet.supervisor.code("p")
    assert code is not None
    return str(getattr(code, "text", ""))


async def nothing_else_saves(fleet: Fleet) -> None:
    """Wait until no change of state is about to be written down."""
    due = fleet.supervisor._timers.due("save") or 0.0
    await until(lambda: due < time.monotonic(), "all changes were to be written down")


def end_page(path: Path) -> None:
    """Let a file's next byte need new room on the disk; the line that does it is no entry of a history."""
    with path.open("a") as file:
        file.write("x" * (4096 - path.stat().st_size % 4096 - 1) + "\n")


# Full and read-only


@asynchronous
async def test_a_full_disk(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with small_disk(tmp_path / "state", 256) as disk:
        fleet = Fleet(tmp_path, "a", "p", control=True)
        session = fleet.has_session("a")
        content = session.read_bytes()
        fleet.puppets.play("p", [*CODES, "hang"])
        async with fleet:
            about = await fleet.until("a", State.CONNECTED)
            await fleet.until("p", State.PAIRING)
            await nothing_else_saves(fleet)  # or it might do so where the picture has made room
            fleet.supervisor.save()
            kept = fleet.paths.status.read_bytes()
            end_page(fleet.timeline_file("a"))
            filler = fill(disk)
            # The picture cannot be written, and the one that is out of date is gone; a terminal has the code.
            text = await next_code(fleet, "second")
            assert not fleet.picture("p").exists()
            with fleet.client.stream("qr", name="p") as events:
                shown = await asyncio.to_thread(
                    lambda: next(event["code"]["text"] for event in events if "code" in event)
                )
            assert shown == text
            fill(disk)
            # What happens is not written down, and all goes on; an order is carried out, with a warning.
            os.kill(about["pid"], 9)
            again = await fleet.until("a", State.CONNECTED, after=about["pid"])
            answer = await fleet.call("stop", names=["a"])
            assert "forgets this order when it ends" in answer["warning"]
            await fleet.until("a", State.STOPPED)
            assert not fleet.supervisor.save()
            assert fleet.paths.status.read_bytes() == kept
            assert session.read_bytes() == content
            assert again["last_exit"]["kind"] == "crash"
            errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
            for what in ("p.png", "timeline cannot be written", "status.json"):
                (said,) = [error for error in errors if what in error]
                assert "the disk is full: make room" in said
            # All that comes back by itself: the wish, the next picture, the history.
            await nothing_else_saves(fleet)
            filler.unlink()
            await until(lambda: status.load(fleet.paths.status)["a"].stopped, "the wish is written down")
            await next_code(fleet, "third")
            assert fleet.picture("p").exists()
            fleet.supervisor.order("a", Order.START)
            await fleet.until("a", State.CONNECTED)
            assert fleet.history("a")[-1] == "connected"
        for what in (
            "codes can be written again",
            "timelines can be written again",
            "status.json: can be written again",
        ):
            assert what in caplog.text
        assert not fleet.sessions("a")


@asynchronous
async def test_a_full_disk_from_the_start(tmp_path: Path) -> None:
    with small_disk(tmp_path / "state", 128) as disk:
        fleet = Fleet(tmp_path, "a", "p")
        fleet.has_session("a")
        fleet.puppets.play("p", [*CODES, "hang"])
        filler = fill(disk)
        async with fleet:
            await fleet.until("a", State.CONNECTED)
            await fleet.until("p", State.PAIRING)
            assert not fleet.picture("p").exists()
            filler.unlink()
            await next_code(fleet, "second")
            assert fleet.picture("p").exists()
        assert status.load(fleet.paths.status)["a"].shown is not None


@asynchronous
async def test_a_read_only_disk(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with small_disk(tmp_path / "state", 256) as disk:
        fleet = Fleet(tmp_path, "a", "p")
        session = fleet.has_session("a")
        content = session.read_bytes()
        fleet.puppets.play("p", [*CODES, "hang"])
        async with fleet:
            pid = (await fleet.until("a", State.CONNECTED))["pid"]
            await fleet.until("p", State.PAIRING)
            assert fleet.supervisor.save()
            with read_only(disk):
                await next_code(fleet, "second")
                os.kill(pid, 9)
                await fleet.until("a", State.CONNECTED, after=pid)
                fleet.supervisor.order("a", Order.STOP)
                await fleet.until("a", State.STOPPED)
                # The old picture cannot be removed, and whoever scans it is told by WhatsApp that it is void.
                assert (
                    "p.png: is on a read-only file system: choose another folder with qr_dir" in caplog.text
                )
            await until(lambda: not fleet.picture("p").exists(), "the old picture is gone")
            await until(lambda: status.load(fleet.paths.status)["a"].stopped, "the wish is written down")
            await next_code(fleet, "third")
            assert fleet.picture("p").exists()
        assert session.read_bytes() == content
        assert not fleet.sessions("a")


# Folders that vanish


@asynchronous
async def test_a_qr_folder_deleted_and_recreated(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, "p")
    fleet.puppets.play("p", [*CODES, "hang"])
    async with fleet:
        await fleet.until("p", State.PAIRING)
        picture = fleet.picture("p")
        shutil.rmtree(fleet.paths.qr)
        await next_code(fleet, "second")
        assert picture.exists()
        assert stat.S_IMODE(fleet.paths.qr.stat().st_mode) == 0o700
        shutil.rmtree(fleet.paths.qr)
        fleet.paths.qr.mkdir(0o755)  # somebody else was quicker
        await next_code(fleet, "third")
        assert picture.exists()
        assert stat.S_IMODE(picture.stat().st_mode) == 0o600
        shutil.rmtree(fleet.paths.qr)
        fleet.supervisor.order("p", Order.STOP)
        await fleet.until("p", State.STOPPED)


def _a_file(folder: Path, _: Path) -> None:
    folder.write_text("not a folder")


def _a_link_of_somebody_else(folder: Path, elsewhere: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can plant what belongs to somebody else")
    folder.symlink_to(elsewhere)
    os.chown(folder, 65534, 65534, follow_symlinks=False)


@pytest.mark.parametrize("plant", [_a_file, _a_link_of_somebody_else])
@asynchronous
async def test_a_qr_folder_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, plant: Callable[[Path, Path], None]
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    fleet = Fleet(tmp_path, "p")
    fleet.puppets.play("p", [*CODES, "hang"])
    async with fleet:
        await fleet.until("p", State.PAIRING)
        moved = fleet.paths.qr.rename(tmp_path / "moved")
        plant(fleet.paths.qr, elsewhere)
        await next_code(fleet, "second")
        assert "is not a folder, or is a symbolic link of another user: remove it" in caplog.text
        assert not list(elsewhere.iterdir())
        # The folder comes back with what is out of date by now.
        fleet.paths.qr.unlink()
        moved.rename(fleet.paths.qr)
        await until(lambda: not fleet.picture("p").exists(), "the old picture is gone")
        await next_code(fleet, "third")
        assert fleet.picture("p").exists()


@asynchronous
async def test_the_folders_of_timelines_and_quarantine_deleted(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, "a")
    session = fleet.has_session("a")
    content = session.read_bytes()
    async with fleet:
        await fleet.until("a", State.CONNECTED)
        shutil.rmtree(fleet.paths.timeline)
        shutil.rmtree(fleet.paths.quarantine)
        fleet.supervisor.order("a", Order.REPAIR)
        await fleet.until("a", State.PAIRING)
        (put_away,) = fleet.sessions("a", reason="repair")
        assert (put_away / session.name).read_bytes() == content
        assert fleet.history("a")[-1] == "pairing"
        for folder in (fleet.paths.timeline, fleet.paths.quarantine):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@asynchronous
async def test_the_folder_of_sessions_deleted_and_the_account_repaired(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, "a")
    fleet.has_session("a")
    async with fleet:
        await fleet.until("a", State.CONNECTED)
        shutil.rmtree(fleet.paths.sessions)
        fleet.supervisor.order("a", Order.REPAIR)
        await fleet.until("a", State.PAIRING)
        assert stat.S_IMODE(fleet.paths.sessions.stat().st_mode) == 0o700
        fleet.puppets.scan("a")
        await fleet.until("a", State.CONNECTED)
        assert fleet.paths.session("a").exists()


# Planted links


def plant(link: Path, target: Path) -> None:
    """Put a link in the place of what may be there."""
    if link.is_dir() and not link.is_symlink():
        link.rename(link.with_name(f"{link.name}-moved"))
    link.unlink(missing_ok=True)
    link.symlink_to(target)


@asynchronous
async def test_planted_links_are_not_followed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    victim.chmod(0o644)
    before = victim.stat()
    fleet = Fleet(tmp_path, "a", "p")
    fleet.has_session("a")
    fleet.puppets.play("p", [*CODES, "hang"])
    async with fleet:
        pid = (await fleet.until("a", State.CONNECTED))["pid"]
        await fleet.until("p", State.PAIRING)
        history = fleet.history("a")
        for link in (fleet.picture("p"), fleet.timeline_file("a"), fleet.paths.status):
            plant(link, victim)
        await next_code(fleet, "second")
        os.kill(pid, 9)
        await fleet.until("a", State.CONNECTED, after=pid)
        assert fleet.supervisor.save()
        # What is replaced as a whole is a file again; a history is added to, so its link stays and is told.
        for path in (fleet.picture("p"), fleet.paths.status):
            assert stat.S_ISREG(path.lstat().st_mode)
        assert "a.jsonl: the timeline cannot be written: is a symbolic link: remove it" in caplog.text
        fleet.timeline_file("a").unlink()
        fleet.supervisor.order("a", Order.STOP)
        await fleet.until("a", State.STOPPED)
        assert fleet.history("a")[-1] == "stopped"
        assert history
    after = victim.stat()
    assert victim.read_bytes() == b"precious"
    assert (after.st_mode, after.st_mtime_ns) == (before.st_mode, before.st_mtime_ns)


@asynchronous
async def test_planted_links_in_place_of_folders_are_not_followed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    fleet = Fleet(tmp_path, "a")
    session = fleet.has_session("a")
    content = session.read_bytes()
    fleet.puppets.play(
        "a", ["connecting", "connected", "await: end", "end: logged_out"], ["connecting", "hang"]
    )
    async with fleet:
        await fleet.until("a", State.CONNECTED)
        for folder in (fleet.paths.timeline, fleet.paths.quarantine):
            plant(folder, elsewhere)
        fleet.puppets.go("a", "end")
        await fleet.until("a", State.BACKOFF, State.STARTING, State.CONNECTING)
        await until(lambda: "could not be put into quarantine" in caplog.text, "it is told")
        assert "is a symbolic link, a folder is needed: remove it" in caplog.text
        assert session.read_bytes() == content
    assert not list(elsewhere.iterdir())


@pytest.mark.parametrize("name", ["lock", "control_socket"])
def test_planted_links_in_place_of_lock_and_socket_are_refused(tmp_path: Path, name: str) -> None:
    paths = StatePaths.of(tmp_path / "state", environ={})
    paths.prepare()
    victim = tmp_path / "victim"
    victim.write_bytes(b'{"pid": 1, "what": "precious", "socket": null}')
    getattr(paths, name).symlink_to(victim)
    with pytest.raises(StateError, match=r"symbolic link: remove it|move it away"):
        InstanceLock(paths.lock, what="a test") if name == "lock" else ControlSocket(paths.control_socket)
    assert read_holder(paths.lock) is None
    assert b"precious" in victim.read_bytes()


@pytest.mark.parametrize("what", ["link", "pipe"])
@asynchronous
async def test_what_was_kept_is_read_from_a_file_alone(tmp_path: Path, what: str) -> None:
    fleet = Fleet(tmp_path, "a", start=False)
    kept = {"a": status.Kept(stopped=True)}
    status.save(tmp_path / "kept", kept)
    if what == "link":
        fleet.paths.status.symlink_to(tmp_path / "kept")
    else:
        os.mkfifo(fleet.paths.status)  # which would be waited for
    async with fleet:
        with pytest.raises(StateError, match=r"remove it|move it away"):
            fleet.supervisor.start()
    assert json.loads((tmp_path / "kept").read_text())


# Pictures that are not there


@contextmanager
def _on_a_full_disk(folder: Path) -> Iterator[None]:
    filler = fill(folder)
    yield
    filler.unlink()


@contextmanager
def _with_a_folder_in_its_place(folder: Path) -> Iterator[None]:
    (folder / "p.png").unlink()
    (folder / "p.png").mkdir()
    yield
    (folder / "p.png").rmdir()


@pytest.mark.parametrize(
    ("trouble", "why"),
    [
        (_on_a_full_disk, "the disk is full: make room"),
        (read_only, "is on a read-only file system: choose another folder with qr_dir"),
        (_with_a_folder_in_its_place, "a folder is in the picture's place: remove it"),
    ],
)
@asynchronous
async def test_a_picture_that_could_not_be_written_is_named_to_nobody(
    tmp_path: Path, trouble: Callable[[Path], AbstractContextManager[None]], why: str
) -> None:
    with small_disk(tmp_path / "codes") as codes:
        fleet = Fleet(tmp_path, "p", control=True, qr_dir=codes)
        fleet.puppets.play("p", [*CODES, "hang"])
        async with fleet:
            about = await fleet.until("p", State.PAIRING)
            assert about["qr_path"] == str(codes / "p.png")
            with trouble(codes):
                await next_code(fleet, "second")
                about = fleet.about("p")
                assert (about["state"], about["qr_path"]) == (State.PAIRING, None)
                assert about["qr_expires_at"] is not None
                assert about["reason"].startswith(f"no picture of its code is in {codes}: {why}")
                assert about["reason"].endswith("; `orchestrator qr p` shows the code")
                found = await fleet.call("explain", name="p")
                assert found["account"]["reason"] == about["reason"]
                assert "`orchestrator qr p` shows the code" in found["outlook"]["advice"][0]
                assert str(codes / "p.png") not in json.dumps(found)
            await until(lambda: not (codes / "p.png").exists(), "what is out of date is removed")


@pytest.mark.parametrize("what", ["picture", "folder"])
@asynchronous
async def test_a_picture_that_somebody_removes_is_named_to_nobody(tmp_path: Path, what: str) -> None:
    fleet = Fleet(tmp_path, "p")
    fleet.puppets.play("p", [*CODES, "hang"])
    async with fleet:
        await fleet.until("p", State.PAIRING)
        if what == "picture":
            fleet.picture("p").unlink()
        else:
            shutil.rmtree(fleet.paths.qr)
        about = fleet.about("p")
        assert about["qr_path"] is None
        assert "another program has removed it; the next code gets a new one" in about["reason"]
        await next_code(fleet, "second")
        about = fleet.about("p")
        assert about["qr_path"] == str(fleet.picture("p"))
        assert about["reason"] == "waiting for its code to be used"
