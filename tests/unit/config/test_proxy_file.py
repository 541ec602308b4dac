"""A proxy's URL in a file of its own: who may have access to it, and what it means beside `proxy:`."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.config import secret_file
from orchestrator.config.edit import add_account
from orchestrator.config.reader import load
from orchestrator.errors import ConfigError

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")
URL = "socks5://ada:hunter2@10.0.0.1:1080"
OTHER = "http://h:1"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path


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
