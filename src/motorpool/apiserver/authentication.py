"""Who asks. A credential speaks for its user, or is refused by everyone who knows credentials."""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from motorpool.api.errors import Unauthorized


@dataclass(frozen=True, slots=True)
class User:
    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    audiences: tuple[str, ...] = ()
    """For whom the credential was made; none means for this API alone."""


ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))
ADMIN = User("motorpool-admin", ("system:masters", "system:authenticated"))


class Authenticator(Protocol):
    async def authenticate(self, authorization: str) -> User:
        """The user behind an Authorization header. Raises Unauthorized."""
        ...


class TokenAuthenticator:
    """Bearer tokens that are known by themselves."""

    def __init__(self, tokens: Mapping[str, User]) -> None:
        self._tokens = tuple((token.encode(), user) for token, user in tokens.items())

    async def authenticate(self, authorization: str) -> User:
        given = bearer_of(authorization).encode("utf-8", "surrogateescape")
        for known, user in self._tokens:
            if hmac.compare_digest(known, given):
                return user
        raise Unauthorized("Unauthorized")


class Authenticators:
    """Several, of which the first that knows the credential answers."""

    def __init__(self, members: Sequence[Authenticator]) -> None:
        self._members = members

    async def authenticate(self, authorization: str) -> User:
        for member in self._members:
            try:
                return await member.authenticate(authorization)
            except Unauthorized:
                continue
        raise Unauthorized("Unauthorized")


def bearer_of(authorization: str) -> str:
    """The token in the header; "" where it holds none."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
