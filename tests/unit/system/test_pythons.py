"""The versions of Python that were tried are the same wherever they are named."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from orchestrator.service.doctor.checks import python
from orchestrator.system import pythons

ROOT = Path(__file__).resolve().parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NAMES = [f"{major}.{minor}" for major, minor in pythons.TRIED]


def test_the_package_promises_what_was_tried() -> None:
    major, minor = pythons.TRIED[-1]
    assert PROJECT["requires-python"] == f">={NAMES[0]},<{major}.{minor + 1}"
    prefix = "Programming Language :: Python :: 3."
    classified = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if line.startswith(prefix)]
    assert classified == NAMES
    assert tuple((3, number) for number in range(pythons.TRIED[0][1], minor + 1)) == pythons.TRIED, "a gap"


def test_the_readme_names_them() -> None:
    assert f"Python {pythons.tried()}. " in (ROOT / "README.md").read_text()


def test_what_is_used_by_private_names_has_an_upper_bound() -> None:
    (multiprocess,) = [line for line in PROJECT["dependencies"] if line.startswith("multiprocess")]
    (pinned,) = re.findall(
        r"^multiprocess==([\d.]+) ", (ROOT / "requirements/run.txt").read_text(), re.MULTILINE
    )
    *same, last = map(int, pinned.split("."))
    assert multiprocess.endswith(f",<{'.'.join(map(str, [*same, last + 1]))}")


@pytest.mark.parametrize(
    ("version", "known"),
    [
        ((3, 10), False),
        ((3, 14), False),
        ((3, 14, 0, "alpha", 1), False),
        ((4, 0), False),
        ((3, 11), True),
        ((3, 12, 9), True),
        ((3, 13, 0, "final", 0), True),
    ],
)
def test_the_doctor_names_a_python_that_was_never_tried(version: tuple[int, ...], known: bool) -> None:
    found = list(python.judge(version))
    assert [finding.status for finding in found] == ([] if known else ["WARN"])
    for finding in found:
        assert f"Python {version[0]}.{version[1]}" in finding.text
        assert pythons.tried() in finding.advice


def test_this_python_was_tried() -> None:
    assert pythons.is_tried(sys.version_info[:2])


def test_the_continuous_integration_tries_each_that_it_finds() -> None:
    done = subprocess.run(
        [ROOT / ".ci/pythons", "--list"], capture_output=True, text=True, check=True, timeout=60
    )
    found = [line.split()[0] for line in done.stdout.splitlines()]
    assert found == sorted(set(found), key=NAMES.index)
    assert found
