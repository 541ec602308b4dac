"""Files of messages: fetched by the account's own process, isolated as always, by the account's own way."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import get_args

import pytest
from support.blob_server import BlobServer, Speaker, answer, then_wait
from support.conversation import Contact
from support.linked import wait_until
from support.service import PATIENCE, Json, Service

from orchestrator.errors import OrchestratorError
from orchestrator.messages.media import HOST
from orchestrator.sandbox.client import MediaKind
from orchestrator.sandbox.crypto.certs import Authority
from orchestrator.sandbox.process import SandboxProcess

NUMBERS: dict[str, str] = {}
LIMIT = 1 << 20


@pytest.fixture(scope="module")
def service(
    sandbox_of_the_module: SandboxProcess,
    make_number: Callable[[], str],
    make_folder: Callable[[], Path],
) -> Iterator[Service]:
    folder = make_folder()
    port = sandbox_of_the_module.port
    every = {"allow": "*", "media_limit": "1M"}
    accounts: dict[str, Json] = {
        "asks": {"messages": every},
        "takes": {"messages": {**every, "media": "always"}},
        "never": {"messages": {**every, "media": "never"}},
        "http": {"messages": every, "proxy": f"http://media-http:secret@127.0.0.1:{port}"},
        "socks": {"messages": every, "proxy": f"socks5://media-socks:secret@127.0.0.1:{port}"},
    }
    with Service(folder, sandbox_of_the_module, accounts) as service:
        for name in accounts:
            NUMBERS[name] = make_number()
            service.pair(name, NUMBERS[name])
        yield service


@pytest.fixture(scope="module")
def sandbox_of_the_module(shared_sandbox: SandboxProcess) -> SandboxProcess:
    return shared_sandbox


def messages(service: Service, name: str) -> Path:
    return service.state / "messages" / name


def send(service: Service, ada: Contact, name: str, data: bytes, kind: MediaKind = "document") -> str:
    """Have a phone send a file, and return the identifier under which the account knows the file."""
    sent = ada.sandbox.send_media(ada.number, NUMBERS[name], kind, data, mime="text/html")
    wait_until(lambda: service.kept.has_inbox(name), "nothing was stored")
    with service.kept.inbox(name) as reader:
        wait_until(lambda: bool(reader.find(sent)), "the message was not stored")
        (entry,) = reader.find(sent)
    return str(entry.notes["media"])


def fetch(service: Service, name: str, media: str) -> Path:
    """Ask as an operator does, and return the path that is printed."""
    return Path(service.command("media", name, media).stdout.strip())


def error_of(service: Service, name: str, media: str) -> OrchestratorError:
    with pytest.raises(OrchestratorError) as caught:
        service.client.call("media", name=name, media=media)
    return caught.value


def blobs(service: Service) -> sqlite3.Connection:
    return sqlite3.connect(service.sandbox.state_dir / "sandbox.sqlite3", timeout=PATIENCE)


@pytest.mark.parametrize("kind", get_args(MediaKind))
def test_a_file_of_each_kind_is_fetched_when_it_is_asked_for(
    kind: MediaKind, service: Service, ada: Contact
) -> None:
    data = os.urandom(70_000) + kind.encode()
    media = send(service, ada, "asks", data, kind)
    assert not (messages(service, "asks") / "media" / media).exists()
    path = fetch(service, "asks", media)
    assert path == messages(service, "asks") / "media" / media
    assert path.read_bytes() == data
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir() if one.suffix == ".part"] == []


@pytest.mark.parametrize("name", ["http", "socks"])
def test_a_file_comes_by_the_way_of_its_account(name: str, service: Service, ada: Contact) -> None:
    data = os.urandom(200_000)
    media = send(service, ada, name, data)
    since = ada.sandbox.last_event()
    assert fetch(service, name, media).read_bytes() == data
    opened = ada.sandbox.wait_for("opened", PATIENCE, since, user=f"media-{name}", host=HOST)
    assert (opened["proxy"], opened["port"]) == ({"socks": "socks5"}.get(name, name), 443)


def test_a_file_is_fetched_without_being_asked_for(service: Service, ada: Contact) -> None:
    files = [os.urandom(1000 * number) for number in range(1, 6)]
    names = [send(service, ada, "takes", data) for data in files]
    paths = [messages(service, "takes") / "media" / name for name in names]
    wait_until(lambda: all(path.exists() for path in paths), "not all files came")
    assert [path.read_bytes() for path in paths] == files


def test_what_cannot_be_had_is_told(service: Service, ada: Contact) -> None:
    media = send(service, ada, "asks", b"soon gone" * 100)
    with closing(blobs(service)) as store, store:
        store.execute("DELETE FROM media")
    assert error_of(service, "asks", media).key == "media_expired"
    assert error_of(service, "asks", "4611686018427387904").key == "media_unknown"
    assert error_of(service, "asks", "0").key == "bad_request"
    large = send(service, ada, "asks", bytes(LIMIT + 1))
    assert error_of(service, "asks", large).key == "media_too_large"
    assert error_of(service, "never", send(service, ada, "never", b"x")).key == "media_never"
    with closing(blobs(service)) as store, store:
        store.execute("DELETE FROM media")
    altered = send(service, ada, "asks", b"as it was" * 100)
    with closing(blobs(service)) as store, store:
        ((blob,),) = store.execute("SELECT blob FROM media").fetchall()
        changed = bytes([blob[0] ^ 1]) + blob[1:]
        store.execute("UPDATE media SET blob = ? WHERE blob = ?", (changed, blob))
    assert error_of(service, "asks", altered).key == "media_altered"
    left = {one.name.partition(".")[2] for one in (messages(service, "asks") / "media").iterdir()}
    assert left <= {"", "expired", "altered"}
    log = "\n".join(service.log)
    assert "Traceback" not in log
    done = service.command("media", "asks", media, check=False)
    assert done.returncode == 1
    assert "WhatsApp no longer has the file" in done.stderr


def test_a_copy_is_written_where_nothing_was(service: Service, ada: Contact, tmp_path: Path) -> None:
    data = os.urandom(5000)
    media = send(service, ada, "asks", data)
    copy = tmp_path / "copy"
    service.command("media", "asks", media, "--output", str(copy))
    assert copy.read_bytes() == data
    assert "exists already" in service.command("media", "asks", media, "-o", str(copy), check=False).stderr


def test_nothing_is_held_up_by_a_file_and_none_is_forgotten(
    sandbox: SandboxProcess, make_number: Callable[[], str], folder: Path, ada: Contact
) -> None:
    """The configuration changes, a process is told to stop and one is killed while a file is on its way."""
    authority = Authority.load_or_make(Path(sandbox.environment()["SSL_CERT_FILE"]).parent)
    blocked = threading.Event()
    data = [os.urandom(size) for size in (1000, 300_000, 3000)]

    def speaker(head: str) -> Speaker:
        blob_id = head.split("/")[2].partition("?")[0]
        with closing(sqlite3.connect(sandbox.state_dir / "sandbox.sqlite3", timeout=PATIENCE)) as store:
            (blob,) = store.execute("SELECT blob FROM media WHERE id = ?", (blob_id,)).fetchone()
        if blocked.is_set() and len(blob) > 200_000:
            begin = f"HTTP/1.1 200 OK\r\nContent-Length: {len(blob)}\r\n\r\n".encode()
            return then_wait(begin + blob[:200_000])
        return answer(body=blob)

    with BlobServer(authority, speaker, onward=sandbox.port) as host:
        account: Json = {"proxy": host.url, "messages": {"allow": "*", "media_limit": "1M"}}
        with Service(folder, sandbox, {"a": account}) as service:
            NUMBERS["a"] = make_number()
            service.pair("a", NUMBERS["a"])
            names = [send(service, ada, "a", one) for one in data]
            place = messages(service, "a") / "media"
            assert not place.exists()

            blocked.set()
            account["messages"]["media"] = "always"
            service.configure({"a": account})
            service.command("reload")
            wait_until(lambda: len(host.asked) == 2, "the large file was not begun")
            wait_until(lambda: bool(list(place.glob("*.part"))), "the large file was not begun")
            assert "Seccomp:\t2" in Path(f"/proc/{service.child('a')}/status").read_text()
            service.command("stop", "a")
            service.wait_for_state("a", "stopped")
            assert service.timeline("a")[-1]["reason"] != "killed"
            assert list(place.glob("*.part"))

            service.command("start", "a")
            service.wait_for_state("a", "connected")
            wait_until(lambda: len(host.asked) == 3, "it did not begin again")
            before = service.child("a")
            os.kill(before, signal.SIGKILL)
            blocked.clear()
            paths = [place / name for name in names]
            wait_until(lambda: all(path.exists() for path in paths), "not all files came")
            assert [path.read_bytes() for path in paths] == data
            wait_until(lambda: not list(place.glob("*.part")), "something is left")
            assert "Traceback" not in "\n".join(service.log)
