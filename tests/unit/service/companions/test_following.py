"""What the gateway tells of consumers is checked: it is the first that strangers would break into."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.following import MemoryConsumers, MemoryPulls

from orchestrator.consumers import followed
from orchestrator.consumers.followed import MOST_ROWS, Row
from orchestrator.consumers.writes import Moved, Place
from orchestrator.service.aside import Aside
from orchestrator.service.companions.following import Following
from orchestrator.service.control.arguments import BadRequest
from orchestrator.service.terms import Terms


class Asked:
    """A service, of which a gateway asks something."""

    def __init__(self) -> None:
        self.terms, self.store, self.pulls = Terms(), MemoryConsumers(), MemoryPulls()
        self._aside = Aside("asked")
        self._following = Following(self.terms, self.store, self.pulls, self._aside)

    def __call__(self, command: str, **arguments: object) -> dict[str, Any]:
        request = {"command": command, **arguments}

        async def answer() -> dict[str, Any]:
            return await self._following.commands[command](request)

        return asyncio.run(answer())

    def close(self) -> None:
        self._aside.close()


@pytest.fixture(scope="module")
def asked() -> Iterator[Asked]:
    made = Asked()
    yield made
    made.close()


def row(account: str, cursor: int = 1) -> list[Any]:
    return followed.dump(Row("crm", Moved(Place(account, "messages"), cursor)))


def test_nothing_is_written_of_an_account_that_has_gone(asked: Asked) -> None:
    asked.terms.begin("a")
    asked.terms.begin("b")
    terms = asked("consumer_terms")["terms"]
    assert terms.keys() == {"a", "b"}
    assert asked("consumer_follow", terms=terms, rows=[row("a"), row("b"), row("c")]) == {"refused": ["c"]}
    asked.terms.leave("a")
    assert asked("consumer_terms")["terms"].keys() == {"b"}
    assert asked("consumer_follow", terms=terms, rows=[row("a", 2)]) == {"refused": []}  # the last of it
    asked.terms.end("a")
    assert asked("consumer_follow", terms=terms, rows=[row("a", 3), row("b", 3)]) == {"refused": ["a"]}
    asked.terms.begin("a")  # it is back, and the gateway has missed that it was gone
    assert asked("consumer_follow", terms=terms, rows=[row("a", 4)]) == {"refused": ["a"]}
    cursors = {one.account: one.what.cursor for one in asked.store.rows.values() if one.is_position}  # type: ignore[union-attr]
    assert cursors == {"a": 2, "b": 3}
    again = asked("consumer_take_up", account="a", term=terms["a"], after=0)
    assert (again["term"], again["rows"]) == (0, [])


def test_a_gateway_knows_more_once_it_has_taken_an_account_up(asked: Asked) -> None:
    asked.terms.begin("d")
    term = asked("consumer_terms")["terms"]["d"]
    assert not asked("consumer_take_up", account="d", term=term, after=0)["yours"]
    asked("consumer_taken_up", account="d", term=term - 1)
    assert not asked("consumer_take_up", account="d", term=term, after=0)["yours"]
    asked("consumer_taken_up", account="d", term=term)
    assert asked("consumer_take_up", account="d", term=term, after=0)["yours"]
    asked.terms.begin("d")
    assert not asked("consumer_take_up", account="d", term=term + 1, after=0)["yours"]


def test_no_request_is_too_large(asked: Asked) -> None:
    with pytest.raises(BadRequest):
        asked("consumer_follow", terms={"a": 1}, rows=[row("a")] * (MOST_ROWS + 1))
    with pytest.raises(BadRequest):
        asked("consumer_stand", standings=[], seen=["crm"] * 2001)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("a"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
KEYS = {
    "consumer_terms": ("other",),
    "consumer_take_up": ("account", "term", "after", "other"),
    "consumer_taken_up": ("account", "term", "other"),
    "consumer_follow": ("terms", "rows", "other"),
    "consumer_stand": ("standings", "seen", "other"),
    "consumer_pull": (
        "what", "pull", "accounts", "maker", "since", "places", "scope", "cursor", "reach", "instead",
        "other",
    ),
}  # fmt: skip
STEPS = ["known", "use", "begin", "outstanding", "hand_out", "acknowledge", "reset", "remove"]


@settings(deadline=None)
@given(st.data())
def test_junk_is_refused_and_breaks_nothing(asked: Asked, data: st.DataObject) -> None:
    command = data.draw(st.sampled_from(sorted(KEYS)))
    given_ = data.draw(st.dictionaries(st.sampled_from(KEYS[command]), anything))
    if command == "consumer_pull":
        given_["what"] = data.draw(st.sampled_from(STEPS) | anything)
        asked.pulls.use("a", "", 1.0)
    try:
        answer = asked(command, **given_)
    except BadRequest:
        return
    assert isinstance(answer, dict)
