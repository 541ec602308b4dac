"""Which requests of browsers come from pages of others, and by what name a cookie is kept."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.gateway.page import origins
from orchestrator.gateway.page.origins import By, is_foreign, place_of

HERE = place_of("127.0.0.1:8080", None)
OWN = "http://127.0.0.1:8080"
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "BREW")
FOREIGN = (
    "http://evil.example", "https://evil.example", "http://127.0.0.1", "http://127.0.0.1:8081",
    "http://localhost:8080", "http://127.0.0.1:8080.evil.example", "http://evil.example:8080",
    "http://127.0.0.1:8080@evil.example", "http://127.0.0.1:8080/", "http://127.0.0.1:80800",
    "file://", "null", "", "*", "chrome-extension://abc", "127.0.0.1:8080", "http://127.0.0.1:8080 ",
    "http://127.0.0.1:8080, http://127.0.0.1:8080", "ftp://127.0.0.1:8080", "http:127.0.0.1:8080",
)  # fmt: skip
SITES = ("same-origin", "none", "same-site", "cross-site", "", "SAME-ORIGIN ", "anything")


@pytest.mark.parametrize("origin", FOREIGN)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("by", ["cookie", "other"])
def test_a_page_of_another_origin_changes_nothing(method: str, origin: str, by: By) -> None:
    reads = method in origins.SAFE and by == "other"
    assert is_foreign(method, HERE, [origin], [], by) == (not reads)
    assert is_foreign(method, HERE, [origin], ["cross-site"], by) == (not reads)
    # A browser that says both says of no other page that it is of this origin, but it may hide where that is.
    says_same = is_foreign(method, HERE, [origin], ["same-origin"], by)
    assert says_same == (not reads and origin != "null")


@pytest.mark.parametrize("site", ["same-site", "cross-site", "", "anything", "same-origin, none"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("origin", [[], [OWN]])
def test_a_page_of_another_site_changes_nothing(method: str, site: str, origin: list[str]) -> None:
    assert is_foreign(method, HERE, origin, [site], "cookie")
    assert is_foreign(method, HERE, origin, [site], "other") == (method not in origins.SAFE)


@pytest.mark.parametrize("method", METHODS)
def test_the_page_itself_does_all_that_its_session_may(method: str) -> None:
    for origin, site in itertools.product(([OWN], []), (["same-origin"], [])):
        assert is_foreign(method, HERE, origin, site, "other") is False
        says_nothing = not origin and not site
        expected = says_nothing and method not in origins.SAFE
        assert is_foreign(method, HERE, origin, site, "cookie") == expected
    # Somebody who types an address reads, and nothing else.
    assert is_foreign(method, HERE, [], ["none"], "cookie") == (method not in origins.SAFE)
    assert not is_foreign(method, HERE, [], ["none"], "other")


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_what_is_said_twice_is_said_by_nobody_honest(method: str) -> None:
    assert is_foreign(method, HERE, [OWN, OWN], ["same-origin"], "cookie")
    assert is_foreign(method, HERE, [OWN], ["same-origin"] * 2, "cookie")


@given(
    st.sampled_from(METHODS),
    st.lists(st.sampled_from((*FOREIGN, OWN)), max_size=2),
    st.lists(st.sampled_from(SITES), max_size=2),
)
def test_a_cookie_never_lets_more_than_a_token_does(method: str, origin: list[str], site: list[str]) -> None:
    if is_foreign(method, HERE, origin, site, "other"):
        assert is_foreign(method, HERE, origin, site, "cookie")
    if not is_foreign(method, HERE, origin, site, "cookie"):
        assert not {"cross-site", "same-site"} & set(site)
        assert set(origin) <= {OWN, "null"}
        if method not in origins.SAFE:
            assert origin or site


@given(st.text(max_size=60), st.sampled_from(METHODS))
def test_any_text_is_foreign_but_our_own_origin(origin: str, method: str) -> None:
    assert is_foreign(method, HERE, [origin], [], "cookie") == (origin.lower() != OWN)


HOSTS = ("orc.example", "orc.example:8443", "127.0.0.1:8080", "[::1]:8080", "localhost")


@pytest.mark.parametrize(
    ("host", "public", "protos", "origin", "expected"),
    [
        # Without TLS, or behind a proxy that says nothing: the browser's own address is that of `Host`.
        ("127.0.0.1:8080", None, [], "http://127.0.0.1:8080", True),
        ("LocalHost:8080", None, [], "http://localhost:8080", True),
        ("[::1]:8080", None, [], "http://[::1]:8080", True),
        ("orc.example", None, [], "http://orc.example", True),
        ("orc.example", None, [], "https://orc.example", True),
        ("orc.example:80", None, [], "http://orc.example", True),
        ("orc.example:443", None, [], "https://orc.example", True),
        ("orc.example:443", None, [], "http://orc.example", False),
        ("orc.example", None, [], "https://orc.example:8443", False),
        ("orc.example", None, [], "https://orc.example.evil.example", False),
        # Where TLS is known, nothing without it is ours.
        ("orc.example", None, ["https"], "https://orc.example", True),
        ("orc.example", None, ["https"], "http://orc.example", False),
        ("orc.example:8443", None, ["http, https"], "https://orc.example:8443", True),
        ("orc.example", None, ["https, http"], "http://orc.example", True),
        ("orc.example", "https://orc.example", [], "https://orc.example", True),
        ("orc.example", "https://orc.example", [], "http://orc.example", False),
        ("orc.example:443", "https://orc.example", [], "http://orc.example", False),
        ("orc.example:8443", "https://orc.example:8443", [], "https://orc.example:8443", True),
        # A proxy may replace `Host`. Then the public URL says what browsers know.
        ("127.0.0.1:8080", "https://orc.example", [], "https://orc.example", True),
        ("127.0.0.1:8080", "https://Orc.Example", [], "https://orc.example", True),
        ("127.0.0.1:8080", "https://orc.example", [], "http://127.0.0.1:8080", True),
        ("127.0.0.1:8080", "https://orc.example", [], "http://orc.example", False),
        ("127.0.0.1:8080", "https://[2001:db8::1]", [], "https://[2001:db8::1]", True),
        ("127.0.0.1:8080", "https://bücher.example", [], "https://xn--bcher-kva.example", True),
        ("127.0.0.1:8080", None, [], "https://orc.example", False),
        ("", None, [], "http://", False),
        ("a b", None, [], "http://a b", False),
    ],
)
def test_which_origin_is_our_own(
    host: str, public: str | None, protos: list[str], origin: str, expected: bool
) -> None:
    assert place_of(host, public, protos).is_own(origin) == expected


@pytest.mark.parametrize(
    ("host", "public", "protos", "cookie"),
    [
        ("127.0.0.1:8080", None, [], "orchestrator-8080"),
        ("127.0.0.1:8081", None, [], "orchestrator-8081"),
        ("[::1]:8080", None, [], "orchestrator-8080"),
        ("orc.example", None, [], "orchestrator-80"),
        ("orc.example", None, ["https"], "__Host-orchestrator-443"),
        ("orc.example:8443", None, ["https"], "__Host-orchestrator-8443"),
        ("orc.example", None, ["HTTPS "], "__Host-orchestrator-443"),
        ("orc.example", None, ["https", "http"], "orchestrator-80"),
        ("orc.example", None, ["https,"], "orchestrator-80"),
        ("orc.example", "https://orc.example", [], "__Host-orchestrator-443"),
        ("orc.example", "http://orc.example", [], "orchestrator-80"),
        ("127.0.0.1:8080", "https://orc.example", [], "orchestrator-8080"),
        ("127.0.0.1:8080", "https://orc.example", ["https"], "__Host-orchestrator-8080"),
    ],
)
def test_by_what_name_a_session_is_kept(
    host: str, public: str | None, protos: list[str], cookie: str
) -> None:
    assert place_of(host, public, protos).cookie == cookie


@given(
    st.text(max_size=80),
    st.none() | st.just("https://orc.example"),
    st.lists(st.text(max_size=20), max_size=3),
)
def test_any_host_gives_a_name_that_is_safe_in_a_header(
    host: str, public: str | None, protos: list[str]
) -> None:
    place = place_of(host, public, protos)
    assert all(one.isascii() and (one.isalnum() or one in "_-") for one in place.cookie)
    assert place.cookie.startswith("__Host-") == place.is_tls


def test_what_changes_something() -> None:
    for method, path in (("POST", "/"), ("DELETE", "/x"), ("GET", "/api/consumers/crm/events")):
        assert origins.changes(method, path)
    for path in (
        "/",
        "/api/consumers",
        "/api/consumers/a/b/events",
        "/api/accounts/a/events",
        "/page/stream",
    ):
        assert not origins.changes("GET", path)
