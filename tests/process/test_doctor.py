"""What is checked of a machine: with a sandbox, with proxies that misbehave, with a broken neonize."""

import grp
import json
import os
import pwd
import socket
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from support.cli import COMMAND, Cli, wait_for

from orchestrator.accounts.proxy import HOST, Proxy, environment_proxy, parse
from orchestrator.accounts.settings import AccountSettings
from orchestrator.cli.doctor import checks
from orchestrator.cli.doctor.reach import Unreachable, reach
from orchestrator.config.settings import Settings
from orchestrator.control.client import Client
from orchestrator.sandbox.process import SandboxProcess
from orchestrator.service import library
from orchestrator.service.library import LibraryError, check_library
from orchestrator.store.layout import StatePaths


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


def findings(cli: Cli, *, code: int = 0) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    for finding in json.loads(cli("doctor", "--json", code=code).stdout):
        found.setdefault(finding["check"], []).append(finding)
    return found


def test_all_is_well_with_a_sandbox(cli: Cli, sandbox: SandboxProcess) -> None:
    cli.environment = sandbox.environment(cli.environment)
    port = sandbox.port
    cli.configure(
        "a: {}",
        f"b: {{proxy: 'socks5://ada:geheim@127.0.0.1:{port}'}}",
        f"c: {{proxy: 'http://ada:geheim@127.0.0.1:{port}'}}",
    )
    cli.config.chmod(0o644)
    found = findings(cli)
    assert not [one for ones in found.values() for one in ones if one["status"] == "FAIL"]
    assert [one["status"] for one in found["WhatsApp"]] == ["OK"] * 3
    assert f"through socks5://127.0.0.1:{port} for b" in found["WhatsApp"][1]["text"]
    assert found["neonize"][0]["text"].startswith("0.5.2 loads")
    assert (found["service"][0]["text"], found["service"][0]["advice"]) == (
        "does not run",
        "`orchestrator run` starts it",
    )
    assert "chmod" in found["configuration"][1]["advice"]
    with cli.service() as service:
        done = cli("doctor")
        assert f"runs as process {service.pid}" in done.stdout
        assert "geheim" not in done.stdout
        assert {line.split()[0] for line in done.stdout.splitlines()} <= {"OK", "WARN", "→"}


def test_what_is_wrong_is_told_with_what_to_do(cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    cli.configure(
        f"a: {{proxy: 'http://ada:geheim@127.0.0.1:{port}'}}",
        top="qr_dir: codes\nqr_group: nobody-has-this\n",
    )
    session = cli.has_session("a")
    session.chmod(0o644)
    (cli.state / "timeline").mkdir(0o755)
    found = findings(cli, code=1)
    (finding,) = found["WhatsApp"]
    assert (finding["status"], "geheim" in finding["text"]) == ("FAIL", False)
    assert f"127.0.0.1:{port} cannot be reached" in finding["text"]
    assert [one["status"] for one in found["configuration"]] == ["OK", "WARN", "FAIL"]
    assert "nobody-has-this" in found["configuration"][2]["text"]
    assert "chmod 700" in found["state folder"][0]["advice"]
    assert "chmod 600" in found["sessions"][0]["advice"]
    cli.config.write_text("accounts: 3\n")
    assert "accounts.yaml:1" in findings(cli, code=1)["configuration"][0]["text"]
    cli.config.unlink()
    assert findings(cli, code=1)["configuration"][0]["status"] == "FAIL"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders away")
def test_a_folder_of_another_users_is_told_with_what_to_do_about_it(tmp_path: Path) -> None:
    daemon = pwd.getpwnam("daemon").pw_uid
    state = StatePaths.of(tmp_path / "state", environ={})
    state.prepare()
    advice = {
        state.root: "`sudo -u daemon orchestrator …`",
        state.sessions: "give it to root with `chown -R`",
    }
    for folder, what in advice.items():
        os.chown(folder, daemon, -1)
        (finding,) = checks._wrong_modes(state)
        assert (finding.status, finding.text) == ("FAIL", f"{folder} belongs to daemon, this is root")
        assert what in (finding.advice or "")
        os.chown(folder, 0, -1)


def test_a_qr_folder_that_its_group_cannot_enter_is_told(tmp_path: Path) -> None:
    group = grp.getgrgid(os.getegid()).gr_name
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)  # pytest's own folders are closed to others, too
        closed = Path(name) / "closed"
        codes = closed / "codes"
        settings = Settings(tmp_path / "accounts.yaml", tmp_path / "state", codes, group)
        assert checks._closed_to_group(settings) is None
        codes.mkdir(parents=True)
        closed.chmod(0o601)
        finding = checks._closed_to_group(settings)
        assert finding is not None
        assert (finding.status, finding.advice) == ("FAIL", f"chgrp {group} {closed}; chmod g+x {closed}")
        assert finding.text == f"the group {group} cannot enter {closed} (mode 0601)"
        closed.chmod(0o710)
        codes.chmod(0o710)
        finding = checks._closed_to_group(settings)
        assert finding is not None
        assert finding.advice == f"chgrp {group} {codes}; chmod g+rx {codes}"
        codes.chmod(0o750)
        assert checks._closed_to_group(settings) is None
        assert checks._closed_to_group(replace(settings, qr_group=None)) is None


def test_a_service_that_hangs_is_seen(cli: Cli) -> None:
    cli.configure()
    with cli.popen("run", stderr=subprocess.DEVNULL) as service:
        lock, place = cli.state / "orchestrator.lock", cli.state / "control.sock"
        wait_for(place.exists, "it listens")
        with socket.socket(socket.AF_UNIX) as dead:  # one that is only gone is made anew
            dead.bind(str(cli.state / "dead"))
        (cli.state / "dead").rename(place)
        (finding,) = findings(cli, code=1)["service"]
        assert finding["status"] == "WARN"
        assert f"process {service.pid}" in finding["text"]
        assert json.loads(lock.read_text())["pid"] == service.pid


CHECKS = (
    "_versions",
    "_python",
    "_library",
    "_configuration",
    "_folders",
    "_sessions",
    "_service",
    "_disk",
    "_clock",
    "_needs",
    "_network",
)


@pytest.mark.parametrize("broken", CHECKS)
def test_what_a_check_raises_is_a_finding_and_all_others_still_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    ran = []

    def check(name: str) -> Iterator[checks.Finding]:
        ran.append(name)
        yield checks.Finding(checks.OK, name, "before")
        if name == broken:
            raise ValueError("http://ada:geheim@10.0.0.1:80 of +4915112345678")

    for name in CHECKS:
        monkeypatch.setattr(checks, name, lambda *_, name=name: check(name))
    settings = Settings(tmp_path / "accounts.yaml", tmp_path / "state", tmp_path / "qr")
    paths = StatePaths.of(tmp_path / "state", environ={})
    found = list(checks.examine(lambda: settings, lambda: paths, lambda: Client(tmp_path / "socket")))
    assert ran == list(CHECKS)
    (failed,) = [one for one in found if one.status == checks.FAIL]
    assert "could not be checked: ValueError: http://***@10.0.0.1:80" in failed.text
    assert "geheim" not in failed.text + failed.advice
    assert "15112345" not in failed.text


@pytest.mark.parametrize("what", ["load", "state"])
@pytest.mark.parametrize("error", [OSError(5, "broken", "/x"), RecursionError("too deep")])
def test_what_cannot_be_read_is_a_finding(tmp_path: Path, what: str, error: Exception) -> None:
    settings = Settings(tmp_path / "accounts.yaml", tmp_path / "state", tmp_path / "qr")
    settings.config_file.touch()

    def fail() -> Any:  # noqa: ANN401 - it returns nothing
        raise error

    found = list(
        checks.examine(
            fail if what == "load" else lambda: settings,
            fail if what == "state" else lambda: StatePaths.of(tmp_path / "state", environ={}),
            lambda: Client(tmp_path / "socket"),
        )
    )
    name = "configuration" if what == "load" else "state folder"
    assert name in {one.check for one in found if one.status == checks.FAIL}
    assert {"versions", "neonize", "clock", "open files", "WhatsApp"} <= {one.check for one in found}


# The way to WhatsApp


def test_one_way_that_cannot_be_tried_does_not_hide_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(proxy: Proxy | None) -> float:
        if proxy is not None:
            raise ValueError("nobody thought of this")
        return 0.1

    monkeypatch.setattr(checks, "reach", fail)
    monkeypatch.setattr(checks, "environment_proxy", lambda _: None)
    accounts = {"a": AccountSettings("a", proxy="http://h:1"), "b": AccountSettings("b")}
    settings = Settings(tmp_path / "c", tmp_path / "s", tmp_path / "q", accounts=accounts)
    found = list(checks._network(settings))
    assert [one.status for one in found] == [checks.FAIL, checks.OK]
    assert "ValueError" in found[0].text


def test_an_environment_that_names_no_usable_proxy_is_told(cli: Cli) -> None:
    cli.configure("a: {}", "b: {}")
    cli.environment = {**cli.environment, "HTTPS_PROXY": "socks5://ada:geh%zzeim@127.0.0.1:1"}
    (finding,) = findings(cli, code=1)["WhatsApp"]
    assert finding["status"] == "FAIL"
    assert "for a, b: HTTPS_PROXY in the service's environment: expected a proxy" in finding["text"]
    assert "eim" not in finding["text"]


@pytest.mark.parametrize(
    ("variables", "proxy"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://a:1", "https_proxy": "http://b:1"}, "http://a:1"),
        ({"https_proxy": "b:1"}, "b:1"),
        ({"HTTP_PROXY": "http://a:1"}, None),
        ({"HTTPS_PROXY": "http://a:1", "NO_PROXY": "localhost,127.0.0.1"}, "http://a:1"),
        ({"HTTPS_PROXY": "http://a:1", "NO_PROXY": " .whatsapp.com "}, None),
        ({"HTTPS_PROXY": "http://a:1", "NO_PROXY": "app.com"}, "http://a:1"),
        ({"HTTPS_PROXY": "http://a:1", "NO_PROXY": f"{HOST}:443"}, None),
        ({"HTTPS_PROXY": "http://a:1", "NO_PROXY": f"{HOST}:80"}, "http://a:1"),
        ({"HTTPS_PROXY": "http://a:1", "no_proxy": "*"}, None),
    ],
)
def test_the_environment_names_a_proxy_as_for_go(variables: Mapping[str, str], proxy: str | None) -> None:
    assert environment_proxy(variables) == proxy


@contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that does one thing to its one client; gives its address."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                connection, _ = server.accept()
                with connection:
                    connection.settimeout(20)
                    answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            thread.join(20)


def say(*parts: bytes) -> Callable[[socket.socket], None]:
    """Answer each thing that is heard by one of these, then hang up."""

    def answer(connection: socket.socket) -> None:
        for part in parts:
            connection.recv(4096)
            connection.sendall(part)

    return answer


@pytest.mark.parametrize(
    ("scheme", "parts", "message"),
    [
        ("http", (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",), "another user or password"),
        ("http", (b"HTTP/1.1 403 Forbidden\r\n\r\n",), "status 403"),
        ("http", (b"",), "does not answer as an HTTP proxy"),
        ("http", (b"SSH-2.0-OpenSSH\r\n\r\n",), "answers with status"),
        ("http", (b"HTTP/1.1 200 OK\r\n\r\n", b"no TLS at all"), f"no TLS with {HOST}"),
        ("http", (b"HTTP/1.1 200 OK\r\n\r\n", b""), "closed the connection"),
        ("socks5", (b"\x05\xff",), "wants a user and password"),
        ("socks5", (b"\x05\x00", b"\x05\x05\x00\x01"), "connection was refused"),
        ("socks5", (b"\x05\x00", b"\x05\x63\x00\x01"), "error 99"),
        ("socks5", (b"HTTP",), "does not answer as a SOCKS5 proxy"),
        ("socks5", (b"",), "closed the connection"),
        ("https", (b"no TLS at all",), "no TLS with the proxy"),
    ],
)
def test_a_proxy_that_does_not_do_it_is_told(scheme: str, parts: tuple[bytes, ...], message: str) -> None:
    with answering(say(*parts)) as address, pytest.raises(Unreachable, match=message):
        reach(parse(f"{scheme}://{address}"))


def test_a_host_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.cli.doctor.reach.TIMEOUT", 0.2)

    def wait(connection: socket.socket) -> None:
        while connection.recv(4096):
            pass

    with answering(wait) as address, pytest.raises(Unreachable, match="no answer within"):
        reach(parse(f"http://{address}"))


def test_a_certificate_that_is_not_trusted_is_told(
    sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with pytest.raises(Unreachable, match="is not trusted"):
        reach(parse(f"http://127.0.0.1:{sandbox.port}"))
    monkeypatch.setenv("SSL_CERT_FILE", sandbox.environment()["SSL_CERT_FILE"])
    assert reach(parse(f"http://127.0.0.1:{sandbox.port}")) >= 0


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1 that vouches for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a proxy")])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False
        )
    )
    certificate, secret = folder / "proxy.pem", folder / "proxy.key"
    certificate.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return certificate, secret


def test_a_proxy_that_is_itself_reached_by_tls(
    sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    certificate, key = make_certificate(tmp_path)
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(certificate.read_bytes() + Path(sandbox.environment()["SSL_CERT_FILE"]).read_bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def pass_on(connection: socket.socket) -> None:
        with (
            context.wrap_socket(connection, server_side=True) as outer,
            socket.create_connection(("127.0.0.1", sandbox.port), 20) as inner,
        ):

            def back() -> None:
                with suppress(OSError):
                    while data := inner.recv(65536):
                        outer.sendall(data)

            thread = threading.Thread(target=back)
            thread.start()
            with suppress(OSError):
                while data := outer.recv(65536):
                    inner.sendall(data)
            inner.shutdown(socket.SHUT_RDWR)
            thread.join(20)

    with answering(pass_on) as address:
        assert reach(parse(f"https://{address}")) >= 0


# neonize


@pytest.mark.parametrize(
    ("module", "text", "message"),
    [
        ("magic.py", "raise ImportError('failed to find libmagic.  Check your installation')", "libmagic1"),
        ("magic.py", "import nothing_of_that_name", "not installed completely"),
        ("neonize/__init__.py", "raise OSError('GLIBC_9.99 not found')", "GLIBC_9.99 not found"),
        ("neonize/__init__.py", "import os; os._exit(3)", "exit code 3"),
        (
            "neonize/__init__.py",
            "from .download import download\ndownload()",
            "library is missing or of another",
        ),
        (
            "neonize/__init__.py",
            "raise RuntimeError('failed to load goneonize after 3 attempts')",
            "library is missing or of another",
        ),
    ],
)
def test_a_neonize_that_does_not_load_is_told_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, text: str, message: str
) -> None:
    path = tmp_path / module
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    (tmp_path / "neonize").mkdir(exist_ok=True)
    (tmp_path / "neonize/download.py").write_text(
        '__GONEONIZE_VERSION__ = "0.5.2"\ndef download():\n    raise SystemExit("it was going to download")\n'
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(LibraryError, match=message) as caught:
        check_library()
    assert caught.value.lacks_libmagic == (message == "libmagic1")
    assert "going to download" not in str(caught.value)


def test_loading_may_not_take_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "LOAD_SECONDS", 0.01)
    with pytest.raises(LibraryError, match="overloaded"):
        check_library()


def test_a_service_does_not_start_without_a_neonize_that_loads(cli: Cli) -> None:
    cli.configure("a: {}")
    folder = cli.folder / "packages"
    folder.mkdir()
    (folder / "magic.py").write_text("raise ImportError('failed to find libmagic')")
    cli.environment["PYTHONPATH"] = f"{folder}:{cli.environment['PYTHONPATH']}"
    done = cli("run", code=1, program=COMMAND)
    assert "apt-get install libmagic1" in done.stderr
    assert cli.puppets.runs("a") == []
