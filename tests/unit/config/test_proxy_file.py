"""A proxy's URL in a file of its own: who may have access to it, and what it means beside `proxy:`."""

import grp
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestrator.config import secret_file
from orchestrator.config.edit import add_account
from orchestrator.config.reader import load
from orchestrator.errors import ConfigError

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")
ROOT = Path(__file__).resolve().parents[3]
URL = "socks5://ada:hunter2@10.0.0.1:1080"
OTHER = "http://h:1"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can look into, and only this one can change."""
    made = Path(tempfile.mkdtemp(dir="/var/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def secret(path: Path, text: str | bytes = URL + "\n", mode: int = 0o600) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    return path


def proxy_of(folder: Path, text: str) -> str | None:
    config = folder / "accounts.yaml"
    config.write_text(text)
    return load(config, environ={"HOME": str(folder), "XDG_X": str(folder)}).accounts["a"].proxy


def refused(folder: Path, text: str = "defaults: {}\naccounts: {a: {proxy_file: secret}}") -> str:
    with pytest.raises(ConfigError) as caught:
        proxy_of(folder, text)
    (line,) = str(caught.value).split("\n")
    assert "hunter2" not in line
    assert "10.0.0.1" not in line
    return line.removeprefix(f"{folder}/accounts.yaml:")


def test_the_url_is_read_from_the_file(folder: Path) -> None:
    secret(folder / "secret")
    for place in ("secret", "./secret", str(folder / "secret"), "~/secret", "$XDG_X/secret", "x/../secret"):
        assert proxy_of(folder, f"accounts: {{a: {{proxy_file: {place}}}}}") == URL


@pytest.mark.parametrize(
    "text", [URL, f"{URL}\n", f"{URL}\r\n", f"\ufeff{URL}\n", URL.replace("socks5", "SOCKS5")]
)
def test_a_line_may_end_in_any_way(folder: Path, text: str) -> None:
    secret(folder / "secret", text)
    assert proxy_of(folder, "accounts: {a: {proxy_file: secret}}") == URL


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o700])
def test_a_file_of_the_owner_alone_is_right(folder: Path, mode: int) -> None:
    secret(folder / "secret", mode=mode)
    assert proxy_of(folder, "accounts: {a: {proxy_file: secret}}") == URL


@pytest.mark.parametrize("mode", [0o601, 0o602, 0o604, 0o610, 0o620, 0o640, 0o644, 0o660, 0o666, 0o777])
def test_a_file_that_others_get_at_is_refused(folder: Path, mode: int) -> None:
    secret(folder / "secret", mode=mode)
    assert refused(folder) == (
        "2: accounts.a.proxy_file: expected the path of a file with the proxy's URL, or null,"
        f" found {folder}/secret, which other users may read or write: `chmod 600 {folder}/secret`"
    )


@as_root
def test_a_folder_that_gives_its_files_to_a_group_lets_the_group_read(folder: Path) -> None:
    path = secret(folder / "secret", mode=0o640)
    for owned, mode, fits in [
        (2000, 0o2750, True),
        (2000, 0o750, False),
        (2000, 0o2755, False),
        (2001, 0o2750, False),
    ]:
        os.chown(path, 0, 2000)
        os.chown(folder, 0, owned)
        folder.chmod(mode)
        if fits:
            assert secret_file.read_line(path) == URL
            path.chmod(0o660)
        with pytest.raises(ValueError, match="other users may read or write"):
            secret_file.read_line(path)
        path.chmod(0o640)


def secret_of_pod(folder: Path, *, group: int, mode: int = 0o440) -> Path:
    """Make what the kubelet makes of a Secret, for a pod with fsGroup."""
    version = folder / "..2026_11_30_04_00_00.123456789"
    version.mkdir()
    os.chown(secret(version / "proxy", mode=mode), 0, group)
    os.chown(version, 0, group)
    version.chmod(0o2755)
    (folder / "..data").symlink_to(version.name)
    (folder / "proxy").symlink_to("..data/proxy")
    return folder / "proxy"


def read_as(user: int, group: int, path: Path) -> str:
    """Return what a process of a user without a name reads there, or why it does not.

    The process becomes that user when everything is loaded: Python may be in a folder of root's.
    """
    line = (
        "import encodings.utf_8_sig, grp, os, pwd, sys; from pathlib import Path\n"
        "from orchestrator.config import secret_file\n"
        f"os.setgroups([{group}]); os.setgid({group}); os.setuid({user})\n"
        "try: print(secret_file.read_line(Path(sys.argv[1])))\n"
        "except ValueError as error: print(error)"
    )
    return subprocess.run(
        [sys.executable, "-c", line, str(path)], cwd="/", capture_output=True, text=True, check=True,
        env={"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
    ).stdout.strip()  # fmt: skip


@as_root
def test_a_secret_of_a_pod_is_read_by_its_user(open_folder: Path) -> None:
    path = secret_of_pod(open_folder, group=1000650000)
    assert read_as(1000650000, 1000650000, path) == URL
    assert "this user may not read" in read_as(1000650000, 1000650001, path)
    os.chown(path.resolve(), 0, 1000650001)
    assert "this user may not read" in read_as(1000650000, 1000650000, path)


@as_root
@pytest.mark.parametrize("mode", [0o444, 0o460, 0o450])
def test_a_secret_of_a_pod_that_others_get_at_is_refused(open_folder: Path, mode: int) -> None:
    path = secret_of_pod(open_folder, group=1000650000, mode=mode)
    assert "other users may read or write" in read_as(1000650000, 1000650000, path)


@as_root
def test_links_like_those_of_a_secret_are_refused_where_others_can_make_them(open_folder: Path) -> None:
    path = secret_of_pod(open_folder, group=1000650000)
    open_folder.chmod(0o777)
    assert "is a symbolic link: name the file itself" in read_as(1000650000, 1000650000, path)
    open_folder.chmod(0o755)
    os.chown(path, 65534, 0, follow_symlinks=False)
    assert "is a symbolic link: name the file itself" in read_as(1000650000, 1000650000, path)


@as_root
def test_a_group_with_others_in_it_is_not_this_users_own(open_folder: Path) -> None:
    group = grp.getgrnam("daemon").gr_gid  # whose user is another one
    path = secret_of_pod(open_folder, group=group)
    assert "other users may read or write" in read_as(1000650000, group, path)


@as_root
def test_a_file_of_somebody_else_is_refused(folder: Path) -> None:
    os.chown(secret(folder / "secret"), 65534, 0)
    assert "secret, which belongs to nobody: only root or root may own it" in refused(folder)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda _: None, "does not exist"),
        (lambda path: path.mkdir(), "is no regular file"),
        (lambda path: os.mkfifo(path, 0o600), "is no regular file"),
        (
            lambda path: path.symlink_to(secret(path.parent / "real")),
            "is a symbolic link: name the file itself",
        ),
        (lambda path: secret(path, ""), "is empty"),
        (lambda path: secret(path, " \n"), "is empty"),
        (lambda path: secret(path, f"{URL}\n{URL}\n"), "has more than one line"),
        (lambda path: secret(path, f"{URL}\rx"), "has more than one line"),
        (lambda path: secret(path, f"{URL}\u2028x"), "has more than one line"),
        (lambda path: secret(path, f"{URL}\0"), "has U+0000 (null) as character"),
        (lambda path: secret(path, "http://\u200bh:1"), "has U+200B"),
        (lambda path: secret(path, b"http://\xff:1"), "is not text in UTF-8"),
        (lambda path: secret(path, "x" * 100_000), "has more than 16,384 bytes"),
    ],
)
def test_what_is_no_such_file_is_told(folder: Path, make: Callable[[Path], object], said: str) -> None:
    make(folder / "secret")
    assert f"found {folder}/secret, which {said}" in refused(folder)


@pytest.mark.parametrize(
    "url", ["ada:hunter2@10.0.0.1", "socks4://ada:hunter2@10.0.0.1:1", "http://ada:hun/ter2@h:1"]
)
def test_what_is_no_url_is_told_without_it(folder: Path, url: str) -> None:
    secret(folder / "secret", url)
    assert refused(folder).startswith("2: accounts.a.proxy_file: expected a proxy such as http://")
    assert f"in {folder}/secret, or null, found" in refused(folder)


@pytest.mark.parametrize(
    ("defaults", "own", "proxy"),
    [
        ("proxy_file: secret", "", URL),
        ("proxy_file: secret", "proxy: http://h:1", OTHER),
        ("proxy_file: secret", "proxy: null", None),
        ("proxy_file: secret", "proxy_file: null", None),
        ("proxy_file: secret", "proxy: null, proxy_file: null", None),
        ("proxy: http://h:1", "proxy_file: secret", URL),
        ("proxy: http://h:1", "proxy_file: null", None),
        ("proxy: http://h:1", "proxy: null, proxy_file: secret", URL),
        ("proxy: http://h:1, proxy_file: null", "", OTHER),
        ("proxy: null, proxy_file: secret", "", URL),
        ("", "proxy_file: secret", URL),
    ],
)
def test_an_accounts_own_proxy_overrides_either_default(
    folder: Path, defaults: str, own: str, proxy: str | None
) -> None:
    secret(folder / "secret")
    assert proxy_of(folder, f"defaults: {{{defaults}}}\naccounts: {{a: {{{own}}}}}") == proxy


def test_both_at_one_level_are_refused(folder: Path) -> None:
    secret(folder / "secret")
    both = "proxy: http://h:1, proxy_file: secret"
    said = "proxy_file: expected either proxy or proxy_file, found both"
    assert refused(folder, f"accounts: {{a: {{{both}}}}}") == f"1: accounts.a.{said}"
    assert refused(folder, f"defaults: {{{both}}}\naccounts: {{a: {{}}}}") == f"1: defaults.{said}"


def test_a_blank_key_does_not_undo_the_default_unseen(folder: Path) -> None:
    secret(folder / "secret")
    text = "defaults: {proxy_file: secret}\naccounts:\n  a:\n    proxy_file:\n"
    assert "4: accounts.a.proxy_file: expected a proxy, or null for none in spite" in refused(folder, text)


def test_another_content_is_another_configuration(folder: Path) -> None:
    path = secret(folder / "secret")
    config = folder / "accounts.yaml"
    config.write_text("accounts: {a: {proxy_file: secret}, b: {}}")
    before = load(config).accounts
    secret(path, OTHER)
    after = load(config).accounts
    assert after["a"].needs_new_process(before["a"])
    assert after["b"] == before["b"]
    assert "hunter2" not in repr(before)


def test_an_account_is_added_with_a_file(folder: Path) -> None:
    path, config = secret(folder / "secret"), folder / "accounts.yaml"
    after = add_account(config, "a", proxy_file=str(path))
    assert after.accounts["a"].proxy == URL
    assert f"    proxy_file: {path}\n" in config.read_text().replace('"', "")
    assert "hunter2" not in config.read_text()
    path.chmod(0o644)
    with pytest.raises(ConfigError, match=r"^proxy_file: expected .* other users may read"):
        add_account(config, "b", proxy_file=str(path))
