"""Every error that an operator can cause has a key for programs, and all keys are known and documented."""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.accounts.names import no_such_account
from orchestrator.control.protocol import error_answer, read_error
from orchestrator.errors import KEYS, ConfigError, NoSuchAccount, NotRunning, OrchestratorError

ROOT = Path(__file__).resolve().parents[2]
WORKER = ROOT / "orchestrator/worker"
"""Its errors are how a run ends, which the pipe tells: no operator gets them as they are."""
LIST = "; `orchestrator list` shows all accounts"
KEYED_BY_ARGUMENT = {"_error", "RefusedError"}
"""What takes a key as its last argument: on the control socket, and where HTTP requests are refused."""
KEYED_BY_ONE = {"Denied", "No", "_answer", "problems.body"}
"""What takes nothing but a key, in the HTTP API."""


def nodes() -> Iterator[tuple[str, ast.AST]]:
    """Walk through what is written in each module but the worker's, one module after the other.

    All of the package at once takes several hundred MB, which each process that runs tests would keep.
    """
    for path in (ROOT / "orchestrator").rglob("*.py"):
        if not path.is_relative_to(WORKER):
            place = str(path.relative_to(ROOT))
            for node in ast.walk(ast.parse(path.read_text())):
                yield place, node


def name_of(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


@functools.cache
def error_classes() -> dict[str, ast.ClassDef]:
    """Return the classes of errors with keys, by name."""
    classes = [node for _, node in nodes() if isinstance(node, ast.ClassDef)]
    found = {one.name: one for one in classes if one.name == "OrchestratorError"}
    while True:
        more = {one.name: one for one in classes if any(name_of(base) in found for base in one.bases)}
        if more.keys() <= found.keys():
            return found
        found |= more


def own_key(of: ast.ClassDef) -> str | None:
    for node in of.body:
        if isinstance(node, ast.Assign) and [name_of(target) for target in node.targets] == ["key"]:
            assert isinstance(node.value, ast.Constant)
            return str(node.value.value)
    return None


def texts(node: ast.expr) -> set[str]:
    """Return the texts that an expression may be."""
    if isinstance(node, ast.IfExp):
        return texts(node.body) | texts(node.orelse)
    return {node.value} if isinstance(node, ast.Constant) and isinstance(node.value, str) else set()


def used_keys() -> set[str]:
    classes = error_classes()
    used = {key for one in classes.values() if (key := own_key(one))}
    for _, node in nodes():
        if isinstance(node, ast.Call) and name_of(node.func) in classes:
            used |= {text for word in node.keywords if word.arg == "key" for text in texts(word.value)}
        if isinstance(node, ast.Call) and name_of(node.func) in KEYED_BY_ARGUMENT and len(node.args) == 2:
            used |= texts(node.args[1])
        if isinstance(node, ast.Call) and ast.unparse(node.func) in KEYED_BY_ONE and node.args:
            used |= texts(node.args[0])
    return used


def test_every_class_has_a_key_of_its_own() -> None:
    classes = error_classes()
    assert {"ConfigError", "LibraryError", "UnitError", "BadRequest", "SandboxError"} <= classes.keys()
    assert [name for name, one in classes.items() if own_key(one) is None] == []


def test_an_error_without_a_class_of_its_own_is_given_a_key() -> None:
    without = [
        place
        for place, node in nodes()
        if isinstance(node, ast.Call)
        and name_of(node.func) == "OrchestratorError"
        and not any(word.arg == "key" for word in node.keywords)
    ]
    assert without == []


def test_all_keys_are_registered_and_used() -> None:
    assert used_keys() == KEYS.keys()
    assert list(KEYS) == sorted(KEYS)


def test_the_documentation_has_all_keys() -> None:
    table = "\n".join(f"| `{key}` | {meaning} |" for key, meaning in KEYS.items())
    assert table in (ROOT / "docs/protocol.md").read_text(), f"docs/protocol.md, Error keys:\n{table}"


@pytest.mark.parametrize(
    ("error", "key", "code"),
    [
        (NotRunning("x"), "not_running", 4),
        (NoSuchAccount("x"), "no_such_account", 5),
        (ConfigError("x"), "config_invalid", 1),
        (ConfigError("x", key="account_exists"), "account_exists", 1),
    ],
)
def test_an_error_keeps_its_words_code_and_key_on_the_socket(
    error: OrchestratorError, key: str, code: int
) -> None:
    answer = error_answer(error)
    assert answer == {"error": "x", "exit_code": code, "key": key}
    again = read_error(answer)
    assert (str(again), int(again.exit_code), again.key) == ("x", code, key)
    assert isinstance(again, NotRunning) == isinstance(error, NotRunning)


def test_an_older_service_sends_no_key_and_a_newer_one_sends_others() -> None:
    assert read_error({"error": "x", "exit_code": 5}).key == "no_such_account"
    assert read_error({"error": "x", "exit_code": 1}).key == "failed"
    assert read_error({"error": "x", "exit_code": 1, "key": "of_later"}).key == "of_later"
    assert read_error({"error": "x", "exit_code": [], "key": []}).key == "failed"


def test_a_missing_account_is_worded_in_one_place() -> None:
    worded = [
        place
        for place, node in nodes()
        if isinstance(node, ast.Constant) and "there is no account " in str(node.value)
    ]
    assert set(worded) == {
        "orchestrator/accounts/names.py",
        "orchestrator/cli/sessions.py",  # no error: what `restore` adds when it has worked
        "orchestrator/store/moving.py",  # says in one sentence that the session is missing, too
    }


@pytest.mark.parametrize(
    ("names", "known", "file", "message"),
    [
        (["suport"], ["support"], None, '"suport"; did you mean support?'),
        (["x"], ["support"], None, f'"x"{LIST}'),
        (["x", "y"], ["x1"], "/c.yaml", f'"x", "y" in /c.yaml{LIST}'),
        (
            ["s\u043e"],
            [],
            None,
            '"s\u043e" (it contains U+043E (CYRILLIC SMALL LETTER O) as character 2)' + LIST,
        ),
        (["x" * 100_000], ["support"], None, f'"{"x" * 39}…"{LIST}'),
    ],
)
def test_a_missing_account_is_told_with_what_to_do(
    names: list[str], known: list[str], file: str | None, message: str
) -> None:
    error = no_such_account(*names, known=known, file=Path(file) if file else None)
    assert str(error) == f"there is no account {message}"
