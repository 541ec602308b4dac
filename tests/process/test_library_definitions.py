"""The definitions of neonize's messages, loaded without neonize around them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from orchestrator.worker.library.package import package

RENDER = """
import sys
from pathlib import Path
from orchestrator.worker.library import protobufs
path = list(sys.path)
module = protobufs.load()
out = {
    "threads": len(list(Path("/proc/self/task").iterdir())),
    "library": [line for line in Path("/proc/self/maps").read_text().splitlines() if "neonize-" in line],
    "neonize": "neonize" in sys.modules,
    "path": sys.path == path,
    "again": protobufs.load() is module,
    "parts": sorted({"requests", "httpx", "PIL", "magic", "bs4"} & set(sys.modules)),
}
"""
WITH_NEONIZE = """
from orchestrator.worker.library import loading, protobufs
{first}
loading.prepare()
from neonize.proto import Neonize_pb2
from neonize.proto.waE2E.WAWebProtobufsE2E_pb2 import Message
import neonize.client
module = protobufs.load()
out = {{
    "same": module.Message is Neonize_pb2.Message,
    "reads": module.Message(Message=Message(conversation="x")).Message.conversation,
}}
"""
FAILS = """
import sys
from orchestrator.errors import OrchestratorError
from orchestrator.worker.library import protobufs
{first}
out = []
for _ in range(2):
    try:
        protobufs.load()
        out.append("loaded")
    except OrchestratorError as error:
        out.append([error.key, str(error)])
out.append(sorted(name for name in sys.modules if "_pb2" in name and "google" not in name))
"""


def run(script: str, path: Path | None = None) -> Any:  # noqa: ANN401 - what the script says
    done = subprocess.run(
        [sys.executable, "-c", f"{script}\nimport json\nprint(json.dumps(out))"],
        env={"PYTHONPATH": str(path)} if path else {},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a folder with a copy of neonize that comes before the one that is installed."""
    shutil.copytree(package(), tmp_path / "neonize", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    files = metadata.files("neonize")
    assert files is not None
    info = next(Path(str(file.locate())) for file in files if file.name == "RECORD").parent
    shutil.copytree(info, tmp_path / info.name)
    return tmp_path


def test_they_come_without_a_thread_a_library_or_neonize() -> None:
    assert run(RENDER) == {
        "threads": 1,
        "library": [],
        "neonize": False,
        "path": True,
        "again": True,
        "parts": [],
    }


@pytest.mark.parametrize("first", ["", "protobufs.load()"], ids=["after neonize", "before neonize"])
def test_where_neonize_is_imported_the_classes_are_its_own(first: str) -> None:
    assert run(WITH_NEONIZE.format(first=first)) == {"same": True, "reads": "x"}


def test_a_copy_does_as_well(copy: Path) -> None:
    assert run(FAILS.format(first=""), copy)[:2] == ["loaded", "loaded"]


def test_without_neonize_it_is_said_what_to_install() -> None:
    first = "import importlib.util\nimportlib.util.find_spec = lambda name: None"

    for key, text in run(FAILS.format(first=first))[:2]:
        assert key == "library_unusable"
        assert "neonize is not installed" in text
        assert "pip install" in text


@pytest.mark.parametrize(
    "place",
    ["neonize/proto/Neonize_pb2.py", "neonize/proto/waE2E/WAWebProtobufsE2E_pb2.py", "neonize/const.py"],
)
def test_a_file_that_was_changed_is_not_executed(copy: Path, place: str) -> None:
    (copy / place).write_text("open('/dev/stderr', 'w').write('executed')\nraise SystemExit(3)\n")

    found = run(FAILS.format(first=""), copy)
    for key, text in found[:2]:
        assert key == "library_altered"
        assert place in text
    assert found[2] == []


def test_a_file_that_was_added_is_not_executed(copy: Path) -> None:
    (copy / "neonize/proto/waE2E/extra.py").write_text("raise SystemExit(3)\n")

    assert [key for key, _ in run(FAILS.format(first=""), copy)[:2]] == ["library_altered"] * 2


def test_definitions_that_do_not_load_leave_nothing_behind(copy: Path) -> None:
    first = (
        "import google.protobuf.runtime_version as version\n"
        "def refuse(*_): raise version.VersionError('too old')\n"
        "version.ValidateProtobufRuntimeVersion = refuse"
    )

    found = run(FAILS.format(first=first), copy)
    for key, text in found[:2]:
        assert key == "library_unusable"
        assert "VersionError" in text
        assert "pip install" in text
    assert found[2] == []


def test_a_module_of_the_same_name_is_not_taken_for_neonizes() -> None:
    first = "import types\nsys.modules['Neonize_pb2'] = types.ModuleType('Neonize_pb2')"

    assert [key for key, _ in run(FAILS.format(first=first))[:2]] == ["library_altered"] * 2
