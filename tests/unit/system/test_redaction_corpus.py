"""The redaction leaves alone what this project itself says: every log line, error, advice and help text."""

import ast
import functools
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

import orchestrator
from orchestrator.accounts.failure import Kind
from orchestrator.accounts.states import State
from orchestrator.errors import KEYS
from orchestrator.system.redaction import RedactingFilter, redact

ROOT = Path(orchestrator.__file__).parent
LOGGING = {"debug", "info", "warning", "error", "critical", "exception", "log"}
SANDBOX = ROOT / "sandbox"
"""It is a server of made-up accounts: its texts name numbers and keys on purpose."""

TYPICAL = (
    "support",
    "7",
    "3.25",
    "/var/lib/orchestrator/sessions/support.sqlite3",
    "the network is lost",
    "12",
)
"""What stands in the place of a value, in turns."""


def constant(node: ast.expr, value: str) -> str | None:
    """Return the text that an expression gives, with a typical value in each gap; None if it is no text."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else value for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = constant(node.left, value), constant(node.right, value)
        return None if left is None or right is None else left + right
    return None


def docstrings(tree: ast.AST) -> set[int]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                found.add(id(first.value))
    return found


def _said() -> Iterator[tuple[str, ast.expr]]:
    """Find every text of more than one word in the code that is no docstring and no part of a longer one."""
    for path in sorted(ROOT.rglob("*.py")):
        if path.is_relative_to(SANDBOX) or "redacting" in path.parts:
            continue
        tree = ast.parse(path.read_text())
        skipped = docstrings(tree)
        for node in ast.walk(tree):
            if id(node) in skipped:
                continue
            if isinstance(node, ast.JoinedStr | ast.BinOp):
                skipped |= {id(inner) for inner in ast.walk(node) if inner is not node}
            if isinstance(node, ast.Constant | ast.JoinedStr | ast.BinOp):
                text = constant(node, "x")
                if text and " " in text.strip() and not text.startswith(("(?", r"\b")):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", node


@functools.cache
def said() -> list[tuple[str, ast.expr]]:
    """Return what `_said` finds. Only a process that runs these tests takes the time for the search."""
    return list(_said())


HEADERS = ("Proxy-Authorization: ", "attachment; filename=")
"""What texts begin with that go to other programs, and never to a log."""
MARKUP = ("<!doctype ", "<svg ", "<path ", "<text ")
"""What pages and pictures for browsers begin with, and their parts."""


def test_the_texts_are_found() -> None:
    assert len(said()) > 1500
    texts = {constant(node, "x") for _, node in said()}
    assert "the new configuration is not used: %s" in texts


def is_pattern(text: str) -> bool:
    return any(mark in text for mark in ("(?:", "[0-9", "[^", "++", r"\s", r"\d", r"\1"))


def numbers_that_are_examples(text: str) -> bool:
    """Tell whether a text has a phone number as an example, for people to see."""
    return any(mark in text for mark in ("+1555", "+4915", "+5511", "15550100"))


@pytest.mark.parametrize("value", TYPICAL)
def test_what_this_project_says_stays(value: str) -> None:
    changed = []
    for place, node in said():
        text = constant(node, value)
        assert text is not None
        if is_pattern(text) or numbers_that_are_examples(text) or text.startswith(HEADERS + MARKUP):
            continue
        if "%s" in text or "%d" in text or "%g" in text:
            for mark in ("%s", "%r", "%d", "%g", "%.1f", "%.0f"):
                text = text.replace(mark, value)
        if redact(text) != text:
            changed.append((place, text, redact(text)))
    assert changed == []


def test_words_for_programs_stay() -> None:
    words = [*map(str, Kind), *map(str, State), *KEYS, *KEYS.values()]
    assert [word for word in words if redact(word) != word] == []


def test_a_log_line_of_this_project_comes_out_as_it_went_in() -> None:
    record = logging.LogRecord(
        "orchestrator.service.children",
        logging.WARNING,
        "",
        0,
        "%s: process killed: %s%s",
        ("support", "x", ""),
        None,
    )
    RedactingFilter().filter(record)
    assert record.getMessage() == "support: process killed: x"
