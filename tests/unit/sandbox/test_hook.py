"""The hook, in real processes with the real neonize: what counts is what is in their memory."""

import _ctypes
import importlib.util
import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from orchestrator.sandbox.environment import HOOK, ROOT_KEY_VARIABLE

WHATSAPP = "142375574d0a587166aae71ebe516437c4a28b73e3695c6ce1f7f9545da8ee6b"
OWN = sha256(b"the sandbox's").hexdigest()
REPLACED = [0, 1]
UNTOUCHED = [1, 0]
NOT_LOADED = [0, 0]

_spec = importlib.util.find_spec("neonize")
assert _spec is not None
assert _spec.origin is not None
NEONIZE = Path(_spec.origin).parent
LIBRARY = next(NEONIZE.glob("neonize-*"))

PRELUDE = f"""
import ctypes, json, os, sys

LIBRARY = {str(LIBRARY)!r}

def counts():
    "How often WhatsApp's key and the own one are in the writable memory of files."
    found = [0, 0]
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
        for line in maps:
            limits, permissions, _, _, inode, *_ = line.split()
            if permissions.startswith("rw") and inode != "0":
                start, end = (int(limit, 16) for limit in limits.split("-"))
                memory.seek(start)
                data = memory.read(end - start)
                for number, key in enumerate(({WHATSAPP!r}, {OWN!r})):
                    found[number] += data.count(bytes.fromhex(key))
    return found
"""


class Python:
    """Runs programs with the hook on their path."""

    def __init__(self, folder: Path) -> None:
        self.program = folder / "program.py"
        self.environment = {
            # Should neonize try to fetch its library after all, it gets nowhere.
            **{name: value for name, value in os.environ.items() if "proxy" not in name.lower()},
            "HTTPS_PROXY": "http://127.0.0.1:9",
            "PYTHONPATH": str(HOOK),
            ROOT_KEY_VARIABLE: OWN,
        }

    def run(self, text: str) -> subprocess.CompletedProcess[str]:
        self.program.write_text(text)
        return subprocess.run(
            [sys.executable, str(self.program)],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def result(self, text: str) -> Any:  # noqa: ANN401 - whatever JSON the program prints
        done = self.run(PRELUDE + text)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def python(tmp_path: Path) -> Python:
    return Python(tmp_path)


@pytest.fixture
def package(tmp_path: Path, python: Python) -> Path:
    """The installed neonize once more, found first, in which a library is to be put."""
    package = tmp_path / "site" / "neonize"
    package.mkdir(parents=True)
    for part in NEONIZE.iterdir():
        if part != LIBRARY:
            (package / part.name).symlink_to(part)
    python.environment["PYTHONPATH"] += os.pathsep + str(package.parent)
    return package


def test_the_key_is_replaced_when_neonize_is_imported(python: Python) -> None:
    assert python.result("import neonize; print(json.dumps(counts()))") == REPLACED


def test_nothing_is_touched_without_the_variable(python: Python) -> None:
    del python.environment[ROOT_KEY_VARIABLE]
    assert python.result("import neonize; print(json.dumps(counts()))") == UNTOUCHED


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_children_that_load_neonize_get_the_key(python: Python, method: str) -> None:
    program = f"""
import multiprocessing

def child(pipe):
    import neonize
    pipe.send(counts())

if __name__ == "__main__":
    context = multiprocessing.get_context({method!r})
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=child, args=(sender,))
    process.start()
    sender.close()
    print(json.dumps([receiver.recv(), counts()]))
    process.join()
"""
    assert python.result(program) == [REPLACED, NOT_LOADED]


def test_children_may_load_the_library_alone_after_their_parent_had_the_rest(python: Python) -> None:
    program = """
os.environ["SPHINX"] = "1"  # makes neonize leave its library out
import neonize

assert counts() == [0, 0]
if os.fork() == 0:
    ctypes.cdll.LoadLibrary(LIBRARY)
    print(json.dumps(counts()), flush=True)
    os._exit(0)
os.wait()
"""
    assert python.result(program) == REPLACED


def test_a_stand_in_at_cdll_may_hold_the_library_back(python: Python) -> None:
    program = """
from unittest.mock import MagicMock

real = ctypes.CDLL
stand_in = MagicMock()
stand_in.GetVersion.return_value = b"0.5.2"
ctypes.CDLL = lambda name, *rest, **more: stand_in if "neonize-" in str(name) else real(name, *rest, **more)
import neonize

assert counts() == [0, 0]
real(LIBRARY)
print(json.dumps(counts()))
"""
    assert python.result(program) == REPLACED


def test_a_library_that_is_loaded_again_stays_as_it_is(python: Python) -> None:
    program = """
import neonize

ctypes.CDLL(LIBRARY)
if os.fork() == 0:
    ctypes.CDLL(LIBRARY)
    print(json.dumps(counts()), flush=True)
    os._exit(0)
os.wait()
"""
    assert python.result(program) == REPLACED


def test_threads_may_load_it_at_once(python: Python) -> None:
    program = """
import importlib.util
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

barrier = Barrier(8)

def load(_):
    importlib.util.find_spec("neonize")
    barrier.wait()
    ctypes.CDLL(LIBRARY)

with ThreadPoolExecutor(8) as pool:
    list(pool.map(load, range(8)))
print(json.dumps(counts()), flush=True)
os._exit(0)
"""
    assert python.result(program) == REPLACED


def test_the_library_may_be_a_link_to_a_file_of_any_name(python: Python, package: Path) -> None:
    (package.parent / "blob").write_bytes(LIBRARY.read_bytes())
    (package / LIBRARY.name).symlink_to(package.parent / "blob")
    program = "import neonize; print(json.dumps([neonize.__file__, counts()]))"
    assert python.result(program) == [str(package / "__init__.py"), REPLACED]


def test_a_library_without_the_key_cannot_be_imported_and_is_not_fetched_again(
    python: Python, package: Path
) -> None:
    other = LIBRARY.read_bytes().replace(bytes.fromhex(WHATSAPP), bytes(32))
    (package / LIBRARY.name).write_bytes(other)
    done = python.run("import logging; logging.basicConfig(level=0); import neonize")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("sitecustomize.RootKeyError")
    assert f"{package / LIBRARY.name} holds WhatsApp's root key 0 times" in done.stderr
    assert "attempt 1/3" in done.stderr
    assert "attempt 2/3" not in done.stderr
    assert "download" not in done.stderr.lower().replace("from .download import", "")


def test_another_library_of_such_a_name_is_refused(python: Python, tmp_path: Path) -> None:
    other = tmp_path / "neonize-other.so"
    other.write_bytes(Path(_ctypes.__file__).read_bytes())
    program = (
        f"import ctypes, importlib.util; importlib.util.find_spec('neonize'); ctypes.CDLL({str(other)!r})"
    )
    done = python.run(program)
    assert done.returncode == 1
    assert "cannot look for WhatsApp's root key in" in done.stderr


@pytest.mark.parametrize(
    "text",
    ["", "sandbox", OWN[2:], OWN + "00", WHATSAPP],
    ids=["empty", "no hex", "short", "long", "WhatsApp's"],
)
def test_a_malformed_key_keeps_neonize_from_being_imported(python: Python, text: str) -> None:
    python.environment[ROOT_KEY_VARIABLE] = text
    program = """
for _ in range(2):
    try:
        import neonize
    except ImportError as error:
        message = str(error)
print(json.dumps([message, counts()]))
"""
    message, found = python.result(program)
    assert message.startswith(ROOT_KEY_VARIABLE)
    assert "unset it" in message
    assert found == NOT_LOADED


@pytest.mark.parametrize("key", [None, OWN], ids=["no key", "key"])
def test_the_next_sitecustomize_runs_in_its_place(python: Python, tmp_path: Path, key: str | None) -> None:
    next_one = tmp_path / "further" / "sitecustomize.py"
    next_one.parent.mkdir()
    next_one.write_text("import sys; sys.further = __file__, __name__")
    python.environment["PYTHONPATH"] += os.pathsep + str(next_one.parent)
    python.environment.pop(ROOT_KEY_VARIABLE)
    if key:
        python.environment[ROOT_KEY_VARIABLE] = key
    program = """
import sitecustomize, neonize
print(json.dumps([*sys.further, sitecustomize.__file__, counts()]))
"""
    expected = [str(next_one), "sitecustomize", str(next_one), REPLACED if key else UNTOUCHED]
    assert python.result(program) == expected


def test_an_error_in_the_next_sitecustomize_is_told_as_ever_and_changes_nothing(
    python: Python, tmp_path: Path
) -> None:
    next_one = tmp_path / "further" / "sitecustomize.py"
    next_one.parent.mkdir()
    next_one.write_text("raise RuntimeError('broken')")
    python.environment["PYTHONPATH"] += os.pathsep + str(next_one.parent)
    done = python.run(PRELUDE + "import neonize; print(json.dumps(counts()))")
    assert "Error in sitecustomize" in done.stderr
    assert "RuntimeError: broken" in done.stderr
    assert json.loads(done.stdout) == REPLACED


@pytest.mark.parametrize("key", [None, OWN], ids=["no key", "key"])
def test_a_program_without_neonize_has_nothing_more_to_import(python: Python, key: str | None) -> None:
    program = "import sys, json; print(json.dumps(sorted(sys.modules)))"
    plain = dict(python.environment)
    del python.environment["PYTHONPATH"]
    without = set(json.loads(python.run(program).stdout)) - {"sitecustomize"}  # Debian's Python has one
    python.environment = plain
    if key is None:
        del python.environment[ROOT_KEY_VARIABLE]
    assert set(json.loads(python.run(program).stdout)) - without == {"sitecustomize"}
