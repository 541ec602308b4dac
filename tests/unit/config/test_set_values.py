"""Keys of accounts are set in the configuration, and everything else stays as it was written."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.config_files import TEXTS, files_with_account, on_disk

from orchestrator.accounts import changes
from orchestrator.accounts.settings import AccountSettings
from orchestrator.config import reader, yaml_tree
from orchestrator.config.set_values import all_keys, read_assignment, set_values
from orchestrator.errors import ConfigError, NoSuchAccount

BY_HAND = "only a person can edit"


@pytest.fixture(autouse=True)
def synced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forcing files to the disk hundreds of times takes too long for a test."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def edited(path: Path, before: str, *assignments: str, name: str = "shop") -> str:
    path.write_bytes(before.encode())
    set_values(path, {name: tuple(map(read_assignment, assignments))})
    return path.read_bytes().decode()


@pytest.fixture
def edit(tmp_path: Path) -> Callable[..., str]:
    def run(before: str, *assignments: str, name: str = "shop") -> str:
        return edited(tmp_path / "accounts.yaml", before, *assignments, name=name)

    return run


def head(*lines: str) -> str:
    return "\n".join(["# ours", "accounts:", *lines, "  other: {}  # stays", ""])


@pytest.mark.parametrize(
    ("before", "assignment", "after"),
    [
        (["  shop: {}  # x"], "note=hello", ["  shop:  # x", "    note: hello"]),
        (["  shop:"], "note=hello", ["  shop:", "    note: hello"]),
        (["  shop:", "    # phone: later"], "max_retries=3",
         ["  shop:", "    # phone: later", "    max_retries: 3"]),
        (["  shop: null"], "tags=a,b", ["  shop:", "    tags: [a, b]"]),
        (["  shop: {tags: [x]}"], "tags=a", ["  shop: {tags: [a]}"]),
        (["  shop: {tags: [x]}"], "sending.pacing=off", ["  shop: {tags: [x], sending: {pacing: off}}"]),
        (["  shop: {sending: {}}"], "sending.pacing=off", ["  shop: {sending: {pacing: off}}"]),
        (["  shop: {tags: [x]}"], "tags=", ["  shop: {}"]),
        (["  shop:", "    enabled: true # why"], "enabled=false", ["  shop:", "    enabled: false # why"]),
        (["  shop:", "    backoff:", "      max: 5m  # m"], "backoff.max=10m",
         ["  shop:", "    backoff:", "      max: 10m  # m"]),
        (["  shop:", "    backoff:", "      max: 5m"], "backoff.base=1s",
         ["  shop:", "    backoff:", "      max: 5m", "      base: 1s"]),
        (["  shop:", "    backoff:", "      max: 5m", "    tags: [a]"], "backoff.max=",
         ["  shop:", "    tags: [a]"]),
        (["  shop:", "    backoff:", "      max: 5m"], "backoff.max=", ["  shop: {}"]),
        (["  shop:", "    backoff:  # none yet"], "backoff.max=9m",
         ["  shop:", "    backoff:  # none yet", "      max: 9m"]),
        (["  shop:", "    tags:  # two", "      - a", "      - b # last"], "tags=c",
         ["  shop:", "    tags: [c]  # two"]),
        (["  shop:", "    device_name: |-", "      An old", "    tags: [a]"], "device_name=New one",
         ["  shop:", '    device_name: "New one"', "    tags: [a]"]),
        (["  shop:", "    tags: [a]"], "phone=+49 15550100",
         ["  shop:", "    tags: [a]", '    phone: "+49 15550100"']),
        (["  shop:"], "messages.allow=*,+4915550100",
         ["  shop:", "    messages:", '      allow: ["*", "+4915550100"]']),
        (["  shop:"], "messages.allow=[]", ["  shop:", "    messages:", "      allow: []"]),
        (["  shop:", "    proxy: http://a:1"], "proxy=null", ["  shop:", "    proxy: null"]),
        (["  shop:"], 'note=a "b" \\ #c: d', ["  shop:", '    note: "a \\"b\\" \\\\ #c: d"']),
        (["  shop:", "    note: x"], "max_retries=", ["  shop:", "    note: x"]),
    ],
)  # fmt: skip
def test_a_key_is_set_and_the_rest_stays(
    edit: Callable[..., str], before: list[str], assignment: str, after: list[str]
) -> None:
    assert edit(head(*before), assignment) == head(*after)


def test_json_stays_json(edit: Callable[..., str]) -> None:
    text = '{"accounts": {"shop": {"phone": "+4915550100"}, "other": {}}}'
    after = edit(text, "tags=a,b", "sending.pacing=off", "backoff.factor=3", "note=hello")
    assert after == (
        '{"accounts": {"shop": {"phone": "+4915550100", "tags": ["a", "b"], "sending": {"pacing": "off"},'
        ' "backoff": {"factor": 3}, "note": "hello"}, "other": {}}}'
    )


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("accounts:\n  shop: &s\n    max_retries: 3\n  other: *s\n", "shop"),
        ("accounts:\n  shop: &s\n    max_retries: 3\n  other: *s\n", "other"),
        ("accounts:\n  shop: &s\n    max_retries: 3\n  other:\n    <<: *s\n", "shop"),
        ("x: &a\n  max_retries: 3\naccounts:\n  shop: *a\n", "shop"),
        ("accounts:\n  shop:\n    max_retries: &n 3\n  other:\n    max_retries: *n\n", "shop"),
        ("accounts:\n  shop:\n    max_retries: &n 3\n  other:\n    max_retries: *n\n", "other"),
    ],
)
def test_what_accounts_share_is_left_to_people(tmp_path: Path, text: str, name: str) -> None:
    path = tmp_path / "accounts.yaml"
    with pytest.raises(ConfigError) as caught:
        edited(path, text, "max_retries=7", name=name)
    assert BY_HAND in str(caught.value) or "unknown key" in str(caught.value)
    assert path.read_text() == text


def test_a_key_of_its_own_goes_before_a_merged_one(edit: Callable[..., str]) -> None:
    text = "accounts:\n  shop: &s\n    max_retries: 3\n  other:\n    <<: *s\n"
    assert edit(text, "max_retries=7", name="other") == text + "    max_retries: 7\n"


@pytest.mark.parametrize(
    ("assignment", "wrong"),
    [
        ("backof.max=3m", "backof: unknown key; did you mean backoff"),
        ("backoff.maxx=3m", "backoff.maxx: unknown key; did you mean max"),
        ("max=3m", "max: unknown key here; it belongs under backoff"),
        ("backoff=3m", "backoff: expected one of the keys below, such as backoff.base"),
        ("tags.a=3m", "tags: expected no key below"),
        ("note", "expected KEY=VALUE"),
        ("=x", "unknown key"),
        ("backoff.max=3", 'found "3" without a unit'),
        ("enabled=maybe", 'enabled: expected true or false, found "maybe"'),
        ("max_retries='3'", "max_retries: expected a whole number"),
        ("tags=a b", "tags: expected a tag"),
        ("tags=[a", "found what is no YAML"),
        ("tags=[a]\nenabled: false", "expected one line"),
        ("phone=015550100", "found a number without +"),
        ("proxy=ada:geheim@127.0.0.1", "expected a proxy"),
        ("note=" + "x" * 201, "expected a text of 1 to 200 characters"),
        ("disabled_until=2026-12-24", "expected a time with its offset"),
        ("disabled_until=2026-12-24T08:00", "found a time without its offset"),
        ("disabled_until=2026-13-24T08:00Z", "a day or a time of day that there is not"),
        ("disabled_until=9999-12-31 23:59:59Z", "a time before 1970 or after 2242"),
        ("disabled_until=9999-12-31 23:59 -12:00", "a time before 1970 or after 2242"),
        ("disabled_until=0001-01-01 00:00 +14:00", "a time before 1970 or after 2242"),
    ],
)
def test_what_is_wrong_is_refused_in_the_words_of_the_file(assignment: str, wrong: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_assignment(assignment)
    assert wrong in str(caught.value)
    assert "geheim" not in str(caught.value)
    assert "015550100" not in str(caught.value)


def test_values_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "accounts.yaml"
    text = head("  shop: {}")
    with pytest.raises(ConfigError) as caught:
        edited(path, text, "backoff.base=3h")
    assert str(caught.value).splitlines() == [
        "nothing was changed:",
        "accounts.shop.backoff.base: expected a base of at most max, found 3h and a max of 5m",
    ]
    assert path.read_text() == text
    with pytest.raises(NoSuchAccount):
        edited(path, text, "note=x", name="nobody")


def test_several_accounts_are_changed_together_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "accounts.yaml"
    path.write_text(text := head("  shop:", "    tags: [a]"))
    done = set_values(path, {name: (read_assignment("note=both"),) for name in ("shop", "other")})
    assert done.changed == {"shop": ("note",), "other": ("note",)}
    path.write_text(text)
    with pytest.raises(NoSuchAccount):
        set_values(path, {name: (read_assignment("note=both"),) for name in ("shop", "nobody")})
    assert path.read_text() == text


LAYOUTS = (
    "accounts:\n  a: {}\n  b:\n  c: null\n",
    (
        "accounts:\n  a:  # one\n    # first\n    tags: [x]\n\n  # two\n  b: {note: old}\n\n\n"
        "  c:\n    tags:\n      - y\n"
    ),
    "accounts:\r\n  a:\r\n    backoff:\r\n      max: 5m\r\n  c: {}\r\n  b:\r\n    note: z",
    "accounts: {a: {tags: [x]}, b: {}, c: {note: old, backoff: {max: 5m}}}\n",
    '{"accounts": {"c": {"note": "old"},\n  "b": {},\n  "a": {"tags": ["x"]}}}\n',
    (
        "accounts:\n  c:\n    note: |-\n      several\n      \n  b:\n\n    note: old\n  a: {}\n"
        "quarantine_days: 5\n# end\n"
    ),
)


@pytest.mark.parametrize("text", LAYOUTS)
@pytest.mark.parametrize(
    "assignments",
    [("note=new",), ("note=", "tags="), ("note=n", "backoff.base=2s", "tags=q"), ("backoff.max=",)],
)
def test_many_accounts_are_edited_as_one_after_another(
    tmp_path: Path, text: str, assignments: tuple[str, ...]
) -> None:
    path = tmp_path / "accounts.yaml"
    wanted = tuple(map(read_assignment, assignments))
    path.write_bytes(text.encode())
    for name in "abc":
        set_values(path, {name: wanted})
    one_by_one = path.read_bytes()
    path.write_bytes(text.encode())
    set_values(path, dict.fromkeys("abc", wanted))
    assert path.read_bytes() == one_by_one


def test_a_file_of_many_accounts_is_not_read_anew_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "accounts.yaml"
    path.write_text("accounts:\n" + "".join(f"  shop-{number}: {{}}\n" for number in range(40)))
    times, parse = [0], yaml_tree.parse

    def counted(text: str) -> yaml_tree.Document:
        times[0] += len(text) > 100  # a single value is read, too
        return parse(text)

    monkeypatch.setattr(yaml_tree, "parse", counted)
    set_values(path, {f"shop-{number}": (read_assignment("note=x"),) for number in range(40)})
    assert times[0] < 10


def test_every_key_can_be_named() -> None:
    assert {"phone", "note", "disabled_until", "backoff.max", "sending.pacing", "messages.allow"} <= {
        *all_keys()
    }
    for key in all_keys():
        assert read_assignment(f"{key}=").key == key


def test_a_change_of_any_key_is_told_by_its_name() -> None:
    """Whoever tells changes reads settings, and not the file: the two must have the same names."""
    before = AccountSettings("shop")
    assert sorted(changes.keys(before, otherwise(before), ignored={"name"})) == sorted(all_keys())


def otherwise(settings: Any) -> Any:  # noqa: ANN401 - any dataclass of settings
    """Return settings of which every value is another one."""
    values = {one.name: getattr(settings, one.name) for one in fields(settings)}
    return replace(
        settings,
        **{name: otherwise(old) if is_dataclass(old) else object() for name, old in values.items()},
    )


VALUES = st.sampled_from(
    ["note=x", "tags=a,b", "max_retries=9", "enabled=false", "backoff.base=2s", "backoff.factor=3",
     "device_name=x: #y", "sending.pacing=off", "memory_limit=null"]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(file=files_with_account(), assignments=st.lists(VALUES, min_size=1, max_size=4))
def test_setting_touches_nothing_else(file: tuple[str, list[str], str], assignments: list[str]) -> None:
    text, _, name = file
    with on_disk(text.encode()) as path:
        before = reader.load(path)
        wanted = tuple(map(read_assignment, assignments))
        after = set_values(path, {name: wanted}).after
        assert after == reader.load(path)
        assert {*changes.of_accounts(before.accounts, after.accounts)} <= {name}
        assert {one.key for one in wanted} <= after.given[name]
        data = path.read_bytes().decode()
        assert text.count("\r\n") == 0 or data.count("\r\n") == data.count("\n")
        # Lines with the old values are gone, or the line with the account's braces; no other line is.
        lost = [line for line in text.splitlines() if line not in data.splitlines()]
        assert len(lost) <= len({one.key for one in wanted}) + 1
        comments = [line for line in text.splitlines() if line.strip().startswith("#")]
        assert [line for line in data.splitlines() if line.strip().startswith("#")] == comments

        again = path.read_bytes()
        set_values(path, {name: wanted[-1:]})
        assert path.read_bytes() == again or len(wanted) > 1


@settings(max_examples=200, deadline=None)
@given(files_with_account())
def test_a_key_that_is_set_and_taken_out_leaves_the_same_bytes(file: tuple[str, list[str], str]) -> None:
    text, _, name = file
    with on_disk(text.encode()) as path:
        before = reader.load(path)
        for assignment in ("sending.pacing=off", "note=x", "note=", "sending.pacing="):
            after = set_values(path, {name: (read_assignment(assignment),)}).after
        assert after == before
        if before.given[name]:
            assert path.read_bytes() == text.encode()


@settings(max_examples=200, deadline=None)
@given(note=st.text(min_size=1, max_size=60))
def test_any_note_is_written_as_it_is_or_refused(note: str) -> None:
    text = head("  shop: {tags: [a]}")
    with on_disk(text.encode()) as path:
        try:
            wanted = read_assignment(f"note={note}")
        except ConfigError:
            assert not note.isprintable() or not note.strip()
            return
        after = set_values(path, {"shop": (wanted,)}).after
        assert after.accounts["shop"].note == (None if note in ("null", "~") else note)
        set_values(path, {"shop": (read_assignment("note="),)})
        assert path.read_text() == text


@settings(max_examples=150, deadline=None)
@given(TEXTS)
def test_any_text_is_edited_or_refused(data: bytes) -> None:
    with on_disk(data) as path:
        with pytest.raises((ConfigError, NoSuchAccount)):
            set_values(path, {"shop": (read_assignment("note=x"),)})
        assert path.read_bytes() == data
