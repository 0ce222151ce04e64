"""Acting as somebody else: what the headers ask for, and what that takes. Pure."""

from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import unquote

from motorpool.api.errors import InternalError
from motorpool.apiserver.access.rules import Attributes
from motorpool.apiserver.authentication import ANONYMOUS, User

USER, GROUP, UID = "impersonate-user", "impersonate-group", "impersonate-uid"
EXTRA = "impersonate-extra-"
AUTHENTICATED, UNAUTHENTICATED = "system:authenticated", "system:unauthenticated"
ACCOUNT = "system:serviceaccount:"

Headers = Sequence[tuple[str, str]]
"""Names in lower case."""


class Impersonation(NamedTuple):
    user: User
    needs: Sequence[Attributes]
    """Everything that whoever asks must be allowed."""


def impersonation(headers: Headers) -> Impersonation | None:
    """What the headers ask for; None where they ask for nothing. Raises InternalError."""
    names = [value for name, value in headers if name == USER and value]
    groups = [value for name, value in headers if name == GROUP]
    uids = [value for name, value in headers if name == UID]
    extra = _extra(headers)
    if not names:
        if groups or uids or extra:
            raise InternalError(
                "Internal error occurred: requested impersonation of groups, a uid or extra "
                "without impersonating a user"
            )
        return None
    name = names[0]
    needs = [_need_user(name)]
    needs += [Attributes("impersonate", "", "groups", "", "", group) for group in groups]
    group = "authentication.k8s.io"
    needs += [Attributes("impersonate", group, "uids", "", "", uid) for uid in uids]
    needs += [
        Attributes("impersonate", group, "userextras", key, "", value)
        for key, values in extra.items()
        for value in values
    ]
    held = {key: tuple(values) for key, values in extra.items()}
    user = User(name, _groups(name, groups), uids[0] if uids else "", held)
    return Impersonation(user, needs)


def _need_user(name: str) -> Attributes:
    account = _account(name)
    if account is None:
        return Attributes("impersonate", "", "users", "", "", name)
    return Attributes("impersonate", "", "serviceaccounts", "", *account)


def _account(name: str) -> tuple[str, str] | None:
    """Namespace and name of the ServiceAccount that the user is."""
    namespace, _, account = name.removeprefix(ACCOUNT).partition(":")
    return (namespace, account) if name.startswith(ACCOUNT) and namespace and account else None


def _groups(name: str, groups: Sequence[str]) -> tuple[str, ...]:
    found = list(groups)
    account = _account(name)
    if account is not None and not found:
        found = ["system:serviceaccounts", f"system:serviceaccounts:{account[0]}"]
    if name == ANONYMOUS.name:
        return tuple(dict.fromkeys((*found, UNAUTHENTICATED)))
    if UNAUTHENTICATED in found:
        return tuple(found)
    return tuple(dict.fromkeys((*found, AUTHENTICATED)))


def _extra(headers: Headers) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in headers:
        if name.startswith(EXTRA):
            found.setdefault(unquote(name.removeprefix(EXTRA)).lower(), []).append(value)
    return found
