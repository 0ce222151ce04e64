"""Who asks. A valid token speaks for its user; every user may do everything, for now."""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from motorpool.api.errors import Unauthorized

OPEN_PATHS = frozenset({"/version", "/version/", "/healthz", "/livez", "/readyz"})
"""What may be read without a token."""


@dataclass(frozen=True, slots=True)
class User:
    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))
ADMIN = User("motorpool-admin", ("system:masters", "system:authenticated"))


class Authenticator(Protocol):
    def authenticate(self, authorization: str) -> User:
        """The user behind an Authorization header. Raises Unauthorized."""
        ...


class TokenAuthenticator:
    """Bearer tokens that are known by themselves."""

    def __init__(self, tokens: Mapping[str, User]) -> None:
        self._tokens = tuple((token.encode(), user) for token, user in tokens.items())

    def authenticate(self, authorization: str) -> User:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() == "bearer":
            given = token.strip().encode("utf-8", "surrogateescape")
            for known, user in self._tokens:
                if hmac.compare_digest(known, given):
                    return user
        raise Unauthorized("Unauthorized")


def user_of(authenticator: Authenticator, authorization: str, path: str) -> User:
    """A wrong token is refused even where none is needed."""
    is_open = path in OPEN_PATHS or path.startswith(("/livez/", "/readyz/", "/healthz/"))
    if not authorization and is_open:
        return ANONYMOUS
    return authenticator.authenticate(authorization)
