"""A proxy's URL has one judge, and what passes there means the same to Go and to Python."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.accounts.proxy import (
    HOST,
    Proxy,
    ProxyError,
    UrlError,
    environment_proxy,
    parse,
    parse_environment,
    secrets,
)
from orchestrator.accounts.proxy import shown as shown_of
from orchestrator.config import reader
from orchestrator.errors import ConfigError
from orchestrator.worker import proxy as worker

LONG = "%C3%A9" * 127 + "x"
LONG_BYTES = "é".encode() * 127 + b"x"
"""The same without escapes: 255 bytes."""


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("http://proxy:8080", Proxy("http", "proxy", 8080)),
        ("HTTPS://Proxy.Example:443/", Proxy("https", "proxy.example", 443)),
        ("socks5://user:p@ss@host:1080", Proxy("socks5", "host", 1080, b"user", b"p@ss")),
        ("socks5://user:p:ss%40%2F%ff@h:1", Proxy("socks5", "h", 1, b"user", b"p:ss@/\xff")),
        ("socks5://us%3Aer@h:1", Proxy("socks5", "h", 1, b"us:er")),
        ("http://:pw@h_x:80", Proxy("http", "h_x", 80, b"", b"pw")),
        ("http://a!$&'()*+,;=~b@h:1", Proxy("http", "h", 1, b"a!$&'()*+,;=~b")),
        ("socks5://[FE80::1%25eth0]:1", Proxy("socks5", "fe80::1%eth0", 1)),
        ("http://[::ffff:10.0.0.1]:1", Proxy("http", "::ffff:10.0.0.1", 1)),
        ("http://10.0.0.255:65535", Proxy("http", "10.0.0.255", 65535)),
        ("http://proxy.example.:1", Proxy("http", "proxy.example.", 1)),
        ("http://xn--bcher-kva.example:1", Proxy("http", "xn--bcher-kva.example", 1)),
        (f"socks5://{LONG}:{LONG}@h:1", Proxy("socks5", "h", 1, LONG_BYTES, LONG_BYTES)),
        (f"http://u:{'p' * 3999}@h:1", Proxy("http", "h", 1, b"u", b"p" * 3999)),
    ],
)  # fmt: skip
def test_what_is_taken(url: str, proxy: Proxy) -> None:
    assert parse(url) == proxy
    assert reader.check_value("proxy", url) == f"{url.partition(':')[0].lower()}:{url.partition(':')[2]}"
    assert worker.find(url, {}) == proxy


@pytest.mark.parametrize(
    "url",
    [
        "", "secret", "proxy:8080", "://proxy:1", "//proxy:1", "http:/proxy:1", "http:proxy:1", "http:///proxy:1",
        "ftp://secret:1", "socks4://proxy:1", "socks5h://proxy:1", "secretsecretsecret://proxy:1",
        # User and password
        "http://u:secret%zz@h:1", "http://u:secret%4@h:1", "http://u:secret%@h:1", "http://u:secret%00@h:1",
        "http://u:secret%0D%0A@h:1", "socks5://u:secret%7F@h:1", "http://u:secret\0@h:1", "http://u:secret\r\n@h:1",
        "http://u:se cret@h:1", "http://u:se/cret@h:1", "http://u:se?cret@h:1", "http://u:se#cret@h:1",
        "http://u:secrét@h:1", "http://u:[secret]@h:1", 'http://u:"secret"@h:1', "http://u:secret\\@h:1",
        "http://u:secret|^`{}<>@h:1", "socks5://@h:1", "socks5://:secret@h:1", "http://@h:1", "http://:@h:1",
        "http://us%3Aer:secret@h:1",
        f"socks5://{'u' * 256}@h:1", f"socks5://{LONG}x:secret@h:1", f"socks5://u:{LONG}x@h:1",
        f"http://u:{'p' * 4000}@h:1",
        # Host
        "http://", "http://:1", "http://u:secret@:1", "http://a..b:1", "http://.a:1", "http://-a:1", "http://a-:1",
        "http://*:1", "http://a,b:1", "http://a b:1", "http://a%20b:1", "http://a%61:1", "http://bücher:1",
        f"http://{'a' * 64}:1", f"http://{'a.' * 127}a:1", "http://127.1:1", "http://2130706433:1",
        "http://0x7f000001:1", "http://127.0.0.01:1", "http://1.2.3.256:1", "http://127.0.0.1.:1", "http://a.1:1",
        "http://::1:1", "http://[::1:1", "http://::1]:1", "http://[]:1", "http://[127.0.0.1]:1", "http://[v1.a]:1",
        "http://[::1%lo]:1", "http://[::1%25]:1", "http://[fe80::1%25a b]:1",
        "http://[::1%25lo]:1", "http://[fe80::1%25]:1", "http://[1::2::3]:1", "http://[:::]:1",
        "http://[::1.2.3]:1", "http://[::1]", "http://[::1]x:1",
        # Port, and what follows it
        "http://h", "http://h:", "http://h:0", "http://h:00", "http://h:01", "http://h:65536", "http://h:-1",
        "http://h:+1", "http://h:1e3", "http://h:port", "http://h:\u0661", "http://h:1/path", "http://h:1//",
        "http://h:1?", "http://h:1?query", "http://h:1#", "http://h:1#fragment", "http://h:1/@",
        " http://h:1", "http://h:1 ", "http://h:1\n", "http://h:1\t", "\ufeffhttp://h:1", "http://\u2066h:1",
    ],
)  # fmt: skip
def test_what_is_refused_everywhere_and_not_quoted(url: str) -> None:
    with pytest.raises(UrlError) as caught:
        parse(url)
    with pytest.raises(ConfigError) as told:
        reader.check_value("proxy", url)
    with pytest.raises(ProxyError) as said:
        worker.find(url, {})
    for error in (caught, told, said):
        assert "secret" not in str(error.value)
        assert str(caught.value).partition("found ")[2] in str(error.value)


def test_of_no_proxy_and_of_one_that_cannot_be_used_nothing_is_shown() -> None:
    assert shown_of(None) is None
    assert shown_of("http://ada:geheim@h") is None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("socks5://ada:ge%2Fheim@[::1]:1080", "socks5://[::1]:1080"),
        ("http://ada:geheim@[fe80::1%25lo]:1", "http://[fe80::1%25lo]:1"),
        ("http://ada@h:1", "http://h:1"),
    ],
)
def test_a_proxy_is_shown_without_user_and_password(url: str, shown: str) -> None:
    proxy = parse(url)
    assert str(proxy) == shown
    assert shown_of(url) == shown
    assert not any(word in str(proxy) + repr(proxy) for word in ("ada", "heim"))


PARTS = st.text(
    st.characters(codec="utf-8") | st.sampled_from("%:@/?#[].-_ \t\r\n\0aZ09"), max_size=12
) | st.sampled_from(["%41", "%00", "%zz", "u", "p@ss", "127.0.0.1", "[::1]", "host.example", "1080", "0"])


@given(
    st.sampled_from(["http", "https", "socks5", "SOCKS5", "", "ftp"]),
    st.lists(st.tuples(PARTS, st.sampled_from(["", ":", "@", "/", "."])), max_size=6),
)
def test_whatever_is_written_all_judge_alike(scheme: str, parts: list[tuple[str, str]]) -> None:
    check_alike(f"{scheme}://{''.join(part + mark for part, mark in parts)}")


@given(st.text())
def test_whatever_else_is_written_all_judge_alike(url: str) -> None:
    check_alike(url)


def check_alike(url: str) -> None:
    """See that everybody says the same of a URL, and raises nothing but its own error."""
    secrets(url)
    try:
        proxy = parse(url)
    except UrlError:
        with pytest.raises(ConfigError):
            reader.check_value("proxy", url)
        with pytest.raises(ProxyError):
            worker.find(url, {})
        return
    taken = reader.check_value("proxy", url)
    assert isinstance(taken, str)
    assert parse(taken) == worker.find(taken, {}) == proxy
    assert parse_environment(taken) == proxy
    # What doctor does with it: neither a name nor an address is refused before it is looked up.
    assert proxy.host.encode("idna")
    assert len(proxy.user or b"") < 256 or proxy.scheme != "socks5"


@given(st.text(st.characters(exclude_characters="\0", codec="utf-8")))
def test_whatever_the_environment_says_is_a_proxy_or_an_error(url: str) -> None:
    with suppress(ProxyError):
        parse_environment(url)


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("b:1", Proxy("http", "b", 1)),
        ("proxy", Proxy("http", "proxy", 80)),
        ("https://proxy", Proxy("https", "proxy", 443)),
        ("socks5://u:pw@proxy/", Proxy("socks5", "proxy", 1080, b"u", b"pw")),
        ("socks5h://[::1]", Proxy("socks5", "::1", 1080)),
        ("u:pw@proxy:1", Proxy("http", "proxy", 1, b"u", b"pw")),
    ],
)
def test_the_environment_may_leave_scheme_and_port_out(url: str, proxy: Proxy) -> None:
    assert parse_environment(url) == proxy
    assert worker.find(None, {"HTTPS_PROXY": url}) == proxy


@pytest.mark.parametrize(
    "url", ["ftp://secret:1", "http://u:secret%zz@h:1", "http://u:se cret@h", "http://h:0", "http://h:1/path"]
)
def test_an_environment_that_is_not_usable_is_told(url: str) -> None:
    with pytest.raises(ProxyError, match="HTTPS_PROXY in the service's environment: expected") as caught:
        worker.find(None, {"https_proxy": url})
    assert "secret" not in str(caught.value)
    assert worker.find("http://h:1", {"https_proxy": url}) == Proxy("http", "h", 1)
    assert worker.find(None, {"https_proxy": url, "NO_PROXY": "*"}) is None


@pytest.mark.parametrize(
    ("variables", "proxy"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://a:1", "https_proxy": "http://b:1"}, "http://a:1"),
        ({"HTTP_PROXY": "http://a:1", "ALL_PROXY": "http://a:1"}, None),
        ({"HTTPS_PROXY": "http://a:1", "NO_PROXY": f"{HOST}:443"}, None),
    ],
)
def test_which_variable_counts(variables: Mapping[str, str], proxy: str | None) -> None:
    assert environment_proxy(variables) == proxy


def test_what_would_give_a_password_away() -> None:
    found = secrets("http://user:pass%20word@proxy:1")
    assert {"user:pass%20word", "pass%20word", "pass word", "user:pass word"} <= set(found)
    assert "dXNlcjpwYXNzIHdvcmQ=" in found  # what an HTTP proxy is sent
    assert "word" in secrets("user:word@proxy:1")
    assert secrets("http://proxy:1") == []
    assert "b" not in secrets("http://a:b@proxy:1")


def test_addresses_that_are_taken_are_addresses_for_the_sockets() -> None:
    for url in ("http://10.0.0.255:1", "http://[fe80::1]:1", "http://[::ffff:10.0.0.1]:1"):
        host = parse(url).host
        assert socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)


@pytest.mark.parametrize(
    ("excepted", "through"),
    [
        ("", True),
        ("web.whatsapp.com", True),
        ("whatsapp.com", True),
        (".whatsapp.net", False),
        ("whatsapp.net", False),
        ("mmg.whatsapp.net", False),
        ("mmg.whatsapp.net:443", False),
        ("mmg.whatsapp.net:80", True),
        ("*", False),
        ("notwhatsapp.net", True),
        ("localhost, WHATSAPP.NET ", False),
    ],
)
def test_the_environment_may_except_a_host_of_whatsapps(excepted: str, through: bool) -> None:
    variables = {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": excepted}
    wanted = "http://proxy:3128" if through else None
    assert environment_proxy(variables, "mmg.whatsapp.net") == wanted
