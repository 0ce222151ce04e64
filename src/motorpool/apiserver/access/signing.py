"""The key that signs the tokens of ServiceAccounts, and JSON Web Tokens by it (RS256).

The key is made on first use, not at the start: an RSA key takes a moment to find.
"""

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from motorpool.base.atomicfile import write_atomically

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

Claims: TypeAlias = dict[str, Any]

KEY_SIZE_BITS = 2048
TOKEN_LENGTH_MAX = 16 << 10


class SigningKey:
    def __init__(self, key: "RSAPrivateKey") -> None:
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        self._key = key
        self._public = key.public_key()
        public = self._public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.id = _text(hashlib.sha256(public).digest())

    @classmethod
    def ensure(cls, file: Path) -> "SigningKey":
        """The key in *file*, made where there is none. Raises OSError."""
        from cryptography.hazmat.primitives.asymmetric import rsa
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            key = load_pem_private_key(file.read_bytes(), None)
        except FileNotFoundError:
            key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_SIZE_BITS)
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(file, _pem(key), mode=0o600)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise OSError(f"{file} holds no RSA key")
        return cls(key)

    def sign(self, claims: Claims) -> str:
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.hashes import SHA256

        head = _text(msgspec.json.encode({"alg": "RS256", "kid": self.id}))
        signed = f"{head}.{_text(msgspec.json.encode(claims))}"
        return f"{signed}.{_text(self._key.sign(signed.encode(), PKCS1v15(), SHA256()))}"

    def verify(self, token: str) -> Claims | None:
        """What the token says; None where this key did not sign it. Times are not looked at."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.hashes import SHA256

        signed, _, signature = token.rpartition(".")
        head, dot, body = signed.partition(".")
        if not dot or len(token) > TOKEN_LENGTH_MAX:
            return None
        try:
            header = msgspec.json.decode(_bytes(head))
            if header.get("alg") != "RS256" or header.get("kid") != self.id:
                return None
            self._public.verify(_bytes(signature), signed.encode(), PKCS1v15(), SHA256())
            claims = msgspec.json.decode(_bytes(body))
        except (ValueError, AttributeError, InvalidSignature):
            return None
        return claims if isinstance(claims, dict) else None

    def public(self) -> Claims:
        """The JSON Web Key by which others verify."""
        numbers = self._public.public_numbers()
        modulus = numbers.n.to_bytes(KEY_SIZE_BITS // 8, "big")
        return {
            "use": "sig",
            "kty": "RSA",
            "kid": self.id,
            "alg": "RS256",
            "n": _text(modulus),
            "e": _text(numbers.e.to_bytes(3, "big")),
        }


def is_token(text: str) -> bool:
    """Whether it looks like a JSON Web Token at all."""
    return text.count(".") == 2 and text.startswith("eyJ")


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _pem(key: "RSAPrivateKey") -> bytes:
    from cryptography.hazmat.primitives import serialization

    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
