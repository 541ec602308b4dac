"""Commands find the state folder by the same reader as the service: whatever the spelling, both agree."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import event, given, settings
from hypothesis import strategies as st

from orchestrator.config import file, reader, yaml_tree
from orchestrator.config.state_dir import find_state
from orchestrator.errors import ConfigError

FILE = "/etc/o/accounts.yaml"
HERE = Path("/srv/here")
USUAL = Path("/home/ada/.local/state/orchestrator")
ENVIRON = {"HOME": "/home/ada", "PLACE": "/srv"}
both_loaders = pytest.mark.parametrize("loader", [yaml_tree.Loader, yaml.SafeLoader], ids=["fast", "slow"])

SPELLINGS = [
    "state_dir: /srv/here",
    "\ufeffstate_dir: /srv/here",
    "'state_dir': /srv/here",
    '"state_dir" : "/srv/here"',
    '"state\\u005fdir": /srv/here',
    '"\\x73tate_dir": /srv/here',
    '? "state_\\\n  dir"\n: /srv/here',
    '# JSON\n{"accounts": {}, "state_dir": "/srv/here"}',
    "--- {state_dir: /srv/here}",
    "--- {accounts: {a: {}},\n state_dir: /srv/here}\n...\n",
    "  accounts: {}\n  state_dir: /srv/here\n",
    "%YAML 1.1\n---\nstate_dir: /srv/here",
    "%TAG ! tag:yaml.org,2002:\n---\n!str state_dir: !str /srv/here",
    "!!str state_dir: !!str /srv/here",
    "&k state_dir: &v /srv/here",
    "? state_dir\n: /srv/here",
    "? state_dir\n# why\n:\n  /srv/here",
    "state_dir:\n  /srv/here",
    "state_dir: >-\n  /srv/here\n",
    "state_dir: |-\n  /srv/here\naccounts: {}",
    'state_dir: "/srv/\\\n  here"',
    "state_dir: ${env:PLACE}/here  # not ~/there",
    "state_dir: ${env:PLACE}/x/../here",
    "accounts: {}\r\nstate_dir: /srv/here\r\n",
    "accounts: {}\rstate_dir: /srv/here\r",
    "accounts: {}\x85state_dir: /srv/here\x85",
    "# accounts\u2028state_dir: /srv/here",
    "<<: {state_dir: /srv/here}\naccounts: {}",
    "<<: [{state_dir: /srv/here}, {state_dir: /srv/there}]",
    "<<: {state_dir: /srv/there}\nstate_dir: /srv/here",
    "accounts:\nstate_dir: /srv/here",
    "{? state_dir : /srv/here}",
    '{"state_dir":"/srv/here"}',
    "accounts: {a: {device_name: 'state_dir: /srv/there'}}\nstate_dir: /srv/here",
    "# state_dir: /srv/there\nstate_dir: /srv/here",
    "defaults:\n  device_name: |-\n    x\nstate_dir: /srv/here",
]
"""All of these name /srv/here."""


@pytest.mark.parametrize("text", SPELLINGS)
@both_loaders
def test_every_spelling_is_read(text: str, loader: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_tree, "Loader", loader)
    text = file.decode(text.encode(), FILE)
    assert file.may_have("state_dir", text)
    assert reader.parse(text, FILE, environ=ENVIRON).state_dir == HERE
    assert find_state(text, FILE, environ=ENVIRON) == HERE


@pytest.mark.parametrize(
    "text",
    [
        "accounts: {}",
        "# state_dir: /srv/here\naccounts: {}",
        "state_dir:\naccounts: {}",
        "state_dir: ~",
        "accounts: {a: {device_name: 'state_dir: x'}}",
        "accounts:\n  a:\n    device_name: |\n      state_dir: /srv/here",
        "defaults: {device_name: state_dir}",
    ],
)
def test_what_names_no_folder_means_the_usual_one(text: str) -> None:
    assert reader.parse(text, FILE, environ=ENVIRON).state_dir == USUAL
    assert find_state(text, FILE, environ=ENVIRON) == USUAL


@pytest.mark.parametrize(
    "text",
    [
        "state_dir: /srv/here\nnonsense: [",
        "state_dir: /srv/here\nnonsense: 1\naccounts: {A: x}",
        "state_dir: /srv/here\naccounts:\n\ta: {}",
        "state_dir: /srv/here\n---\n{}",
        "state_dir: /srv/here\naccounts: *nobody",
        "state_dir: /srv/here\naccounts: " + "[" * 200_000,
    ],
)
def test_what_is_wrong_elsewhere_keeps_nobody_from_the_service(text: str) -> None:
    assert find_state(text, FILE, environ=ENVIRON) == HERE


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found an empty file"),
        ("# nothing", "found an empty file"),
        ("accounts: [\nstate_dir: /srv/here", "not valid YAML: did not find expected"),
        ("accounts: [", "not valid YAML"),
        ("- state_dir: /srv/here", "expected a mapping of keys to values, found a list"),
        (
            "state_dir: /a\nstate_dir: /b",
            ":2: state_dir: expected every key once, found this one on line 1, too",
        ),
        ("state_dir: [/a]", "state_dir: expected the path of a folder, or null, found a list"),
        ("state_dir: 3", "state_dir: expected the path of a folder"),
        ("state_dir: ${env:NOPE}", "$NOPE, which is not set"),
        ("state_dir: /tmp/$SECRET", "found $SECRET; a path may have $HOME,"),
        ("state_dir: *p", "an alias without an anchor"),
        ("accounts: " + "{a: " * 100_000 + "\nstate_dir: /a", "nested more than 16 levels deep"),
    ],
)
def test_a_file_that_does_not_tell_is_an_error(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as told:
        find_state(text, FILE, whole=True, environ=ENVIRON)
    assert message in str(told.value)
    if "every key once" not in message:  # of two folders the first counts, as long as a service is there
        with pytest.raises(ConfigError) as told:
            find_state(text, FILE, environ=ENVIRON)
        assert message in str(told.value)
    with pytest.raises(ConfigError):
        reader.parse(text, FILE, environ=ENVIRON)


def test_what_needs_no_reading_is_not_read() -> None:
    for text in (
        "accounts: {}",
        "# state_dir: /srv/here\naccounts: {}",
        "a: 1\r\n\t# the state_dir\r\n",
        "# state_dir",
        r'defaults: {device_name: "a\\b \t \u00fc"}',
    ):
        assert not file.may_have("state_dir", text)
    for text in (
        '{"a": "\n# b", state_dir: /x}',
        "# a\x85state_dir: /x",
        "#\u2028state_dir: /x",
        "a: 1 # state_dir: /x",
        r'"\U0000005fdir": 1',
        r'"\x5F": 1',
        '"state_\\\ndir": 1',
    ):
        assert file.may_have("state_dir", text)


# Whatever is written

VALUES = st.sampled_from(
    [
        "/srv/a",
        "'/srv/b'",
        '"/srv/\\x63"',
        "~",
        "~/x",
        "null",
        "",
        ">-\n    /srv/d\n",
        "&v /srv/e",
        "*v",
        "!!str /srv/f",
        "[x]",
    ]
)
KEYS = st.sampled_from(
    [
        "state_dir", "'state_dir'", '"state_dir"', '"state\\x5fdir"', "!!str state_dir", "&k state_dir",
        "? state_dir\n", "# state_dir", "<<", "qr_dir", "state_dirs", " state_dir", "<<: *d\nstate_dir",
    ]
)  # fmt: skip
OTHERS = st.sampled_from(
    [
        "accounts: {}", "accounts: {a: {device_name: state_dir}}", "defaults: &d {device_name: &v /x}",
        "# state_dir: /no",
        "accounts: {\n# state_dir: /no\n}", "# \\x5f", "defaults: {device_name: '\n# '}",
        "accounts:\n  a: {}", "<<: {state_dir: /srv/m}", "<<: [{state_dir: /srv/n}, {}]",
        "quarantine_days: 3", "start: {parallel: 2}\x85",
    ]
)  # fmt: skip
BROKEN = st.sampled_from(
    ["...", "---", "\t", "accounts: [", "\u2028", "%YAML 1.1", "accounts:\n  state_dir: {}"]
)
NAMED = st.tuples(KEYS, VALUES).map(": ".join)
LINES = st.lists(
    OTHERS | OTHERS | OTHERS | NAMED | NAMED | NAMED | BROKEN,
    max_size=4,
    unique_by=lambda line: line.partition(":")[0],
)


@settings(max_examples=400, deadline=None)
@given(
    lines=LINES,
    newline=st.sampled_from(["\n", "\r\n", "\r", "\x85", "\u2028"]),
    start=st.sampled_from(["", "\ufeff", "--- \n", "%YAML 1.1\n---\n"]),
    braces=st.booleans(),
)
def test_commands_and_service_agree(lines: list[str], newline: str, start: str, *, braces: bool) -> None:
    text = f"{{{','.join(lines)}}}" if braces else "\n".join(lines)
    agree((start + text + "\n").replace("\n", newline))


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["state_dir", "accounts", "defaults", "quarantine_days"]),
        st.sampled_from([None, "/srv/x", {}, 3]),
        max_size=4,
    ),
    st.sampled_from([True, False, None]),
    st.sampled_from([None, "'", '"', "|", ">"]),
    st.integers(2, 6),
    st.booleans(),
)
def test_they_agree_on_what_a_program_writes(
    values: dict[str, object], flow: bool | None, style: str | None, indent: int, explicit: bool
) -> None:
    text = yaml.safe_dump(
        values, default_flow_style=flow, default_style=style, indent=indent, explicit_start=explicit
    )
    agree(text)


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("state_dir:{}[]'\"\\\n #&*!?-|>,/\x85\t"), max_size=40))
def test_noise_is_no_trouble(text: str) -> None:
    agree(text)


def agree(text: str) -> None:
    """See that a file the service takes leads every command to the service's own folder.

    Of one that the service refuses, commands may read as much as they need, or refuse it, too.
    """
    text = file.decode(text.encode(), FILE)
    used = found = None
    with suppress(ConfigError):
        used = reader.parse(text, FILE, environ=ENVIRON).state_dir
    with suppress(ConfigError):
        found = find_state(text, FILE, environ=ENVIRON)
        assert used is None or find_state(text, FILE, whole=True, environ=ENVIRON) == found
    event("taken" if used else "refused")
    assert used is None or found == used
    if used is not None and not file.may_have("state_dir", text):
        assert used == USUAL
