"""What the library's last signs mean: every row of the failure policy, and texts that give nothing away."""

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.accounts.failure import EXIT_CODES, HAS_ENDED_SESSION, Kind
from orchestrator.worker import outcomes

CALM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""The machine may be busy with other tests."""
NUMBERS = st.from_regex(r"[1-9][0-9]{7,14}", fullmatch=True)
DIAL = (
    "failed to dial whatsapp web websocket: failed to WebSocket dial: failed to send handshake request: "
    'Get "https://web.whatsapp.com/ws/chat": '
)


@pytest.mark.parametrize(
    ("reason", "kind"),
    [(401, Kind.LOGGED_OUT), (403, Kind.LOCKED), (406, Kind.LOCKED), (None, Kind.LOGGED_OUT)],
)
def test_a_linked_device_is_logged_out(reason: int | None, kind: Kind) -> None:
    outcome = outcomes.logged_out(reason, paired=True)
    assert (outcome.kind, outcome.code) == (kind, reason)


@pytest.mark.parametrize("reason", [401, 403, 406, None])
def test_a_device_that_is_not_linked_has_no_session_to_lose(reason: int | None) -> None:
    outcome = outcomes.logged_out(reason, paired=False)
    assert (outcome.kind, outcome.code) == (Kind.REFUSED, reason)


@pytest.mark.parametrize("reason", [400, 401, 409, 413, 415, 418, 501, 599])
def test_a_refusal_names_its_number(reason: int) -> None:
    outcome = outcomes.refused(reason)
    assert (outcome.kind, outcome.code) == (Kind.REFUSED, reason)
    assert f"({reason})" in outcome.text


def test_a_refusal_quotes_what_whatsapp_said_about_it() -> None:
    assert outcomes.refused(400, "be  gone\nplease").text.endswith(": be gone please")


@pytest.mark.parametrize(
    ("reason", "code", "expire", "kind"),
    [
        (402, 999, 3600.0, Kind.TEMPORARY_BAN),
        (402, None, None, Kind.TEMPORARY_BAN),
        (405, None, None, Kind.OUTDATED),
        (500, None, None, Kind.NETWORK),
        (503, None, None, Kind.NETWORK),
        (403, None, None, Kind.REFUSED),
        (418, None, None, Kind.REFUSED),
    ],
)
def test_what_only_the_log_tells(reason: int, code: int | None, expire: float | None, kind: Kind) -> None:
    outcome = outcomes.refusal(reason, code, expire)
    assert outcome.kind is kind
    if kind is Kind.TEMPORARY_BAN:
        assert (outcome.code, outcome.expire) == (code, expire)


@pytest.mark.parametrize("name", outcomes.BANS)
def test_a_ban_has_its_code_and_its_length(name: str) -> None:
    outcome = outcomes.banned(outcomes.BANS[name], 3600.0)
    assert (outcome.kind, outcome.code, outcome.expire) == (Kind.TEMPORARY_BAN, outcomes.BANS[name], 3600.0)
    assert "for 1 h" in outcome.text


@pytest.mark.parametrize("expire", [-1.0, -1e9, 0.0])
def test_a_ban_never_ends_in_the_past(expire: float) -> None:
    assert outcomes.banned(101, expire).expire == 0.0


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (f"{DIAL}dial tcp 127.0.0.1:1: connect: connection refused", Kind.NETWORK),
        (f"{DIAL}dial tcp: lookup web.whatsapp.com on 10.0.0.1:53: no such host", Kind.NETWORK),
        (f"{DIAL}Bad Gateway", Kind.NETWORK),
        (f"{DIAL}unexpected EOF", Kind.NETWORK),
        (f"{DIAL}net/http: TLS handshake timeout", Kind.NETWORK),
        (
            f"{DIAL}tls: failed to verify certificate: x509: certificate signed by unknown authority",
            Kind.NETWORK,
        ),
        (f"{DIAL}Proxy Authentication Required", Kind.CONFIG),
        (f"{DIAL}Unauthorized", Kind.CONFIG),
        (f"{DIAL}authenticationrequired", Kind.CONFIG),
        (f"{DIAL}invalid credentials", Kind.CONFIG),
        (f"{DIAL}Forbidden", Kind.NETWORK),
        (f"{DIAL}Payment Required", Kind.NETWORK),
        (f"{DIAL}Too Many Requests", Kind.NETWORK),
        (f"{DIAL}Unavailable For Legal Reasons", Kind.NETWORK),
        (
            f"{DIAL}socks connect tcp 10.0.0.1:1->h:443: username/password authentication failed",
            Kind.CONFIG,
        ),
        (f"{DIAL}socks connect tcp 10.0.0.1:1->h:443: invalid username/password", Kind.CONFIG),
        (f"{DIAL}socks connect tcp 10.0.0.1:1->h:443: no acceptable authentication methods", Kind.CONFIG),
        (
            f"{DIAL}socks connect tcp 1.2.3.4:1->h:443: unknown error connection not allowed by ruleset",
            Kind.NETWORK,
        ),
        (f"{DIAL}socks connect tcp auth.example:1->h:443: dial tcp: lookup auth.example", Kind.NETWORK),
        (f"{DIAL}proxyconnect tcp: dial tcp: lookup auth.example: no such host", Kind.NETWORK),
        (
            "failed to WebSocket dial: expected handshake response status code 101 but got 503",
            Kind.NETWORK,
        ),
        ("noise handshake failed: timed out waiting for handshake response", Kind.NETWORK),
        ("", Kind.NETWORK),
        ("proto: required field neonize.ConnectFailure.Reason not set", Kind.REFUSED),
        ("proto: required field neonize.LoggedOut.Reason not set", Kind.REFUSED),
        ("proto: required field neonize.TemporaryBan.Code not set", Kind.REFUSED),
        # By what anybody sends, nobody becomes an account that WhatsApp refuses, and is given up.
        ("proto: required field neonize.Receipt.Type not set", Kind.NETWORK),
        ("proto:\u00a0required field neonize.GroupLinkChange.Type not set", Kind.NETWORK),
        ('unsupported proxy scheme "ftp"', Kind.CONFIG),
        ('parse "http://u:p w@h": net/url: invalid userinfo', Kind.CONFIG),
        ("failed to open database: unable to open database file: no such file or directory", Kind.CONFIG),
        ("failed to upgrade database: attempt to write a readonly database", Kind.CONFIG),
        ("failed to upgrade database: database is locked", Kind.CONFIG),
        ("failed to upgrade database: unsupported database schema version: currently on v99", Kind.CONFIG),
        ("failed to upgrade database: file is not a database", Kind.DAMAGED),
        ("failed to upgrade database: database disk image is malformed", Kind.DAMAGED),
        ("failed to upgrade database: database or disk is full", Kind.MACHINE),
        ("failed to upgrade database: disk I/O error", Kind.MACHINE),
    ],
)
def test_what_connect_raises(error: str, kind: Kind) -> None:
    outcome = outcomes.connect_raised(error)
    assert outcome.kind is kind
    assert outcome.text
    assert "u:p w" not in outcome.text


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("failed to open database: dial tcp 127.0.0.1:5432: connect: connection refused", Kind.STORE),
        ("failed to open database: EOF", Kind.STORE),
        ("failed to upgrade database: pq: the database system is shutting down (57P03)", Kind.STORE),
        ("failed to upgrade database: pq: sorry, too many clients already (53300)", Kind.STORE),
        ('failed to open database: pq: password authentication failed for user "a_1" (28P01)', Kind.STORE),
        ("failed to upgrade database: pq: permission denied for schema public (42501)", Kind.STORE),
        ("failed to upgrade database: pq: syntax error (42601)", Kind.CONFIG),
        ("failed to dial whatsapp web websocket: dial tcp 10.0.0.1:1: connect: no route", Kind.NETWORK),
    ],
)
def test_what_connect_raises_with_a_database(error: str, kind: Kind) -> None:
    outcome = outcomes.connect_raised(error, in_database=True)
    assert outcome.kind is kind
    assert "a_1" not in outcome.text


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            "proxyconnect tcp: dial tcp 10.0.0.1:1: connect: connection refused",
            "the proxy socks5://p:1 cannot be reached: dial tcp 10.0.0.1:1: connect: connection refused",
        ),
        (
            "socks connect tcp p:1->web.whatsapp.com:443: dial tcp 10.0.0.1:1: connect: connection refused",
            "the proxy socks5://p:1 cannot be reached: dial tcp 10.0.0.1:1: connect: connection refused",
        ),
        (
            "socks connect tcp p:1->web.whatsapp.com:443: username/password authentication failed",
            "the proxy socks5://p:1 refused the user or the password: correct them",
        ),
        ("Forbidden", "WhatsApp cannot be reached through the proxy socks5://p:1: Forbidden"),
    ],
)
def test_the_proxy_that_an_error_is_about_is_named(error: str, text: str) -> None:
    outcome = outcomes.connect_raised(f"{DIAL}{error}")
    assert outcomes.by_way(outcome, "socks5://p:1").text == text
    assert outcomes.by_way(outcome, None) == outcome


def test_an_error_that_nobody_thought_of_is_a_crash() -> None:
    assert outcomes.connect_raised("ArgumentError: connection refused", known=False).kind is Kind.CRASH
    assert outcomes.connect_returned().kind is Kind.CRASH


def test_the_core_of_a_network_error_is_what_is_said() -> None:
    text = outcomes.connect_raised(f"{DIAL}dial tcp 127.0.0.1:1: connect: connection refused").text
    assert text == "WhatsApp cannot be reached: dial tcp 127.0.0.1:1: connect: connection refused"


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        ("info query returned status 429: rate-overlimit", Kind.REFUSED, 429),
        ("server returned error 400", Kind.REFUSED, 400),
        ("info query timed out", Kind.NETWORK, None),
        ("websocket not connected", Kind.NETWORK, None),
        ("phone number too short", Kind.CONFIG, None),
        ("international phone number required (must not start with 0)", Kind.CONFIG, None),
    ],
)
def test_no_pairing_code(error: str, kind: Kind, code: int | None) -> None:
    outcome = outcomes.link_code_failed(error)
    assert (outcome.kind, outcome.code) == (kind, code)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("4915100001", "4915100001"),
        ("+49 151 00001", "4915100001"),
        ("5511987654321", "551187654321"),
        ("5215512345678", "525512345678"),
        ("5491112345678", "541112345678"),
    ],
)
def test_numbers_of_the_same_phone(one: str, other: str) -> None:
    assert outcomes.same_number(one, other)
    assert outcomes.same_number(other, one)


@settings(CALM)
@given(NUMBERS, NUMBERS)
def test_numbers_of_different_phones(one: str, other: str) -> None:
    special = ("52", "54", "55")
    if one != other and not (one[:2] == other[:2] and one.startswith(special)):
        assert not outcomes.same_number(one, other)


@pytest.mark.parametrize("unlinked", [True, False])
@settings(CALM)
@given(linked=NUMBERS, wanted=NUMBERS)
def test_a_wrong_phone_is_named_but_not_shown(*, unlinked: bool, linked: str, wanted: str) -> None:
    outcome = outcomes.wrong_phone(linked, wanted, unlinked=unlinked)
    assert outcome.kind is Kind.WRONG_PHONE
    assert linked not in outcome.text
    assert wanted not in outcome.text
    assert linked[-2:] in outcome.text
    assert ("unlinked again" in outcome.text) is unlinked


@settings(CALM)
@given(st.text(), NUMBERS, st.text())
def test_what_is_quoted_has_one_line_and_no_number(before: str, number: str, after: str) -> None:
    quoted = outcomes.quote(f"{before} {number}@s.whatsapp.net {after}")
    assert len(quoted.splitlines()) <= 1
    assert len(quoted) <= 301
    assert f"{number}@" not in quoted


@settings(CALM)
@given(
    st.sampled_from(
        [outcomes.connect_raised, outcomes.link_code_failed, outcomes.linking_failed, outcomes.codes_lost]
    ),
    st.text(max_size=2000),
)
def test_any_text_gives_an_outcome(function: object, error: str) -> None:
    assert callable(function)
    outcome = function(error)
    assert outcome.text
    assert len(outcome.text) < 500
    assert outcome.kind not in HAS_ENDED_SESSION or re.search("database|disk image", error)


def test_every_kind_has_its_exit_code() -> None:
    assert set(EXIT_CODES) == set(Kind)
    assert min(EXIT_CODES.values()) >= 10
    assert len(set(EXIT_CODES.values())) == len(EXIT_CODES)
