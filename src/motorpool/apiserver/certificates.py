"""The CA of this installation and the certificate that the servers show.

Made once and kept in ``pki/``: who trusts the CA goes on trusting it. The serving certificate is
made anew when it nears its end or lacks a host. Elliptic curves, because an RSA key takes a good
part of a second to find.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from motorpool.base.atomicfile import write_atomically

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

CA_LIFE = timedelta(days=3650)
SERVING_LIFE = timedelta(days=365)
RENEW_BEFORE = timedelta(days=30)
CLOCK_SKEW = timedelta(hours=1)
ALWAYS_HOSTS = (
    "localhost",
    "127.0.0.1",
    "::1",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
)


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    ca: Path
    certificate: Path
    key: Path


def ensure_certificates(pki: Path, *, hosts: Iterable[str] = (), now: datetime) -> CertificateFiles:
    """Makes what is missing or nearly over. Raises OSError."""
    pki.mkdir(parents=True, exist_ok=True, mode=0o700)
    files = CertificateFiles(pki / "ca.crt", pki / "serving.crt", pki / "serving.key")
    authority = _authority(files.ca, pki / "ca.key", now)
    wanted = tuple(dict.fromkeys((*ALWAYS_HOSTS, *hosts)))
    if not _serves(files, authority[0], wanted, now):
        _write_serving(files, authority, wanted, now)
    return files


_Authority = tuple["x509.Certificate", "EllipticCurvePrivateKey"]


def _authority(certificate_file: Path, key_file: Path, now: datetime) -> _Authority:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if certificate_file.exists() and key_file.exists():
        certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
        key = load_pem_private_key(key_file.read_bytes(), None)
        if not isinstance(key, EllipticCurvePrivateKey):
            raise OSError(f"{key_file} holds no elliptic curve key")
        if now + RENEW_BEFORE < certificate.not_valid_after_utc:
            return certificate, key
    key = _new_key()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"motorpool-ca@{now:%Y-%m-%d}")])
    builder = _builder(name, name, key.public_key(), now, CA_LIFE)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
    certificate = _signed(builder, key)
    write_atomically(key_file, _pem_of_key(key), mode=0o600)
    write_atomically(certificate_file, _pem_of(certificate))
    return certificate, key


def _serves(
    files: CertificateFiles, authority: "x509.Certificate", hosts: tuple[str, ...], now: datetime
) -> bool:
    """Whether the certificate there is still does."""
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature

    if not (files.certificate.exists() and files.key.exists()):
        return False
    certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        return False
    if now + RENEW_BEFORE >= certificate.not_valid_after_utc:
        return False
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return set(_names(hosts)) <= set(names)


def _write_serving(
    files: CertificateFiles, authority: _Authority, hosts: tuple[str, ...], now: datetime
) -> None:
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    key = _new_key()
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "motorpool")])
    builder = _builder(subject, authority[0].subject, key.public_key(), now, SERVING_LIFE)
    builder = builder.add_extension(x509.SubjectAlternativeName(_names(hosts)), critical=False)
    builder = builder.add_extension(
        x509.BasicConstraints(ca=False, path_length=None), critical=True
    )
    builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
    builder = builder.add_extension(
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
    )
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(authority[1].public_key()),
        critical=False,
    )
    certificate = _signed(builder, authority[1])
    write_atomically(files.key, _pem_of_key(key), mode=0o600)
    write_atomically(files.certificate, _pem_of(certificate))


def _builder(
    subject: "x509.Name", issuer: "x509.Name", public_key: object, now: datetime, life: timedelta
) -> "x509.CertificateBuilder":
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

    assert isinstance(public_key, EllipticCurvePublicKey)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> "x509.KeyUsage":
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _names(hosts: Iterable[str]) -> "list[x509.GeneralName]":
    from cryptography import x509

    names: list[x509.GeneralName] = []
    for host in hosts:
        try:
            names.append(x509.IPAddress(ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    return names


def _new_key() -> "EllipticCurvePrivateKey":
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _signed(
    builder: "x509.CertificateBuilder", key: "EllipticCurvePrivateKey"
) -> "x509.Certificate":
    from cryptography.hazmat.primitives.hashes import SHA256

    return builder.sign(key, SHA256())


def _pem_of(certificate: "x509.Certificate") -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)


def _pem_of_key(key: "EllipticCurvePrivateKey") -> bytes:
    from cryptography.hazmat.primitives import serialization

    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
