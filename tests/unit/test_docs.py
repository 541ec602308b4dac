"""What the documentation names exists: links, commands, options, files, kinds, states and exit codes."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from orchestrator import __version__
from orchestrator.accounts.failure import EXIT_CODES, Kind
from orchestrator.accounts.states import State
from orchestrator.cli import COMMANDS, app
from orchestrator.errors import ExitCode
from orchestrator.messages.rendering import form

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "orchestrator"
DOCS = ROOT / "docs"
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
    *sorted(DOCS.rglob("*.md")),
]
LINK = re.compile(r"\[[^]]+\]\(([^)]+)\)")
FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
COMMAND_LINE = re.compile(r"(?<![\w/.@-])orchestrator((?: +(?:--?[a-z-]+|[\w+./:'{}=…-]+))+)")
IN_PACKAGE = sorted(path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists())
PATH = re.compile(
    rf"(?<![\w/.~-])((?:{'|'.join(IN_PACKAGE)}|tests|benchmarks|docs|systemd)/[a-z][\w./-]*[\w/])(?![\w*])"
)
MODULE = re.compile(r"python -m (benchmarks(?:\.\w+)+)")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def anchor(heading: str) -> str:
    """Return a heading's anchor, as GitHub makes it."""
    words = LINK.sub(lambda link: link[0].partition("]")[0], heading)
    return re.sub(r"[^\w -]", "", words).strip().lower().replace(" ", "-")


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {anchor(heading) for heading in headings}


def code(text: str) -> Iterator[str]:
    """Yield what a page shows as code: blocks and spans."""
    yield from FENCE.findall(text)
    yield from re.findall(r"`([^`\n]+)`", FENCE.sub("", text))


def table(page: Path, heading: str) -> list[list[str]]:
    """Return the rows of the first table below a heading, without the table's own head."""
    section = page.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.split("\n") if line.startswith("|")]
    assert len(rows) > 2, f"{page.name} has no table below {heading!r}"
    return [[cell.strip() for cell in row] for row in rows[2:]]


@cache
def command(*names: str) -> Any:  # noqa: ANN401 - typer has it from one library or another
    """Return a command by its names; None if there is none."""
    found: Any = typer.main.get_command(app)
    for name in names:
        if not hasattr(found, "get_command"):
            return None
        found = found.get_command(typer.Context(found), name)
    return found


def wrong_options(words: list[str]) -> Iterator[str]:
    """Yield what a command line has that the program does not know.

    Args:
        words: The command line behind the program's name.
    """
    while words and words[0] in ("--config", "--state-dir"):
        words = words[2:]
    if not words or not re.fullmatch(r"[a-z-]+", words[0]) or words[0].startswith("-"):
        return  # such as COMMAND, or --version
    names = words[:1]
    if command(*names) is None:
        yield f"there is no command {names[0]}"
        return
    if hasattr(command(*names), "get_command") and re.fullmatch(r"[a-z][a-z-]*", "".join(words[1:2])):
        names = words[:2]
        if command(*names) is None:
            yield f"there is no command {' '.join(names)}"
            return
    if "--" in words:
        words = words[: words.index("--")]
    known = {"--help", *(option for one in command(*names).params for option in one.opts)}
    for word in words:
        if re.fullmatch(r"--[a-z-]+", word) and word not in known:
            yield f"{' '.join(names)} has no option {word}"


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    dead = []
    for target in LINK.findall(FENCE.sub("", page.read_text())):
        name, _, fragment = target.partition("#")
        file = page.parent / name if name else page
        if not target.startswith("https://") and (
            not file.exists() or (fragment and fragment not in anchors(file))
        ):
            dead.append(target)
    assert not dead


@each_page
def test_commands_and_options_are_there(page: Path) -> None:
    texts = [*code(page.read_text())]
    lines = [line.split() for text in texts for line in COMMAND_LINE.findall(text)]
    # Once a page has named the program, it leaves the name out: `add --proxy`.
    lines += [words for words in map(str.split, texts) if words[0] in COMMANDS and " --" in " ".join(words)]
    assert not [wrong for line in lines for wrong in wrong_options(line)]


@each_page
def test_files_and_modules_are_there(page: Path) -> None:
    texts = [*code(page.read_text())]
    paths = [path for text in texts for path in PATH.findall(text)]
    assert not [path for path in paths if not (PACKAGE / path).exists() and not (ROOT / path).exists()]
    for module in (module.replace(".", "/") for text in texts for module in MODULE.findall(text)):
        assert (ROOT / f"{module}.py").exists() or (ROOT / module / "__main__.py").exists(), module


def missing_tests(text: str) -> set[str]:
    """Return the files of tests that a text names and that are not there, in whatever folder."""
    there = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    return set(re.findall(r"\btest_\w+\.py\b", text)) - there


@each_page
def test_files_of_tests_are_there(page: Path) -> None:
    assert not missing_tests(page.read_text())


def test_what_is_wrong_is_found() -> None:
    assert missing_tests("| a stranger | `test_docs.py`, `test_nothing.py` |") == {"test_nothing.py"}
    assert [*wrong_options(["lists"])] == ["there is no command lists"]
    assert [*wrong_options(["list", "--wach", "--json"])] == ["list has no option --wach"]
    assert [*wrong_options(["sandbox", "fly"])] == ["there is no command sandbox fly"]
    assert [*wrong_options(["sandbox", "run", "--", "--fly"])] == []
    assert [*wrong_options(["--config", "FILE", "list", "--json", "support"])] == []
    assert anchor("The [fork server](x.md)'s `socket`") == "the-fork-servers-socket"


def test_the_failure_policy_has_every_kind_with_its_exit_code() -> None:
    rows = table(DOCS / "failure-policy.md", "The table")
    assert {row[0]: row[1] for row in rows} == {
        f"`{kind}`": str(EXIT_CODES[kind]) if kind in EXIT_CODES else "" for kind in Kind
    }


def test_the_contract_has_every_state() -> None:
    assert [row[0] for row in table(DOCS / "operate.md", "States")] == [f"`{state}`" for state in State]


def test_the_contract_has_every_exit_code() -> None:
    told = {int(row[0]) for row in table(DOCS / "operate.md", "Exit codes")}
    assert told == {*ExitCode, 130}


def test_the_contract_has_every_command() -> None:
    text = (DOCS / "operate.md").read_text()
    documented = set(re.findall(r"`orchestrator ([a-z-]+)", text))
    elsewhere = {"run", "demo", "sandbox", "install-unit"}
    assert set(command().list_commands(typer.Context(command()))) - elsewhere <= documented


def test_the_contract_has_every_json_field(tmp_path: Path) -> None:
    file = tmp_path / "accounts.yaml"
    file.write_text("accounts: {support: }")
    line = [
        "-m",
        "orchestrator",
        "--config",
        str(file),
        "--state-dir",
        str(tmp_path / "state"),
        "list",
        "--json",
    ]
    done = subprocess.run([sys.executable, *line], cwd=ROOT, capture_output=True, text=True, check=True)
    (account,) = json.loads(done.stdout)
    told = [row[0] for row in table(DOCS / "operate.md", "JSON for programs")]
    assert sorted(re.findall(r"`(\w+)`", " ".join(told))) == sorted(account)


def test_the_changelog_has_this_version_first() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings[0] == "Unreleased"
    for heading in headings[1:]:
        assert re.fullmatch(r"\d+\.\d+\.\d+ - \d{4}-\d{2}-\d{2}", heading)
    assert headings[1].partition(" ")[0] == __version__
    groups = set(re.findall(r"^### (.*)$", text, re.MULTILINE))
    assert groups <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 100


def test_the_page_about_messages_has_every_type_and_field_of_events() -> None:
    text = (DOCS / "messages.md").read_text()

    def fields(schema: object) -> Iterator[str]:
        if isinstance(schema, dict):
            yield from schema.get("properties", ())
            for one in schema.values():
                yield from fields(one)
        elif isinstance(schema, list):
            for one in schema:
                yield from fields(one)

    def words(schema: object) -> Iterator[str]:
        if isinstance(schema, dict):
            yield from (one for one in schema.get("enum", ()) if isinstance(one, str))
            for one in schema.values():
                yield from words(one)
        elif isinstance(schema, list):
            for one in schema:
                yield from words(one)

    named = {*re.findall(r"`([a-z0-9_.]+)`", text), *re.findall(r'"([a-z_]+)":', text)}
    assert set(form.DATA) <= named
    assert set(fields(form.schema())) <= named
    assert set(words(form.schema())) <= named


def imported(package: str) -> set[str]:
    """Return what the modules of a package import of the program, without imports for types only."""

    def found(node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            is_package = (ROOT / node.module.replace(".", "/")).is_dir()
            yield from (f"{node.module}.{one.name}" if is_package else node.module for one in node.names)
        elif isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        for child in ast.iter_child_nodes(node):
            yield from found(child)

    files = (ROOT / "orchestrator" / package).rglob("*.py")
    every = {name for file in files for name in found(ast.parse(file.read_text()))}
    return {name.removeprefix("orchestrator.") for name in every if name.startswith("orchestrator.")}


def test_the_table_of_arrows_names_what_packages_import() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    table = [line.strip("|").split("|") for line in re.findall(r"(?m)^\|.*\|$", text.split("### Arrows")[1])]
    columns = [one.strip() for one in table[0]]
    assert columns[1:3] == ["errors", "system"]
    wrong: list[str] = []
    for row in table[2 : 2 + len(columns)]:
        if not (match := re.fullmatch(r" \*\*([a-z]+)\*\* ", row[0])):
            break
        targets = imported(match[1])
        for column, cell in zip(columns[1:], row[1:], strict=True):
            if column == match[1]:
                continue
            used = {
                one[len(column) + 1 :] for one in targets if one == column or one.startswith(f"{column}.")
            }
            named = re.findall(r"`([a-z_.]+)`", cell)
            if named:
                stray = {one for one in used if not any(f"{one}.".startswith(f"{name}.") for name in named)}
                unused = {name for name in named if not any(f"{one}.".startswith(f"{name}.") for one in used)}
                wrong += [f"{match[1]} → {column}.{one}" for one in sorted(stray | unused)]
            elif not cell.strip():
                wrong += [f"{match[1]} → {column}.{one}" for one in sorted(used)]
    assert wrong == []
