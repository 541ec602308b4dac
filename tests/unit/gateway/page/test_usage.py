"""How much of a core a process takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.control.view import AccountView
from orchestrator.gateway.page.usage import LEAST_SECONDS, MOST_SECONDS, Use


def view(cpu: float | None, pid: int | None = 7) -> AccountView:
    return AccountView("a", "connected", pid=pid, cpu_s=cpu)


def test_two_looks_make_a_percentage() -> None:
    use = Use()
    assert use.of(view(10.0), 100.0) is None
    assert use.of(view(10.5), 110.0) == pytest.approx(5.0)
    assert use.of(view(10.5), 120.0) == 0.0


def test_a_look_that_comes_too_soon_changes_nothing() -> None:
    use = Use()
    use.of(view(10.0), 100.0)
    assert use.of(view(10.0), 100.0 + LEAST_SECONDS / 2) is None
    assert use.of(view(11.0), 110.0) == pytest.approx(10.0)
    assert use.of(view(11.0), 111.0) == pytest.approx(10.0)
    assert use.of(view(12.0), 120.0) == pytest.approx(10.0)


def test_another_process_begins_anew() -> None:
    use = Use()
    use.of(view(10.0), 100.0)
    use.of(view(20.0), 110.0)
    assert use.of(view(0.5, pid=8), 120.0) is None
    assert use.of(view(1.5, pid=8), 130.0) == pytest.approx(10.0)
    assert use.of(view(0.5, pid=8), 140.0) is None  # the number of a process that is gone is used again


def test_without_a_process_nothing_is_known() -> None:
    use = Use()
    use.of(view(10.0), 100.0)
    assert use.of(view(None), 110.0) is None
    assert use.of(view(11.0), 120.0) is None
    assert use.of(view(11.0, pid=None), 130.0) is None


def test_what_was_long_ago_says_nothing() -> None:
    use = Use()
    use.of(view(10.0), 100.0)
    assert use.of(view(90.0), 100.0 + MOST_SECONDS + 1) is None
    assert use.of(view(91.0), 100.0 + MOST_SECONDS + 11) == pytest.approx(10.0)


def test_what_was_found_last_is_known() -> None:
    use = Use()
    assert use.known(view(10.0)) is None
    use.of(view(10.0), 100.0)
    use.of(view(11.0), 110.0)
    assert use.known(view(11.0)) == pytest.approx(10.0)
    assert use.known(view(0.0, pid=8)) is None
    assert use.known(view(None, pid=None)) is None


def test_accounts_that_are_gone_are_forgotten() -> None:
    use = Use()
    use.of(view(10.0), 100.0)
    use.forget(["a", "never there"])
    assert use.of(view(11.0), 110.0) is None


@given(st.lists(st.tuples(st.floats(0, 300), st.floats(0, 300)), max_size=40))
def test_a_percentage_is_never_negative(steps: list[tuple[float, float]]) -> None:
    use, now, cpu = Use(), 0.0, 0.0
    for seconds, used in steps:
        now, cpu = now + seconds, cpu + used
        found = use.of(view(cpu), now)
        assert found is None or found >= 0
