"""`on_change:` in the configuration: what it says, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.accounts.on_change import OnChange, Rate
from orchestrator.config import reader
from orchestrator.errors import ConfigError


def read(folder: Path, text: str, **environ: str) -> OnChange | None:
    lines = "".join(f"  {line}\n" for line in text.splitlines())
    document = f"state_dir: state\non_change:\n{lines}accounts: {{a: {{}}}}\n"
    return reader.parse(document, folder / "accounts.yaml", environ={"HOME": "/root", **environ}).on_change


def test_everything_that_can_be_said(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("https://chat.example.com/hook\n")
    (tmp_path / "url").chmod(0o600)
    found = read(
        tmp_path,
        "run: [./tell, --n, 3, '']\nwhen: [down, connected]\nfor: 5m\nat_most: 10/d\nat_most_each: 1/m\n"
        "timeout: 10s\naccounts: a\nenv: [HTTPS_PROXY]\nenv_files: {CHAT_URL: url}",
        HTTPS_PROXY="http://proxy:1",
    )
    assert found == OnChange(
        run=(str(tmp_path / "tell"), "--n", "3", ""),
        when=("down", "connected"),
        lasts=300.0,
        at_most=Rate(10, 86_400.0),
        at_most_each=Rate(1, 60.0),
        timeout=10.0,
        accounts=frozenset({"a"}),
        env=(("HTTPS_PROXY", "http://proxy:1"), ("CHAT_URL", "https://chat.example.com/hook")),
    )


def test_a_program_is_all_that_is_needed(tmp_path: Path) -> None:
    assert read(tmp_path, "run: /bin/tell") == OnChange(("/bin/tell",))


def test_nothing_is_none(tmp_path: Path) -> None:
    document = "state_dir: state\non_change:\naccounts: {}\n"
    assert reader.parse(document, tmp_path / "accounts.yaml", environ={}).on_change is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("for: 5m", "on_change: expected the key run, found none"),
        ("run: tell", 'found "tell" without a folder'),
        ("run: []", "found an empty list"),
        ("run: [/bin/tell, ]\nwhen: sleeping", 'found "sleeping"'),
        ("run: /bin/tell\nwhen: []", "found an empty list"),
        ("run: /bin/tell\nwhen: [resolved]", "nothing else can be resolved"),
        ("run: /bin/tell\nfor: 5", 'found "5" without a unit'),
        ("run: /bin/tell\nat_most: 0/h", 'found "0/h"'),
        ("run: /bin/tell\nat_most: 10", "found"),
        ("run: /bin/tell\nat_most: 1001/h", "at most 1,000"),
        ("run: /bin/tell\ntimeout: 0s", "from 1s to 10m"),
        ("run: /bin/tell\naccounts: [b]", "found b, which is none"),
        ("run: /bin/tell\nenv: [LD_PRELOAD]", "LD_PRELOAD"),
        ("run: /bin/tell\nenv_files: {X: missing}", "does not exist"),
        ("run: /bin/tell\nshell: true", "unknown key"),
        ("- /bin/tell", "expected a mapping"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert said in str(caught.value)


def test_a_variable_that_is_not_set_is_missing(tmp_path: Path) -> None:
    document = "state_dir: state\non_change: {run: /bin/tell, env: [X_TOKEN]}\naccounts: {}\n"
    found = reader.parse(document, tmp_path / "accounts.yaml", environ={})
    assert found.missing_variables == (("on_change.env", "X_TOKEN"),)
