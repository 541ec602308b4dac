"""The rules of the house: who may import what, types, and style."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "orchestrator"
PURE = sorted(
    {PACKAGE / "errors.py", *(PACKAGE / "accounts").glob("*.py"), *PACKAGE.glob("texts.py")}
    | {PACKAGE / f"access/{name}.py" for name in ("exposure", "scopes", "token")}
    | {path for name in ("cluster", "consumers", "sending") for path in (PACKAGE / name).glob("*.py")}
    | {
        PACKAGE / f"gateway/http/{name}.py"
        for name in ("attempts", "crowd", "head", "idempotency", "peers", "positions", "problems", "sniffing")
    }
    | set((PACKAGE / "messages").glob("*.py"))
    - {
        PACKAGE / f"messages/{name}.py"
        for name in (
            "bell",
            "database",
            "ends",
            "files",
            "inbox",
            "ledger",
            "media_files",
            "outbox",
            "outbox_form",
            "outbox_moves",
            "outbox_notes",
            "outbox_reader",
            "present",
            "protocols",
            "remote",
            "reserve",
            "serving",
            "storing",
        )
    }
)
"""What decides: standard library and each other, no I/O."""


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> Iterator[str]:
    """Yield every module a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@functools.cache  # to read the whole package takes some seconds
def everything() -> dict[str, set[str]]:
    return {module_name(path): set(imports_of(path)) for path in PACKAGE.rglob("*.py")}


def importers(of: str) -> set[str]:
    """Return the modules that import a package or anything in it."""
    return {
        name
        for name, imported in everything().items()
        if any(other == of or other.startswith(f"{of}.") for other in imported)
    }


def test_imports_keep_to_the_arrows() -> None:
    # The contracts are in pyproject.toml. No cache: other runs of these tests may go on at the same time.
    lint = Path(sysconfig.get_path("scripts")) / "lint-imports"
    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_private_names_of_multiprocess_are_used_in_one_place() -> None:
    modules = ("forkserver", "process", "reduction", "resource_tracker", "spawn", "util")
    assert {name for module in modules for name in importers(f"multiprocess.{module}")} == {
        "orchestrator.system.multiprocess_private"
    }
    for path in PACKAGE.rglob("*.py"):
        if "multiprocess" in path.read_text() and path.stem != "multiprocess_private":
            assert not re.search(r"multiprocess(\.\w+)*\._", path.read_text()), path


def test_no_file_of_a_folder_with_programs_is_called_like_a_module_of_pythons() -> None:
    """Python looks in the folder of the program first: there, `operator.py` would be taken for its own."""
    files = [*ROOT.glob("tests/*/*.py"), *ROOT.glob("benchmarks/*.py"), *ROOT.glob("examples/**/*.py")]
    assert len(files) > 200
    assert [str(path) for path in files if path.stem in sys.stdlib_module_names] == []


def test_no_python_is_started_with_the_current_folder_on_its_path() -> None:
    # `unit` and `ways` look where this Python is, and start none.
    paths = [path for path in PACKAGE.rglob("*.py") if "sys.executable" in path.read_text()]
    assert {module_name(path) for path in paths} == {
        "orchestrator.system.interpreter",
        "orchestrator.cli.unit.plan",
        "orchestrator.service.ways",
    }


@pytest.mark.parametrize("path", PURE, ids=module_name)
def test_what_decides_is_pure(path: Path) -> None:
    allowed = {module_name(other) for other in PURE} | {"orchestrator"}
    forbidden = {"asyncio", "os", "time", "random", "subprocess", "socket", "threading", "logging"}
    for imported in imports_of(path):
        top = imported.partition(".")[0]
        if top == "orchestrator":
            assert imported in allowed or imported.rpartition(".")[0] in allowed, imported
        else:
            assert top in sys.stdlib_module_names, imported
            assert top not in forbidden, imported


MAX_MODULE, MAX_CLASS = 600, 350
"""Lines that a module and a class may have: what is longer does more than one thing."""


def test_nothing_is_too_long_to_be_read_at_once() -> None:
    too_long = {}
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        if (lines := text.count("\n")) > MAX_MODULE:
            too_long[module_name(path)] = lines
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef) and node.end_lineno is not None:
                lines = node.end_lineno - node.lineno + 1
                if lines > MAX_CLASS:
                    too_long[f"{module_name(path)}.{node.name}"] = lines
    assert not too_long


@pytest.mark.parametrize(
    "command",
    [["ruff", "check"], ["ruff", "format", "--check"], ["mypy"]],
    ids=["lint", "format", "types"],
)
def test_style(command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_account_names_look_like_is_written_down_once() -> None:
    paths = [path for path in PACKAGE.rglob("*.py") if "[a-z0-9._-]{" in path.read_text()]
    assert [module_name(path) for path in paths] == ["orchestrator.accounts.names"]
