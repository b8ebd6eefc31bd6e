"""The server's own certificate authority, serving certificate and secret, made at the first start, used again
at every other: a client of the server before still knows it. P-256: 0.1 ms a key.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFE = timedelta(days=365)
_SKEW = timedelta(hours=1)  # clocks of clients may be behind


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


_AUTHORITY = _name("service-conformance-ca")


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + _LIFE)
    )


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _authority(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        _builder(_AUTHORITY, _AUTHORITY, key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )


def _serving(
    key: ec.EllipticCurvePublicKey, authority: ec.EllipticCurvePrivateKey, names: Sequence[str]
) -> x509.Certificate:
    alternatives = [_alternative(name) for name in dict.fromkeys(names)]
    issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key())
    return (
        _builder(_name("kube-apiserver"), _AUTHORITY, key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(issuer_key, critical=False)
        .sign(authority, hashes.SHA256())
    )


def _write_secret(path: Path, data: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)


def context(folder: Path, names: Sequence[str]) -> ssl.SSLContext:
    """What to serve with: the certificate in ``folder``, made now if there is none, for these ``names``.

    OSError when the folder cannot be written, ssl.SSLError when what is in it is no certificate.
    """
    if not (folder / "ca.crt").exists():
        _make(folder, names)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.load_cert_chain(folder / "server.crt", folder / "server.key")
    return made


def secret(folder: Path) -> bytes:
    """What ServiceAccounts' tokens are signed with; made by the first who asks."""
    path = folder / "sa.key"
    if not path.exists():
        _write_secret(path.with_name("sa.key.new"), secrets.token_bytes(32))
        path.with_name("sa.key.new").replace(path)
    return path.read_bytes()


def _make(folder: Path, names: Sequence[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    pem = serialization.Encoding.PEM
    (folder / "server.crt").write_bytes(_serving(key.public_key(), authority, names).public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _write_secret(folder / "server.key", private)
    # Written last and whole: whoever waits for the file finds a server about to listen.
    (folder / "ca.crt.new").write_bytes(_authority(authority).public_bytes(pem))
    (folder / "ca.crt.new").replace(folder / "ca.crt")
