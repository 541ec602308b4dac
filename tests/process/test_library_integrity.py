"""Only the neonize that its package has is loaded, and Python never fetches another."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from support.fleet import QUICK, Fleet, asynchronous

from orchestrator.accounts.settings import AccountSettings
from orchestrator.accounts.states import State
from orchestrator.service import updates
from orchestrator.service.forkserver import PRELOADED
from orchestrator.service.library import Installed, Library, LibraryError, check_library, installed
from orchestrator.service.updates import is_another
from orchestrator.worker import main
from orchestrator.worker.library import integrity
from orchestrator.worker.library.package import LibraryChangedError
from orchestrator.worker.seal import Seal

ROOT = Path(__file__).resolve().parents[2]
NOWHERE = "http://127.0.0.1:1"
DOWNLOAD = "def download():\n    import requests\n    requests.get('https://example.org/neonize.so')\n"
CHILD = """
from orchestrator.worker import main

class Link:
    def post(self, message): pass

print("LOADED" if (why := main._load_library(Link(), None)) is None else why)
"""
"""What an account's process does to load neonize."""


def real() -> Path:
    spec = find_spec("neonize")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


class Copy:
    """A neonize in front of the installed one, with files of its own.

    Args:
        folder: Where it is.
    """

    def __init__(self, folder: Path) -> None:
        origin = real()
        self.folder = folder / "neonize"
        self.folder.mkdir()
        for path in origin.iterdir():
            if path.name != "__pycache__":
                (self.folder / path.name).symlink_to(path)
        (info,) = origin.parent.glob("neonize-*.dist-info")
        self.info = folder / info.name
        self.info.mkdir()
        for path in info.iterdir():
            (self.info / path.name).symlink_to(path)

    @property
    def library(self) -> Path:
        (path,) = self.folder.glob("neonize-*.so")
        return path

    def put(self, name: str, data: bytes | None, *, noted: bool = True) -> None:
        """Put a file in the place of one, or take one away; noted as the installer would have."""
        (self.folder / name).unlink(missing_ok=True)
        if data is not None:
            (self.folder / name).write_bytes(data)
        if noted:
            record = self.info / "RECORD"
            lines = record.read_text().splitlines()
            lines = [line for line in lines if not line.startswith(f"neonize/{name},")]
            if data is not None:
                digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
                lines.append(f"neonize/{name},sha256={digest},{len(data)}")
            record.unlink()
            record.write_text("\n".join(lines) + "\n")


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Copy:
    folder = tmp_path / "in-front"
    folder.mkdir()
    copy = Copy(folder)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), str(ROOT)]))
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    return copy


OVER = b"over"


@contextmanager
def trap(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """Listen for whatever Python would fetch over HTTP; yields who came, which is complete at the end."""
    came: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen() -> None:
            while True:
                connection, address = server.accept()
                word = b""
                with connection, contextlib.suppress(OSError):  # it may have hung up by now
                    word = connection.recv(len(OVER), socket.MSG_PEEK)
                if word == OVER:
                    return
                came.append(address)

        thread = threading.Thread(target=listen)
        thread.start()
        for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setenv("ORCHESTRATOR_TEST_TRAP", str(server.getsockname()[1]))
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        try:
            yield came
        finally:
            # The last in the queue: whoever came before is accepted first.
            with socket.create_connection(server.getsockname()) as last:
                last.sendall(OVER)
                thread.join()


def child(*, preload: bool) -> str:
    program = ("import orchestrator.worker.library.preload\n" if preload else "") + CHILD
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def fetch(call: str) -> str:
    """Return a module of neonize's that fetches while it is imported, and hides that it could not."""
    trap = "import os\nTRAP = int(os.environ['ORCHESTRATOR_TEST_TRAP'])"
    return f"{trap}\ntry:\n    {call}\nexcept BaseException:\n    pass\n"


FETCHES = [
    "import requests; requests.get('https://example.org/')",
    "import httpx; httpx.get('https://example.org/')",
    "import urllib.request; urllib.request.urlopen('http://example.org/')",
    "import http.client; http.client.HTTPConnection('127.0.0.1', TRAP).request('GET', '/')",
    "import socket; socket.create_connection(('127.0.0.1', TRAP))",
    "import socket; socket.socket().connect_ex(('127.0.0.1', TRAP))",
    "import asyncio; asyncio.run(asyncio.open_connection('127.0.0.1', TRAP))",
]


@pytest.mark.parametrize("call", FETCHES)
def test_the_trap_holds_what_python_fetches(monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    with trap(monkeypatch) as came:
        subprocess.run([sys.executable, "-c", fetch(call)], check=True, timeout=120)
    assert came


DOWNLOADS = {
    "another version": '__GONEONIZE_VERSION__ = "9.9.9"\n' + DOWNLOAD,
    "with a type": '__GONEONIZE_VERSION__: str = "9.9.9"\n' + DOWNLOAD,
    "other quotes": "__GONEONIZE_VERSION__ = '9.9.9'\n" + DOWNLOAD,
    "computed": "__GONEONIZE_VERSION__ = '.'.join('999')\n" + DOWNLOAD,
    "imported": "from .const import DEFAULT_TTL as __GONEONIZE_VERSION__\n" + DOWNLOAD,
    "a number": "__GONEONIZE_VERSION__ = 9\n" + DOWNLOAD,
    "in a condition": "if True:\n    __GONEONIZE_VERSION__ = '9.9.9'\n" + DOWNLOAD,
    "no version": DOWNLOAD,
    "nothing": "",
    "broken": "def broken(:\n",
    "missing": None,
}


@pytest.mark.parametrize("text", DOWNLOADS.values(), ids=DOWNLOADS.keys())
def test_nothing_is_downloaded_whatever_the_module_for_it_looks_like(
    copy: Copy, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    copy.put("download.py", None if text is None else text.encode())
    with trap(monkeypatch) as came:
        with pytest.raises(LibraryError, match="install"):
            check_library()
        for preload in (True, False):
            why = child(preload=preload)
            assert "install" in why
            assert "neonize" in why
    assert came == []


@pytest.mark.parametrize("call", FETCHES)
def test_neonize_fetches_nothing_while_it_is_imported(
    copy: Copy, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    first = fetch(call).encode() + (real() / "__init__.py").read_bytes()
    copy.put("__init__.py", first)
    with trap(monkeypatch) as came:
        check_library()
        assert [child(preload=preload) for preload in (True, False)] == ["LOADED", "LOADED"]
    assert came == []


@pytest.mark.parametrize(
    ("first", "error"),
    [("", "LeftOutError"), ("import linkpreview, requests", "LibraryError")],
    ids=["left out", "with the real packages, as an unknown version has them"],
)
def test_what_neonize_fetches_later_is_not_fetched_either(
    monkeypatch: pytest.MonkeyPatch, first: str, error: str
) -> None:
    """A picture by its address, and the preview of a link."""
    program = f"""{first}
{CHILD}
from neonize.utils.iofile import get_bytes_from_name_or_url
from linkpreview import link_preview
for call in (get_bytes_from_name_or_url, link_preview):
    try:
        print(call("http://example.org/picture.png"))
    except BaseException as error:
        print(type(error).__name__)
"""
    with trap(monkeypatch) as came:
        done = subprocess.run(
            [sys.executable, "-P", "-c", program], capture_output=True, text=True, check=False, timeout=120
        )
        assert done.stdout.splitlines()[-3:] == ["LOADED", error, error], done.stderr
    assert came == []


def test_a_neonize_that_something_else_has_imported_is_not_used(copy: Copy) -> None:
    (copy.folder.parent / "sitecustomize.py").write_text("import neonize")
    with pytest.raises(LibraryError, match="something has imported neonize before"):
        check_library()
    assert "something has imported neonize before" in child(preload=True)


def test_a_library_by_another_name_is_not_loaded(copy: Copy) -> None:
    """As neonize's own download leaves one behind."""
    copy.put("neonize-linux-amd64-new.so", copy.library.read_bytes(), noted=False)
    with pytest.raises(LibraryError, match=r"neonize-linux-amd64-new\.so does not belong") as caught:
        check_library()
    assert caught.value.key == "library_altered"


def test_a_byte_that_was_changed_is_told_with_the_file_and_what_to_do(copy: Copy) -> None:
    data = bytearray(copy.library.read_bytes())
    data[-1] ^= 1
    copy.put(copy.library.name, bytes(data), noted=False)
    with pytest.raises(LibraryError, match="pip install --force-reinstall") as caught:
        check_library()
    assert str(copy.library) in str(caught.value)
    assert caught.value.key == "library_altered"
    for preload in (True, False):
        assert f"{copy.library} is not the file that neonize's package has" in child(preload=preload)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("neonize/const.py,,", "RECORD is damaged"),
        ("neonize/const.py,md5=AAAA,66", "RECORD is damaged"),
        ("neonize/const.py,sha256=,66", "RECORD is damaged"),
        ("neonize/const.py,sha256=AAAA,x", "RECORD is damaged"),
        ("neonize/const.py", "RECORD is damaged"),
        ("neonize/../../../etc/passwd,sha256=AAAA,66", "RECORD is damaged"),
        ("neonize/const.py,sha256=AAAA,66", r"const\.py is not the file"),
        ("neonize/const.py,sha256=AAAA,9999999999999", r"const\.py is not the file"),
        ("neonize/const.py,sha256=AAAA,1", r"const\.py is not the file"),
        ("neonize/const.py,sha256=AAAA,", r"const\.py is not the file"),
        ("neonize/gone.py,sha256=AAAA,1", r"gone\.py is missing"),
        ("neonize/proto,sha256=AAAA,", "proto is (not the file|missing)"),
        ("", r"const\.py does not belong"),
    ],
)
def test_a_record_that_says_something_else_is_told(copy: Copy, line: str, said: str) -> None:
    record = copy.info / "RECORD"
    lines = [one for one in record.read_text().splitlines() if not one.startswith("neonize/const.py")]
    record.unlink()
    record.write_text("\n".join([*lines, line]))
    with pytest.raises(LibraryError, match=said):
        check_library()


def test_without_checksums_an_operator_can_vouch_for_the_library(
    copy: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    (copy.info / "RECORD").unlink()
    digest = hashlib.sha256(copy.library.read_bytes()).hexdigest()
    with pytest.raises(LibraryError, match=f"set {integrity.VARIABLE} to the SHA-256 of neonize-"):
        check_library()
    monkeypatch.setenv(integrity.VARIABLE, ("0" if digest[0] != "0" else "1") + digest[1:])
    with pytest.raises(LibraryError, match="does not have the SHA-256 that ORCHESTRATOR_"):
        check_library()
    monkeypatch.setenv(integrity.VARIABLE, digest.upper())
    assert check_library().seal == integrity.look()


def test_a_variable_does_not_overrule_checksums(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    data = copy.library.read_bytes() + b"x"
    copy.put(copy.library.name, data, noted=False)
    monkeypatch.setenv(integrity.VARIABLE, hashlib.sha256(data).hexdigest())
    with pytest.raises(LibraryError, match="is not the file that neonize's package has"):
        check_library()


def test_a_child_loads_only_the_file_that_was_checked(copy: Copy) -> None:
    library = check_library()
    integrity.expect(library.seal)
    path = copy.library
    data = path.read_bytes()
    copy.put(path.name, data)  # the same bytes, but nobody has looked at them
    with pytest.raises(LibraryChangedError, match="is not the one that the service has checked"):
        integrity.expect(library.seal)
    seal = check_library().seal
    integrity.expect(seal)
    before = path.stat()
    with path.open("r+b") as file:
        file.write(data[:1])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(LibraryChangedError):
        integrity.expect(seal)


def test_a_package_is_compared_with_its_own_record() -> None:
    """The installed one, as the tests were given it."""
    seal = integrity.check()
    found = installed()
    assert found == Installed(seal.version, seal)
    assert json.loads(json.dumps(seal.version)) == found.version


SEAL = Seal("1.0", (("neonize-linux-amd64.so", 1, 2, 3, 4, 5),))
OTHER = Seal("1.0", (("neonize-linux-amd64.so", 1, 9, 3, 4, 5),))


@pytest.mark.parametrize(
    ("version", "seal", "found", "another"),
    [
        ("1.0", SEAL, None, False),
        ("1.0", SEAL, Installed("1.0", SEAL), False),
        ("1.0", SEAL, Installed("1.0.post1", SEAL), False),
        ("1.0", SEAL, Installed("1.1", replace(SEAL, version="1.1")), True),
        ("1.0", SEAL, Installed("1.0", OTHER), True),
        ("1.0", None, Installed("1.0", OTHER), False),
        ("1.0", None, Installed("1.1", OTHER), True),
    ],
)
def test_what_counts_as_another_neonize(
    version: str, seal: Seal | None, found: Installed | None, another: bool
) -> None:
    assert is_another(version, seal, found) is another


def dialling(fleet: Fleet) -> Callable[[], bool]:
    return lambda: fleet.about("a")["kind"] == "network"


@asynchronous
async def test_a_neonize_that_was_installed_again_is_checked_before_it_is_used(
    copy: Copy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The processes are the real ones. They never come to WhatsApp: nobody listens on their proxy's port."""
    monkeypatch.setattr(updates, "LIBRARY_SECONDS", 0.2)
    fleet = Fleet(
        tmp_path, AccountSettings("a", backoff=QUICK, proxy=NOWHERE), preload=(PRELOADED,), target=main.run
    )
    library = check_library()
    whole = copy.library.read_bytes()
    damaged = whole[:-1] + bytes([whole[-1] ^ 1])
    async with fleet:
        fleet.supervisor._children.library = library.version
        fleet.supervisor._children.seal = library.seal
        await fleet.until_true(dialling(fleet), "it dials")
        copy.put(copy.library.name, damaged, noted=False)
        await fleet.until_true(lambda: "was installed, and is not used" in caplog.text, "it is told")
        assert f"{copy.library} is not the file that neonize's package has" in caplog.text
        assert fleet.supervisor._children.seal == library.seal
        before = fleet.about("a")["restarts"]
        await fleet.until_true(lambda: fleet.about("a")["restarts"] > before + 2, "it goes on as before")
        assert dialling(fleet)()
        fleet.supervisor._children.renew_maker()
        await fleet.until_true(lambda: fleet.about("a")["kind"] == "machine", "it is not loaded")
        reason = fleet.about("a")["reason"]
        assert "is not the one that the service has checked" in reason or "is not the file" in reason
        copy.put(copy.library.name, whole, noted=False)
        await fleet.until_true(dialling(fleet), "it dials again")
    assert f"neonize {library.version} was installed again" in caplog.text


@asynchronous
async def test_a_check_that_is_under_way_does_not_hold_up_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(updates, "installed", lambda: Installed("9.9.9", SEAL))
    fleet = Fleet(tmp_path, "a")
    fleet.has_session("a")
    async with fleet:
        await fleet.until("a", State.CONNECTED)
        fleet.supervisor._machines.updates.look()


def test_the_check_says_which_files_it_was() -> None:
    library = check_library()
    assert library == Library(library.version, library.seconds, integrity.look())
