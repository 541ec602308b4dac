"""Objects that Python never frees: which they are, that they still work, and what a fork shares of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.system import immortal

ROOT = Path(__file__).resolve().parents[3]
CAN = sys.version_info >= (3, 12)
needs_it = pytest.mark.skipif(not CAN, reason="this Python counts references to all objects")

BEFORE = """
import os, sys
from orchestrator.system import immortal
"""
OBJECTS = """
import collections, functools, weakref

def function(value, *, key="a default"):
    \"\"\"A docstring.\"\"\"
    def inner():
        return (value, "a constant of the inner function", 1234567)
    return inner

class Kind:
    attribute = ["of the class"]
    __slots__ = ("slot", "__weakref__")
    def method(self):
        return self.slot

closure = function(["in a cell"])
one = Kind()
one.slot = {"in a slot": (1.5, b"bytes" * 3)}
deep = []
for _ in range(100_000):
    deep = [deep]
ring = []
ring.append(ring)
partial = functools.partial(function, collections.OrderedDict(a=[1 << 70]))
THINGS = {
    "function": function,
    "code": function.__code__,
    "constants": function.__code__.co_consts,
    "inner code": function.__code__.co_consts[1],
    "constant of inner code": closure.__code__.co_consts[-1],
    "default": function.__kwdefaults__,
    "cell": closure.__closure__[0].cell_contents,
    "class": Kind,
    "list of a class": Kind.attribute,
    "object": one,
    "what is in a slot": one.slot["in a slot"],
    "bytes": one.slot["in a slot"][1],
    "deep down": deep[0][0][0],
    "ring": ring,
    "what a partial has": partial.args[0]["a"],
    "dictionary of a module": vars(os),
    "what a type of Python's own has": vars(collections.deque)["append"],
}
"""


def python(program: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", BEFORE + program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.splitlines()


def test_it_is_done_where_python_can() -> None:
    assert python("print(immortal.make_all_immortal(), immortal.make_all_immortal())") == [f"{CAN} {CAN}"]


def test_where_python_cannot_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(immortal, "_VERSIONS", ())
    assert not immortal.make_all_immortal()
    assert not immortal.is_immortal(immortal.make_all_immortal)


@needs_it
@pytest.mark.parametrize("flags", ["t", "d", "td"])
def test_a_python_that_counts_otherwise_is_left_alone(flags: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "abiflags", flags)
    assert not immortal.make_all_immortal()
    assert not immortal.is_immortal(immortal.make_all_immortal)


@needs_it
@pytest.mark.parametrize("number", [0xFFFF_FFFE, 3 << 30, (1 << 63) - 1])
def test_a_python_with_another_number_for_ever_is_left_alone(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(immortal, "_FOR_EVER", number)
    assert not immortal.make_all_immortal()
    assert not immortal.is_immortal(immortal.make_all_immortal)


@needs_it
def test_another_implementation_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.implementation, "name", "pypy")
    assert not immortal.make_all_immortal()


@needs_it
def test_whatever_modules_lead_to_is_immortal_and_nothing_that_comes_later() -> None:
    program = f"""{OBJECTS}
print([name for name, thing in THINGS.items() if immortal.is_immortal(thing)])
print(immortal.make_all_immortal())
print([name for name, thing in THINGS.items() if not immortal.is_immortal(thing)])
later = [[], {{}}, Kind(), function(1), "".join(["x", "y"]), 1 << len(THINGS), lambda: 0]
print([thing for thing in later if immortal.is_immortal(thing)])
"""
    assert python(program) == ["[]", "True", "[]", "[]"]


@needs_it
def test_no_object_is_asked_what_it_is() -> None:
    """It may run anything then: raise, or import what is imported only when it is needed."""
    program = """
import importlib.util, weakref
class Kind:
    pass
class Asked:
    @property
    def __class__(self):
        print("asked")
        return Kind
gone, asked = weakref.proxy(Kind()), [Asked()]
spec = importlib.util.find_spec("this")
spec.loader = importlib.util.LazyLoader(spec.loader)
lazy = importlib.util.module_from_spec(spec)
spec.loader.exec_module(lazy)
print(immortal.make_all_immortal(), immortal.is_immortal(asked[0]))
"""
    assert python(program) == ["True True"]


@needs_it
def test_many_objects_of_an_extension_come_and_go() -> None:
    """Such as protobuf's messages: their extension is built for older versions, and counts references.

    The count of their class gets lower by as many as there are at once, and no lower each time.
    """
    program = """
from google.protobuf.struct_pb2 import Struct, Value
immortal.make_all_immortal()
for _ in range(20):
    many = [Value(struct_value=Struct(fields={"a": Value(number_value=n)})) for n in range(5_000)]
    assert many[77].struct_value.fields["a"].number_value == 77
    del many
    print([kind.__name__ for kind in (Struct, Value) if sys.getrefcount(kind) < 0xFFFF_FFFF - 5_100])
print(Struct(fields={}).fields)
"""
    assert python(program) == ["[]"] * 20 + ["{}"]


WORKS = {
    "a text is not changed in place": """
text = "".join(["a", "b"])
same = [text]
immortal.make_all_immortal()
text += "c"
print(same, text)
""",
    "containers change": """
things, table, many = [1, 2], {"a": [1]}, {1}
immortal.make_all_immortal()
things.extend(range(10_000)); things.clear(); things.append(3)
table.update({str(n): n for n in range(10_000)}); table.clear(); table["b"] = 1
many |= set(range(1000)); many -= set(range(999))
print(things, table, many)
""",
    "results that Python uses again are new ones": """
pairs, counted = zip([1, 2, 3], [4, 5, 6]), enumerate("ab")
first, number = next(pairs), next(counted)
immortal.make_all_immortal()
print(first, next(pairs), next(pairs), number, next(counted))
""",
    "classes, methods and errors work": """
class Before(Exception):
    def text(self):
        return super().__str__()
immortal.make_all_immortal()
class After(Before):
    pass
try:
    raise After("an error")
except Before as error:
    print(error.text(), Before.__subclasses__())
""",
    "the collector collects": """
import gc, weakref
immortal.make_all_immortal()
gc.freeze()
class Node:
    pass
node = Node(); node.me = node
seen = weakref.ref(node)
del node
print(gc.collect() > 0, seen(), Node.__name__)
""",
    "a generator and a thread go on": """
import threading
def count():
    for n in range(3):
        yield n
counter, lock = count(), threading.Lock()
next(counter)
immortal.make_all_immortal()
def work():
    with lock:
        print(list(counter))
thread = threading.Thread(target=work)
thread.start(); thread.join()
""",
    "modules are imported, and imported again": """
import importlib, json
immortal.make_all_immortal()
import calendar
print(importlib.reload(json).loads("[1]"), calendar.isleap(2000))
""",
}
WORKED = {
    "a text is not changed in place": "['ab'] abc",
    "containers change": "[3] {'b': 1} {999}",
    "results that Python uses again are new ones": "(1, 4) (2, 5) (3, 6) (0, 'a') (1, 'b')",
    "classes, methods and errors work": "an error [<class '__main__.After'>]",
    "the collector collects": "True None Node",
    "a generator and a thread go on": "[1, 2]",
    "modules are imported, and imported again": "[1] True",
}


@pytest.mark.parametrize("what", WORKS)
def test_it_changes_nothing_that_a_program_sees(what: str) -> None:
    """The process also ends as any other."""
    assert python(WORKS[what]) == [WORKED[what]]


SHARING = """
things = [str(n) + "x" for n in range(100_000)]
if "{how}" == "immortal":
    immortal.make_all_immortal()
reader = os.pipe()
def own():
    with open("/proc/self/smaps_rollup") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Private_Dirty"))
child = os.fork()
if child == 0:
    before = own()
    held = list(things)
    for thing in held:
        pass
    print(own() - before - 8 * len(held) // 1024, flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""


@needs_it
def test_a_fork_that_reads_them_shares_them() -> None:
    (mortal,) = python(SHARING.replace("{how}", "mortal"))
    (ever,) = python(SHARING.replace("{how}", "immortal"))
    assert int(mortal) > 4000, "kilobytes: each of them is written to"
    assert int(ever) < 400
