"""Whether WhatsApp can be reached: through proxies that misbehave, and through one that is reached by TLS."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from orchestrator.accounts.proxy import HOST, parse
from orchestrator.sandbox.process import SandboxProcess
from orchestrator.service.doctor.reach import Unreachable, reach


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
        ("http", (b"",), "is not an HTTP proxy"),
        ("http", (b"SSH-2.0-OpenSSH\r\n\r\n",), "answers with status"),
        ("http", (b"HTTP/1.1 200 OK\r\n\r\n", b"no TLS at all"), f"no TLS with {HOST}"),
        ("http", (b"HTTP/1.1 200 OK\r\n\r\n", b""), "closed the connection"),
        ("socks5", (b"\x05\xff",), "wants a user and password"),
        ("socks5", (b"\x05\x00", b"\x05\x05\x00\x01"), "connection was refused"),
        ("socks5", (b"\x05\x00", b"\x05\x63\x00\x01"), "error 99"),
        ("socks5", (b"HTTP",), "is not a SOCKS5 proxy"),
        ("socks5", (b"",), "closed the connection"),
        ("https", (b"no TLS at all",), "no TLS with the proxy"),
    ],
)
def test_a_proxy_that_does_not_do_it_is_told(scheme: str, parts: tuple[bytes, ...], message: str) -> None:
    with answering(say(*parts)) as address, pytest.raises(Unreachable, match=message):
        reach(parse(f"{scheme}://{address}"))


def test_a_host_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.service.doctor.reach.TIMEOUT", 0.2)

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
