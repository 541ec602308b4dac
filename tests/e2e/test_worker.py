"""A child of the service with the real neonize: from the code to the link, and every end it can come to."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support.accounts import (
    Account,
    StartWorker,
    addresses,
    devices,
    link,
    make_account,
    secrets_of,
    starter,
)
from support.neonize_process import PANICKED

from orchestrator.accounts.failure import EXIT_CODES, Kind
from orchestrator.sandbox.client import SandboxError
from orchestrator.sandbox.process import SandboxProcess
from orchestrator.worker.deadlines import DIAL_SECONDS

HOOK = Path(__file__).parents[1] / "support" / "slow_callbacks"


@pytest.fixture(scope="session")
def shared_sandbox() -> Iterator[SandboxProcess]:
    """One of this module's own: a fault for whoever dials next must not strike somebody else's bot."""
    with SandboxProcess() as process:
        yield process


@pytest.fixture
def worker(sandbox: SandboxProcess, tmp_path: Path) -> Iterator[StartWorker]:
    with ExitStack() as running:
        yield starter(sandbox, tmp_path, running)


@pytest.fixture(scope="module")
def account(
    shared_sandbox: SandboxProcess, make_number: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> Account:
    """A linked account, for all tests that leave it linked."""
    return make_account(shared_sandbox, make_number(), tmp_path_factory.mktemp("account"))


# Linking


def test_linked_by_a_picture_and_back_from_the_session(
    worker: StartWorker, sandbox: SandboxProcess, number: str
) -> None:
    first = worker(phone=number[1:], device_name="A Name of its Own")
    code = first.wait_for("Code")
    assert code["expires_at"] - code["issued_at"] == 60
    assert code["issued_at"] == pytest.approx(time.time(), abs=60)
    link(first, sandbox, number)
    assert first.wait_for("Connected")["phone"] == number[1:]
    beat = first.wait_for("Heartbeat", predicate=lambda event: event["last_seen_at"])
    assert beat["last_seen_at"] == pytest.approx(time.time(), abs=60)
    assert beat["memory_bytes"] > 10_000_000
    assert devices(sandbox, number)[0]["os"] == "A Name of its Own"
    first.tell("stop")
    end = first.ended()
    assert (end["kind"], end["status"]) == ("stopped", 10)
    assert first.said == ["Loading", "Connecting", "Code", "Paired", "Connected", "Ended"]
    assert first.printed() == ""

    for path in first.folder.glob("support.sqlite3*"):
        assert path.stat().st_mode & 0o777 == 0o600
    first.database.chmod(0o644)
    again = worker(phone=number[1:])
    assert again.wait_for("Connecting")["paired"]
    assert again.wait_for("Connected")["phone"] == number[1:]
    assert again.database.stat().st_mode & 0o777 == 0o600
    assert again.said == ["Loading", "Connecting", "Connected"]


def test_linked_by_a_code_to_type_in(worker: StartWorker, sandbox: SandboxProcess, number: str) -> None:
    run = worker(phone=number[1:], pairing="code", log_level="DEBUG")
    code = run.wait_for("LinkCode")
    assert 60 < code["expires_at"] - time.time() <= 160
    sandbox.client.enter_code(number, code["code"])
    run.wait_for("Connected")
    run.tell("stop")
    run.ended()
    assert run.said == ["Loading", "Connecting", "LinkCode", "Paired", "Connected", "Ended"]
    assert code["code"] not in run.printed()
    assert code["code"].replace("-", "") not in run.printed()


def test_a_code_to_type_in_needs_a_number(worker: StartWorker) -> None:
    end = worker(pairing="code").ended()
    assert (end["kind"], end["status"]) == ("config", EXIT_CODES[Kind.CONFIG])


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_nothing_that_is_printed_gives_a_secret_away(
    worker: StartWorker, sandbox: SandboxProcess, number: str, log_format: str
) -> None:
    run = worker(log_level="DEBUG", log_format=log_format)
    code = run.wait_for("Code")
    link(run, sandbox, number)
    run.tell("stop")
    run.ended()
    keys = secrets_of(run.database)
    assert len(keys) > 100
    again = worker(log_level="DEBUG", log_format=log_format)
    again.wait_for("Connected")
    sandbox.client.unlink(number)
    again.ended()
    printed = again.printed()
    # It is the library's whole log: what must not be seen was there.
    for sign in ("Emitting QR code", "Successfully paired", "Successfully authenticated"):
        assert sign in printed
    for line in printed.splitlines():
        if log_format == "json":
            assert json.loads(line)["account"] == "support"
        else:
            assert "[support]" in line or line.startswith("    ")
    for secret in (number[1:], code["text"], *code["text"].rpartition("#")[2].split(",")[:4], *keys):
        assert secret not in printed


# What ends a log-in


@pytest.mark.parametrize(("reason", "kind"), [(401, Kind.LOGGED_OUT), (403, Kind.LOCKED), (406, Kind.LOCKED)])
def test_a_session_that_is_over(
    worker: StartWorker,
    sandbox: SandboxProcess,
    make_number: Callable[[], str],
    tmp_path: Path,
    reason: int,
    kind: Kind,
) -> None:
    account = make_account(sandbox, make_number(), tmp_path)
    sandbox.client.fault("failure", target=account.target, reason=reason)
    end = worker(account=account).ended()
    assert (end["kind"], end["code"], end["status"]) == (kind, reason, EXIT_CODES[kind])
    assert account.number[1:] not in end["text"]


def test_a_session_that_is_over_though_the_library_does_not_say_so(
    worker: StartWorker, sandbox: SandboxProcess, make_number: Callable[[], str], tmp_path: Path
) -> None:
    account = make_account(sandbox, make_number(), tmp_path)
    sandbox.client.fault("failure", target=account.target, reason=403)
    (tmp_path / "callbacks/support").mkdir(parents=True)
    (tmp_path / "callbacks/support/word").write_text("deaf")
    environment = {
        "ORCHESTRATOR_TEST_SLOW_CALLBACKS": str(tmp_path / "callbacks"),
        "PYTHONPATH": os.pathsep.join([sandbox.environment()["PYTHONPATH"], str(HOOK)]),
    }
    run = worker(account=account, environment=environment)
    dialled = run.wait_for("Connecting")["time"]
    end = run.ended()
    assert (end["kind"], end["code"], end["status"]) == (Kind.LOCKED, 403, EXIT_CODES[Kind.LOCKED])
    assert end["at"] - dialled < DIAL_SECONDS - 10, "not only when it gives up"


@pytest.mark.parametrize(
    ("fault", "kind", "code", "expire"),
    [
        ({"reason": 402, "code": 101, "expire": 3600}, Kind.TEMPORARY_BAN, 101, 3600.0),
        ({"reason": 402, "code": 106, "expire": 60}, Kind.TEMPORARY_BAN, 106, 60.0),
        ({"reason": 402, "code": 999, "expire": 60}, Kind.TEMPORARY_BAN, 999, 60.0),
        ({"reason": 405}, Kind.OUTDATED, 405, None),
        ({"reason": 400}, Kind.REFUSED, 400, None),
        ({"reason": 409, "message": "no"}, Kind.REFUSED, 409, None),
        ({"reason": 501}, Kind.REFUSED, 501, None),
        ({"reason": 415}, Kind.REFUSED, 415, None),
        ({"reason": 418}, Kind.REFUSED, 418, None),
    ],
    ids=str,
)
def test_a_refused_log_in(
    worker: StartWorker,
    sandbox: SandboxProcess,
    account: Account,
    fault: dict[str, Any],
    kind: Kind,
    code: int | None,
    expire: float | None,
) -> None:
    sandbox.client.fault("failure", target=account.target, **fault)
    run = worker(account=account)
    end = run.ended()
    assert (end["kind"], end["code"], end["expire"]) == (kind, code, expire)
    assert end["status"] == EXIT_CODES[kind]
    assert account.number[1:] not in end["text"]
    assert run.database.read_bytes() == account.database.read_bytes()


def test_a_server_in_trouble_is_tried_again(
    worker: StartWorker, sandbox: SandboxProcess, account: Account
) -> None:
    sandbox.client.fault("failure", target=account.target, reason=503, times=2)
    run = worker(account=account)
    run.wait_for("Connected")
    assert run.said == ["Loading", "Connecting", "Connected"]


def test_a_panic_of_the_library_is_a_crash(
    worker: StartWorker, sandbox: SandboxProcess, account: Account
) -> None:
    sandbox.client.fault("failure", target=account.target, reason=413)
    run = worker(account=account)
    end = run.ended()
    assert end["kind"] is None
    assert end["status"] in PANICKED
    assert run.database.read_bytes() == account.database.read_bytes()
    if end["status"] == -signal.SIGABRT:
        assert "ERROR   [support] neonize: panic: runtime error" in run.printed()


@pytest.mark.parametrize(
    ("fault", "params"),
    [("refuse", {}), ("http", {"status": 503}), ("http", {"status": 429}), ("hang", {"phase": "noise"})],
    ids=str,
)
def test_whatsapp_cannot_be_reached(
    worker: StartWorker, sandbox: SandboxProcess, account: Account, fault: str, params: dict[str, Any]
) -> None:
    sandbox.client.fault(fault, **params)
    run = worker(account=account)
    end = run.ended()
    assert (end["kind"], end["status"]) == (Kind.NETWORK, EXIT_CODES[Kind.NETWORK])
    assert run.said == ["Loading", "Connecting", "Ended"]
    assert run.database.read_bytes() == account.database.read_bytes()


# What ends a link


def test_logged_out_by_the_phone(worker: StartWorker, sandbox: SandboxProcess, number: str) -> None:
    run = worker()
    link(run, sandbox, number)
    sandbox.client.unlink(number)
    end = run.ended()
    assert (end["kind"], end["code"], end["status"]) == (Kind.LOGGED_OUT, 401, 21)


def test_logged_out_while_the_link_was_lost(
    worker: StartWorker, sandbox: SandboxProcess, make_number: Callable[[], str], tmp_path: Path
) -> None:
    account = make_account(sandbox, make_number(), tmp_path)
    run = worker(account=account)
    run.wait_for("Connected")
    sandbox.client.fault("failure", target=account.target, reason=401)
    sandbox.client.fault("reset", target=account.target)
    end = run.ended()
    assert (end["kind"], end["code"]) == (Kind.LOGGED_OUT, 401)
    assert run.said == ["Loading", "Connecting", "Connected", "LinkLost", "Ended"]


def test_replaced_by_another_client(worker: StartWorker, sandbox: SandboxProcess, account: Account) -> None:
    run = worker(account=account)
    run.wait_for("Connected")
    sandbox.client.fault("replaced", target=account.target)
    end = run.ended()
    assert (end["kind"], end["status"]) == (Kind.REPLACED, 25)
    assert addresses(run.database) == addresses(account.database)


@pytest.mark.parametrize("fault", ["reset", "close", "stream-error"])
def test_a_link_that_comes_back(
    worker: StartWorker, sandbox: SandboxProcess, account: Account, fault: str
) -> None:
    run = worker(account=account)
    run.wait_for("Connected")
    count = run.count()
    sandbox.client.fault(fault, target=account.target)
    run.wait_for("Connected", after=count)
    assert run.said == ["Loading", "Connecting", "Connected", "LinkLost", "Connected"]


# What ends a round of codes


@pytest.mark.parametrize(
    ("fault", "params", "kind", "code"),
    [
        ("failure", {"reason": 405}, Kind.OUTDATED, 405),
        ("failure", {"reason": 402, "code": 104, "expire": 60}, Kind.TEMPORARY_BAN, 104),
        ("failure", {"reason": 401}, Kind.REFUSED, 401),
        ("failure", {"reason": 403}, Kind.REFUSED, 403),
        ("failure", {"reason": 418}, Kind.REFUSED, 418),
        ("failure", {"reason": 503}, Kind.NETWORK, None),
        ("passkey", {}, Kind.PASSKEY, None),
        ("short-qr", {"after": 2}, Kind.PAIRING_EXPIRED, None),
        ("short-qr", {"codes": 1}, Kind.PAIRING_EXPIRED, None),
    ],
    ids=str,
)
def test_a_round_that_nobody_can_use(
    worker: StartWorker,
    sandbox: SandboxProcess,
    fault: str,
    params: dict[str, Any],
    kind: Kind,
    code: int | None,
) -> None:
    sandbox.client.fault(fault, target="pairing", **params)
    end = worker().ended()
    assert (end["kind"], end["status"]) == (kind, EXIT_CODES[kind])
    assert end["code"] in (code, 503)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [("reset", Kind.NETWORK), ("stream-error", Kind.NETWORK), ("close", Kind.PAIRING_EXPIRED)],
)
def test_a_connection_that_breaks_while_a_code_is_shown(
    worker: StartWorker, sandbox: SandboxProcess, fault: str, kind: Kind
) -> None:
    run = worker()
    run.wait_for("Code")
    sandbox.client.fault(fault, target="pairing")
    assert run.ended()["kind"] == kind


def test_a_scan_that_goes_wrong(worker: StartWorker, sandbox: SandboxProcess, number: str) -> None:
    sandbox.client.fault("tamper", target=number)
    run = worker()
    code = run.wait_for("Code")
    with pytest.raises(SandboxError):
        sandbox.client.scan(number, text=code["text"])
    end = run.ended()
    assert end["kind"] == Kind.NETWORK
    assert "HMAC" in end["text"]


# The wrong phone


def test_the_wrong_phone_is_unlinked_again(worker: StartWorker, sandbox: SandboxProcess, number: str) -> None:
    run = worker(phone="15550100")
    code = run.wait_for("Code")
    sandbox.client.scan(number, text=code["text"])
    end = run.ended()
    assert (end["kind"], end["status"]) == (Kind.WRONG_PHONE, EXIT_CODES[Kind.WRONG_PHONE])
    assert "unlinked again" in end["text"]
    assert number[1:] not in end["text"]
    assert "15550100" not in end["text"]
    assert run.said == ["Loading", "Connecting", "Code", "Paired", "Ended"]
    assert devices(sandbox, number) == []
    assert addresses(run.database) == []


def test_a_stored_session_of_another_number_is_kept_and_stays_linked(
    worker: StartWorker, sandbox: SandboxProcess, make_number: Callable[[], str], tmp_path: Path
) -> None:
    account = make_account(sandbox, make_number(), tmp_path)
    before = account.database.read_bytes()
    run = worker(account=account, phone="15550100")
    end = run.ended()
    assert end["kind"] == Kind.CONFIG
    assert run.said == ["Loading", "Ended"]
    assert len(devices(sandbox, account.number)) == 1
    assert run.database.read_bytes() == before


# The session's file


def test_a_damaged_session(worker: StartWorker, tmp_path: Path) -> None:
    database = tmp_path / "support.sqlite3"
    database.write_bytes(b"no database at all, however long one looks at it" * 100)
    before = database.read_bytes()
    end = worker().ended()
    assert (end["kind"], end["status"]) == (Kind.DAMAGED, EXIT_CODES[Kind.DAMAGED])
    assert database.read_bytes() == before


def test_two_children_never_share_a_session(worker: StartWorker, account: Account) -> None:
    first = worker(account=account)
    first.wait_for("Connected")
    end = worker(account=account).ended()
    assert (end["kind"], end["status"]) == (Kind.CRASH, EXIT_CODES[Kind.CRASH])
    assert str(first.pid) in end["text"]
    assert first.said == ["Loading", "Connecting", "Connected"]


def test_a_folder_of_any_name(worker: StartWorker, account: Account, tmp_path: Path) -> None:
    folder = tmp_path / "a #1%41 ?x=y&z"
    folder.mkdir()
    database = folder / "support.sqlite3"
    database.write_bytes(account.database.read_bytes())
    run = worker(database=str(database))
    assert run.wait_for("Connecting")["paired"]
    run.wait_for("Connected")
    assert not (tmp_path / "a ").exists()


# Its own proxy


@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_an_account_goes_through_its_own_proxy_alone(
    worker: StartWorker, sandbox: SandboxProcess, account: Account, scheme: str
) -> None:
    # Whatever goes through the environment's proxy fails.
    nowhere = dict.fromkeys(("HTTPS_PROXY", "https_proxy", "ALL_PROXY"), "http://127.0.0.1:9")
    url = f"{scheme}://{scheme}-user:secret-word@127.0.0.1:{sandbox.port}"
    run = worker(account=account, environment=nowhere, proxy=url, log_level="DEBUG")
    run.wait_for("Connected")
    mine = [one for one in sandbox.client.connections() if one["phone"] == account.number]
    assert [one["proxy_user"] for one in mine] == [f"{scheme}-user"]
    run.tell("stop")
    run.ended()
    assert "secret-word" not in run.printed()


@pytest.mark.parametrize("proxy", ["ftp://127.0.0.1:1", "http://user:secret word@h:1", "nonsense"])
def test_a_proxy_that_cannot_be(worker: StartWorker, account: Account, proxy: str) -> None:
    run = worker(account=account, proxy=proxy)
    end = run.ended()
    assert (end["kind"], end["status"]) == (Kind.CONFIG, EXIT_CODES[Kind.CONFIG])
    assert "secret" not in end["text"]
    assert run.said == ["Ended"]


def test_a_proxy_that_is_down_is_not_gone_around(
    worker: StartWorker, sandbox: SandboxProcess, account: Account
) -> None:
    before = sandbox.client.last_event()
    run = worker(account=account, proxy="http://user:secret-word@127.0.0.1:9")
    end = run.ended()
    assert end["kind"] == Kind.NETWORK
    assert "secret-word" not in end["text"] + run.printed()
    assert not [one for one in sandbox.client.events(before) if one["event"] == "opened"]
