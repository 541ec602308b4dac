"""Which codes of a fleet a folder shows: decided by what is known, and by the clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.pictures import PNG

from orchestrator.store.codes.mirror import Change, Code, Mirror, is_sound

NAMES = st.sampled_from("abcd")
CODES = st.builds(Code, NAMES, st.sampled_from([b"1", b"2", b"3"]), st.floats(0, 100))


def carry_out(mirror: Mirror, folder: dict[str, bytes], now: float) -> list[Change]:
    changes = mirror.plan(now)
    for change in changes:
        if change.png is None:
            del folder[change.account]
        else:
            folder[change.account] = change.png
        mirror.done(change)
    return changes


@given(st.lists(st.tuples(st.lists(CODES, max_size=6), st.floats(0, 100)), max_size=12))
def test_the_folder_has_exactly_the_codes_that_hold(looks: list[tuple[list[Code], float]]) -> None:
    mirror, folder, now = Mirror(), dict[str, bytes](), 0.0
    for found, later in looks:
        now = max(now, later)
        mirror.found(found)
        last = {code.account: code for code in found}
        carry_out(mirror, folder, now)
        assert folder == {name: code.png for name, code in last.items() if code.until > now}
        assert mirror.shown == sorted(folder)
        assert mirror.plan(now) == []
        assert mirror.ends_at() == min((last[name].until for name in folder), default=None)


def test_a_code_goes_at_its_end_whatever_is_known() -> None:
    mirror, folder = Mirror(), dict[str, bytes]()
    mirror.found([Code("a", b"1", 20.0), Code("b", b"2", 60.0)])
    carry_out(mirror, folder, 0.0)
    assert mirror.ends_at() == 20.0
    assert carry_out(mirror, folder, 20.0) == [Change("a", None)]
    assert mirror.plan(59.0) == []


def test_what_is_over_goes_before_something_new_comes() -> None:
    mirror, folder = Mirror(), dict[str, bytes]()
    mirror.found([Code("z", b"1", 60.0)])
    carry_out(mirror, folder, 0.0)
    mirror.found([Code("a", b"2", 60.0)])
    assert mirror.plan(1.0) == [Change("z", None), Change("a", b"2")]


def test_what_could_not_be_written_or_removed_is_tried_again() -> None:
    mirror = Mirror()
    mirror.found([Code("a", b"1", 60.0)])
    (change,) = mirror.plan(0.0)
    mirror.done(change)
    mirror.found([Code("a", b"2", 60.0)])
    (change,) = mirror.plan(1.0)
    mirror.failed(change)
    assert mirror.shown == [], "the code before does not hold any more"
    assert mirror.plan(2.0) == [change]
    mirror.done(change)
    mirror.found([])
    (gone,) = mirror.plan(3.0)
    mirror.failed(gone)
    assert mirror.plan(4.0) == [gone]


def test_a_picture_that_somebody_took_away_comes_back_with_the_next_code_only() -> None:
    mirror, folder = Mirror(), dict[str, bytes]()
    mirror.found([Code("a", b"1", 60.0)])
    carry_out(mirror, folder, 0.0)
    mirror.lost("a")
    assert mirror.plan(1.0) == []
    mirror.found([Code("a", b"1", 60.0)])
    assert mirror.plan(2.0) == []
    mirror.found([Code("a", b"2", 60.0)])
    assert mirror.plan(3.0) == [Change("a", b"2")]


@pytest.mark.parametrize(
    ("name", "png", "sound"),
    [
        ("support", None, True),
        ("../support", None, False),
        ("", None, False),
        (".hidden", None, False),
        ("a/b", None, False),
        ("support", b"", False),
        ("support", b"<svg>", False),
        ("support", b"\x89PNG\r\n\x1a\n" + b"x" * 20_000, False),
    ],
)
def test_only_a_picture_of_a_code_under_an_accounts_name_becomes_a_file(
    name: str, png: bytes | None, *, sound: bool
) -> None:
    assert is_sound(name, PNG if png is None else png) is sound
