"""Hints repeat the options that a command was given, and texts of people stay as they are."""

from __future__ import annotations

import ast
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import orchestrator.cli
from orchestrator.cli import formatting, repeating
from orchestrator.cli.inbox.lines import flat

WORDS = ["--config", "/srv/a b.yaml", "--state-dir", "/srv/s"]
OPTIONS = "--config '/srv/a b.yaml' --state-dir /srv/s"
CLI = Path(orchestrator.cli.__file__).parent


@pytest.fixture(autouse=True)
def nothing_is_remembered() -> Iterator[None]:
    yield
    repeating.remember(None, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see `orchestrator list`", f"see `orchestrator {OPTIONS} list`"),
        ("`sudo -u orchestrator orchestrator …`", f"`sudo -u orchestrator orchestrator {OPTIONS} …`"),
        ("`sudo orchestrator doctor`", f"`sudo orchestrator {OPTIONS} doctor`"),
        (
            "`orchestrator a` and `orchestrator b`",
            f"`orchestrator {OPTIONS} a` and `orchestrator {OPTIONS} b`",
        ),
        ("`orchestrator --config /x list`", "`orchestrator --config /x list`"),
        ("`orchestrator demo`", "`orchestrator demo`"),
        ("`orchestrator sandbox serve`", "`orchestrator sandbox serve`"),
        ("`systemctl start orchestrator`", "`systemctl start orchestrator`"),
        ("the orchestrator list", "the orchestrator list"),
    ],
)
def test_commands_in_a_sentence(text: str, expected: str) -> None:
    assert repeating.into(text, WORDS) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see `orchestrator list`", "see `orchestrator sandbox run -- orchestrator --config x list`"),
        ("`orchestrator --config /y list`", "`orchestrator sandbox run -- orchestrator --config /y list`"),
        ("`orchestrator demo`", "`orchestrator demo`"),
        ("`orchestrator sandbox serve`", "`orchestrator sandbox serve`"),
        ("`systemctl start orchestrator`", "`systemctl start orchestrator`"),
    ],
)
def test_commands_in_a_sentence_stay_in_the_sandbox(text: str, expected: str) -> None:
    repeating.remember("x", None, {repeating.SANDBOX_RUN: ""})
    assert repeating.repeat(text) == expected
    repeating.remember("x", None, {})
    assert "sandbox run" not in repeating.repeat(text)


def test_commands_in_a_sentence_find_another_sandbox() -> None:
    repeating.remember(None, None, {repeating.SANDBOX_RUN: "http://127.0.0.1:9"})
    assert repeating.repeat("`orchestrator qr a`") == (
        "`orchestrator sandbox run --control http://127.0.0.1:9 -- orchestrator qr a`"
    )


@given(st.text())
def test_without_options_no_text_changes(text: str) -> None:
    assert repeating.into(text, []) == text


@given(st.text(st.characters(exclude_characters="`", exclude_categories=["Cs"]), min_size=1))
def test_a_shell_reads_the_options_as_they_were_given(path: str) -> None:
    text = repeating.into("`orchestrator list`", repeating.given(path, None))
    assert shlex.split(text.strip("`")) == ["orchestrator", "--config", path, "list"]


@given(st.text())
def test_a_text_without_a_command_stays(text: str) -> None:
    if "`orchestrator " not in text and "`sudo" not in text:
        assert repeating.into(text, WORDS) == text


def test_sentences_get_the_options_and_messages_do_not() -> None:
    text = "run `orchestrator list`"
    repeating.remember("/x", None)
    assert formatting.printable(text) == "run `orchestrator --config /x list`"
    assert flat(text) == formatting.verbatim(text) == text


def hints(tree: ast.AST) -> Iterator[ast.Call]:
    """Yield the calls of print() that print a text with a command and do not send it through `printable`."""
    for call in ast.walk(tree):
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "print"):
            continue
        for argument in call.args:
            inside = {
                id(part) for one in ast.walk(argument) if isinstance(one, ast.Call) for part in ast.walk(one)
            }
            for part in ast.walk(argument):
                if (
                    isinstance(part, ast.Constant)
                    and isinstance(part.value, str)
                    and "`orchestrator " in part.value
                    and id(part) not in inside
                ):
                    yield call


def test_every_printed_hint_repeats_the_options() -> None:
    found = [
        f"{file.relative_to(CLI)}:{call.lineno}"
        for file in sorted(CLI.rglob("*.py"))
        for call in hints(ast.parse(file.read_text()))
    ]
    assert not found, f"put these sentences into formatting.printable(): {', '.join(found)}"


def test_a_hint_that_is_printed_bare_is_found() -> None:
    bare = "print(f'see `orchestrator list {name}`')"
    assert list(hints(ast.parse(bare)))
    assert not list(hints(ast.parse(bare.replace("(", "(printable(").replace("')", "'))"))))
