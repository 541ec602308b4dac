"""Whose messages are kept: by number, by hidden address and by group, and nobody's by default."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.accounts.settings import Messages
from orchestrator.messages.allow import Allow

ADA, ADA_PN = "269139479534551@lid", "4915100001234@s.whatsapp.net"
BOB = "110349096283654@lid"
GROUP, OTHER = "120363000000000001@g.us", "120363000000000002@g.us"
NEVER = ["status@broadcast", "1234567@broadcast", "120363000000000001@newsletter", "0@s", "a@bot", "@lid@x"]


def allows(
    *allow: str, groups: bool = False, from_me: bool = False, chat: str, others: tuple[str, ...] = (),
    sent: bool = False,
) -> bool:  # fmt: skip
    settings = Messages(allow=allow, groups=groups, from_me=from_me)
    return Allow.of(settings).admits(chat, others, from_me=sent)


@pytest.mark.parametrize("chat", [ADA, ADA_PN, GROUP, *NEVER])
def test_nobody_is_allowed_by_default(chat: str) -> None:
    assert Allow.of(Messages()).nobody
    assert not allows(chat=chat, others=(ADA_PN,))


@pytest.mark.parametrize("chat", NEVER)
@pytest.mark.parametrize("groups", [True, False])
def test_a_status_a_channel_and_a_broadcast_are_never_messages(chat: str, groups: bool) -> None:
    assert not allows("*", chat, groups=groups, from_me=True, chat=chat, others=(ADA_PN,))


def test_everybody_does_not_mean_groups_unless_it_is_said() -> None:
    assert allows("*", chat=ADA)
    assert allows("*", chat=ADA_PN)
    assert not allows("*", chat=GROUP)
    assert allows("*", groups=True, chat=GROUP)


def test_a_group_is_allowed_by_its_address() -> None:
    assert allows(GROUP, chat=GROUP)
    assert not allows(GROUP, chat=OTHER)
    assert not allows(GROUP, chat=ADA, others=(ADA_PN,))
    assert allows("*", GROUP, chat=GROUP)


def test_a_person_is_allowed_by_number_or_address_in_whatever_form_whatsapp_names_it() -> None:
    assert allows("4915100001234", chat=ADA_PN)
    assert allows("4915100001234", chat=ADA, others=(ADA_PN,))
    assert allows(ADA, chat=ADA)
    assert allows(ADA, chat=ADA_PN, others=(ADA,))
    assert not allows("4915100001234", chat=ADA)
    assert not allows("4915100001234", chat=BOB, others=("4915100001235@s.whatsapp.net",))


def test_an_allowed_person_does_not_open_groups() -> None:
    assert not allows("4915100001234", groups=True, chat=GROUP, others=(ADA_PN, ADA))


@pytest.mark.parametrize(
    ("listed", "named"),
    [("5531987654321", "553187654321"), ("525512345678", "5215512345678"), ("541112345678", "5491112345678")],
)
def test_two_spellings_of_a_number_are_one_phone(listed: str, named: str) -> None:
    assert allows(listed, chat=ADA, others=(f"{named}@s.whatsapp.net",))
    assert allows(named, chat=ADA, others=(f"{listed}@s.whatsapp.net",))


def test_what_the_own_phone_sends_is_kept_only_if_it_is_said() -> None:
    assert not allows("*", chat=ADA, sent=True)
    assert allows("*", from_me=True, chat=ADA, sent=True)
    assert not allows(BOB, from_me=True, chat=ADA, sent=True)


@given(st.lists(st.sampled_from([ADA, BOB, GROUP, "4915100001234"])), st.text(max_size=60), st.booleans())
def test_an_address_of_any_form_is_answered(listed: list[str], chat: str, sent: bool) -> None:
    if chat not in listed:
        assert not allows(*listed, groups=True, from_me=True, chat=chat, sent=sent)
