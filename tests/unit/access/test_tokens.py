"""The file of the tokens: checked, changed by several at once, and never half written."""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from orchestrator.access import token as form
from orchestrator.access import tokens, uses
from orchestrator.access.token import Token
from orchestrator.access.tokens import Tokens
from orchestrator.errors import OrchestratorError, StateError

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as others")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "tokens"
    found.mkdir(0o700)
    return found


def made(name: str = "crm", *, expires: float | None = None) -> tuple[Token, str]:
    random = os.urandom(form.ID_BYTES + form.SECRET_BYTES)
    return form.make(name, ["read", "send"], ["support"], created=1.0, expires=expires, random=random)


def test_a_token_lets_its_holder_in_until_it_is_removed(folder: Path) -> None:
    checked = Tokens(folder)
    checked.load()
    token, text = made()
    assert checked.check(text, 2.0) is None
    tokens.add(folder, token)
    assert checked.check(text, 2.0) is None
    checked.load()
    holder = checked.check(text, 2.0)
    assert holder == token.principal == checked.principal(token.id, 2.0)
    assert holder is not None
    assert holder.id == token.id
    assert holder.sees("support")
    assert not holder.sees("sales")
    assert not holder.may("operate")
    tokens.remove(folder, ["crm"])
    checked.load()
    assert checked.check(text, 2.0) is checked.principal(token.id, 2.0) is None


def test_an_expired_token_lets_nobody_in_any_more(folder: Path) -> None:
    token, text = made(expires=10.0)
    tokens.add(folder, token)
    checked = Tokens(folder)
    checked.load()
    assert checked.check(text, 9.0)
    assert checked.principal(token.id, 9.0)
    assert checked.check(text, 10.0) is checked.principal(token.id, 10.0) is None
    assert len(checked) == 1


@pytest.mark.parametrize("presented", ["right", "wrong secret", "unknown id", "nonsense", "", "x" * 10_000])
def test_the_work_tells_nothing_about_the_tokens(
    folder: Path, monkeypatch: pytest.MonkeyPatch, presented: str
) -> None:
    token, text = made()
    tokens.add(folder, token)
    texts = {
        "right": text,
        "wrong secret": text[:-1] + ("A" if text[-1] != "A" else "E"),
        "unknown id": f"orc_{'f' * 12}{text[16:]}",
    }
    checked = Tokens(folder)
    checked.load()
    done: list[tuple[str, int]] = []
    digest, compare = hashlib.sha256, hmac.compare_digest

    def hashed(data: bytes) -> Any:  # noqa: ANN401 - hashlib's object
        done.append(("hash", len(data)))
        return digest(data)

    def compared(one: str, other: str) -> bool:
        done.append(("compare", len(one) + len(other)))
        return compare(one, other)

    monkeypatch.setattr(hashlib, "sha256", hashed)
    monkeypatch.setattr(hmac, "compare_digest", compared)
    assert (checked.check(texts.get(presented, presented), 2.0) is not None) == (presented == "right")
    assert done == [("hash", 43), ("compare", 128)]


def test_an_unchanged_file_is_not_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token, text = made()
    tokens.add(folder, token)
    checked = Tokens(folder)
    checked.load()
    monkeypatch.setattr(tokens, "_read", None)
    checked.load()
    assert checked.check(text, 2.0)


def test_nobody_else_may_read_or_write_the_file(folder: Path) -> None:
    tokens.add(folder, made()[0])
    assert {stat.S_IMODE(one.stat().st_mode) for one in folder.iterdir()} == {0o600}
    (folder / tokens.FILE).chmod(0o640)
    with pytest.raises(StateError, match="open to other users") as caught:
        tokens.read(folder)
    assert caught.value.key == "tokens_unusable"
    with pytest.raises(StateError):
        tokens.add(folder, made("other")[0])


@as_root
def test_the_file_of_somebody_else_lets_nobody_in(folder: Path) -> None:
    token, text = made()
    tokens.add(folder, token)
    os.chown(folder / tokens.FILE, 65534, 65534)
    checked = Tokens(folder)
    with pytest.raises(StateError, match="belongs to another user"):
        checked.load()
    assert checked.check(text, 2.0) is None


@as_root
def test_what_root_makes_is_for_the_services_user(folder: Path) -> None:
    os.chown(folder, 65534, 65534)
    tokens.add(folder, made()[0])
    assert {one.stat().st_uid for one in folder.iterdir()} == {65534}
    assert len(tokens.read(folder)) == 1


@pytest.mark.parametrize("what", ["damaged", "link", "folder", "pipe"])
def test_a_file_that_cannot_be_used_lets_nobody_in_and_is_not_changed(folder: Path, what: str) -> None:
    token, text = made()
    tokens.add(folder, token)
    checked = Tokens(folder)
    checked.load()
    path, aside = folder / tokens.FILE, folder.parent / "aside"
    path.rename(aside)
    match what:
        case "damaged":
            path.touch(0o600)
        case "link":
            path.symlink_to(aside)
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path, 0o600)
    before = path.lstat()
    for _ in range(2):
        with pytest.raises(StateError, match=r"tokens\.json"):
            checked.load()
        assert checked.check(text, 2.0) is None
    with pytest.raises(StateError):
        tokens.add(folder, made("other")[0])
    assert path.lstat().st_ino == before.st_ino
    if what != "folder":
        path.unlink()
        aside.rename(path)
        checked.load()
        assert checked.check(text, 2.0)


def test_a_name_is_given_once_and_what_is_not_there_is_not_removed(folder: Path) -> None:
    token, _ = made()
    tokens.add(folder, token)
    with pytest.raises(OrchestratorError, match="orchestrator token remove crm") as caught:
        tokens.add(folder, made()[0])
    assert caught.value.key == "token_exists"
    with pytest.raises(OrchestratorError, match='"nobody"') as caught:
        tokens.remove(folder, ["crm", "nobody"])
    assert caught.value.key == "no_such_token"
    assert tokens.read(folder) == (token,)
    assert tokens.remove(folder, [token.id, token.name]) == (token,)
    assert tokens.read(folder) == ()


def test_a_name_that_looks_like_the_id_of_another_means_the_one_of_that_name(folder: Path) -> None:
    first, _ = made()
    second, _ = made(first.id)
    tokens.add(folder, first)
    tokens.add(folder, second)
    tokens.remove(folder, [first.id])
    assert tokens.read(folder) == (first,)


def test_there_is_an_end_of_tokens(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(form, "MOST_TOKENS", 2)
    tokens.add(folder, made("a")[0])
    tokens.add(folder, made("b")[0])
    with pytest.raises(OrchestratorError) as caught:
        tokens.add(folder, made("c")[0])
    assert caught.value.key == "too_many_tokens"


def test_several_who_change_the_file_lose_nothing_of_each_other(folder: Path) -> None:
    names = [f"t{number}" for number in range(24)]
    threads = [threading.Thread(target=tokens.add, args=(folder, made(name)[0])) for name in names]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert {one.name for one in tokens.read(folder)} == set(names)
    assert {one.name for one in folder.iterdir()} == {tokens.FILE, f".{tokens.FILE}.lock"}


def test_what_a_killed_writer_has_left_is_cleared_away(folder: Path) -> None:
    left = folder / f".{tokens.FILE}.01234567.tmp"
    left.touch()
    tokens.add(folder, made()[0])
    assert not left.exists()


def test_the_day_of_the_last_use_is_kept(tmp_path: Path) -> None:
    used = uses.Uses(tmp_path)
    used.save()
    assert list(tmp_path.iterdir()) == []
    assert used.note("a", 5 * uses.DAY + 1)
    assert not used.note("a", 5 * uses.DAY + 2)
    assert not used.note("a", 4 * uses.DAY)
    used.save()
    assert uses.read(tmp_path) == {"a": 5}
    again = uses.Uses(tmp_path)
    assert not again.note("a", 5 * uses.DAY)
    assert again.note("a", 6 * uses.DAY)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b'{"a": -1}', b'{"a": 1e300}', b'{"a": true}', b'{"a": null}', b"[" * 90_000]
)
def test_days_that_make_no_sense_are_not_known(tmp_path: Path, data: bytes) -> None:
    (tmp_path / uses.FILE).write_bytes(data)
    assert uses.read(tmp_path) == {}
