"""Accounts come into the configuration and leave it, and nothing else changes."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.config_files import TEXTS, files, files_with_account, on_disk
from support.full_disk import size_limit

from orchestrator.accounts.settings import AccountSettings
from orchestrator.config import edit as config_edit
from orchestrator.config import file, reader
from orchestrator.config.edit import add_account, remove_account
from orchestrator.errors import ConfigError, NoSuchAccount, StateError

NOBODY = 65534

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as others")


@pytest.fixture(autouse=True)
def synced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The files that were to be forced to the disk; doing it hundreds of times takes too long for a test."""
    modes: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: modes.append(os.fstat(descriptor).st_mode))
    return modes


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "accounts.yaml"


BY_HAND = "only a person can edit"


def added(path: Path, before: str, name: str = "new", **values: Any) -> str:  # noqa: ANN401
    path.write_bytes(before.encode())
    add_account(path, name, **values)
    return path.read_bytes().decode()


def removed(path: Path, before: str, name: str) -> str:
    path.write_bytes(before.encode())
    remove_account(path, name)
    return path.read_bytes().decode()


# Adding

OPERATORS = """\
# Our numbers. Ask Ana before you touch this.
defaults:
    backoff: {base:   3s,  factor: 2}      # slow is fine
    proxy:        null

accounts:

    # the support line
    support:
        phone:    "+15550100"       # Ana's
        enabled:  true
        # proxy: socks5://127.0.0.1:1080

    # sales in Brazil
    sales-br:
        phone: '+15550101'

    # old:
    #     phone: "+15550102"

# The end.
start: {parallel: 2}
"""


def test_an_account_comes_after_the_others_in_their_style(path: Path) -> None:
    after = added(path, OPERATORS, phone="+15550103", proxy="socks5://u:p%40@[::1]:1080", enabled=False)
    assert after == OPERATORS.replace(
        '    #     phone: "+15550102"\n',
        '    #     phone: "+15550102"\n'
        "\n"
        "    new:\n"
        '        phone: "+15550103"\n'
        '        proxy: "socks5://u:p%40@[::1]:1080"\n'
        "        enabled: false\n",
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("accounts:\n", "accounts:\n  new: {}\n"),
        ("accounts:", "accounts:\n  new: {}"),
        ("accounts: null\n", "accounts:\n  new: {}\n"),
        ("accounts: ~  # none yet\n", "accounts:  # none yet\n  new: {}\n"),
        ("accounts: {}\n", "accounts:\n  new: {}\n"),
        ("accounts:\n  # a:\n  #   b: c\n\n# d\n", "accounts:\n  # a:\n  #   b: c\n  new: {}\n\n# d\n"),
        ("accounts:\nstart: {}\n", "accounts:\n  new: {}\nstart: {}\n"),
        ("start: {}\n", "start: {}\n\naccounts:\n  new: {}\n"),
        ("start: {}", "start: {}\n\naccounts:\n  new: {}"),
        (
            "--- # x\nstart:\n   parallel: 1\n...\n",
            "--- # x\nstart:\n   parallel: 1\n\naccounts:\n   new: {}\n...\n",
        ),
        ("accounts:\n a:\n", "accounts:\n a:\n new: {}\n"),
        ("accounts:\n  a: {}\n  b: {}\n", "accounts:\n  a: {}\n  b: {}\n  new: {}\n"),
        ("accounts:\n  a: {}\n\n  b: {}\n", "accounts:\n  a: {}\n\n  b: {}\n\n  new: {}\n"),
        ("accounts:\n  a:\n\n  # b\n  b:\n", "accounts:\n  a:\n\n  # b\n  b:\n\n  new: {}\n"),
        (
            "accounts:\n  a:\n    device_name: >-\n      a\n      b\n\n",
            "accounts:\n  a:\n    device_name: >-\n      a\n      b\n  new: {}\n\n",
        ),
        ("accounts:\n  a: &x {}\n  b: *x\n", "accounts:\n  a: &x {}\n  b: *x\n  new: {}\n"),
        ("accounts:\n  <<: {a: {}}\n  b: {}\n", "accounts:\n  <<: {a: {}}\n  b: {}\n  new: {}\n"),
        ("accounts: {a: {}}\n", 'accounts: {a: {}, "new": {}}\n'),
        ("accounts: {a: {},}\n", 'accounts: {a: {}, "new": {},}\n'),
        ("{accounts: {}}", '{accounts: {"new": {}}}'),
        (
            '{\n  "accounts": {\n    "a": {}\n  }\n}\n',
            '{\n  "accounts": {\n    "a": {},\n    "new": {}\n  }\n}\n',
        ),
    ],
)
def test_where_an_account_goes(path: Path, before: str, after: str) -> None:
    assert added(path, before) == after


def test_values_in_braces(path: Path) -> None:
    assert added(path, "accounts: {a: {}}\n", phone="+15550100", enabled=False, memory_limit="1G") == (
        'accounts: {a: {}, "new": {"phone": "+15550100", "memory_limit": "1G", "enabled": false}}\n'
    )


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("Orchestrator", "Orchestrator"),
        ("My bot", '"My bot"'),
        ("2024", '"2024"'),
        ("yes", '"yes"'),
        ("1_000", '"1_000"'),
        ('a "b" \\ c', '"a \\"b\\" \\\\ c"'),
        ("# no comment", '"# no comment"'),
        ("a: b", '"a: b"'),
        ("Bücher 📚", '"Bücher 📚"'),
        ("{{x}}", '"{{x}}"'),
    ],
)
def test_texts_are_quoted_where_they_need_to_be(path: Path, value: str, written: str) -> None:
    after = added(path, "accounts:\n", device_name=value)
    assert after == f"accounts:\n  new:\n    device_name: {written}\n"
    assert reader.load(path).accounts["new"].device_name == value


@pytest.mark.parametrize("name", ["no", "123", "1e3", "null", "2024-11-22", "0x1f", "a..b"])
def test_names_that_yaml_takes_for_something_else(path: Path, name: str) -> None:
    before = "accounts:\n  a: {}\n"
    assert (f'  "{name}": {{}}\n' in added(path, before, name)) == (name != "a..b")
    remove_account(path, name)
    assert path.read_text() == before


def test_what_was_added_is_returned(path: Path) -> None:
    after = add_account(path, "a", phone="+15550100", device_name="A", memory_limit="1G")
    assert after.accounts == {"a": AccountSettings("a", "15550100", device_name="A", memory_limit=1 << 30)}
    assert remove_account(path, "a").accounts == {}


def test_tags_are_written_so_that_they_read_as_the_same(path: Path) -> None:
    tags = ["sales", "123", "on", "1st.floor", "null", "a-b", "sales"]
    after = add_account(path, "a", tags=tags)
    assert after.accounts["a"].tags == ("sales", "123", "on", "1st.floor", "null", "a-b")
    assert '    tags: [sales, "123", "on", 1st.floor, "null", a-b]\n' in path.read_text()
    assert add_account(path, "b").accounts["b"].tags == ()


def test_the_state_folder_of_the_command_line_counts(path: Path) -> None:
    path.write_text("state_dir: ${env:HERE}\naccounts:\n")
    assert add_account(path, "a", state_dir="/s", environ={"HERE": "/h"}).state_dir == Path("/s")
    assert remove_account(path, "a", state_dir="/s", environ={"HERE": "/h"}).state_dir == Path("/s")
    with pytest.raises(ConfigError, match=r"state_dir: .* found \$HERE, which is not set$"):
        add_account(path, "a", environ={})


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_endings_and_byte_order_marks_stay(path: Path, newline: str, mark: str) -> None:
    before = mark + "accounts:\n  a:\n    enabled: true\n".replace("\n", newline)
    after = mark + 'accounts:\n  a:\n    enabled: true\n  new:\n    phone: "+15550100"\n'.replace(
        "\n", newline
    )
    assert added(path, before, phone="+15550100") == after
    remove_account(path, "new")
    assert path.read_bytes().decode() == before


# Removing


def test_only_the_account_itself_goes(path: Path) -> None:
    after = removed(path, OPERATORS, "support")
    assert after == OPERATORS.replace(
        "    support:\n"
        '        phone:    "+15550100"       # Ana\'s\n'
        "        enabled:  true\n"
        "        # proxy: socks5://127.0.0.1:1080\n"
        "\n",
        "\n",
    )
    assert removed(path, OPERATORS, "sales-br") == OPERATORS.replace(
        "    sales-br:\n        phone: '+15550101'\n", ""
    )


@pytest.mark.parametrize(
    ("before", "name", "after"),
    [
        ("accounts:\n  a: {}\n", "a", "accounts:\n"),
        ("accounts:\n  a: {}", "a", "accounts:"),
        ("accounts:\n  a:\n  b:\n", "a", "accounts:\n  b:\n"),
        ("accounts:\n  a:\n    # inside\n  # of b\n  b:\n", "a", "accounts:\n  # of b\n  b:\n"),
        ("accounts:\n  # of a\n  a:\n  # of b\n  b:\n", "a", "accounts:\n  # of a\n  # of b\n  b:\n"),
        ("accounts:\n  a:\n\n  b:\n\n  c:\n", "a", "accounts:\n  b:\n\n  c:\n"),
        ("accounts:\n  a:\n\n  b:\n\n  c:\n", "b", "accounts:\n  a:\n\n  c:\n"),
        ("accounts:\n  a:\n\n  b:\n\n  c:\n", "c", "accounts:\n  a:\n\n  b:\n"),
        ("accounts:\n  a:\n\n  b:\nstart:\n", "b", "accounts:\n  a:\nstart:\n"),
        ("accounts:\n  a:\n\n  b:\n\n# end\n", "b", "accounts:\n  a:\n\n# end\n"),
        ("accounts:\n  'a': {}\n  \"b\": {}\n", "b", "accounts:\n  'a': {}\n"),
        ("accounts:\n  a: {backoff:\n    {base: 1s}}\n  b:\n", "a", "accounts:\n  b:\n"),
        ("accounts:\n  a:\n    backoff:\n      base: 1s\n\n\n", "a", "accounts:\n\n\n"),
        ("accounts: {a: {}, b: {}, c: {}}", "a", "accounts: {b: {}, c: {}}"),
        ("accounts: {a: {}, b: {}, c: {}}", "b", "accounts: {a: {}, c: {}}"),
        ("accounts: {a: {}, b: {}, c: {}}", "c", "accounts: {a: {}, b: {}}"),
        ("accounts: {a: {} , }", "a", "accounts: { }"),
        ('{"accounts": {\n  "a": {},\n  "b": {}\n}}\n', "b", '{"accounts": {\n  "a": {}\n}}\n'),
    ],
)
def test_what_an_account_leaves_behind(path: Path, before: str, name: str, after: str) -> None:
    assert removed(path, before, name) == after


# What is not done


@pytest.mark.parametrize(
    "text",
    [
        "defaults: &d {}\naccounts: *d\n",
        "accounts: &a\n  ? old\n  : {}\n",
        "defaults: &d {}\n<<: {accounts: {b: {}}}\n",
        "{}",
    ],
)
def test_accounts_in_a_form_for_people_only(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"{BY_HAND}.*: edit the file by hand, then run"):
        add_account(path, "new")
    assert path.read_text() == text


@pytest.mark.parametrize(
    "text",
    [
        "accounts:\n  a: &a {}\n  b: *a\n",  # its anchor is used by another
        "accounts:\n  <<: {a: {}}\n",
        "<<: {accounts: {a: {}}}\n",
        "accounts:\n  ? a\n  : {}\n",
        "defaults: &d {}\nstart: *d\naccounts: {a: &a {max_retries: 1}, b: {<<: *a}}\n",
    ],
)
def test_an_account_that_only_a_person_can_take_out(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(ConfigError, match=BY_HAND):
        remove_account(path, "a")
    assert path.read_text() == text


def test_an_account_that_is_there_already(path: Path) -> None:
    path.write_text("accounts: {a: {phone: '+15550100'}}")
    with pytest.raises(ConfigError) as caught:
        add_account(path, "a")
    assert str(caught.value) == f"{path}: there is an account a already"
    with pytest.raises(ConfigError) as caught:
        add_account(path, "b", phone="+15550100")
    assert str(caught.value) == f"{path}: phone: that is the number of the account a"
    assert path.read_text() == "accounts: {a: {phone: '+15550100'}}"


def test_an_account_that_is_not_there(path: Path) -> None:
    path.write_text("accounts: {support: {}}")
    with pytest.raises(NoSuchAccount) as caught:
        remove_account(path, "suport")
    assert str(caught.value) == f'there is no account "suport" in {path}; did you mean support?'
    with pytest.raises(NoSuchAccount, match=r'no account "x" in .*; `orchestrator list` shows all accounts$'):
        remove_account(path, "x")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"phone": "15550100"}, r"^phone: expected .* found a number without \+$"),
        ({"proxy": "http://u:s3cr3t/@h:1"}, "^proxy: expected .* found user or password with characters"),
        ({"device_name": "a\nb"}, "^device_name: expected .* found one with line breaks"),
        ({"device_name": "a\udcff"}, "^device_name: expected"),
        ({"tags": ["a b"]}, '^tags: expected a tag of 1 to 63 .* found "a b"$'),
        ({"tags": [f"t{number}" for number in range(21)]}, "^tags: expected at most 20, found 21$"),
        ({"memory_limit": "lots"}, '^memory_limit: expected .* found "lots"$'),
    ],
)
def test_values_that_are_not_valid(path: Path, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        add_account(path, "a", **values)
    assert "s3cr3t" not in str(caught.value)
    assert not path.exists()


def test_a_name_that_is_none(path: Path) -> None:
    with pytest.raises(ConfigError, match="is no account name"):
        add_account(path, "../a")
    assert not path.exists()


@pytest.mark.parametrize("text", ["accounts: {a: {phone: 1}}\nfoo: 2\n", "", "a: [", "\0"])
def test_a_file_that_is_not_valid_is_left_alone(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(ConfigError) as of_load:
        reader.load(path)
    for edit in (add_account, remove_account):
        with pytest.raises(ConfigError) as caught:
            edit(path, "a")
        assert str(caught.value) == str(of_load.value)
    assert path.read_text() == text


def test_a_file_that_would_become_too_long(path: Path) -> None:
    path.write_text("#" * (file.MAX_SIZE - 20) + "\naccounts:\n")
    with pytest.raises(ConfigError, match="would have more than 1,048,576 bytes"):
        add_account(path, "name", phone="+15550100")


# The file itself


def test_a_new_file_says_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "accounts.yaml"
    add_account(path, "support")
    assert path.read_text() == config_edit.NEW_FILE + "  support: {}\n"
    assert path.read_text().startswith("# The accounts that this machine keeps connected.")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_nothing_is_removed_from_a_file_that_is_not_there(path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        remove_account(path, "a")
    assert list(path.parent.iterdir()) == []


def test_nothing_but_the_lock_is_left_beside_it(path: Path) -> None:
    add_account(path, "a")
    assert {file.name for file in path.parent.iterdir()} == {"accounts.yaml", ".accounts.yaml.lock"}
    assert stat.S_IMODE((path.parent / ".accounts.yaml.lock").stat().st_mode) == 0o600


def test_file_and_folder_are_forced_to_the_disk(path: Path, synced: list[int]) -> None:
    add_account(path, "a")
    assert [stat.S_ISREG(mode) for mode in synced] == [True, False]
    assert stat.S_ISDIR(synced[-1])


@as_root
@pytest.mark.parametrize(
    ("folder_mode", "mode", "group"),
    [(0o2750, 0o640, NOBODY), (0o2700, 0o600, NOBODY), (0o750, 0o600, 0), (0o700, 0o600, 0)],
)
def test_a_folder_that_is_a_groups_gives_it_new_files(
    path: Path, folder_mode: int, mode: int, group: int
) -> None:
    # As the folder of a service in /etc: `sudo orchestrator add` must not make a file it cannot read.
    os.chown(path.parent, 0, NOBODY)
    path.parent.chmod(folder_mode)
    add_account(path, "a")
    about = path.stat()
    assert (stat.S_IMODE(about.st_mode), about.st_uid, about.st_gid) == (mode, 0, group)
    remove_account(path, "a")
    about = path.stat()
    assert (stat.S_IMODE(about.st_mode), about.st_uid, about.st_gid) == (mode, 0, group)


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o664])
def test_the_mode_stays(path: Path, mode: int) -> None:
    path.write_text("accounts:")
    path.chmod(mode)
    add_account(path, "a")
    assert stat.S_IMODE(path.stat().st_mode) == mode


@as_root
def test_the_owner_stays_and_gets_the_lock(path: Path) -> None:
    path.write_text("accounts:")
    os.chown(path, 1234, 4321)
    add_account(path, "a")
    for one in (path, path.parent / ".accounts.yaml.lock"):
        assert (one.stat().st_uid, one.stat().st_gid) == (1234, 4321)


def test_attributes_stay(path: Path) -> None:
    path.write_text("accounts:")
    try:
        os.setxattr(path, "user.colour", b"blue")
    except OSError:
        pytest.skip("this file system has no attributes")
    add_account(path, "a")
    assert os.getxattr(path, "user.colour") == b"blue"


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere" / "real.yaml"
    target.parent.mkdir()
    target.write_text("accounts:\n")
    (tmp_path / "accounts.yaml").symlink_to("elsewhere/real.yaml")
    add_account(tmp_path / "accounts.yaml", "a")
    assert (tmp_path / "accounts.yaml").is_symlink()
    assert target.read_text() == "accounts:\n  a: {}\n"
    assert {file.name for file in tmp_path.iterdir()} == {"accounts.yaml", "elsewhere"}


def test_a_full_disk_leaves_the_old_file(path: Path) -> None:
    path.write_text("# " + "x" * 100 + "\naccounts:\n")
    before = path.read_text()
    # No longer than that: what the test's outcome is written to has a size, too.
    with size_limit(40), pytest.raises(StateError) as caught:
        add_account(path, "a")
    assert str(caught.value) == f"{path}: the disk is full: make room; nothing was changed"
    assert path.read_text() == before
    assert {file.name for file in path.parent.iterdir()} == {"accounts.yaml", ".accounts.yaml.lock"}


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.EROFS, "is on a read-only file system: edit the file where it comes from"),
        (errno.EBUSY, "the file is mounted by itself and cannot be replaced: mount its folder instead"),
        (errno.EIO, "it cannot be written: the disk does not work: see the system log"),
    ],
)
def test_other_troubles_leave_the_old_file(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int, message: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    path.write_text("accounts:")
    monkeypatch.setattr(os, "replace", fail)
    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(StateError, match=f"{message}; nothing was changed$"):
        add_account(path, "a")
    assert path.read_text() == "accounts:"
    assert {file.name for file in path.parent.iterdir()} == {"accounts.yaml", ".accounts.yaml.lock"}


@pytest.fixture
def roots_folder() -> Iterator[Path]:
    """A folder of root's that everybody can look into."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@as_root
def test_a_folder_that_may_not_be_written(roots_folder: Path) -> None:
    path = roots_folder / "accounts.yaml"
    path.write_text("accounts:")
    path.chmod(0o644)
    os.seteuid(NOBODY)
    try:
        with pytest.raises(StateError) as caught:
            add_account(path, "a")
    finally:
        os.seteuid(0)
    assert str(caught.value) == (
        f"{path}: this user may not write in {roots_folder}: start as the user it belongs to, or with sudo;"
        " nothing was changed"
    )
    assert path.read_text() == "accounts:"


@as_root
def test_a_file_that_would_change_hands(roots_folder: Path) -> None:
    path = roots_folder / "accounts.yaml"
    path.write_text("accounts:")
    path.chmod(0o644)
    roots_folder.chmod(0o777)
    os.seteuid(NOBODY)
    try:
        with pytest.raises(StateError, match="it would no longer belong to user 0 and group 0"):
            add_account(path, "a")
    finally:
        os.seteuid(0)
    assert path.read_text() == "accounts:"


# Several at once


def test_twenty_at_once_lose_nothing(path: Path) -> None:
    path.write_text("accounts:\n  first: {}\n")
    code = (
        "import sys; from orchestrator.config import edit as config_edit\n"
        "config_edit.LOCK_SECONDS = 240\n"  # nineteen others may take longer than a person
        "config_edit.add_account(sys.argv[1], sys.argv[2])"
    )
    root = Path(config_edit.__file__).parents[2]
    processes = [
        subprocess.Popen([sys.executable, "-c", code, path, f"a{number}"], cwd=root) for number in range(20)
    ]
    assert [process.wait(240) for process in processes] == [0] * 20
    assert set(reader.load(path).accounts) == {"first", *(f"a{number}" for number in range(20))}


def test_an_editor_that_saves_meanwhile_is_not_overwritten(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sync(_: int) -> None:
        (path.parent / "new").write_text("accounts: {mine: {}}")
        (path.parent / "new").rename(path)

    path.write_text("accounts:")
    monkeypatch.setattr(os, "fsync", sync)
    with pytest.raises(StateError, match="somebody changed it meanwhile"):
        add_account(path, "a")
    assert path.read_text() == "accounts: {mine: {}}"


def test_nobody_waits_for_ever_for_the_lock(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config_edit, "LOCK_SECONDS", 0.0)
    path.write_text("accounts:")
    with (
        config_edit._locked(path),
        pytest.raises(
            StateError, match=r"somebody else has been editing it for 0 s \(`fuser .*lock` tells who"
        ),
    ):
        add_account(path, "a")


# Any layout


@settings(max_examples=150, deadline=None)
@given(
    file=files(),
    values=st.sampled_from([{}, {"phone": "+15550100"}, {"enabled": False, "memory_limit": "1G"}]),
)
def test_adding_and_removing_gives_the_same_bytes(
    file: tuple[str, list[str]], values: dict[str, Any]
) -> None:
    text, names = file
    with on_disk(text.encode()) as path:
        before = reader.load(path)
        assert list(before.accounts) == names
        after = add_account(path, "new", **values)
        assert list(after.accounts) == [*names, "new"]
        remove_account(path, "new")
        assert path.read_bytes().decode() == text


@settings(max_examples=40, deadline=None)
@given(files_with_account())
def test_removing_takes_only_whole_lines(file: tuple[str, list[str], str]) -> None:
    text, names, name = file
    with on_disk(text.encode()) as path:
        after = remove_account(path, name)
        assert list(after.accounts) == [other for other in names if other != name]
        left = path.read_bytes().decode().splitlines()
        everything = iter(text.splitlines())
        assert all(line in everything for line in left)  # in order, with gaps


@settings(max_examples=60, deadline=None)
@given(data=TEXTS, name=st.sampled_from(["a", "new"]))
def test_any_text_is_edited_or_refused(data: bytes, name: str) -> None:
    with on_disk(data) as path:
        try:
            add_account(path, name)
        except ConfigError:
            assert path.read_bytes() == data
