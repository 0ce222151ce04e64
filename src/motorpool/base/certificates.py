"""A certificate authority that fits in a few lines: its own certificate, and those it gives.

Elliptic curves, because an RSA key takes a good part of a second to find.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

AUTHORITY_LIFE = timedelta(days=3650)
SERVING_LIFE = timedelta(days=365)
RENEW_BEFORE = timedelta(days=30)
CLOCK_SKEW = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Issued:
    """PEM."""

    certificate: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class Authority:
    """PEM of a certificate that signs others, and its key."""

    certificate: bytes
    key: bytes

    @classmethod
    def new(cls, name: str, now: datetime) -> "Authority":
        from cryptography import x509

        key = _new_key()
        subject = _name(name)
        builder = _builder(subject, subject, key, now, AUTHORITY_LIFE)
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        builder = builder.add_extension(constraints, critical=True)
        builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
        return cls(_signed(builder, key), _pem_of_key(key))

    def is_over(self, now: datetime) -> bool:
        """Whether what it signs now would outlive it, or soon."""
        return now + RENEW_BEFORE >= self._loaded()[0].not_valid_after_utc

    def issue(self, hosts: Iterable[str], now: datetime, *, common_name: str = "") -> Issued:
        """A certificate of a server with these names."""
        from cryptography import x509
        from cryptography.x509.oid import ExtendedKeyUsageOID

        hosts = list(hosts)
        signer, signing_key = self._loaded()
        key = _new_key()
        subject = _name(common_name or hosts[0])
        builder = _builder(subject, signer.subject, key, now, SERVING_LIFE)
        builder = builder.add_extension(x509.SubjectAlternativeName(_names(hosts)), critical=False)
        builder = builder.add_extension(
            x509.BasicConstraints(ca=False, path_length=None), critical=True
        )
        builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
        builder = builder.add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key()),
            critical=False,
        )
        return Issued(_signed(builder, signing_key), _pem_of_key(key))

    def vouches_for(self, issued: Issued, hosts: Iterable[str], now: datetime) -> bool:
        """Whether that pair is of this authority, is one, has these names, and lasts a while."""
        from cryptography import x509
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            certificate = x509.load_pem_x509_certificate(issued.certificate)
            certificate.verify_directly_issued_by(self._loaded()[0])
            key = load_pem_private_key(issued.key, None)
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        except (InvalidSignature, ValueError, TypeError, x509.ExtensionNotFound):
            return False
        if key.public_key() != certificate.public_key():
            return False
        is_lasting = now + RENEW_BEFORE < certificate.not_valid_after_utc
        return is_lasting and set(_names(hosts)) <= set(names.value)

    def _loaded(self) -> "tuple[x509.Certificate, EllipticCurvePrivateKey]":
        """Raises ValueError."""
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        key = load_pem_private_key(self.key, None)
        if not isinstance(key, EllipticCurvePrivateKey):
            raise ValueError("the authority's key is no elliptic curve key")  # noqa: TRY004
        return x509.load_pem_x509_certificate(self.certificate), key


def _name(common_name: str) -> "x509.Name":
    from cryptography import x509

    # The standard ends a common name at 64 characters; the names that count are elsewhere.
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name[:64])])


def _builder(
    subject: "x509.Name",
    issuer: "x509.Name",
    key: "EllipticCurvePrivateKey",
    now: datetime,
    life: timedelta,
) -> "x509.CertificateBuilder":
    from cryptography import x509

    public = key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
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


def _signed(builder: "x509.CertificateBuilder", key: "EllipticCurvePrivateKey") -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding

    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM)


def _pem_of_key(key: "EllipticCurvePrivateKey") -> bytes:
    from cryptography.hazmat.primitives import serialization

    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
