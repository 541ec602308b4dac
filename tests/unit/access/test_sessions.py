"""Who is logged in to the page: sessions begin, end and are written down, and codes are used once."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.access import invitations, sessions, tokens
from orchestrator.access import token as form
from orchestrator.access.sessions import FILE, MOST_OF_ONE, TOKEN_SECONDS, Known, Session, Sessions
from orchestrator.access.tokens import Tokens

RANDOM = bytes(range(form.ID_BYTES + form.SECRET_BYTES))
IDS = st.from_regex(r"[0-9a-f]{12}", fullmatch=True)
TIMES = st.floats(0, form.LATEST)
SESSIONS = st.builds(Session, IDS, st.from_regex(r"[0-9a-f]{64}", fullmatch=True), IDS, TIMES, TIMES, TIMES)
KNOWN = st.builds(
    Known,
    st.lists(SESSIONS, max_size=4, unique_by=lambda one: one.id).map(
        lambda found: {one.id: one for one in found}
    ),
    st.dictionaries(IDS, TIMES, max_size=4),
    TIMES,
)
TOKEN, ROW = "a" * 12, "b" * 12


def begin(
    there: Sessions, number: int = 0, *, token: str = TOKEN, now: float = 10.0, **more: float | None
) -> tuple[Session, str]:
    random = number.to_bytes(2) + RANDOM[2:]
    expires, code_until = more.pop("expires", None), more.pop("code_until", None)
    assert not more
    begun = there.begin(token, now=now, random=random, expires=expires, code_until=code_until)
    return begun.session, begun.secret


def test_a_session_is_known_by_its_secret_until_it_ends(tmp_path: Path) -> None:
    there = Sessions(tmp_path)
    session, secret = begin(there)
    assert there.find(secret, 11.0) == session
    assert secret.rpartition("_")[2] not in repr(session)
    assert there.find(secret[:-1] + "_", 11.0) is there.find("", 11.0) is None
    assert there.find(secret, session.expires) is None
    assert there.is_open(session.id, 11.0)
    assert not there.is_open(session.id, session.expires)
    assert there.end(session.id)
    assert not there.end(session.id)
    assert there.find(secret, 11.0) is None
    assert not there.is_open(session.id, 11.0)


@pytest.mark.parametrize(
    ("expires", "code_until", "until"),
    [
        (None, None, 10.0 + TOKEN_SECONDS),
        (50.0, None, 50.0),
        (1e6, None, 10.0 + TOKEN_SECONDS),
        (1e6, 300.0, 1e6),  # whoever invites says for how long
        (50.0, 300.0, 50.0),
    ],
)
def test_how_long_a_session_lasts(
    tmp_path: Path, expires: float | None, code_until: float | None, until: float
) -> None:
    session, _ = begin(Sessions(tmp_path), expires=expires, code_until=code_until)
    assert session.expires == until


def test_a_code_is_used_up_by_the_first_and_given_back_if_nobody_got_in(tmp_path: Path) -> None:
    there = Sessions(tmp_path)
    assert not there.was_used(ROW)
    begun = there.begin(ROW, now=10.0, random=RANDOM, code_until=310.0, expires=1e6)
    assert there.was_used(ROW)
    there.take_back(begun)
    assert not there.was_used(ROW)
    assert there.find(begun.secret, 11.0) is None
    begin(there, token=TOKEN)
    assert not there.was_used(TOKEN)


def test_a_log_in_that_is_taken_back_has_ended_no_other_session(tmp_path: Path) -> None:
    there = Sessions(tmp_path)
    made = [begin(there, number, now=10.0 + number)[0] for number in range(MOST_OF_ONE)]
    mine, _ = begin(there, 800, token=ROW)
    begun = there.begin(
        TOKEN, now=99.0, random=bytes([9] * len(RANDOM)), expires=None, code_until=None, instead=mine.id
    )
    assert begun.ended == (made[0], mine)
    assert not any(there.is_open(one.id, 100.0) for one in begun.ended)
    there.take_back(begun)
    assert all(there.is_open(one.id, 100.0) for one in (*made, mine))
    assert not there.is_open(begun.session.id, 100.0)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", None])
def test_a_file_that_is_lost_makes_no_code_good_again(tmp_path: Path, content: bytes | None) -> None:
    there = Sessions(tmp_path, 50.0)
    assert not there.are_lost  # a first start
    assert not there.was_used(ROW, 1.0)
    if content is None:
        (tmp_path / FILE).mkdir()
    else:
        (tmp_path / FILE).write_bytes(content)
    there = Sessions(tmp_path, 50.0)
    assert there.are_lost
    assert there.was_used(ROW, 50.0)
    assert not there.was_used(ROW, 50.1)
    if content is None:
        (tmp_path / FILE).rmdir()
    there.save(there.unsaved() or b"")
    again = Sessions(tmp_path, 60.0)  # who has a file, and still does not know what was in the one before
    assert not again.are_lost
    assert again.was_used(ROW, 50.0)
    assert not again.was_used(ROW, 50.1)
    again.clear(40.0)  # the clock was set back: codes that are made from now on are good
    assert not again.was_used(ROW, 40.1)


def test_what_is_written_down_is_known_again(tmp_path: Path) -> None:
    there = Sessions(tmp_path)
    assert there.unsaved() is None
    session, secret = begin(there, token=ROW, code_until=310.0, expires=1e6)
    data = there.unsaved()
    assert data is not None
    assert secret.rpartition("_")[2].encode() not in data
    there.save(data)
    assert there.unsaved() is None
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    again = Sessions(tmp_path)
    assert again.find(secret, 11.0) == session
    assert again.was_used(ROW)


def test_what_could_not_be_written_is_tried_again(tmp_path: Path) -> None:
    there = Sessions(tmp_path / "missing")
    begin(there)
    data = there.unsaved()
    assert data is not None
    with pytest.raises(OSError, match="No such file"):
        there.save(data)
    assert there.unsaved() == data


def test_the_time_of_the_last_use_is_exact_to_a_minute(tmp_path: Path) -> None:
    there = Sessions(tmp_path)
    session, secret = begin(there)
    there.unsaved()
    there.note_use(session, 69.9)
    assert there.unsaved() is None
    there.note_use(session, 70.0)
    assert there.unsaved() is not None
    found = there.find(secret, 71.0)
    assert found is not None
    assert found.used == 70.0
    there.end(session.id)
    there.note_use(session, 200.0)
    assert not there.is_open(session.id, 201.0)


def test_one_token_has_so_many_sessions_and_the_one_that_nobody_uses_ends(tmp_path: Path) -> None:
    there = Sessions(tmp_path)
    other, _ = begin(there, 999, token=ROW)
    made = [begin(there, number, now=10.0 + number)[0] for number in range(MOST_OF_ONE)]
    there.note_use(made[0], 900.0)
    begin(there, 500, now=901.0)
    open_ones = [there.is_open(one.id, 902.0) for one in made]
    assert open_ones == [True, False, *[True] * (MOST_OF_ONE - 2)]
    assert there.is_open(other.id, 902.0)


def test_there_is_an_end_of_sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MOST", 3)
    there = Sessions(tmp_path)
    made = [begin(there, number, token=f"{number:012x}", now=10.0 + number)[0] for number in range(4)]
    assert [there.is_open(one.id, 20.0) for one in made] == [False, True, True, True]


def test_what_is_over_is_forgotten(tmp_path: Path) -> None:
    there = Sessions(tmp_path)
    begin(there, 1, expires=50.0)
    begin(there, 2, token=ROW, code_until=310.0, expires=1e7)
    there.unsaved()
    there.clear(49.0)
    assert there.unsaved() is None
    there.clear(51.0)
    assert json.loads(there.unsaved() or b"")["sessions"][0]["token"] == ROW
    there.clear(310.0 + sessions.KEEP_CODES)
    assert there.was_used(ROW)
    there.clear(311.0 + sessions.KEEP_CODES)
    assert not there.was_used(ROW)


def test_sessions_are_counted_by_token(tmp_path: Path) -> None:
    there = Sessions(tmp_path)
    first, second = begin(there, 2, now=1.0)[0], begin(there, 1, now=2.0)[0]
    begin(there, 3, expires=5.0)
    known = sessions.decode(there.unsaved() or b"")
    assert sessions.count(known, 6.0) == {TOKEN: (first, second)}


@given(KNOWN)
def test_the_file_has_everything(known: Known) -> None:
    assert sessions.decode(sessions.encode(known)) == known


GOOD = {
    "version": 1,
    "sessions": [
        {"id": "0" * 12, "sha256": "0" * 64, "token": TOKEN, "created": 1.0, "expires": 2.0, "used": 1.0}
    ],
    "codes": {ROW: 5.0},
}


@pytest.mark.parametrize(
    "change",
    [
        {"id": "x"}, {"id": None}, {"id": 1}, {"sha256": "0" * 63}, {"sha256": None}, {"token": "A" * 12},
        {"token": []}, {"created": "1"}, {"created": float("nan")}, {"expires": float("inf")},
        {"expires": None}, {"used": -1}, {"used": True}, {"used": 10**4000},
    ],
)  # fmt: skip
def test_a_file_with_anything_else_in_it_counts_for_nothing(tmp_path: Path, change: dict[str, Any]) -> None:
    row = {**GOOD["sessions"][0], **change}  # type: ignore[index]
    data = json.dumps({**GOOD, "sessions": [row]}).encode()
    with pytest.raises(ValueError):  # noqa: PT011 - its words are for nobody
        sessions.decode(data)
    (tmp_path / FILE).write_bytes(data)
    assert sessions.read(tmp_path) == Known({}, {})


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2}, {"sessions": None}, {"sessions": [1]}, {"sessions": GOOD["sessions"] * 2},  # type: ignore[operator]
        {"sessions": [{}] * (sessions.MOST + 1)}, {"codes": None}, {"codes": {"x": 1.0}}, {"codes": [ROW]},
        {"codes": {ROW: "1"}}, {"codes": {ROW: None}},
    ],
)  # fmt: skip
def test_a_document_of_another_form_counts_for_nothing(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        sessions.decode(json.dumps({**GOOD, **change}).encode())


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_in_good_order(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        sessions.decode(data)


# Invitations


def test_a_code_opens_the_page_and_is_no_token(tmp_path: Path) -> None:
    row, code = invitations.invite(tmp_path, tmp_path, ["read"], ["support"], now=100.0, seconds=3600)
    known = Tokens(tmp_path)
    known.load()
    assert known.check(code, 101.0) is None
    assert known.check_code(code, 101.0) == row
    assert known.check_code(code, 100.0 + invitations.CODE_SECONDS) is None
    assert known.check_code(code[:-1] + ("A" if code[-1] != "A" else "E"), 101.0) is None
    assert known.check_code("", 101.0) is None
    assert known.principal(row.id, 3699.0) == row.principal
    assert known.principal(row.id, 3700.0) is None
    assert known.find(row.id, 3700.0) is None
    # The server is open to other machines only if there is a token: a row of the page is gone tomorrow.
    assert len(known) == 0
    assert form.decode(form.encode([row])) == (row,)


def test_a_program_that_knows_nothing_of_the_page_takes_no_code_for_a_token() -> None:
    row, code = form.make_of_page(["read"], None, created=1.0, code_until=301.0, expires=1e9, random=RANDOM)
    (old,) = json.loads(form.encode([row]))["tokens"]
    del old["code_until"]
    (as_token,) = form.decode(json.dumps({"version": 1, "tokens": [old]}).encode())
    assert not as_token.is_of_page
    assert not form.is_secret_of(as_token, form.split(code)[1])


@pytest.mark.parametrize("value", [None, "1", True, -1, float("nan"), 1e300])
def test_a_row_of_the_page_with_anything_else_counts_for_nothing(value: object) -> None:
    row, _ = form.make_of_page(["read"], None, created=1.0, code_until=301.0, expires=1e9, random=RANDOM)
    document = json.loads(form.encode([row]))
    document["tokens"][0]["code_until"] = value
    with pytest.raises(ValueError):  # noqa: PT011
        form.decode(json.dumps(document).encode())


def test_a_token_is_no_code(tmp_path: Path) -> None:
    token, text = form.make("crm", ["read"], None, created=1.0, expires=None, random=RANDOM)
    tokens.add(tmp_path, token)
    known = Tokens(tmp_path)
    known.load()
    assert known.check_code(text, 2.0) is None
    assert known.check(text, 2.0) == token.principal


def test_rows_that_nobody_needs_are_swept_and_tokens_are_not(tmp_path: Path) -> None:
    token, _ = form.make("crm", ["read"], None, created=1.0, expires=2.0, random=RANDOM)
    tokens.add(tmp_path, token)
    unused, _ = invitations.invite(tmp_path, tmp_path, now=100.0, seconds=3600)
    used, _ = invitations.invite(tmp_path, tmp_path, now=100.0, seconds=3600)
    there = Sessions(tmp_path)
    begin(there, token=used.id, now=101.0, code_until=used.code_until, expires=used.expires)
    there.save(there.unsaved() or b"")
    waiting, _ = invitations.invite(tmp_path, tmp_path, now=399.0, seconds=3600)
    assert {one.id for one in tokens.read(tmp_path)} == {token.id, unused.id, used.id, waiting.id}
    late, _ = invitations.invite(tmp_path, tmp_path, now=400.0, seconds=3600)
    assert {one.id for one in tokens.read(tmp_path)} == {token.id, used.id, waiting.id, late.id}
    last, _ = invitations.invite(tmp_path, tmp_path, now=3700.0, seconds=3600)
    assert {one.id for one in tokens.read(tmp_path)} == {token.id, last.id}
