"""What the fork server imports of neonize: its Python half, and it can still fork afterwards."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


LATE = """
from orchestrator.worker.library import loading
def fail(*_):
    raise OSError(28, os.strerror(28))
loading.copy_library = fail
"""
"""Has the library loaded after the fork, as where there is no memory for a copy of it."""


def python(program: str, *, preload: bool = True, late: bool = False) -> list[str]:
    first = "import os, sys\n" + (LATE if late else "")
    first += "import orchestrator.worker.library.preload\n" if preload else ""
    done = subprocess.run(
        [sys.executable, "-c", first + program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_all_of_neonize_that_a_child_uses_is_there() -> None:
    program = """
before = set(sys.modules)
import orchestrator.worker.library.client
print("neonize.client" in before, [name for name in set(sys.modules) - before])
"""
    assert python(program) == ["True []"]


def test_nothing_is_there_that_only_the_service_needs() -> None:
    program = """
import orchestrator.worker.main, orchestrator.worker.library.client
print(sorted({"psutil", "pydantic", "typer", "yaml", "orchestrator.system.processes"} & set(sys.modules)))
"""
    assert python(program) == ["[]"]


def test_what_neonize_imports_and_nobody_uses_is_not_there() -> None:
    program = """
from orchestrator.worker.library import left_out
print([name for name in left_out.PACKAGES if not isinstance(sys.modules[name], left_out.LeftOut)])
print(sorted({"bs4", "h2", "httpcore", "soupsieve", "tqdm", "urllib3"} & set(sys.modules)))
"""
    assert python(program) == ["[]", "[]"]


def test_no_thread_and_no_library_is_in_the_way_of_a_fork() -> None:
    program = """
print(len(os.listdir("/proc/self/task")), "/neonize/" in open("/proc/self/maps").read())
"""
    assert python(program) == ["1 False"]


COUNTS = sys.version_info < (3, 12)
"""Whether this Python counts references to all objects."""
ARRANGING = (
    "holes.fill",
    "order.read",
    "order.lay_together",
    "rehearsal.number_classes",
    "immortal.make_all_immortal",
    "sys._clear_type_cache",
)
NOTE = f"""
import logging
from orchestrator.system import holes, immortal
from orchestrator.worker.library import order, rehearsal
called = []
def noting(name, real):
    def call(*arguments, **more):
        called.append(name)
        return real(*arguments, **more)
    return call
for name in {ARRANGING}:
    module, _, function = name.partition(".")
    setattr(globals()[module], function, noting(function, getattr(globals()[module], function)))
logging.Logger.warning = noting("warning", logging.Logger.warning)
"""
"""Notes what is called to arrange memory, and what is logged meanwhile."""
SHARED = "immortal.is_immortal(load), bool(holes._kept), gc.get_freeze_count() > 10_000"


def test_a_child_shares_what_it_reads() -> None:
    program = f"""{NOTE}
from orchestrator.worker.library.preload import load
import gc
print(*called)
print({SHARED})
"""
    steps = ["fill", "read", "lay_together", "number_classes", "make_all_immortal"]
    steps += ["_clear_type_cache", "fill"] if COUNTS else ["fill"]
    assert python(program, preload=False) == [" ".join(steps), f"{not COUNTS} True True"]


@pytest.mark.parametrize("what", ARRANGING)
def test_an_error_while_memory_is_arranged_costs_memory_and_nothing_else(what: str) -> None:
    """The other steps are done all the same: each of them helps alone."""
    if what == "sys._clear_type_cache" and not COUNTS:
        pytest.skip("this Python counts no references to most objects")
    module, _, function = what.partition(".")
    program = f"""{NOTE}
def fail(*_):
    raise KeyError("an error")
{module}.{function} = noting("{function}", fail)
from orchestrator.worker.library.preload import load
import gc
print(*called)
print({SHARED})
"""
    said, shared = python(program, preload=False)
    steps = ["fill", "read", "lay_together", "number_classes", "make_all_immortal"]
    steps += ["_clear_type_cache", "fill"] if COUNTS else ["fill"]
    if what == "order.read":
        steps.remove("lay_together")
    if what == "immortal.make_all_immortal" and COUNTS:
        steps.remove("_clear_type_cache")
    expected = [step for one in steps for step in ([one, "warning"] if one == function else [one])]
    assert said.split() == expected
    immortal = not COUNTS and what != "immortal.make_all_immortal"
    assert shared == f"{immortal} {what != 'holes.fill'} True"


@pytest.mark.parametrize(
    "error", ["FileNotFoundError(2, 'No such file', 'order.txt')", "UnicodeError('no text')"]
)
def test_a_package_that_is_not_in_order_is_said_to_be(error: str) -> None:
    program = f"""{NOTE}
def warn(self, text, *arguments, exc_info=False):
    print(text % arguments, exc_info)
def fail():
    raise {error}
logging.Logger.warning, order.read = warn, fail
import orchestrator.worker.library.preload
"""
    (said,) = python(program, preload=False)
    assert "install it again" in said
    assert said.endswith(" False")


def test_a_class_that_raises_when_it_is_asked_costs_nothing() -> None:
    program = f"""{NOTE}
class Meta(type):
    def __getattribute__(self, name):
        raise RuntimeError(name)
class Rude(metaclass=Meta):
    pass
from orchestrator.worker.library.preload import load
import gc
print("warning" in called, {SHARED})
"""
    assert python(program, preload=False) == [f"False {not COUNTS} True True"]


@pytest.mark.parametrize("error", ["MemoryError()", "OSError(12, 'no memory')", "OSError(24, 'no file')"])
def test_a_machine_that_lacks_something_then_is_told_so(error: str) -> None:
    program = f"""
from orchestrator.system import holes
def fail(*_):
    raise {error}
holes.fill = fail
try:
    import orchestrator.worker.library.preload
except (MemoryError, OSError) as error:
    print(type(error).__name__)
"""
    assert python(program, preload=False) == [error.partition("(")[0]]


def test_no_shell_is_run_and_no_pipe_is_left_open() -> None:
    """Every process that the fork server makes would have the pipe."""
    program = """
ran = []
sys.addaudithook(lambda event, about: ran.append(about[0]) if event == "subprocess.Popen" else None)
import orchestrator.worker.library.preload
names = [f"/proc/self/fd/{number}" for number in range(3, 64)]
targets = [os.readlink(name) for name in names if os.path.exists(name)]
print([name for name in ran if "sh" in name], [target for target in targets if target.startswith("pipe")])
"""
    assert python(program, preload=False) == ["[] []"]


def test_a_program_that_neonize_did_not_run_before_is_refused() -> None:
    program = """
from orchestrator.worker.library import package
real = os.popen
with package.without_shell():
    print(os.popen("uname -a").read().strip() == " ".join(os.uname()))
    try:
        os.popen("curl evil.example")
    except PermissionError as error:
        print(error.strerror)
print(os.popen is real)
"""
    assert python(program, preload=False) == [
        "True",
        "a program must not be run while neonize is imported",
        "True",
    ]


@pytest.mark.parametrize("late", [False, True], ids=["early", "late"])
def test_a_child_completes_it(late: bool) -> None:
    program = """
from orchestrator.worker.library import loading
import neonize.client, threading
child = os.fork()
if child == 0:
    before = {thread.name for thread in threading.enumerate()}
    loading.complete()
    library = neonize.client.gocode
    print(library.GetVersion().decode() == neonize.__version__, library.IsLoggedIn(b"nobody"))
    print(library.Neonize.restype.__name__, hasattr(library, "NoSuchFunction"))
    print(len({thread.name for thread in threading.enumerate()} - before))
    sys.stdout.flush()
    os._exit(0)
os.waitpid(child, 0)
"""
    # One thread more: that of neonize's log.
    assert python(program, late=late) == ["True False", "c_void_p False", "1"]


@pytest.mark.parametrize("late", [False, True], ids=["early", "late"])
def test_a_library_of_another_version_is_not_used(late: bool) -> None:
    program = """
from orchestrator.worker.library import loading, package
import neonize.client
neonize.client.gocode._version = "0.0.1"
try:
    loading.complete()
except package.LibraryChangedError as error:
    print(error)
"""
    (said,) = python(program, late=late)
    assert "neonize 0.0.1 has a library of version" in said
    assert "is it being updated?" in said


def test_without_the_fork_server_all_is_loaded_at_once() -> None:
    program = """
import ctypes
from orchestrator.worker.library import loading
import orchestrator.worker.library.client
loading.complete()
print(type(sys.modules["neonize._binder"].gocode).__name__)
"""
    assert python(program, preload=False) == ["CDLL"]


def test_a_neonize_that_cannot_be_shared_is_left_to_the_children() -> None:
    program = """
from orchestrator.worker.library import loading
loading._libraries = lambda copy: loading._no_threads()  # so that Go's library itself would be loaded
loading.import_before_fork()
print([name for name in sys.modules if name.partition(".")[0] == "neonize"])
print("/neonize/" in open("/proc/self/maps").read(), len(os.listdir("/proc/self/task")))
import orchestrator.worker.library.client
print(orchestrator.worker.library.client.client.__name__)
"""
    assert python(program, preload=False) == ["[]", "False 1", "neonize.client"]


def test_a_library_that_is_gone_is_an_update_under_way() -> None:
    program = """
from orchestrator.worker.library import loading, package
import neonize.client
neonize.client.gocode._path = "/nowhere/neonize.so"
try:
    loading.complete()
except package.LibraryChangedError as error:
    print(error)
"""
    (said,) = python(program, late=True)
    assert "has lost its library: is it being updated?" in said
