"""Where no container can be made, tests of containers say why they are skipped, or fail if they must run."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.container_engine import MUST, PROGRAMS, need_engine

TESTS = Path(__file__).resolve().parents[2]
ASK = f"""
import sys
sys.path.insert(0, {str(TESTS)!r})
from support import container_engine
print(container_engine._reason())
"""


@functools.cache
def reason(*without: str) -> str:
    """Return what is said where root lacks capabilities."""
    names = ",".join(f"-{name}" for name in without)
    line = ["setpriv", f"--bounding-set={names}", f"--inh-caps={names}"] if without else []
    done = subprocess.run([*line, sys.executable, "-c", ASK], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can have less than root")
@pytest.mark.parametrize("lacking", ["sys_admin", "sys_chroot", "mknod"])
def test_a_machine_that_allows_less_is_noticed(lacking: str) -> None:
    if (found := reason()) != "None":
        pytest.skip(f"this machine allows less already: {found}")
    (line,) = reason(lacking).splitlines()
    assert "Operation not permitted" in line


def test_missing_programs_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.delenv(MUST, raising=False)
    said = f"no real container can be tried here: there is no {', '.join(PROGRAMS)}"
    with pytest.raises(pytest.skip.Exception, match=said):
        need_engine()
    monkeypatch.setenv(MUST, "1")
    with pytest.raises(pytest.fail.Exception, match=rf"{MUST}.*there is no {PROGRAMS[0]}"):
        need_engine()
