"""Who may use the sandbox's control interface: who has its secret, and no page in a browser."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.sandbox import token
from orchestrator.sandbox.client import SandboxClient, SandboxError
from orchestrator.sandbox.process import SandboxProcess
from orchestrator.sandbox.server.control import judge

SECONDS = 90.0


def port(sandbox: SandboxProcess) -> int:
    return int(sandbox.about["control_port"])


def file(sandbox: SandboxProcess) -> Path:
    return sandbox.state_dir / token.NAME


def good(sandbox: SandboxProcess) -> dict[str, str]:
    return {
        "Host": f"127.0.0.1:{port(sandbox)}",
        "Authorization": f"Bearer {file(sandbox).read_text().strip()}",
        "Content-Type": "application/json",
    }


def ask(
    sandbox: SandboxProcess, headers: dict[str, str], number: str, method: str = "POST", path: str = "/phones"
) -> tuple[int, Any]:
    """Ask for a phone to be added, with these headers and no others."""
    connection = http.client.HTTPConnection("127.0.0.1", port(sandbox), timeout=SECONDS)
    body = json.dumps({"phone": number}).encode() if method == "POST" else b""
    try:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def without(*names: str, **others: str) -> Callable[[SandboxProcess], dict[str, str]]:
    def headers(sandbox: SandboxProcess) -> dict[str, str]:
        rest = {name: value for name, value in good(sandbox).items() if name not in names}
        return rest | {name.replace("_", "-"): value for name, value in others.items()}

    return headers


REFUSED = [
    (without("Authorization"), 401),
    (without(Authorization=f"Bearer {'A' * 43}"), 401),
    (without(Authorization="Bearer"), 401),
    (without(Authorization="Bearer "), 401),
    (without(Authorization="Basic OnNlY3JldA=="), 401),
    (lambda sandbox: good(sandbox) | {"Authorization": good(sandbox)["Authorization"][:-1]}, 401),
    (lambda sandbox: good(sandbox) | {"Authorization": good(sandbox)["Authorization"] + "x"}, 401),
    (lambda sandbox: good(sandbox) | {"Authorization": good(sandbox)["Authorization"].lower()}, 401),
    (without(Authorization="Bearer \xe4\xf6"), 401),
    (without(Origin="http://evil.example"), 403),
    (without(Origin="null"), 403),
    (lambda sandbox: good(sandbox) | {"Origin": f"http://127.0.0.1:{port(sandbox)}"}, 403),
    (without(Host="evil.example"), 421),
    (without(Host="127.0.0.1"), 421),
    (without(Host="127.0.0.1:1"), 421),
    (lambda sandbox: good(sandbox) | {"Host": f"127.0.0.1.evil.example:{port(sandbox)}"}, 421),
    (lambda sandbox: good(sandbox) | {"Host": f"rebind.evil:{port(sandbox)}"}, 421),
    (without("Content-Type"), 415),
    (without(Content_Type="text/plain"), 415),
    (without(Content_Type="text/plain; charset=application/json"), 415),
    (without(Content_Type="application/x-www-form-urlencoded"), 415),
]


@pytest.mark.parametrize(("headers", "status"), REFUSED, ids=range(len(REFUSED)))
def test_a_request_that_is_not_the_users_own_is_refused_and_nothing_is_done(
    sandbox: SandboxProcess,
    make_number: Callable[[], str],
    headers: Callable[[SandboxProcess], dict[str, str]],
    status: int,
) -> None:
    number = make_number()
    given = headers(sandbox)
    secret = file(sandbox).read_text().strip()
    found, answer = ask(sandbox, given, number)
    assert found == status
    assert answer["error"]
    assert secret not in json.dumps(answer)
    assert number not in {phone["phone"] for phone in sandbox.client.phones()}
    assert ask(sandbox, good(sandbox), number)[0] == 200, "the same request of the user is carried out"


@pytest.mark.parametrize("path", ["/", "/state", "/phones", "/inbox", "/events", "/nothing"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS", "PUT"])
def test_nothing_at_all_is_told_without_the_secret(sandbox: SandboxProcess, method: str, path: str) -> None:
    headers = without("Authorization")(sandbox)
    connection = http.client.HTTPConnection("127.0.0.1", port(sandbox), timeout=SECONDS)
    try:
        connection.request(method, path, headers=headers)
        assert connection.getresponse().status == 401
    finally:
        connection.close()


def test_the_other_name_of_this_machine_is_right_too(sandbox: SandboxProcess) -> None:
    headers = good(sandbox) | {"Host": f"LOCALHOST:{port(sandbox)}"}
    assert ask(sandbox, headers, "", "GET")[0] == 200


def test_a_body_is_not_even_read_without_the_secret(sandbox: SandboxProcess) -> None:
    with socket.create_connection(("127.0.0.1", port(sandbox)), SECONDS) as connection:
        head = f"POST /send HTTP/1.1\r\nHost: 127.0.0.1:{port(sandbox)}\r\nContent-Length: 50000000\r\n\r\n"
        connection.sendall(head.encode())
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"connection: close" in answer.lower()


def test_the_secret_is_for_its_owner_alone(sandbox: SandboxProcess) -> None:
    about = file(sandbox).stat()
    assert stat.S_IMODE(about.st_mode) == 0o600
    assert about.st_uid == os.geteuid()
    assert file(sandbox).read_text().strip() not in json.dumps(sandbox.about)


def test_a_client_without_the_file_is_told_where_it_is(sandbox: SandboxProcess) -> None:
    assert SandboxClient(f"http://127.0.0.1:{port(sandbox)}").about() == sandbox.about


def test_a_client_outlives_a_sandbox_with_another_secret(fresh_sandbox: SandboxProcess) -> None:
    clients = [fresh_sandbox.client, SandboxClient(f"http://127.0.0.1:{port(fresh_sandbox)}")]
    for client in clients:
        assert client.phones() == []
    before = file(fresh_sandbox).read_text()
    fresh_sandbox.stop()
    file(fresh_sandbox).unlink()
    fresh_sandbox.start()
    assert file(fresh_sandbox).read_text() != before
    for client in clients:
        assert client.phones() == []


def test_the_secret_outlives_the_sandbox(fresh_sandbox: SandboxProcess) -> None:
    before = file(fresh_sandbox).read_text()
    fresh_sandbox.restart()
    assert file(fresh_sandbox).read_text() == before


@pytest.mark.parametrize("harm", ["read by others", "link", "folder", "empty", "garbage"])
def test_a_secret_that_is_none_any_more_is_replaced(tmp_path: Path, harm: str) -> None:
    path = tmp_path / token.NAME
    before = token.load_or_make(tmp_path)
    match harm:
        case "read by others":
            path.chmod(0o644)
        case "link":
            path.rename(tmp_path / "elsewhere")
            path.symlink_to(tmp_path / "elsewhere")
        case "empty":
            path.write_text("")
        case "garbage":
            path.write_bytes(b"\xff" * 43)
        case "folder":
            path.unlink()
            path.mkdir()
    if harm == "folder":
        with pytest.raises(OSError, match="directory"):
            token.load_or_make(tmp_path)
        return
    after = token.load_or_make(tmp_path)
    assert after != before
    assert re.fullmatch(r"[\w-]{43}", after)
    assert not path.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("name", "text", "mode"),
    [
        ("id_rsa", "A" * 43, 0o600),
        ("control.token", "not what a sandbox has written", 0o600),
        ("control.token", "A" * 43, 0o644),
        ("control.token", "A" * 44, 0o600),
        ("control.token", "", 0o600),
    ],
)
def test_a_listener_gets_no_file_but_a_sandboxs_secret(
    tmp_path: Path, name: str, text: str, mode: int
) -> None:
    """Who listens on the port chooses the path: that must not give other files away."""
    path = tmp_path / name
    path.write_text(text)
    path.chmod(mode)
    heard = []
    body = json.dumps({"error": "x", "token_file": str(path)}).encode()
    answer = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen() -> None:
            connection, _ = server.accept()
            with connection:
                heard.append(connection.recv(65536))
                connection.sendall(answer)

        thread = threading.Thread(target=listen)
        thread.start()
        client = SandboxClient(f"http://127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(SandboxError, match=r"asks for the secret in .* run the command as the user"):
            client.phones()
        thread.join()
    assert len(heard) == 1
    assert text.encode() not in heard[0] or not text


def test_what_is_refused_is_decided_without_the_request_being_there() -> None:
    headers = {"host": "127.0.0.1:8444", "authorization": "bearer S", "content-type": "Application/JSON; x=y"}
    assert judge("POST", headers, 8444, "S") is None
    assert judge("DELETE", headers | {"content-length": "3", "content-type": "text/plain"}, 8444, "S")
    assert judge("GET", headers | {"transfer-encoding": "chunked", "content-type": ""}, 8444, "S")
    assert judge("GET", {"host": "127.0.0.1:8444", "authorization": "Bearer S"}, 8444, "S") is None
    assert judge("GET", {}, 8444, "S") == (421, "the sandbox is called 127.0.0.1:8444, and by no other name")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_another_user_is_told_whose_sandbox_it_is(sandbox: SandboxProcess) -> None:
    os.seteuid(65534)
    try:
        with pytest.raises(SandboxError, match="Permission denied") as caught:
            SandboxClient(f"http://127.0.0.1:{port(sandbox)}").phones()
    finally:
        os.seteuid(0)
    assert str(file(sandbox)) in str(caught.value)
    advice = "run the command as the user root, or start a sandbox of your own, on other ports"
    assert advice in str(caught.value)
