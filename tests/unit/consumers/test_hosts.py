"""Whose requests the gateway answers, and which URLs lead back to it."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.consumers import hosts
from orchestrator.consumers.settings import Http, Tcp, Unix

LOOPBACK = Http()
EVERYWHERE = Http(listen=(Tcp("0.0.0.0", 8080),))
NAMED = Http(public_url="https://gate.example.com:8443/base", allowed_hosts=("orchestrator",))


@pytest.mark.parametrize(
    ("http", "host"),
    [
        (LOOPBACK, "127.0.0.1:8080"), (LOOPBACK, "127.0.0.1"), (LOOPBACK, "localhost:8080"),
        (LOOPBACK, "LOCALHOST"), (LOOPBACK, "localhost:18080"), (EVERYWHERE, "10.0.0.7:8080"),
        (EVERYWHERE, "[2001:db8::1]:8080"), (NAMED, "gate.example.com"), (NAMED, "Gate.Example.Com:8443"),
        (NAMED, "orchestrator:8080"), (Http(listen=(Tcp("::1", 80),)), "[::1]"),
        (Http(listen=(Tcp("::1", 80),)), "[0:0:0:0:0:0:0:1]:80"),
        (Http(listen=(Unix(Path("/s")),)), "localhost"),
    ],
)  # fmt: skip
def test_these_hosts_are_answered(http: Http, host: str) -> None:
    assert hosts.allows(http, host)


@pytest.mark.parametrize("http", [LOOPBACK, EVERYWHERE, NAMED, Http(listen=(Unix(Path("/s")),))])
@pytest.mark.parametrize(
    "host",
    [
        "", "rebind.evil", "rebind.evil:8080", "localhost.evil", "localhost.", "127.0.0.1.evil", "evil:80:80",
        "localhost:", "localhost:x", "localhost:65536", "localhost:123456", "user@localhost", "localhost/",
        " localhost", "localhost ", "localhost\r\nX: y", "local host", "127.0.0.1:80,evil", "[::1", "::1",
        "[localhost]", "gate.example.com.evil", "2130706433", "0x7f.1",
        "lo\u0441alhost", "\uff4cocalhost", "x" * 5000,
    ],
)  # fmt: skip
def test_no_others_are(http: Http, host: str) -> None:
    assert not hosts.allows(http, host)


def test_an_address_that_nothing_listens_on_is_not_answered() -> None:
    assert not hosts.allows(LOOPBACK, "10.0.0.7:8080")
    assert not hosts.allows(LOOPBACK, "[::1]:8080")
    assert not hosts.allows(Http(listen=(Tcp("10.0.0.1", 80),)), "127.0.0.1")


@given(st.text(max_size=60) | st.text("[]:.0123456789abcdefx-_", max_size=60))
def test_any_host_is_judged_in_good_order(host: str) -> None:
    for http in (LOOPBACK, EVERYWHERE, NAMED):
        if hosts.allows(http, host):
            name = hosts.split_host(host)
            assert name is not None
            known = {"localhost", "127.0.0.1", "gate.example.com", "orchestrator"}
            assert name in known or (http is EVERYWHERE and ipaddress.ip_address(name))


@given(st.ip_addresses(v=4), st.integers(0, 3), st.lists(st.sampled_from("doh"), min_size=4, max_size=4))
def test_an_address_is_read_as_the_system_reads_it(
    address: ipaddress.IPv4Address, joined: int, forms: list[str]
) -> None:
    numbers = [*address.packed[: 3 - joined], int.from_bytes(address.packed[3 - joined :], "big")]
    write: dict[str, Callable[[int], str]] = {"d": str, "o": lambda one: f"0{one:o}", "h": hex}
    text = ".".join(write[form](one) for form, one in zip(forms, numbers, strict=False))
    assert hosts.as_address(text) == address


@pytest.mark.parametrize(
    "text", ["", "1.2.3.4.5", "256.1", "1.2.3.256", "4294967296", "0x", "08", "1..2", "a", "-1", "1.2.3.4 "]
)
def test_what_is_no_address_is_a_name(text: str) -> None:
    assert hosts.as_address(text) is None


def test_only_the_port_that_is_listened_on_leads_back() -> None:
    assert hosts.leads_to(LOOPBACK.listen, "localhost", 8080)
    assert not hosts.leads_to(LOOPBACK.listen, "localhost", 8081)
    assert not hosts.leads_to((Unix(Path("/s")),), "localhost", 8080)
    assert not hosts.leads_to((Tcp("10.0.0.1", 8080),), "localhost", 8080)
    assert not hosts.leads_to(EVERYWHERE.listen, "example.com", 8080)


@pytest.mark.parametrize(
    ("url", "leads"),
    [
        ("https://us.example/x", True),
        ("https://US.example./x", True),
        ("https://us.example.:443", True),
        ("https://\N{FULLWIDTH LATIN SMALL LETTER U}s.example/", True),
        ("https://us\N{IDEOGRAPHIC FULL STOP}example/", True),
        ("https://us.example:8443/", False),
        ("https://us.example.org/", False),
        ("https://\N{SNOWMAN}" + "x" * 70 + ".example/", False),
    ],
)
def test_a_name_leads_to_the_public_url_in_all_its_forms(url: str, leads: bool) -> None:
    assert hosts.url_leads_to(Http(public_url="https://us.example"), url) is leads
    assert hosts.url_leads_to(Http(public_url="https://us.example."), url) is leads
