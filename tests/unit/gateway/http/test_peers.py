from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.gateway.http.peers import Peer, client_of, group, is_trusted, networks, plain

PROXY = Peer("10.0.0.1")
TRUSTED = networks(["10.0.0.0/8", "::1"])


def test_a_stranger_is_not_believed() -> None:
    assert client_of(Peer("6.6.6.6"), ["1.2.3.4"], TRUSTED) == Peer("6.6.6.6")
    assert client_of(Peer("127.0.0.1"), ["1.2.3.4"], ()) == Peer("127.0.0.1")
    assert client_of(Peer(uid=33), ["1.2.3.4"], TRUSTED) == Peer(uid=33)


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        (["1.2.3.4"], "1.2.3.4"),
        (["6.6.6.6, 1.2.3.4"], "1.2.3.4"),  # what the client wrote itself comes first
        (["6.6.6.6", "1.2.3.4"], "1.2.3.4"),
        (["1.2.3.4, 10.1.1.1"], "1.2.3.4"),  # through two proxies
        (["10.2.2.2, 10.1.1.1"], "10.2.2.2"),
        (["nonsense, 10.1.1.1"], "10.1.1.1"),
        (["nonsense"], "10.0.0.1"),
        ([], "10.0.0.1"),
        (["[2001:db8::1]"], "2001:db8::1"),
        (["::ffff:1.2.3.4"], "1.2.3.4"),
        ([", ".join(["10.1.1.1"] * 10_000)], "10.1.1.1"),
    ],
)
def test_a_trusted_proxy_is_believed_as_far_as_it_wrote(forwarded: list[str], client: str) -> None:
    assert client_of(PROXY, forwarded, TRUSTED) == Peer(client)


@given(st.lists(st.text(max_size=40), max_size=5))
def test_whatever_is_forwarded_is_read(forwarded: list[str]) -> None:
    client_of(PROXY, forwarded, TRUSTED)


def test_customers_are_counted_and_not_their_addresses() -> None:
    assert group("2001:db8::1") == group("2001:db8::ffff") == "2001:db8::/64"
    assert group("1.2.3.4") == group("::ffff:1.2.3.4") == "1.2.3.4"
    assert plain("fe80::1%eth0") == "fe80::1"
    assert Peer(uid=7).key == "uid 7"


def test_what_is_no_network_is_left_out() -> None:
    assert networks(["nonsense", "10.0.0.7/8"]) == networks(["10.0.0.0/8"])
    assert is_trusted("::1", TRUSTED)
    assert not is_trusted("nonsense", TRUSTED)
