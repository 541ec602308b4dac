import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.sandbox.wire.jid import GROUP, JID, LID, PN, SERVER

NAMES = st.text(st.characters(blacklist_characters="@:", blacklist_categories=["Cs"]), min_size=1)
ADDRESSES = st.builds(JID, NAMES, st.sampled_from([PN, LID, GROUP]) | NAMES, st.integers(0, 255))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("4915100001@s.whatsapp.net", JID("4915100001")),
        ("4915100001:3@s.whatsapp.net", JID("4915100001", PN, 3)),
        ("269139479534551:255@lid", JID("269139479534551", LID, 255)),
        ("120363-1@g.us", JID("120363-1", GROUP)),
        ("s.whatsapp.net", SERVER),
        ("g.us", JID("", GROUP)),
    ],
)
def test_both_ways(text: str, address: JID) -> None:
    assert JID.parse(text) == address
    assert str(address) == text


@given(ADDRESSES)
def test_what_is_written_reads_as_the_same_address(address: JID) -> None:
    assert JID.parse(str(address)) == address


@given(st.text())
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    try:
        address = JID.parse(text)
    except ValueError:
        return
    assert 0 <= address.device <= 255
    assert address.server


def test_device_0_is_not_written() -> None:
    assert JID.parse("1:0@lid") == JID.parse("1:@lid") == JID("1", LID)


@pytest.mark.parametrize("device", ["256", "1000", "-1", "+1", "x", "1_0", " 1", "٣", "1:2", "1" * 5000])
def test_a_device_that_is_none_is_refused(device: str) -> None:
    with pytest.raises(ValueError, match=r"device of .* is no number from 0 to 255"):
        JID.parse(f"4915100001:{device}@lid")


@pytest.mark.parametrize("text", ["", "4915100001@"])
def test_an_address_has_a_server(text: str) -> None:
    with pytest.raises(ValueError, match="expected user@server"):
        JID.parse(text)


@given(ADDRESSES, st.integers(0, 255))
def test_the_devices_of_one_person_share_the_bare_address(address: JID, device: int) -> None:
    other = address.with_device(device)
    assert other.device == device
    assert other.bare == address.bare == address.with_device(0)


def test_addresses_are_values() -> None:
    assert len({JID("1", LID, 2), JID("1", LID, 2), JID("1", LID), JID("1")}) == 3
    assert sorted([JID("2"), JID("1", PN, 2), JID("1")]) == [JID("1"), JID("1", PN, 2), JID("2")]
