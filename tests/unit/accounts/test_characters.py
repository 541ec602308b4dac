"""Characters that nobody sees: a message names them, and where they are."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.accounts import characters
from orchestrator.accounts.names import check_name
from orchestrator.cli.hints import hint
from orchestrator.config import reader, yaml_tree
from orchestrator.config.locate import expand
from orchestrator.errors import ConfigError

NBSP = "U+00A0 (NO-BREAK SPACE)"
both_loaders = pytest.mark.parametrize("loader", [yaml_tree.Loader, yaml.SafeLoader], ids=["fast", "slow"])


@pytest.mark.parametrize(
    ("text", "named"),
    [
        # Keys and names
        ("accounts:\n  supp\u043ert: {}", "U+043E (CYRILLIC SMALL LETTER O) at line 2, column 7"),
        ("\u0430ccounts: {}", "U+0430 (CYRILLIC SMALL LETTER A) at line 1, column 1"),
        ("accounts:\n  a\u200bb: {}", "U+200B (ZERO WIDTH SPACE) at line 2, column 4"),
        ("accounts:\n  \u201ca\u201d: {}", "U+201C (LEFT DOUBLE QUOTATION MARK) at line 2, column 3"),
        ("accounts:\n  a\u2013b: {}", "U+2013 (EN DASH) at line 2, column 4"),
        ("accounts:\n  a: {pro\u00adxy: null}", "U+00AD (SOFT HYPHEN) at line 2, column 10"),
        (
            "accounts: {}\nstart: {}\nx\ufeff: 1",
            "U+FEFF (ZERO WIDTH NO-BREAK SPACE) at line 3, column 2",
        ),
        ('{"accounts": {"a\\u00a0": {}}}', f"{NBSP} as character 2"),
        # Indentation and punctuation
        ("accounts:\n\u00a0\u00a0a: {}", f"{NBSP} at line 2, column 1"),
        ("accounts:\n  a:\n\u00a0\u00a0\u00a0\u00a0enabled: true\n  b: {}", f"{NBSP} at line 3, column 1"),
        ("accounts:\u00a0{}", f"{NBSP} at line 1, column 10"),
        ("accounts\uff1a {}", "U+FF1A (FULLWIDTH COLON) at line 1, column 9"),
        ("accounts:\n  a:\u2003{}\n  b: {}", "U+2003 (EM SPACE) at line 2, column 5"),
        ("accounts: \uff5ba: {}\uff5d\nx", "U+FF5B (FULLWIDTH LEFT CURLY BRACKET) at line 1, column 11"),
        # Values
        (
            "accounts:\n  a:\n    enabled: \u201ctrue\u201d",
            "U+201C (LEFT DOUBLE QUOTATION MARK) at line 3, column 14",
        ),
        ("accounts:\n  a:\n    enabled: true\u200b", "U+200B (ZERO WIDTH SPACE) at line 3, column 18"),
        ("start: {parallel: \uff12}", "U+FF12 (FULLWIDTH DIGIT TWO) at line 1, column 19"),
        ("start: {spread: 1\u00a0s}", f"{NBSP} at line 1, column 18"),
        ("quarantine_days: \u22121", "U+2212 (MINUS SIGN) at line 1, column 18"),
        ("defaults: {memory_limit: 200\u041c}", "U+041C (CYRILLIC CAPITAL LETTER EM) at line 1, column 29"),
        ("defaults: {proxy: 'http://h\u200b:1'}", "U+200B (ZERO WIDTH SPACE) at line 1, column 28"),
        ("defaults: {proxy: 'http://u:s3cr3t\u00a0@h:1'}", f"{NBSP} at line 1, column 35"),
        ("defaults: {device_name: 'a\u200bb'}", "U+200B (ZERO WIDTH SPACE) at line 1, column 27"),
        ("state_dir: /srv/a\u00a0b", f"{NBSP} as character 7"),
        ("qr_dir: /srv/a\u202eb", "U+202E (RIGHT-TO-LEFT OVERRIDE) at line 1, column 15"),
        ('accounts: {a: {phone: "\\u2066+15550100"}}', "U+2066 (LEFT-TO-RIGHT ISOLATE) as character 1"),
    ],
)
@both_loaders
def test_the_file(text: str, named: str, loader: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_tree, "Loader", loader)
    with pytest.raises(ConfigError) as told:
        reader.parse(text, "f", environ={"HOME": "/h"})
    assert named in str(told.value)
    assert "s3cr3t" not in str(told.value)


@pytest.mark.parametrize(
    "text",
    [
        "a: [1\nb: 2  # it\u2019s here\u2026",
        "accounts: {a: {proxy: 'http://ü:s3cr3t%@h:1'}}",
        "defaults: {device_name: '" + "ü" * 51 + "'}",
    ],
)
def test_what_is_not_to_blame_is_not_named(text: str) -> None:
    with pytest.raises(ConfigError) as told:
        reader.parse(text, "f", environ={"HOME": "/h"})
    assert "U+" not in str(told.value)


def test_texts_and_folders_in_any_script_are_fine() -> None:
    settings = reader.parse(
        "state_dir: /srv/Aufträge \u00ab\u043d\u0435\u0442\u00bb\n"
        "defaults: {device_name: 'Müller \u2013 \u201cbüro\u201d'}",
        "f",
        environ={"HOME": "/h"},
    )
    assert settings.state_dir.name == "Aufträge \u00ab\u043d\u0435\u0442\u00bb"


def test_names_and_paths_on_the_command_line() -> None:
    with pytest.raises(
        ConfigError, match=r"\(it contains U\+043E \(CYRILLIC SMALL LETTER O\) as character 5\)$"
    ):
        check_name("supp\u043ert")
    with pytest.raises(ValueError, match=r"a path with U\+200B \(ZERO WIDTH SPACE\) as character 3, which"):
        expand("/a\u200b/b", base=Path("/"), environ={})


@given(st.characters())
def test_every_character_has_a_name(character: str) -> None:
    assert characters.describe(character).startswith(f"U+{ord(character):04X} (")
    assert characters.describe(character).isprintable()


@given(st.text())
def test_what_is_unseen_is_strange_too(text: str) -> None:
    strange, unseen, deceptive = (
        find(text) for find in (characters.find_strange, characters.find_unseen, characters.find_deceptive)
    )
    for found in (unseen, deceptive):
        assert found is None or (strange is not None and strange <= found)
    assert (strange is None) == all(" " <= one <= "~" for one in text)
    assert characters.remark(text).isprintable()


class WrongUsageError(Exception):
    """Stands for an error of usage."""

    ctx = None

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@pytest.mark.parametrize(
    ("message", "arguments", "expected"),
    [
        (
            "Got unexpected extra argument (\u2013phone)",
            ["add", "x", "\u2013phone"],
            "Argument 3 begins with U+2013 (EN DASH)",
        ),
        ("No such command '\u2014help'", ["\u2014help"], "Argument 1 begins with U+2014 (EM DASH)"),
        ("Missing option '--to'", ["send", "a", "\u2212-to"], "Argument 3 begins with U+2212 (MINUS SIGN)"),
        ("No such command 'li\\u200bst'", ["li\u200bst"], "U+200B (ZERO WIDTH SPACE) as character 3"),
        (
            "No such option: --js\u043en",
            ["list", "--js\u043en"],
            "U+043E (CYRILLIC SMALL LETTER O) as character 5",
        ),
    ],
)
def test_errors_of_usage(message: str, arguments: list[str], expected: str) -> None:
    assert expected in hint(WrongUsageError(message), arguments)


def test_errors_of_usage_that_say_it_all() -> None:
    assert hint(WrongUsageError("No such option: -x"), ["send", "ünd", "-x"]) == ""
