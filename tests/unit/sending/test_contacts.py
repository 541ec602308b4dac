"""What is known of chats, and how it is put together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.sending.contacts import DAY, Contact, phone_of
from orchestrator.sending.row import Pace

NOW = 1_800_000_000.0
PERSON, LID, GROUP = "15550000001@s.whatsapp.net", "100000000000001@lid", "120363000000000001@g.us"
TIMES = st.sampled_from([0.0, NOW - 40 * DAY, NOW - DAY, NOW, NOW + 1])
CONTACTS = st.builds(Contact, TIMES, TIMES, TIMES, TIMES, TIMES)


@given(CONTACTS, CONTACTS, CONTACTS)
def test_knowledge_is_put_together_in_any_order_and_any_number_of_times(
    one: Contact, two: Contact, three: Contact
) -> None:
    assert one.merged(two) == two.merged(one)
    assert one.merged(two).merged(three) == one.merged(two.merged(three))
    assert one.merged(two).merged(two) == one.merged(two)
    assert one.merged(Contact()) == one


@pytest.mark.parametrize(
    ("contact", "chat", "pace"),
    [
        (Contact(), PERSON, Pace.NEW),
        (Contact(), LID, Pace.NEW),
        (Contact(), GROUP, Pace.KNOWN),
        (Contact(heard_at=NOW), GROUP, Pace.REPLY),
        (Contact(heard_at=NOW - DAY + 1), PERSON, Pace.REPLY),
        (Contact(heard_at=NOW - DAY), PERSON, Pace.KNOWN),
        (Contact(sent_at=NOW), PERSON, Pace.KNOWN),
        (Contact(found_at=NOW), PERSON, Pace.NEW),
        (Contact(heard_at=NOW + 10), PERSON, Pace.REPLY),
        (Contact(heard_at=NOW + 10 * DAY), PERSON, Pace.KNOWN),
    ],
)
def test_how_well_a_chat_is_known(contact: Contact, chat: str, pace: Pace) -> None:
    assert contact.pace(chat, NOW) is pace


def test_a_yes_lasts_for_a_month_and_a_no_for_a_week() -> None:
    assert Contact(found_at=NOW - 29 * DAY).is_found(NOW)
    assert not Contact(found_at=NOW - 30 * DAY).is_found(NOW)
    assert not Contact(found_at=NOW - 2, missing_at=NOW - 1).is_found(NOW)
    assert Contact(missing_at=NOW - 6 * DAY).is_missing(NOW)
    assert not Contact(missing_at=NOW - 7 * DAY).is_missing(NOW)
    for since in ("found_at", "heard_at", "sent_at"):
        assert not Contact(missing_at=NOW - 2).merged(Contact(**{since: NOW - 1})).is_missing(NOW)


def test_a_refusal_lasts_for_an_hour_unless_the_chat_writes() -> None:
    assert Contact(refused_at=NOW - 3599).is_refused(NOW)
    assert not Contact(refused_at=NOW - 3600).is_refused(NOW)
    assert not Contact(refused_at=NOW - 60, heard_at=NOW - 59).is_refused(NOW)


def test_only_the_address_of_a_number_has_a_number() -> None:
    assert [phone_of(one) for one in (PERSON, LID, GROUP)] == ["15550000001", None, None]


def test_what_is_printed_names_nobody() -> None:
    assert "1555" not in repr(Contact(heard_at=NOW))
