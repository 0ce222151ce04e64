"""The certificate that the proxy shows, read again when its files change.

A pair that does not belong together is the moment between two writes, or a mistake: the last good
one stays.
"""

import hashlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


class BadCertificate(Exception):
    """The files hold no usable pair; the text says why."""


@dataclass(frozen=True, slots=True)
class Pair:
    certificate: str  # PEM
    key: str

    @property
    def version(self) -> str:
        return hashlib.sha256((self.certificate + self.key).encode()).hexdigest()[:16]


class Certificate:
    def __init__(self, certificate: Path, key: Path, told: Callable[[str], None]) -> None:
        """*told* hears, once each, why new files are not taken. Raises BadCertificate."""
        self._files = (certificate, key)
        self._told = told
        self._problem = ""
        self._stamps = self._stamped()
        self._pair = self._read()

    def now(self) -> Pair:
        stamps = self._stamped()
        if stamps != self._stamps or self._problem:
            try:
                self._pair = self._read()
                self._stamps, self._problem = stamps, ""
            except BadCertificate as error:
                if str(error) != self._problem:
                    self._problem = str(error)
                    self._told(f"the certificate stays as it is: {error}")
        return self._pair

    def _stamped(self) -> tuple[tuple[int, int], ...]:
        found = []
        for file in self._files:
            try:
                stat = file.stat()
            except OSError:
                found.append((0, 0))
            else:
                found.append((stat.st_ino, stat.st_mtime_ns))
        return tuple(found)

    def _read(self) -> Pair:
        certificate, key = self._files
        try:
            # The one way to learn whether the two belong together that needs no library.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
            return Pair(certificate.read_text(), key.read_text())
        except (OSError, ValueError) as error:
            raise BadCertificate(f"{certificate} and {key}: {error}") from error


def discovery(pair: Pair) -> dict[str, object]:
    """What Envoy gets when it asks for its certificate."""
    secret = {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
        "name": "serving",
        "tls_certificate": {
            "certificate_chain": {"inline_string": pair.certificate},
            "private_key": {"inline_string": pair.key},
        },
    }
    return {
        "version_info": pair.version,
        "type_url": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
        "resources": [secret],
    }
