import os
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from orchestrator.sandbox.crypto import certs
from orchestrator.sandbox.crypto.certs import Authority, CertificateError

MODES = {"ca.pem": 0o644, "ca.key": 0o600, "tls.pem": 0o644, "tls.key": 0o600}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def leaf(authority: Authority) -> x509.Certificate:
    return x509.load_pem_x509_certificates(authority.chain_file.read_bytes())[0]


def handshake(
    server: ssl.SSLContext, client: ssl.SSLContext, name: str
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Shake hands in memory; returns the server's end and the client's."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        server.wrap_bio(up, down, server_side=True),
        client.wrap_bio(down, up, server_hostname=name),
    )
    waiting = list(reversed(ends))
    for _ in range(10):
        for end in list(waiting):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(end)
    assert not waiting
    return ends


@pytest.fixture(params=[0o000, 0o022, 0o777])
def _umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.usefixtures("_umask")
def test_the_files_have_their_modes_whatever_the_umask(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    Authority.load_or_make(folder)
    assert folder.stat().st_mode & 0o7777 == 0o700
    assert {path.name: path.stat().st_mode & 0o7777 for path in folder.iterdir()} == MODES


def test_a_second_start_changes_nothing(tmp_path: Path) -> None:
    authority = Authority.load_or_make(tmp_path)
    before = contents(tmp_path)
    assert Authority.load_or_make(tmp_path) == authority
    assert contents(tmp_path) == before


def test_two_authorities_have_nothing_in_common(tmp_path: Path) -> None:
    first = Authority.load_or_make(tmp_path / "1")
    second = Authority.load_or_make(tmp_path / "2")
    client = ssl.create_default_context(cafile=str(first.ca_file))
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(second.server_context(), client, "web.whatsapp.com")


@pytest.mark.parametrize("name", ["web.whatsapp.com", "mmg.whatsapp.net", "media.whatsapp.com"])
def test_a_client_that_trusts_the_authority_accepts_whatsapps_names(tmp_path: Path, name: str) -> None:
    authority = Authority.load_or_make(tmp_path)
    client = ssl.create_default_context(cafile=str(authority.ca_file))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    server_end, client_end = handshake(authority.server_context(), client, name)
    assert server_end.version() == client_end.version() == "TLSv1.3"


def test_other_names_are_not_vouched_for(tmp_path: Path) -> None:
    authority = Authority.load_or_make(tmp_path)
    client = ssl.create_default_context(cafile=str(authority.ca_file))
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(authority.server_context(), client, "whatsapp.example")


def test_no_protocol_is_selected_and_no_ticket_given(tmp_path: Path) -> None:
    authority = Authority.load_or_make(tmp_path)
    client = ssl.create_default_context(cafile=str(authority.ca_file))
    client.set_alpn_protocols(["h2", "http/1.1"])
    server_end, client_end = handshake(authority.server_context(), client, "web.whatsapp.com")
    assert client_end.selected_alpn_protocol() is None
    server_end.write(b"after the handshake")
    assert client_end.read(100) == b"after the handshake"
    assert client_end.session is not None
    assert not client_end.session.has_ticket


def test_tls_1_2_is_the_oldest_version(tmp_path: Path) -> None:
    authority = Authority.load_or_make(tmp_path)
    assert authority.server_context().minimum_version == ssl.TLSVersion.TLSv1_2
    client = ssl.create_default_context(cafile=str(authority.ca_file))
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    _, client_end = handshake(authority.server_context(), client, "web.whatsapp.com")
    assert client_end.version() == "TLSv1.2"
    assert client_end.session is not None
    assert not client_end.session.has_ticket


@pytest.mark.parametrize(("days", "renewed"), [(357, False), (359, True), (500, True), (-10, True)])
def test_a_certificate_near_its_end_is_renewed_by_the_same_authority(
    tmp_path: Path, days: int, renewed: bool
) -> None:
    now = datetime.now(UTC)
    authority = Authority.load_or_make(tmp_path, now=now)
    before_files = contents(tmp_path)
    before = leaf(authority)
    later = now + timedelta(days=days)
    Authority.load_or_make(tmp_path, now=later)
    after = leaf(authority)
    assert (after != before) is renewed
    assert contents(tmp_path) == {**before_files, "tls.pem": authority.chain_file.read_bytes()}
    assert after.not_valid_before_utc <= later < after.not_valid_after_utc - timedelta(days=7)


def test_a_certificate_that_lacks_a_name_is_renewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certs, "NAMES", ("web.whatsapp.com",))
    before = leaf(Authority.load_or_make(tmp_path))
    monkeypatch.undo()
    after = leaf(Authority.load_or_make(tmp_path))
    assert after != before
    names = after.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == list(certs.NAMES)


def test_a_chain_without_the_authority_is_completed(tmp_path: Path) -> None:
    authority = Authority.load_or_make(tmp_path)
    authority.chain_file.write_bytes(leaf(authority).public_bytes(Encoding.PEM))
    Authority.load_or_make(tmp_path)
    chain = x509.load_pem_x509_certificates(authority.chain_file.read_bytes())
    assert chain[1:] == x509.load_pem_x509_certificates(authority.ca_file.read_bytes())


@pytest.mark.parametrize("name", ["tls.pem", "tls.key", "ca.pem"])
def test_what_is_missing_is_made_again(tmp_path: Path, name: str) -> None:
    authority = Authority.load_or_make(tmp_path)
    trusted = (tmp_path / "ca.pem").read_text()
    (tmp_path / name).unlink()
    Authority.load_or_make(tmp_path)
    # A client that was started before goes on: it has the old certificate, the authority the same key.
    client = ssl.create_default_context(cadata=trusted)
    handshake(authority.server_context(), client, "web.whatsapp.com")


def test_a_certificate_of_another_authority_is_replaced(tmp_path: Path) -> None:
    other = Authority.load_or_make(tmp_path / "other")
    authority = Authority.load_or_make(tmp_path / "own")
    authority.chain_file.write_bytes(leaf(other).public_bytes(Encoding.PEM) + authority.ca_file.read_bytes())
    authority.key_file.write_bytes(other.key_file.read_bytes())
    Authority.load_or_make(tmp_path / "own")
    client = ssl.create_default_context(cafile=str(authority.ca_file))
    handshake(authority.server_context(), client, "web.whatsapp.com")


@pytest.mark.parametrize("damage", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
@pytest.mark.parametrize("name", list(MODES))
def test_a_damaged_file_is_named_with_its_remedy(tmp_path: Path, name: str, damage: bytes) -> None:
    Authority.load_or_make(tmp_path)
    (tmp_path / name).write_bytes(damage)
    with pytest.raises(CertificateError) as caught:
        Authority.load_or_make(tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / name} is damaged")
    # Doing what it says mends it.
    for path in tmp_path.iterdir():
        if str(path) in message.partition("remove ")[2]:
            path.unlink()
    Authority.load_or_make(tmp_path)


def test_a_key_of_another_kind_is_named(tmp_path: Path) -> None:
    Authority.load_or_make(tmp_path)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    (tmp_path / "tls.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(CertificateError, match=r"tls\.key is not an elliptic-curve key: remove"):
        Authority.load_or_make(tmp_path)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    authority = Authority.load_or_make(tmp_path)
    authority.chain_file.unlink()
    authority.chain_file.mkdir()
    with pytest.raises(CertificateError, match=r"tls\.pem cannot be read \(Is a directory\)"):
        Authority.load_or_make(tmp_path)


def test_a_trusted_certificate_without_its_key_is_not_replaced_unasked(tmp_path: Path) -> None:
    Authority.load_or_make(tmp_path)
    (tmp_path / "ca.key").unlink()
    before = contents(tmp_path)
    with pytest.raises(CertificateError, match=r"ca\.key is missing: put it back"):
        Authority.load_or_make(tmp_path)
    assert contents(tmp_path) == before


def test_a_certificate_that_does_not_fit_its_key_is_named(tmp_path: Path) -> None:
    authority = Authority.load_or_make(tmp_path / "own")
    authority.ca_file.write_bytes(Authority.load_or_make(tmp_path / "other").ca_file.read_bytes())
    with pytest.raises(CertificateError, match=r"ca\.pem does not belong to .*ca\.key: remove"):
        Authority.load_or_make(tmp_path / "own")


def test_an_authority_near_its_end_says_so(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    Authority.load_or_make(tmp_path, now=now)
    with pytest.raises(CertificateError, match=r"ca\.pem expires on \d{4}-\d\d-\d\d: remove"):
        Authority.load_or_make(tmp_path, now=now + timedelta(days=3645))


def test_a_leaf_never_outlives_its_authority(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    Authority.load_or_make(tmp_path, now=now)
    authority = Authority.load_or_make(tmp_path, now=now + timedelta(days=3600))
    ca = x509.load_pem_x509_certificate(authority.ca_file.read_bytes())
    assert leaf(authority).not_valid_after_utc == ca.not_valid_after_utc


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        Authority.load_or_make(tmp_path)
    assert contents(tmp_path) == {}
