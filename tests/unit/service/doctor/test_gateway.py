"""What doctor says of consumers, of the HTTP server and its tokens, of secrets, and of receivers."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.doctor import context_of

from orchestrator.access import token as form
from orchestrator.access import tokens
from orchestrator.accounts.settings import AccountSettings, Messages
from orchestrator.config.settings import Settings
from orchestrator.consumers.settings import BotSettings, Http, Systemd, Tcp, Unix, Webhook
from orchestrator.service.doctor.check import Check, Finding
from orchestrator.service.doctor.checks import configuration, consumers, endpoints, http_server, secrets
from orchestrator.service.doctor.context import Lookup
from orchestrator.store.layout import StatePaths

NOBODY = AccountSettings("nobody")
ALL = AccountSettings("all", messages=Messages(allow=("*",)))
OFF = replace(ALL, name="off", enabled=False)
CRM = Webhook("crm", "http://user:pa55word@127.0.0.1:9/?key=pa55word")
EVERYWHERE = Http(listen=(Tcp("0.0.0.0", 8080),))


Judge = Callable[..., list[tuple[str, str]]]


@pytest.fixture
def judged(tmp_path: Path) -> Judge:
    def found(check: Check, accounts: Sequence[AccountSettings] = (), **others: Any) -> list[tuple[str, str]]:  # noqa: ANN401
        settings = Settings(
            tmp_path / "accounts.yaml",
            tmp_path / "state",
            tmp_path / "qr",
            accounts={one.name: one for one in accounts},
            **others,
        )
        findings: list[Finding] = list(check.find(context_of(tmp_path, settings)))
        assert not [one for one in findings if "pa55word" in one.text + one.advice]
        return [(one.status, f"{one.text}; {one.advice}") for one in findings]

    return found


def add_token(folder: Path, name: str, *, expires: float | None = None) -> None:
    folder.mkdir(0o700, parents=True, exist_ok=True)
    random = os.urandom(form.ID_BYTES + form.SECRET_BYTES)
    tokens.add(folder, form.make(name, ["read"], None, created=1.0, expires=expires, random=random)[0])


# Consumers


@pytest.mark.parametrize(
    ("accounts", "consumer", "status"),
    [
        ([NOBODY, ALL], CRM, "OK"),
        ([NOBODY], CRM, "WARN"),
        ([], CRM, "WARN"),
        ([OFF], CRM, "WARN"),
        ([NOBODY, ALL], replace(CRM, accounts=frozenset({"nobody"})), "WARN"),
        ([NOBODY, ALL], replace(CRM, accounts=frozenset({"all", "nobody"})), "OK"),
        ([NOBODY], replace(CRM, events=("account.*",)), "OK"),
        ([NOBODY], replace(CRM, events=("account.*", "message.status")), "WARN"),
    ],
)
def test_a_consumer_whose_accounts_allow_nobody_is_told(
    judged: Judge,
    accounts: list[AccountSettings],
    consumer: Webhook,
    status: str,
) -> None:
    ((found, text),) = judged(consumers.CHECK, accounts, webhooks={"crm": consumer})
    assert found == status
    assert ("crm gets no messages" in text) == (status == "WARN")


def test_a_bot_that_hears_nobody_is_told_and_without_consumers_nothing_is(judged: Judge) -> None:
    bot = BotSettings("echo", "a:b", Path("/"))
    ((status, text),) = judged(consumers.CHECK, [NOBODY], bots={"echo": bot})
    assert (status, "the bot echo gets no messages" in text, "`allow:`" in text) == ("WARN", True, True)
    assert judged(consumers.CHECK, [NOBODY]) == []


# The HTTP server and its tokens


def test_an_address_for_all_without_a_token_fails(judged: Judge, tmp_path: Path) -> None:
    ((status, text),) = judged(http_server.CHECK, http=EVERYWHERE)
    assert status == "FAIL"
    assert "0.0.0.0:8080 can be reached from other machines" in text
    assert "`orchestrator token add" in text
    add_token(tmp_path / "state/tokens", "crm")
    ((status, text),) = judged(http_server.CHECK, http=EVERYWHERE)
    assert status == "WARN"
    assert "travel unencrypted, because 0.0.0.0:8080 is open to them: crm" in text


def test_tokens_that_can_be_used_from_outside_are_named(judged: Judge, tmp_path: Path) -> None:
    for number in range(7):
        add_token(tmp_path / "state/tokens", f"t{number}")
    ((status, text),) = judged(http_server.CHECK, http=Http(public_url="https://gate.example"))
    assert (status, "by https://gate.example: t0, t1, t2, t3, t4 and 2 more" in text) == ("OK", True)
    ((status, text),) = judged(http_server.CHECK, http=Http(public_url="http://gate.example"))
    assert (status, "unencrypted to http://gate.example" in text) == ("WARN", True)
    ((status, text),) = judged(http_server.CHECK, http=Http())
    assert (status, "127.0.0.1:8080, with 7 valid tokens" in text) == ("OK", True)
    ((status, text),) = judged(http_server.CHECK)
    assert (status, "no HTTP server, but there are tokens: t0" in text) == ("OK", True)


def test_that_nobody_is_let_in_is_told(judged: Judge, tmp_path: Path) -> None:
    ((status, text),) = judged(http_server.CHECK, http=Http())
    assert (status, "no token is valid" in text, "`orchestrator token add" in text) == ("OK", True, True)
    ((_, text),) = judged(http_server.CHECK, http=Http(listen=(Unix(Path("/s")),)))
    assert "token add" not in text
    add_token(tmp_path / "state/tokens", "old", expires=2.0)
    first, second = judged(http_server.CHECK, http=Http())
    assert "no token is valid" in first[1]
    assert "expired: old; `orchestrator token remove old`" in second[1]
    assert judged(http_server.CHECK, http=EVERYWHERE)[0][0] == "OK"  # it would not start anew without


class Service:
    """A service whose gateway listens on systemd's sockets."""

    def call(self, command: str) -> dict[str, Any]:
        assert command == "companions"
        return {"companions": {"gateway": {"listens": ["127.0.0.1:1", "[::]:8080", "unix:/run/x", "unix"]}}}


@pytest.mark.parametrize(("service", "status"), [(Service(), "FAIL"), (None, "OK")])
def test_sockets_of_systemd_are_judged_by_what_the_service_says(
    tmp_path: Path, service: Service | None, status: str
) -> None:
    http = Http(listen=(Systemd(), Tcp("127.0.0.1", 1)))
    context = context_of(tmp_path, Settings(tmp_path / "c", tmp_path / "state", tmp_path / "qr", http=http))
    if service is not None:
        context.client = Lookup(lambda: service)  # type: ignore[arg-type,return-value]
    (finding,) = http_server.CHECK.find(context)
    assert finding.status == status
    assert ("[::]:8080 can be reached from other machines" in finding.text) == (status == "FAIL")


# Secrets


def test_secrets_that_every_user_can_read_are_told(judged: Judge, tmp_path: Path) -> None:
    file = tmp_path / "accounts.yaml"
    file.touch()
    proxied = AccountSettings("a", proxy="http://user:pa55word@h:1")
    for mode, status in ((0o600, "OK"), (0o640, "OK"), (0o644, "WARN"), (0o602, "WARN")):
        file.chmod(mode)
        for what in (
            {"accounts": [proxied]},
            {"webhooks": {"crm": CRM}},
            {"webhooks": {"crm": Webhook("crm", "http://h/", headers=(("X-Key", "pa55word"),))}},
        ):
            assert judged(configuration.CHECK, **what)[-1][0] == status
        assert judged(configuration.CHECK, webhooks={"crm": Webhook("crm", "http://h/")})[-1][0] == "OK"


def test_files_of_tokens_that_others_can_read_are_told(judged: Judge, tmp_path: Path) -> None:
    StatePaths.of(tmp_path / "state", environ={}).prepare()
    add_token(tmp_path / "state/tokens", "crm")
    assert judged(secrets.CHECK)[0][0] == "OK"
    (tmp_path / "state/tokens/tokens.json").chmod(0o644)
    (tmp_path / "state/gateway").chmod(0o750)
    found = judged(secrets.CHECK)
    assert [status for status, _ in found] == ["WARN", "WARN"]
    assert "tokens.json (mode 0644); chmod go=" in found[0][1]


# Receivers


@contextmanager
def receiver() -> Iterator[tuple[int, list[bytes]]]:
    """Listen, and note what is sent until the other side hangs up."""
    got: list[bytes] = []
    with closing(socket.create_server(("127.0.0.1", 0))) as server:

        def take() -> None:
            connection, _ = server.accept()
            with connection:
                got.append(connection.recv(1000))

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        yield server.getsockname()[1], got
        thread.join(60)


def test_a_receiver_that_answers_gets_no_byte(judged: Judge) -> None:
    with receiver() as (port, got):
        webhook = Webhook("crm", f"http://user:pa55word@127.0.0.1:{port}/pa55word?pa55word")
        ((status, text),) = judged(endpoints.CHECK, webhooks={"crm": webhook})
        assert (status, f"crm: 127.0.0.1:{port} can be reached" in text) == ("OK", True)
    assert got == [b""]


def test_a_receiver_that_does_not_answer_or_is_unknown_is_told(judged: Judge) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    gone = Webhook("gone", f"https://127.0.0.1:{port}/")
    plain = Webhook("plain", f"http://127.0.0.1:{port}/")
    unknown = Webhook("unknown", "https://nowhere.invalid/")
    found = judged(endpoints.CHECK, webhooks={one.name: one for one in (gone, plain, unknown)})
    assert [status for status, _ in found] == ["WARN"] * 3
    assert f"gone: 127.0.0.1:{port} cannot be reached: Connection refused" in found[0][1]
    assert f"plain: 127.0.0.1:{port} cannot be reached: Connection refused" in found[1][1]
    assert "unknown: nowhere.invalid:443 cannot be reached: " in found[2][1]


def test_a_name_that_leads_to_the_service_itself_is_told(
    judged: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 8080))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answer)
    webhook = Webhook("crm", "http://innocent.example:8080/")
    ((status, text),) = judged(endpoints.CHECK, webhooks={"crm": webhook}, http=Http())
    assert (status, "innocent.example is this service's own HTTP server" in text) == ("WARN", True)


def test_without_webhooks_nothing_is_tried(judged: Judge) -> None:
    assert judged(endpoints.CHECK) == []
