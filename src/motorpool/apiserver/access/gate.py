"""What every request passes first: who asks, as whom, and whether they may."""

from typing import TYPE_CHECKING

from motorpool.api.errors import Unauthorized
from motorpool.apiserver.access.claims import ISSUER
from motorpool.apiserver.access.impersonation import impersonation
from motorpool.apiserver.access.policy import Policy
from motorpool.apiserver.access.requests import attributes_of, refused
from motorpool.apiserver.access.rules import Attributes
from motorpool.apiserver.authentication import ANONYMOUS, Authenticator, User
from motorpool.apiserver.paths import Target

if TYPE_CHECKING:
    from motorpool.apiserver.http import Request


class Gate:
    def __init__(self, authenticator: Authenticator, policy: Policy) -> None:
        self.authenticator = authenticator
        self.policy = policy

    async def user_of(self, request: "Request") -> User:
        """Raises Unauthorized; Forbidden where who asks may not be whom they want to be."""
        authorization = request.header("authorization")
        user = ANONYMOUS
        if authorization:
            # A token that is wrong is refused even where none is needed.
            user = await self.authenticator.authenticate(authorization)
            if user.audiences and ISSUER not in user.audiences:
                raise Unauthorized("Unauthorized")
        wanted = impersonation(request.headers)
        if wanted is None:
            return user
        for need in wanted.needs:
            self.check(user, need)
        return wanted.user

    def authorize(self, request: "Request", target: Target | None, user: User) -> None:
        """Raises Forbidden. Every request on a path passes here, whatever it then does."""
        self.check(user, attributes_of(request.method, request.path, request.query, target))

    def check(self, user: User, asked: Attributes) -> None:
        if not self.policy.decide(user, asked).allowed:
            raise refused(user, asked)
