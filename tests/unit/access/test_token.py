"""A token's form, what is kept of it, and the format of the file."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.access import token as form
from orchestrator.access.scopes import SCOPES
from orchestrator.access.token import Token

RANDOM = bytes(range(form.ID_BYTES + form.SECRET_BYTES))
NAMES = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,62}", fullmatch=True)
TIMES = st.floats(0, form.LATEST)
TOKENS = st.builds(
    lambda *args: form.make(*args[:3], created=args[3], expires=args[4], random=args[5])[0],
    NAMES,
    st.sets(st.sampled_from(SCOPES)),
    st.none() | st.sets(NAMES, max_size=3),
    TIMES,
    st.none() | TIMES,
    st.binary(min_size=len(RANDOM), max_size=len(RANDOM)),
)


def made(**changes: Any) -> tuple[Token, str]:  # noqa: ANN401 - arguments
    return form.make("crm", ["read"], None, **{"created": 1.0, "expires": None, "random": RANDOM, **changes})


def test_a_token_is_known_by_its_text_which_is_kept_nowhere() -> None:
    token, text = made()
    assert text == "orc_000102030405_BgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCU"
    key, secret = form.split(text)
    assert key == token.id
    assert form.is_secret_of(token, secret)
    assert secret.encode() not in form.encode([token])
    assert secret not in repr(token)
    assert token.digest not in repr(token)


@given(st.text(max_size=120) | st.text("orc_0123456789abcdefAZ-", max_size=120))
def test_nothing_else_is_a_token(text: str) -> None:
    token, right = made()
    key, secret = form.split(text)
    assert not form.is_secret_of(token if key == token.id else None, secret) or text == right


@given(st.integers(0, 59), st.characters(min_codepoint=33, max_codepoint=126))
def test_no_other_letter_will_do_in_any_place(at: int, letter: str) -> None:
    token, right = made()
    changed = right[:at] + letter + right[at + 1 :]
    key, secret = form.split(changed)
    is_right = key == token.id and form.is_secret_of(token, secret)
    assert is_right == (changed == right)


def test_nobodys_token_cannot_be_guessed() -> None:
    key, secret = form.split("")
    assert not form.is_secret_of(None, secret)
    assert form.split("x" * 10_000_000) == (key, secret)


def test_a_token_expires_at_its_time() -> None:
    token, _ = made(expires=10.0)
    assert not token.is_over(9.9)
    assert token.is_over(10.0)
    assert not made()[0].is_over(1e12)


@given(st.lists(TOKENS, max_size=4, unique_by=(lambda one: one.id, lambda one: one.name)))
def test_the_file_has_everything(tokens: list[Token]) -> None:
    assert list(form.decode(form.encode(tokens))) == tokens


GOOD = json.loads(form.encode([made()[0]]))


@pytest.mark.parametrize(
    "change",
    [
        {"id": "x"}, {"id": None}, {"id": "0" * 13}, {"name": "../x"}, {"name": 1}, {"sha256": ""},
        {"sha256": "g" * 64},
        {"scopes": ["admin"]}, {"scopes": None}, {"scopes": [[]]}, {"accounts": ["A"]}, {"accounts": 1},
        {"accounts": [None]}, {"created": None}, {"created": "1"}, {"created": True}, {"created": -1},
        {"created": float("nan")}, {"expires": float("inf")}, {"expires": 1e300}, {"expires": 10**4000},
        {"expires": False},
    ],
)  # fmt: skip
def test_a_file_with_anything_else_in_it_counts_for_nothing(change: dict[str, Any]) -> None:
    document = {**GOOD, "tokens": [{**GOOD["tokens"][0], **change}]}
    with pytest.raises(ValueError):  # noqa: PT011 - its words are for nobody
        form.decode(json.dumps(document).encode())


@pytest.mark.parametrize("key", GOOD["tokens"][0])
def test_a_row_that_lacks_something_counts_for_nothing(key: str) -> None:
    row = {name: value for name, value in GOOD["tokens"][0].items() if name != key}
    with pytest.raises(ValueError):  # noqa: PT011
        form.decode(json.dumps({**GOOD, "tokens": [row]}).encode())


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"[]", b"null", b"1", b'"x"', b"\xff", b"{}", b'{"version": 2, "tokens": []}',
        b'{"version": 1}', b'{"version": 1, "tokens": 3}', b'{"version": 1, "tokens": [[]]}', b"[" * 100_000,
        json.dumps({**GOOD, "tokens": GOOD["tokens"] * 2}).encode(),
        json.dumps({"version": 1, "tokens": [0] * (form.MOST_TOKENS + 1)}).encode(),
    ],
)  # fmt: skip
def test_a_damaged_file_counts_for_nothing(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        form.decode(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_in_good_order(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        form.decode(data)
