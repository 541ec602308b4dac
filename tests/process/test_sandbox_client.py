import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.neonize_process import NeonizeProcess, write_png

from orchestrator.sandbox.client import (
    CONTROL_VARIABLE,
    DEFAULT_CONTROL,
    MAX_BODY,
    SandboxClient,
    SandboxError,
    SandboxUnreachable,
    environment_of,
)
from orchestrator.sandbox.environment import HOOK
from orchestrator.sandbox.process import SandboxProcess

GONE_SECONDS = 30.0
CODE = f"2@AAAA,{'A' * 43}=,{'A' * 43}=,{'A' * 43}=,6"
"""The text of a QR code that no client shows."""


@pytest.fixture
def client(sandbox: SandboxProcess) -> SandboxClient:
    return sandbox.client


@contextmanager
def answering(data: bytes) -> Iterator[str]:
    """Run something that is no sandbox: it answers each connection with these bytes; yields its address."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(data)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


# Every route


class Recorder(SandboxClient):
    """Notes which routes it has asked for."""

    asked: set[str]

    def _ask(self, method: str, path: str, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as there
        self.asked = {*getattr(self, "asked", ()), f"{method} {path}"}
        return super()._ask(method, path, *args, **kwargs)


def test_every_route_of_the_server_has_a_method(
    fresh_sandbox: SandboxProcess, make_number: Callable[[], str]
) -> None:
    client = Recorder(fresh_sandbox.client.address)
    ada, bob, eve = make_number(), make_number(), make_number()

    assert client.about() == fresh_sandbox.about
    added = client.add_phone(ada, "Ada")
    assert (added["phone"], added["name"]) == (ada, "Ada")
    client.add_phone(bob)
    client.add_phone(eve)
    assert {**added, "devices": []} in client.phones()
    for attempt in (
        lambda: client.scan(ada, text=CODE),
        lambda: client.enter_code(ada, "ABCD-1234"),
        lambda: client.unlink(ada),
    ):
        with pytest.raises(SandboxError):
            attempt()
    client.forget_sessions(ada)

    text_id = client.send_text(ada, bob, "Grüße ✓")
    media_id = client.send_media(
        ada, bob, "document", b"\x00data\xff", mime="text/plain", caption="see", file_name="a.txt"
    )
    text, media = client.inbox(bob)
    assert (text["id"], text["from"], text["kind"], text["text"]) == (text_id, ada, "text", "Grüße ✓")
    assert (media["id"], media["kind"], media["mime"]) == (media_id, "document", "text/plain")
    assert (media["caption"], media["file_name"], media["size"]) == ("see", "a.txt", 6)
    assert client.inbox(bob, after=text["seq"]) == [media]
    assert client.attachment(bob, media["seq"]) == b"\x00data\xff"
    start = client.last_event()
    client.read(bob, text_id)
    client.wait_for("receipt", since=start, phone=ada, id=text_id, type="read")
    text, media = client.sent(ada)
    assert (text["id"], text["to"], text["text"]) == (text_id, bob, "Grüße ✓")
    assert (text["delivered"], text["read"], media["read"]) == ([bob], [bob], [])
    assert "media_key" not in media
    assert client.typing(bob) == []
    text, media = client.messages(ada, bob)
    assert (text["id"], text["read"], media["delivered"]) == (text_id, [bob], [bob])
    assert client.messages(ada, eve) == []
    assert [one["id"] for one in client.messages(bob)] == [text_id, media_id]
    assert not {"media_key", "plain", "sender"} & set(media)

    group = client.make_group(ada, "Friends", [bob])
    assert group["members"] == {ada: "superadmin", bob: "member"}
    assert group in client.groups()
    renamed = client.change_group(ada, group["group"], "subject", subject="Foes")
    assert renamed == {**group, "subject": "Foes"}
    grown = client.change_group(ada, group["group"], "add", members=iter([eve]))
    assert grown["members"] == {ada: "superadmin", bob: "member", eve: "member"}

    ids = client.send_burst(ada, bob, 3)
    client.wait_for("received", phone=bob, id=ids[-1])
    assert [one["text"] for one in client.inbox(bob)[-3:]] == [f"message {n} of 3" for n in (1, 2, 3)]
    ids = client.send_burst(ada, bob, 1, text="at {now}:")
    client.wait_for("received", phone=bob, id=ids[-1])
    assert re.fullmatch(r"at \d{10}\.\d{4}: 1 of 1", client.inbox(bob)[-1]["text"])
    client.send_unavailable(ada, bob)
    client.post_in_channel(bob, "news")
    assert client.show_typing(ada, bob) == client.show_presence(ada, available=True) == 0
    client.hang_up(client.call(ada, bob))
    assert client.set_clock(86_400) > client.set_clock(0)

    fault = client.fault("failure", f"{ada}:3", times=2, seconds=600, reason=403)
    assert (fault["target"], fault["times"], fault["reason"], fault["struck"]) == (f"{ada}:3", 2, 403, 0)
    assert [one["id"] for one in client.faults()] == [fault["id"]]
    assert [one["id"] for one in client.clear_faults(fault["id"])] == [fault["id"]]
    assert client.clear_faults() == client.faults() == []
    assert client.connections() == []
    assert client.state().keys() == {"phones", "groups", "connections", "faults", "last_event"}
    assert [event["event"] for event in client.events(start)][:1] == ["receipt"]

    with pytest.raises(SandboxError) as nowhere:
        client._ask("GET", "/nowhere")
    _, _, routes = str(nowhere.value).partition("; there is ")
    assert client.asked - {"GET /nowhere"} == set(routes.split(", "))


def test_a_client_is_linked_by_its_qr_code_and_unlinked(
    client: SandboxClient, number: str, neonize: Callable[..., NeonizeProcess], tmp_path: Path
) -> None:
    bot = neonize()
    bot.command("connect")
    picture = tmp_path / "qr.png"
    write_png(bot.qr(), picture)
    assert client.scan(number, png=picture) == {"phone": number, "device": 1}
    bot.wait_for("Connected")
    online = client.wait_for("online", phone=number, device=1)
    (connection,) = (one for one in client.connections() if one["connection"] == online["connection"])
    assert (connection["phone"], connection["state"]) == (number, "online")
    assert client.unlink(number) == [1]
    bot.wait_for("LoggedOut")


def test_a_client_is_linked_by_code(
    client: SandboxClient, number: str, neonize: Callable[..., NeonizeProcess]
) -> None:
    bot = neonize()
    bot.command("connect")
    bot.qr()
    code = str(bot.command("pair_phone", phone=number.removeprefix("+"))["code"])
    with pytest.raises(SandboxError, match=r"^no client waits for a code of \+4915100001$") as refused:
        client.enter_code("+4915100001", code)
    assert refused.value.status == 409
    assert client.enter_code(number, code) == {"phone": number, "device": 1}
    bot.wait_for("Connected")


# What the sandbox refuses


@pytest.mark.parametrize(
    ("attempt", "status", "message"),
    [
        (lambda client: client.scan("+4915100001", text="nonsense"), 400, "5 parts between commas"),
        (lambda client: client.scan("+4915100001", text=CODE), 409, "no client shows this code now"),
        (lambda client: client.scan("+4915100001", png=b"no picture"), 400, "not a picture"),
        (lambda client: client.send_text("+4915199999", "+4915199998", "x"), 409, "no phone has the number"),
        (lambda client: client.fault("nonsense"), 400, "kind must be one of logged-out, replaced"),
        (lambda client: client.fault("hang", phase="x"), 400, "phase must be one of connect, tls"),
        (lambda client: client.fault("reset", "+4915199999"), 409, r"no open connection is \+4915199999"),
        (lambda client: client.clear_faults(999), 409, "there is no fault 999"),
    ],
)
def test_the_message_of_a_refusal_is_the_server_s(
    client: SandboxClient, attempt: Callable[[SandboxClient], object], status: int, message: str
) -> None:
    with pytest.raises(SandboxError, match=message) as caught:
        attempt(client)
    assert not isinstance(caught.value, SandboxUnreachable)
    assert caught.value.status == status


def test_a_scan_needs_a_text_or_a_picture(client: SandboxClient) -> None:
    for given in ({}, {"text": CODE, "png": b""}):
        with pytest.raises(TypeError, match="either text or png"):
            client.scan("+4915100001", **given)  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError):
        client.scan("+4915100001", png=Path("/nonexistent.png"))


def test_what_is_too_large_is_not_even_sent(client: SandboxClient) -> None:
    with pytest.raises(
        SandboxError, match=r"the request has .* bytes; the sandbox accepts 67,108,864"
    ) as caught:
        client.send_media("+4915100001", "+4915100002", "document", bytes(MAX_BODY))
    assert caught.value.status is None


# Waiting for events


def test_an_event_is_waited_for(client: SandboxClient, number: str) -> None:
    start = client.last_event()
    with ThreadPoolExecutor() as pool:
        coming = pool.submit(client.wait_for, "phone-added", 30, start, phone=number)
        client.add_phone(number)
        event = coming.result()
    assert event["seq"] > start
    assert client.wait_for("phone-added", 0, phone=number) == event, "numbers are the same without a plus"


def test_only_later_events_with_all_the_facts_count(
    client: SandboxClient, make_number: Callable[[], str]
) -> None:
    one, two = make_number(), make_number()
    client.add_phone(one)
    client.add_phone(two)
    first = client.wait_for("phone-added", 0, phone=one)
    second = client.wait_for("phone-added", 0, since=first["seq"], phone=two)
    assert [event["phone"] for event in (first, second)] == [one, two]
    for facts in ({"phone": one}, {"phone": two, "device": 1}, {"phone": two, "device": None}):
        with pytest.raises(SandboxError):
            client.wait_for("phone-added", 0, since=first["seq"], **facts)


def test_a_time_out_tells_what_came_instead(client: SandboxClient, number: str) -> None:
    start = client.last_event()
    client.add_phone(number, "Ada")
    with pytest.raises(SandboxError) as caught:
        client.wait_for("login", 0.2, start, phone=number, device=2)
    first, *events = str(caught.value).splitlines()
    assert first == (
        f"no event 'login', phone '{number}', device 2 within 0.2 s; the last events after number {start}:"
    )
    told = [json.loads(line) for line in events]
    assert told == client.events(start)[: len(told)], "other tests' clients may have gone meanwhile"
    assert [event["event"] for event in told if event.get("phone") == number] == ["phone-added"]
    assert caught.value.status is None


def test_a_time_out_with_no_event_at_all(client: SandboxClient) -> None:
    with pytest.raises(SandboxError, match=r":\n\(none\)$"):
        client.wait_for("login", 0, client.last_event())


def test_a_time_out_lists_only_the_last_events(client: SandboxClient, make_number: Callable[[], str]) -> None:
    start = client.last_event()
    numbers = [make_number() for _ in range(25)]
    for number in numbers:
        client.add_phone(number)
    with pytest.raises(SandboxError) as caught:
        client.wait_for("login", 0, start)
    listed = [json.loads(line).get("phone") for line in str(caught.value).splitlines()[1:]]
    assert len(listed) == 20
    ours = [phone for phone in listed if phone in numbers]
    assert ours == numbers[-len(ours) :]


def test_a_number_from_before_a_restart_does_not_hide_events(
    fresh_sandbox: SandboxProcess, number: str
) -> None:
    fresh_sandbox.restart()
    client = fresh_sandbox.client
    client.add_phone(number)
    assert client.events(500) == client.events(0) != []
    assert client.wait_for("phone-added", 5, since=500)["phone"] == number
    assert next(client.follow(500))["phone"] == number


def test_events_are_followed(client: SandboxClient, make_number: Callable[[], str]) -> None:
    numbers = [make_number() for _ in range(3)]
    followed = client.follow(client.last_event())
    for number in numbers:
        client.add_phone(number)
        assert next(event for event in followed if event["event"] == "phone-added")["phone"] == number


# The address


def test_without_an_address_the_environment_tells_or_the_default_holds(
    sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(CONTROL_VARIABLE, raising=False)
    assert SandboxClient().address == DEFAULT_CONTROL == "http://127.0.0.1:8444"
    monkeypatch.setenv(CONTROL_VARIABLE, sandbox.client.address)
    assert SandboxClient().about() == sandbox.about
    assert repr(SandboxClient()) == f"SandboxClient('{sandbox.client.address}')"


@pytest.mark.parametrize(
    "address",
    [
        "8444",
        "127.0.0.1:8444",
        "https://127.0.0.1:8444",
        "http://127.0.0.1",
        "http://:8444",
        "http://127.0.0.1:x",
        "http://127.0.0.1:99999",
        "http://[:8444",
        "http://me@127.0.0.1:8444",
        "http://127.0.0.1:8444/path",
    ],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(
        ValueError, match=r" is no address of a sandbox: write one like http://127\.0\.0\.1:8444"
    ):
        SandboxClient(address)


def test_the_proxies_of_the_environment_are_not_for_the_client(
    client: SandboxClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert client.about()


def test_where_nothing_listens_one_is_told_how_to_start() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(SandboxUnreachable) as caught:
            SandboxClient(address).state()
    assert str(caught.value) == (
        f"no sandbox answers at {address} (Connection refused): start one with 'orchestrator sandbox serve', "
        "or name another address with --control or in $ORCHESTRATOR_SANDBOX_CONTROL"
    )


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\n<html>",
    ],
)
def test_something_else_is_not_taken_for_a_sandbox(answer: bytes) -> None:
    with answering(answer) as address, pytest.raises(SandboxUnreachable, match="is not a sandbox: start one"):
        SandboxClient(address).about()


def test_a_sandbox_that_goes_away_ends_the_waiting(fresh_sandbox: SandboxProcess) -> None:
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(fresh_sandbox.client.wait_for, "login", 60)
        fresh_sandbox.kill()
        with pytest.raises(SandboxUnreachable, match=r"ended before it answered|no sandbox answers"):
            waiting.result()


def test_many_threads_may_use_one_client(client: SandboxClient, make_number: Callable[[], str]) -> None:
    numbers = [make_number() for _ in range(40)]
    with ThreadPoolExecutor(20) as pool:
        added = list(pool.map(client.add_phone, numbers))
    assert [phone["phone"] for phone in added] == numbers
    assert set(numbers) <= {phone["phone"] for phone in client.phones()}


def test_the_environment_leads_to_the_sandbox_and_keeps_the_rest(
    sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = {"HOME": "/home/me", "PYTHONPATH": "/lib", "https_proxy": "http://corporate:3128"}
    environment = sandbox.environment(base)
    assert environment == environment_of(sandbox.about, base) == sandbox.client.environment(base)
    assert environment["HOME"] == "/home/me"
    assert environment["https_proxy"] == f"http://127.0.0.1:{sandbox.port}"
    assert environment["PYTHONPATH"] == f"{HOOK}{os.pathsep}/lib"
    assert environment[CONTROL_VARIABLE] == sandbox.client.address
    monkeypatch.setenv("SOME_VARIABLE", "kept")
    assert sandbox.environment()["SOME_VARIABLE"] == "kept"


# The process


def test_it_runs_from_the_start_of_the_block_to_its_end() -> None:
    process = SandboxProcess()
    with pytest.raises(SandboxError, match="is not started: call start"):
        _ = process.client
    with process:
        pid, folder = process.pid, process.state_dir
        assert process.client.about()["pid"] == pid
        assert process.client.about()["state_dir"] == str(folder)
        with pytest.raises(SandboxError, match="is already running"):
            process.start()
    assert not psutil.pid_exists(pid)
    assert not folder.exists()
    with pytest.raises(SandboxUnreachable):
        process.client.about()


def test_a_restart_keeps_ports_and_state(tmp_path: Path, number: str) -> None:
    with SandboxProcess(tmp_path / "new" / "state") as process:
        before, pid = process.environment(), process.pid
        process.client.add_phone(number)
        phones = process.client.phones()
        process.restart()
        assert process.pid != pid
        assert process.environment() == before
        assert process.client.phones() == phones
        process.kill()
        process.restart()
        assert process.environment() == before
        assert process.client.phones() == phones
    assert (tmp_path / "new" / "state").stat().st_mode & 0o777 == 0o700
    assert process.log.stat().st_mode & 0o777 == 0o600


def test_clients_connect_to_the_address_that_it_was_given() -> None:
    address = "127.0.0.2"
    with SandboxProcess(listen=address) as process:
        assert process.environment()["HTTPS_PROXY"] == f"http://{address}:{process.port}"
        since = process.client.last_event()
        process.client.fault("refuse", seconds=0.2)  # the port is closed, and opens again
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", process.port), 30.0)
        deadline = time.monotonic() + 30.0
        while True:
            try:
                client = socket.create_connection((address, process.port), 30.0)
                break
            except ConnectionRefusedError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        with client:
            client.sendall(b"CONNECT web.whatsapp.com:443 HTTP/1.1\r\n\r\n")
            opened = process.client.wait_for("opened", 30.0, since)
            assert opened["peer"] == client.getsockname()[0]
        with pytest.raises(OSError, match="refused"):  # its control interface stays where it was
            socket.create_connection((address, process.about["control_port"]), 30.0)


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(SandboxError, match=r"address 203\.0\.113\.77 cannot be used"):
        SandboxProcess(listen="203.0.113.77").start()


def test_its_ports_are_nobody_elses_while_it_is_stopped() -> None:
    with SandboxProcess() as process:
        process.stop()
        for port in (process.port, int(process.about["control_port"])):
            with socket.socket() as other, pytest.raises(OSError, match="in use"):
                other.bind(("127.0.0.1", port))
        process.start()
        assert process.client.about()["port"] == process.port


def test_stopping_twice_does_no_harm(fresh_sandbox: SandboxProcess) -> None:
    fresh_sandbox.stop()
    fresh_sandbox.stop()
    with pytest.raises(SandboxError, match="is not running"):
        fresh_sandbox.kill()


def test_a_failed_start_shows_why(fresh_sandbox: SandboxProcess) -> None:
    second = SandboxProcess(fresh_sandbox.state_dir)
    with pytest.raises(SandboxError) as caught, second:
        pass
    message = str(caught.value)
    assert message.startswith(f"the sandbox did not start: exit code 1; the end of its log {second.log}:\n")
    assert "uses this state folder" in message
    assert "Traceback" not in message


def test_a_folder_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(SandboxError, match=r"server\.log cannot be written: "),
        SandboxProcess(tmp_path / "file"),
    ):
        pass


def test_an_end_that_nobody_asked_for_is_reported() -> None:
    process = SandboxProcess()
    process.start()
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(SandboxError, match="the sandbox ended with exit code -9; the end of its log"):
        process.stop()
    process.restart()
    process.stop()


def killed_and_forgotten() -> None:
    with SandboxProcess() as process:
        os.kill(process.pid, signal.SIGKILL)
        raise ZeroDivisionError


def test_an_error_of_the_test_comes_first() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        killed_and_forgotten()
    assert "ended with exit code -9" in caught.value.__notes__[0]


def test_it_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from orchestrator.sandbox.process import SandboxProcess;"
        "process = SandboxProcess(Path(sys.argv[1]));"
        "process.start(); print(process.pid, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        server = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
        server.wait(GONE_SECONDS)
    assert (tmp_path / "server.log").read_text() == ""


def test_bytes_that_are_no_message_are_sent_and_given_up(
    sandbox: SandboxProcess, make_number: Callable[[], str]
) -> None:
    client = sandbox.client
    ada, bob = make_number(), make_number()
    for number in (ada, bob):
        client.add_phone(number)

    message_id = client.send(ada, bob, "raw", message=b"\xff\xff")

    assert client.inbox(bob) == []
    asked = [e for e in client.events() if e.get("id") == message_id and e.get("type") == "retry"]
    assert 1 <= len(asked) <= 5
    quoting = client.send(ada, bob, text="as I said", quote=message_id)
    assert client.inbox(bob)[-1]["quote"] == {"id": message_id, "author": ada}
    assert client.inbox(bob)[-1]["id"] == quoting


@pytest.mark.parametrize("channel", ["nowhere", "1:999@newsletter", "120363@g.us", "\u0661@newsletter"])
def test_what_is_no_channel_is_refused(
    channel: str, sandbox: SandboxProcess, make_number: Callable[[], str]
) -> None:
    number = make_number()
    sandbox.client.add_phone(number)
    with pytest.raises(SandboxError, match="'channel' must be an address") as refused:
        sandbox.client.post_in_channel(number, "news", channel)
    assert refused.value.status == 400
