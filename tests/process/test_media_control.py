"""Files that are asked for: from the control socket and the command through the supervisor, and back."""

import asyncio
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.fleet import PATIENCE, Fleet, asynchronous, until

from orchestrator.accounts.attachments import Fault
from orchestrator.accounts.settings import AccountSettings
from orchestrator.accounts.states import State
from orchestrator.cli import media as command
from orchestrator.errors import NoSuchAccount, OrchestratorError
from orchestrator.service import fetching

ID = "4611686018427387904"


def running(folder: Path, *steps: str) -> Fleet:
    """Return a fleet with an account that connects and then does these steps."""
    fleet = Fleet(folder, "a", control=True)
    fleet.has_session("a")
    fleet.puppets.play("a", ["connecting", "connected", *steps])
    return fleet


async def key_of(fleet: Fleet, **arguments: Any) -> str:  # noqa: ANN401 - whatever a client may send
    with pytest.raises(OrchestratorError) as caught:
        await fleet.call("media", **arguments)
    return caught.value.key


@asynchronous
async def test_a_file_is_fetched_once_and_its_path_is_told(tmp_path: Path) -> None:
    async with running(tmp_path, "idle") as fleet:
        await fleet.until("a", State.CONNECTED)
        path = fleet.paths.message_folder("a") / "media" / ID
        assert await fleet.call("media", name="a", media=ID) == {"path": str(path)}
        assert path.read_text() == "a file"
        assert await fleet.call("media", name="a", media=ID) == {"path": str(path)}
        assert fleet.puppets.files("a") == [{"media": ID}]


@asynchronous
async def test_a_file_that_is_there_needs_no_process(tmp_path: Path) -> None:
    async with Fleet(tmp_path, AccountSettings("a", enabled=False), control=True) as fleet:
        folder = fleet.paths.message_folder("a") / "media"
        folder.mkdir(parents=True)
        (folder / ID).write_text("a file")
        assert await fleet.call("media", name="a", media=ID) == {"path": str(folder / ID)}
        assert await key_of(fleet, name="a", media="18") == "not_connected"


@pytest.mark.parametrize("fault", Fault)
@asynchronous
async def test_why_there_is_none_is_told(tmp_path: Path, fault: Fault) -> None:
    async with running(tmp_path, f"files: {fault}", "idle") as fleet:
        await fleet.until("a", State.CONNECTED)
        with pytest.raises(OrchestratorError, match="as the test wants it") as caught:
            await fleet.call("media", name="a", media=ID)
        assert caught.value.key == ("service_busy" if fault is Fault.BUSY else f"media_{fault}")


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        ({}, "bad_request"),
        ({"name": "a"}, "bad_request"),
        ({"name": "a", "media": 17}, "bad_request"),
        ({"name": "a", "media": ""}, "bad_request"),
        ({"name": "a", "media": "0"}, "bad_request"),
        ({"name": "a", "media": "../../inbox.sqlite3"}, "bad_request"),
        ({"name": "a", "media": "1" * 10_000}, "bad_request"),
        ({"name": "a", "media": "17", "output": "/etc/passwd"}, "bad_request"),
        ({"name": "nobody", "media": "17"}, "no_such_account"),
        ({"name": "../a", "media": "17"}, "no_such_account"),
    ],
)
@asynchronous
async def test_what_is_no_question_is_refused(tmp_path: Path, arguments: dict[str, Any], key: str) -> None:
    async with running(tmp_path, "idle") as fleet:
        await fleet.until("a", State.CONNECTED)
        assert await key_of(fleet, **arguments) == key
        assert fleet.puppets.files("a") == []


@asynchronous
async def test_a_link_in_the_place_of_a_file_leads_nowhere(tmp_path: Path) -> None:
    async with running(tmp_path, "files: unknown", "idle") as fleet:
        await fleet.until("a", State.CONNECTED)
        folder = fleet.paths.message_folder("a") / "media"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ID).symlink_to("/etc/passwd")
        assert await key_of(fleet, name="a", media=ID) == "media_unknown"


@asynchronous
async def test_a_large_file_is_asked_for_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "WAIT_SECONDS", 0.1)
    async with running(tmp_path, "files: kept", "idle") as fleet:
        await fleet.until("a", State.CONNECTED)
        assert await key_of(fleet, name="a", media=ID) == "media_pending"
        assert await key_of(fleet, name="a", media=ID) == "media_pending"
        assert fleet.puppets.files("a") == [{"media": ID}]


@asynchronous
async def test_the_end_of_a_process_ends_the_wait(tmp_path: Path) -> None:
    async with running(tmp_path, "files: kept", "idle") as fleet:
        about = await fleet.until("a", State.CONNECTED)
        asked = asyncio.ensure_future(fleet.supervisor.fetch("a", ID))
        await until(lambda: fleet.puppets.files("a") == [{"media": ID}], "it is there")
        os.kill(about["pid"], signal.SIGKILL)
        with pytest.raises(OrchestratorError, match="ended meanwhile"):
            await asyncio.wait_for(asked, PATIENCE)


@asynchronous
async def test_nobody_by_that_name(tmp_path: Path) -> None:
    async with running(tmp_path, "idle") as fleet:
        with pytest.raises(NoSuchAccount):
            await fleet.supervisor.fetch("nobody", ID)


# The command


def a_file(folder: Path) -> Path:
    path = folder / "messages" / "a" / "media" / ID
    path.parent.mkdir(parents=True)
    path.write_bytes(b"a file" * 1000)
    return path


def test_a_copy_is_new_and_nobody_elses(tmp_path: Path) -> None:
    path = a_file(tmp_path)
    copy = tmp_path / "copy.pdf"
    command._copy(path, str(copy))
    assert copy.read_bytes() == path.read_bytes()
    assert copy.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("kind", ["file", "link", "dangling link", "folder"])
def test_nothing_is_written_over(tmp_path: Path, kind: str) -> None:
    path, other, copy = a_file(tmp_path), tmp_path / "other", tmp_path / "copy"
    other.write_text("other")
    match kind:
        case "file":
            copy.write_text("other")
        case "link":
            copy.symlink_to(other)
        case "dangling link":
            copy.symlink_to(tmp_path / "nowhere")
        case "folder":
            copy.mkdir()
    with pytest.raises(OrchestratorError, match="exists already"):
        command._copy(path, str(copy))
    assert other.read_text() == "other"
    assert not (tmp_path / "nowhere").exists()


def test_a_copy_that_does_not_fit_leaves_nothing(tmp_path: Path) -> None:
    path, copy = a_file(tmp_path), tmp_path / "copy"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OrchestratorError, match="cannot be copied: File too large"):
            command._copy(path, str(copy))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not copy.exists()


def test_a_link_in_the_place_of_a_file_is_not_copied(tmp_path: Path) -> None:
    path = a_file(tmp_path)
    path.unlink()
    path.symlink_to("/etc/passwd")
    with pytest.raises(OrchestratorError, match="cannot be copied"):
        command._copy(path, str(tmp_path / "copy"))
    assert not (tmp_path / "copy").exists()


def test_a_copy_goes_to_stdout_as_it_is(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    path = a_file(tmp_path)
    path.write_bytes(bytes(range(256)))
    command._copy(path, "-")
    assert capfdbinary.readouterr().out == bytes(range(256))


@pytest.mark.parametrize("full", [False, True])
def test_a_reader_that_has_seen_enough_is_no_error_and_a_full_disk_is(tmp_path: Path, full: bool) -> None:
    path = a_file(tmp_path)
    path.write_bytes(bytes(1 << 20))
    copying = (
        "import sys; from pathlib import Path; from orchestrator.cli import media;"
        " from orchestrator.errors import OrchestratorError\n"
        "try: media._copy(Path(sys.argv[1]), '-')\n"
        "except OrchestratorError as error: sys.exit(str(error))"
    )
    reading, writing = os.pipe()
    os.close(reading)
    if full:
        os.close(writing)
        writing = os.open("/dev/full", os.O_WRONLY)
    with os.fdopen(writing, "wb") as output:
        ended = subprocess.run(
            [sys.executable, "-c", copying, str(path)], stdout=output, stderr=subprocess.PIPE, check=False
        )
    told = ended.stderr.decode()
    assert ("the output cannot be written: No space left on device" in told) == full
    assert "cannot be copied" not in told
