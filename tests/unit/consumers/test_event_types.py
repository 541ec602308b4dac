"""The types of events, and patterns for them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.consumers.event_types import EVENT_TYPES, chosen, is_pattern, matches
from orchestrator.messages.rendering import form


def test_every_event_that_is_made_has_a_type() -> None:
    assert set(form.DATA) <= set(EVENT_TYPES)


@pytest.mark.parametrize(
    ("pattern", "types"),
    [
        ("*", EVENT_TYPES),
        ("message.*", [one for one in EVENT_TYPES if one.startswith("message.")]),
        ("account.code", ["account.code"]),
        ("test", ["test"]),
    ],
)
def test_a_pattern_chooses(pattern: str, types: list[str]) -> None:
    assert is_pattern(pattern)
    assert [one for one in EVENT_TYPES if matches(pattern, one)] == list(types)


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "**",
        "message",
        "message.",
        "message.rec*",
        "*.code",
        "Message.*",
        "message.*.x",
        "tes*",
        " *",
        "nothing.*",
    ],
)
def test_these_are_no_patterns(pattern: str) -> None:
    assert not is_pattern(pattern)


@given(
    st.lists(st.sampled_from(["*", "message.*", "account.*", "test", "account.code"])),
    st.sampled_from(EVENT_TYPES),
)
def test_several_patterns_choose_what_any_chooses(patterns: list[str], event_type: str) -> None:
    assert chosen(patterns, event_type) == any(matches(one, event_type) for one in patterns)
