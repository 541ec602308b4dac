"""Which files stay open to a confined process: never those of others, the configuration, or a whole home."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from orchestrator.system import open_files
from orchestrator.system.landlock import KEEP, READ, Access, Rule

CHANGES = KEEP & ~READ


def paths(rules: Iterable[Rule]) -> set[str]:
    return {str(rule.path) for rule in rules}


def is_open(rules: Iterable[Rule], path: Path, access: Access = Access.READ_FILE) -> bool:
    """Tell what the kernel would: whether a rule of the path, or of a folder above it, allows that."""
    wanted = path.resolve()
    return any(
        rule.access & access == access and wanted.is_relative_to(rule.path.resolve()) for rule in rules
    )


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for folder in ("project/package", "project/notes", "project/state/sessions/a", "venv/lib/python", "home"):
        (tmp_path / folder).mkdir(parents=True)
    for file in (
        "project/accounts.yaml",
        "project/module.py",
        "project/package/__init__.py",
        "project/notes/secret.txt",
        "project/state/sessions/a/session.sqlite3",
        "venv/accounts.yaml",
        "venv/pyvenv.cfg",
        "venv/lib/python/os.py",
        "home/ca.pem",
        "home/.netrc",
    ):
        (tmp_path / file).write_text("")
    return tmp_path


def read(
    place: Path,
    *,
    modules: Iterable[str | Path] = (),
    prefixes: Iterable[str | Path] = (),
    closed: Iterable[str] = ("project", "project/state"),
    **environ: str,
) -> list[Rule]:
    environ = {"HOME": str(place / "home"), **environ}
    shut = [place / one for one in closed]
    return open_files.to_read(environ, [str(one) for one in modules], [str(one) for one in prefixes], shut)


def test_nothing_that_is_shared_can_be_changed_or_executed(place: Path) -> None:
    rules = read(place, modules=[place / "venv/lib/python"])
    assert {rule.access for rule in rules} == {READ}
    assert not READ & (CHANGES | Access.EXECUTE)


def test_neither_etc_nor_homes_nor_temporary_files_are_open_as_a_whole(place: Path) -> None:
    wide = ["/", "/etc", "/home", "/root", "/tmp", "/var", "/run", str(place / "home")]
    rules = read(place, modules=wide, prefixes=wide, SSL_CERT_DIR=":".join(wide))
    assert not paths(rules) & {*wide}
    for file in ("/etc/shadow", "/etc/passwd", "/etc/orchestrator/accounts.yaml", "/home/me/.ssh/id_rsa"):
        assert not is_open(rules, Path(file)), file
    assert not is_open(rules, place / "home/.netrc")


def test_what_is_needed_to_work_is_open(place: Path) -> None:
    certificate = place / "home/ca.pem"
    rules = read(place, modules=[place / "venv/lib/python"], SSL_CERT_FILE=str(certificate))
    assert is_open(rules, certificate)
    assert is_open(rules, place / "venv/lib/python/os.py")
    for file in ("/usr/lib/os-release", "/proc/self/status", "/etc/hosts", "/etc/resolv.conf"):
        assert is_open(rules, Path(file)) or not Path(file).exists(), file


def test_modules_beside_the_configuration_are_open_without_it(place: Path) -> None:
    rules = read(place, modules=[place / "project"])
    assert is_open(rules, place / "project/package/__init__.py")
    assert is_open(rules, place / "project/module.py")
    for file in ("accounts.yaml", "notes/secret.txt", "state/sessions/a/session.sqlite3"):
        assert not is_open(rules, place / "project" / file), file


def test_a_configuration_in_the_folder_of_python_stays_closed(place: Path) -> None:
    rules = read(place, prefixes=[place / "venv"], closed=["venv", "project/state"])
    assert is_open(rules, place / "venv/lib/python/os.py")
    assert is_open(rules, place / "venv/pyvenv.cfg")
    assert not is_open(rules, place / "venv/accounts.yaml")


@pytest.mark.parametrize("depth", ["", "/etc", "/etc/deep/down"])
def test_a_closed_folder_beneath_what_is_read_is_left_out(place: Path, depth: str) -> None:
    inside = place / f"venv/lib/python{depth}/orchestrator"
    inside.mkdir(parents=True)
    (inside / "accounts.yaml").write_text("")
    beside = inside.parent / "beside.py"
    beside.write_text("")
    for found in (
        read(place, prefixes=[place / "venv"], closed=[str(inside)]),
        read(place, SSL_CERT_DIR=str(place / "venv"), closed=[str(inside)]),
    ):
        assert is_open(found, beside)
        assert not is_open(found, inside / "accounts.yaml")


def test_a_link_does_not_lead_to_a_closed_folder(place: Path) -> None:
    (place / "certificates").symlink_to(place / "project/state")
    (place / "venv/lib/python/link").symlink_to(place / "project/state")
    rules = read(place, modules=[place / "venv/lib/python"], SSL_CERT_DIR=str(place / "certificates"))
    assert not is_open(rules, place / "project/state/sessions/a/session.sqlite3")


def test_relative_entries_open_nothing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place / "project")
    rules = read(place, modules=["", ".", "notes"], SSL_CERT_FILE="notes/secret.txt", TZ="notes")
    assert not is_open(rules, place / "project/notes/secret.txt")


def test_a_list_of_name_servers_that_is_a_link_is_read_where_it_lies(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "resolve").mkdir()
    (place / "resolve/stub.conf").write_text("")
    (place / "resolv.conf").symlink_to("resolve/stub.conf")
    (place / "hosts").write_text("")
    monkeypatch.setattr(open_files, "NAMES", (str(place / "resolv.conf"), str(place / "hosts")))
    rules = read(place)
    assert is_open(rules, place / "resolve/another.conf"), "systemd-resolved replaces its file"
    assert is_open(rules, place / "hosts")
    assert not is_open(rules, place / "home/.netrc")


def test_an_account_writes_in_its_own_folders_only(place: Path) -> None:
    own = [place / "project/state/sessions/a", place / "project/state/messages/a"]
    rules = open_files.of_account(own, read(place, modules=[place / "venv"]))
    writable = {str(rule.path) for rule in rules if rule.access & CHANGES}
    assert writable == {str(own[0]), str(own[1]), "/dev/null"}
    forbidden = (
        Access.EXECUTE | Access.MAKE_SOCK | Access.MAKE_FIFO | Access.MAKE_SYM | Access.MAKE_CHAR
        | Access.MAKE_BLOCK | Access.IOCTL_DEV
    )  # fmt: skip
    assert not any(rule.access & forbidden for rule in rules)


def test_a_file_that_was_replaced_is_noticed(place: Path) -> None:
    rules = [Rule(place / "project/module.py", READ), Rule(place / "gone", READ)]
    before = open_files.identities(rules)
    assert open_files.identities(rules) == before
    (place / "new").write_text("")
    (place / "new").rename(place / "project/module.py")
    assert open_files.identities(rules) != before
