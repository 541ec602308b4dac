"""Certificates for receivers in tests: each folder has an authority of its own."""

from __future__ import annotations

import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path


def certificate(
    folder: Path, *, name: str = "localhost", days: tuple[int, int] = (-1, 1), sign: bool = True
) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return what a receiver shows, and what trusts its authority, which is ``ca.pem`` in the folder.

    The name may be an IP address.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    now = datetime.now(UTC)

    def called(text: str) -> x509.GeneralName:
        try:
            return x509.IPAddress(ipaddress.ip_address(text))
        except ValueError:
            return x509.DNSName(text)

    def make(
        subject: str,
        issuer: str,
        key: ec.EllipticCurvePrivateKey,
        by: ec.EllipticCurvePrivateKey,
        *,
        ca: bool,
    ) -> x509.Certificate:
        def named(text: str) -> x509.Name:
            return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

        since, until = (-9, 9) if ca else days
        builder = x509.CertificateBuilder(
            named(issuer), named(subject), key.public_key(), x509.random_serial_number(),
            now + timedelta(days=since), now + timedelta(days=until),
        )  # fmt: skip
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        if not ca:
            builder = builder.add_extension(x509.SubjectAlternativeName([called(subject)]), critical=False)
        return builder.sign(by, hashes.SHA256())

    authority, leaf = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = make("root", "root", authority, authority, ca=True)
    shown = make(name, "root" if sign else name, leaf, authority if sign else leaf, ca=False)
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(root.public_bytes(pem))
    (folder / "leaf.pem").write_bytes(
        shown.public_bytes(pem)
        + leaf.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "leaf.pem")
    return server, ssl.create_default_context(cafile=str(folder / "ca.pem"))
