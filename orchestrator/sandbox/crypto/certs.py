"""The certificate authority a client has to trust, and the certificate the sandbox shows as WhatsApp."""

from __future__ import annotations

import os
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from orchestrator.system.files import replacing, sync

NAMES = ("web.whatsapp.com", "*.whatsapp.com", "*.whatsapp.net")
"""The hosts that neonize calls: the WebSocket's, then those of media."""

_CA_LIFE = timedelta(days=3650)
_LEAF_LIFE = timedelta(days=365)
_RENEW_BEFORE = timedelta(days=7)
_BACKDATE = timedelta(days=2)  # for a client in a container or a virtual machine with another clock


class CertificateError(Exception):
    """A file of the authority's is damaged or missing; the message names it and says what to do."""


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority of one sandbox, with the certificate it has issued to it.

    Attributes:
        ca_file: Its own certificate: what a client's SSL_CERT_FILE names.
        chain_file: The certificate for WhatsApp's names, followed by the authority's.
        key_file: The private key of the first.
    """

    ca_file: Path
    chain_file: Path
    key_file: Path

    @classmethod
    def load_or_make(cls, folder: Path, *, now: datetime | None = None) -> Authority:
        """Read the authority kept in a folder, and make what is missing or will expire within 7 days.

        The folder is made (0700) if it does not exist; only one process may do this in it at a time. The
        files appear whole: ``ca.pem`` and ``tls.pem`` (0644), ``ca.key`` and ``tls.key`` (0600).

        Args:
            folder: Where the files are.
            now: The time to judge by, the present if not given.

        Raises:
            CertificateError: A file cannot be read, is damaged or belongs to another authority.
            OSError: The folder or a file cannot be written.
        """
        now = now or datetime.now(UTC)
        folder = folder.absolute()
        if not folder.exists():
            folder.mkdir(mode=0o700, parents=True)
            folder.chmod(0o700)  # the umask may have taken bits away

        ca_file, ca_key_file = folder / "ca.pem", folder / "ca.key"
        anew = f"remove {ca_file} and {ca_key_file} for a new authority, then restart every client"
        if ca_file.exists() and not ca_key_file.exists():
            # Clients may trust this certificate already: to replace it unasked would only baffle.
            raise CertificateError(f"{ca_key_file} is missing: put it back, or {anew}")
        ca_key = _load_or_make_key(ca_key_file, anew)
        if not ca_file.exists():
            _write(ca_file, _pem([_make_ca(ca_key, now)]), 0o644)
        ca = _load_certificates(ca_file, anew)[0]
        if ca.public_key() != ca_key.public_key():
            raise CertificateError(f"{ca_file} does not belong to {ca_key_file}: {anew}")
        if ca.not_valid_after_utc - now < _RENEW_BEFORE:
            raise CertificateError(f"{ca_file} expires on {ca.not_valid_after_utc:%Y-%m-%d}: {anew}")

        # The key comes first: should this end between the two, the old certificate does not fit it and is
        # made again.
        chain_file, key_file = folder / "tls.pem", folder / "tls.key"
        key = _load_or_make_key(key_file, f"remove {key_file}, and it is made again")
        if not chain_file.exists() or not _serves(
            _load_certificates(chain_file, f"remove {chain_file}, and it is made again"), key, ca, now
        ):
            _write(chain_file, _pem([_make_leaf(key, ca, ca_key, now), ca]), 0o644)
        return cls(ca_file, chain_file, key_file)

    def server_context(self) -> ssl.SSLContext:
        """Return the settings for the server's side of TLS: 1.2 or newer, no ALPN, no session tickets.

        Without ALPN Go stays with HTTP/1.1. It keeps no tickets by default, so making them would only cost.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
        context.load_cert_chain(self.chain_file, self.key_file)
        return context


def _make_ca(key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "orchestrator sandbox CA")])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(now + _CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _make_leaf(
    key: ec.EllipticCurvePrivateKey, ca: x509.Certificate, ca_key: ec.EllipticCurvePrivateKey, now: datetime
) -> x509.Certificate:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "orchestrator sandbox")]))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(min(now + _LEAF_LIFE, ca.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in NAMES]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        .sign(ca_key, hashes.SHA256())
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _serves(
    chain: Sequence[x509.Certificate], key: ec.EllipticCurvePrivateKey, ca: x509.Certificate, now: datetime
) -> bool:
    """Tell whether a chain still does: issued by this authority for this key and all names, and in time."""
    leaf = chain[0]
    try:
        leaf.verify_directly_issued_by(ca)
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (InvalidSignature, TypeError, ValueError, x509.ExtensionNotFound):
        return False
    return (
        chain[1:] == [ca]
        and leaf.public_key() == key.public_key()
        and set(NAMES) <= set(names.get_values_for_type(x509.DNSName))
        and leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc - _RENEW_BEFORE
    )


def _load_or_make_key(path: Path, remedy: str) -> ec.EllipticCurvePrivateKey:
    if not path.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        _write(path, pem, 0o600)
        return key
    try:
        loaded = load_pem_private_key(_read(path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise CertificateError(f"{path} is damaged ({error}): {remedy}") from None
    if not isinstance(loaded, ec.EllipticCurvePrivateKey):
        raise CertificateError(f"{path} is not an elliptic-curve key: {remedy}")
    return loaded


def _load_certificates(path: Path, remedy: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_read(path))
    except ValueError as error:
        raise CertificateError(f"{path} is damaged ({error}): {remedy}") from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificateError(
            f"{path} cannot be read ({error.strerror}): check its owner and mode"
        ) from None


def _pem(certificates: Sequence[x509.Certificate]) -> bytes:
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def _write(path: Path, data: bytes, mode: int) -> None:
    """Put a file in place whole, with this mode whatever the umask."""
    with replacing(path) as file:
        os.fchmod(file.fileno(), mode)
        file.write(data)
        sync(file)
