"""The CA of this installation and the certificate that the servers show.

Made once and kept in ``pki/``: who trusts the CA goes on trusting it. The serving certificate is
made anew when it nears its end or lacks a host.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from motorpool.base.atomicfile import write_atomically
from motorpool.base.certificates import Authority, Issued

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
    authority: Authority


def ensure_certificates(pki: Path, *, hosts: Iterable[str] = (), now: datetime) -> CertificateFiles:
    """Makes what is missing or nearly over. Raises OSError."""
    pki.mkdir(parents=True, exist_ok=True, mode=0o700)
    authority = _authority(pki / "ca.crt", pki / "ca.key", now)
    files = CertificateFiles(pki / "ca.crt", pki / "serving.crt", pki / "serving.key", authority)
    wanted = tuple(dict.fromkeys((*ALWAYS_HOSTS, *hosts)))
    if not _serves(files, wanted, now):
        issued = authority.issue(wanted, now, common_name="motorpool")
        write_atomically(files.key, issued.key, mode=0o600)
        write_atomically(files.certificate, issued.certificate)
    return files


def _authority(certificate_file: Path, key_file: Path, now: datetime) -> Authority:
    if certificate_file.exists() and key_file.exists():
        found = Authority(certificate_file.read_bytes(), key_file.read_bytes())
        try:
            if not found.is_over(now):
                return found
        except ValueError as error:
            raise OSError(f"{key_file} or {certificate_file}: {error}") from error
    made = Authority.new(f"motorpool-ca@{now:%Y-%m-%d}", now)
    write_atomically(key_file, made.key, mode=0o600)
    write_atomically(certificate_file, made.certificate)
    return made


def _serves(files: CertificateFiles, hosts: tuple[str, ...], now: datetime) -> bool:
    """Whether the certificate there is still does."""
    if not (files.certificate.exists() and files.key.exists()):
        return False
    issued = Issued(files.certificate.read_bytes(), files.key.read_bytes())
    return files.authority.vouches_for(issued, hosts, now)
