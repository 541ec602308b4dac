"""What the fork server imports of neonize: the types of its messages, and it can still fork afterwards."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def python(program: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"import os, sys\nimport orchestrator.worker.preload\n{program}"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_messages_are_there_and_nothing_else_of_neonize() -> None:
    program = "print(*sorted(name for name in sys.modules if name.partition('.')[0] == 'neonize'))"
    (names,) = python(program)
    assert "neonize.proto.waE2E.WAWebProtobufsE2E_pb2" in names.split()
    assert all(name.startswith("neonize.proto") for name in names.split())


def test_no_thread_and_no_library_is_in_the_way_of_a_fork() -> None:
    program = """
print(len(os.listdir("/proc/self/task")), "/neonize-" in open("/proc/self/maps").read())
"""
    assert python(program) == ["1 False"]


def test_a_child_gets_the_real_neonize_with_these_messages() -> None:
    program = """
before = sys.modules["neonize.proto.Neonize_pb2"]
import orchestrator.worker.client
import neonize, neonize.events
print(neonize.__version__ != "", neonize.events.ConnectedEv is before.Connected)
"""
    assert python(program) == ["True True"]


def test_every_message_type_that_neonize_imports_is_there_before() -> None:
    program = """
before = set(sys.modules)
import neonize
print([name for name in set(sys.modules) - before if name.startswith("neonize.proto")])
"""
    assert python(program) == ["[]"]
