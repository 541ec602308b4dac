"""An account's own proxy is the only one that is left in its process."""

import subprocess
import sys


def test_nothing_is_left_of_the_environments_proxies() -> None:
    program = """
import os
os.environ["NEW"] = "x" * 1000  # now C's environment is not where the kernel has put it any more
from orchestrator.worker.proxy import forget_environment
forget_environment()
print(sorted(os.environ))
print(open("/proc/self/environ", "rb").read())
"""
    values = {
        "HTTPS_PROXY": "http://secret:1",
        "https_proxy": "http://secret:2",
        "ALL_PROXY": "http://secret:3",
        "NO_PROXY": "secret",
        "OTHER": "HTTPS_PROXY=kept",
    }
    done = subprocess.run(
        [sys.executable, "-c", program], env=values, capture_output=True, text=True, check=True
    )
    assert "secret" not in done.stdout
    assert "'OTHER'" in done.stdout
    assert "OTHER=HTTPS_PROXY=kept" in done.stdout


def test_the_kernels_list_of_variables_stays_as_it_is() -> None:
    """Go finds the size of a page behind its end, and has no other way where /proc/self/auxv is closed."""
    program = """
import ctypes
from orchestrator.worker.proxy import forget_environment
def in_stack(address):
    limits = next(line for line in open("/proc/self/maps") if line.rstrip().endswith("[stack]")).split()[0]
    start, end = (int(limit, 16) for limit in limits.split("-"))
    return start <= address < end
libc = ctypes.CDLL(None)
before = ctypes.c_void_p.in_dll(libc, "environ").value
variables = ctypes.cast(before, ctypes.POINTER(ctypes.c_char_p))
names = lambda: [variables[number].partition(b"=")[0] for number in range(4)]
assert in_stack(before)
assert names() == [b"HTTPS_PROXY", b"NO_PROXY", b"OTHER", b"LC_ALL"], names()
forget_environment()
after = ctypes.c_void_p.in_dll(libc, "environ").value
print(in_stack(after), all(variables[number] for number in range(4)), variables[4])
print({name for name in __import__("os").environ if name.startswith("ORCHESTRATOR")})
"""
    values = {"HTTPS_PROXY": "http://secret:1", "NO_PROXY": "secret", "OTHER": "kept"}
    values["LC_ALL"] = "C.UTF-8"  # or Python itself would add a variable
    done = subprocess.run(
        [sys.executable, "-c", program], env=values, capture_output=True, text=True, check=False
    )
    assert done.stdout == "False True None\nset()\n", done.stderr
