"""neonize is broken for a moment, in many ways: nobody is given up, and all is well once it is mended.

The processes are the real ones. They never come to WhatsApp: their proxy is a port that nobody listens on.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from support.fleet import QUICK, Fleet, asynchronous

from orchestrator.accounts.settings import AccountSettings
from orchestrator.accounts.states import State
from orchestrator.service.forkserver import PRELOADED
from orchestrator.service.library import LibraryError, check_library
from orchestrator.worker import main
from orchestrator.worker.library import integrity, left_out

NOWHERE = "http://127.0.0.1:1"


def package(name: str) -> Path:
    """Return the folder that a package is installed in."""
    spec = find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def linked(name: str, folder: Path) -> Path:
    """Put a package in front of the installed one, which it is made of."""
    origin = package(name)
    copy = folder / name.replace(".", "/")
    copy.mkdir(parents=True)
    for path in origin.iterdir():
        if path.name != "__pycache__":
            (copy / path.name).symlink_to(path)
    return copy


def with_its_record(folder: Path) -> None:
    """Put what the installer has noted of neonize beside the one in front."""
    (info,) = package("neonize").parent.glob("neonize-*.dist-info")
    (folder / info.name).symlink_to(info)


def replace(path: Path, text: str | bytes) -> None:
    path.unlink()
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


def library(folder: Path) -> Path:
    with_its_record(folder)
    (file,) = linked("neonize", folder).glob("neonize-*.so")
    return file


def one_byte(path: Path) -> None:
    """Change a byte in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    replace(path, bytes(data))


def flipped_library(folder: Path) -> None:
    one_byte(library(folder))


def flipped_source(folder: Path) -> None:
    one_byte(library(folder).parent / "builder.py")


def another_module(folder: Path) -> None:
    (library(folder).parent / "download.abi3.so").write_bytes(b"")


def another_library(folder: Path) -> None:
    file = library(folder)
    (file.parent / "neonize-linux-of-mine.so").symlink_to(file.resolve())


def no_record(folder: Path) -> None:
    linked("neonize", folder)


def long_record(folder: Path) -> None:
    library(folder)
    (info,) = folder.glob("*.dist-info")
    whole = info.resolve()
    info.unlink()
    info.mkdir()
    (info / "RECORD").write_bytes((whole / "RECORD").read_bytes() + b"x" * integrity.MAX_RECORD)


def record_of_nothing(folder: Path) -> None:
    library(folder)
    (info,) = folder.glob("*.dist-info")
    info.unlink()
    info.mkdir()
    (info / "RECORD").touch()


def two_records(folder: Path) -> None:
    library(folder)
    (folder / "neonize-0.5.1.dist-info").mkdir()


def old_protobuf(folder: Path) -> None:
    """As another program's requirements install it: neonize asks pip for less than its code needs."""
    protobuf = linked("google.protobuf", folder)
    for name in ("__init__.py", "runtime_version.py"):
        text = (protobuf / name).read_text()
        text = re.sub(r"__version__ = '[\d.]+'", "__version__ = '6.32.1'", text)
        text = re.sub(r"^OSS_MAJOR = \d+", "OSS_MAJOR = 6", text, flags=re.MULTILINE)
        replace(protobuf / name, text)


def ancient_protobuf(folder: Path) -> None:
    protobuf = linked("google.protobuf", folder)
    replace(protobuf / "__init__.py", "__version__ = '4.25.3'\n")
    (protobuf / "runtime_version.py").unlink()


def new_protobuf(folder: Path) -> None:
    protobuf = linked("google.protobuf", folder)
    replace(protobuf / "__init__.py", "__version__ = '99.1.2'\n")
    replace(protobuf / "runtime_version.py", "def __getattr__(name):\n    raise TypeError('too new')\n")


def syntax_error(folder: Path) -> None:
    (folder / "PIL.py").write_text("def broken(:\n")


def module_that_raises(folder: Path) -> None:
    (folder / "PIL.py").write_text("raise ValueError('not today')\n")


def module_that_exits(folder: Path) -> None:
    (folder / "PIL.py").write_text("raise SystemExit('bye')\n")


def missing_dependency(folder: Path) -> None:
    (folder / "PIL.py").write_text("raise ModuleNotFoundError(\"No module named 'PIL'\", name='PIL')\n")


def truncated_library(folder: Path) -> None:
    file = library(folder)
    replace(file, file.read_bytes()[:100_000])


def empty_library(folder: Path) -> None:
    replace(library(folder), b"")


def library_of_another_machine(folder: Path) -> None:
    file = library(folder)
    head = file.read_bytes()
    replace(file, head[:18] + b"\xb7\x00" + head[20:])  # ELF's e_machine: AArch64


def missing_library(folder: Path) -> None:
    library(folder).unlink()


BROKEN = [
    (old_protobuf, "pip install 'protobuf>=7.34.1,<9'"),
    (ancient_protobuf, "pip install 'protobuf>=7.34.1,<9'"),
    (new_protobuf, "pip install 'protobuf>=7.34.1,<9'"),
    (syntax_error, "PIL.py"),
    (module_that_raises, "not today"),
    (module_that_exits, "bye"),
    (missing_dependency, "pillow"),
    (truncated_library, "neonize"),
    (empty_library, "neonize"),
    (library_of_another_machine, "neonize"),
    (missing_library, "has no library for this machine"),
    (flipped_library, "neonize-linux-"),
]
MENDED = {
    old_protobuf,
    module_that_exits,
    missing_dependency,
    truncated_library,
    missing_library,
    flipped_library,
}
"""One of each way in which a process can end by it."""
REFUSED = [  # which a child refuses in the same way
    (flipped_source, "builder.py is not the file that neonize's package has"),
    (another_module, "download.abi3.so does not belong to neonize's package"),
    (another_library, "neonize-linux-of-mine.so does not belong to neonize's package"),
    (no_record, "has no RECORD with checksums"),
    (long_record, "RECORD is too long"),
    (record_of_nothing, "RECORD names 0 files"),
    (two_records, "two versions of neonize are installed"),
]


@pytest.fixture
def in_front(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose packages are found before all others, by every process that is started."""
    folder = tmp_path / "in-front"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    return folder


@pytest.mark.parametrize(("harm", "advice"), [*BROKEN, *REFUSED])
def test_the_service_does_not_start_and_says_what_would_help(
    in_front: Path, harm: Callable[[Path], None], advice: str
) -> None:
    harm(in_front)
    with pytest.raises(LibraryError) as caught:
        check_library()
    assert advice in str(caught.value)


@pytest.mark.parametrize(("harm", "advice"), [one for one in BROKEN if one[0] in MENDED])
@asynchronous
async def test_a_service_that_runs_gets_over_it(
    in_front: Path, tmp_path: Path, harm: Callable[[Path], None], advice: str
) -> None:
    account = AccountSettings("a", backoff=QUICK, proxy=NOWHERE, max_retries=1)
    fleet = Fleet(tmp_path, account, preload=(PRELOADED,), target=main.run)
    harm(in_front)
    async with fleet:
        await fleet.until_true(lambda: fleet.about("a")["restarts"] > 2, "it is tried again and again")
        about = await fleet.until("a", State.BACKOFF)
        assert about["kind"] == "machine", "it is never given up, and nothing of it counts as a crash"
        assert advice in about["reason"]
        shutil.rmtree(in_front)
        await fleet.until_true(lambda: fleet.about("a")["kind"] == "network", "it dials")


@asynchronous
async def test_what_is_left_out_need_not_be_there(in_front: Path, tmp_path: Path) -> None:
    for name in left_out.PACKAGES:
        (in_front / f"{name}.py").write_text("raise ImportError('failed to find it')\n")
    check_library()
    account = AccountSettings("a", backoff=QUICK, proxy=NOWHERE, max_retries=1)
    async with Fleet(tmp_path, account, preload=(PRELOADED,), target=main.run) as fleet:
        await fleet.until_true(lambda: fleet.about("a")["kind"] == "network", "it dials")


@asynchronous
async def test_what_was_loaded_before_goes_on(in_front: Path, tmp_path: Path) -> None:
    """The fork server has all of it already; the next one finds what is installed by then."""
    fleet = Fleet(
        tmp_path, AccountSettings("a", backoff=QUICK, proxy=NOWHERE), preload=(PRELOADED,), target=main.run
    )
    file = library(in_front)
    whole = file.resolve()
    async with fleet:
        await fleet.until_true(lambda: fleet.about("a")["kind"] == "network", "it dials")
        replace(file, whole.read_bytes()[:100_000])
        before = fleet.about("a")["restarts"]
        await fleet.until_true(lambda: fleet.about("a")["restarts"] > before + 2, "it goes on dialing")
        assert fleet.about("a")["kind"] == "network"
        fleet.supervisor._children.renew_maker()
        await fleet.until_true(lambda: fleet.about("a")["kind"] == "machine", "it cannot be loaded")
        file.unlink()
        file.symlink_to(whole)
        await fleet.until_true(lambda: fleet.about("a")["kind"] == "network", "it dials again")
