"""Fills Secrets of type ``kubernetes.io/service-account-token`` for the account that they name.

One that comes before its account waits for it; one whose account is gone goes too, because its
token speaks for nobody any longer.
"""

import base64
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias

from motorpool.api import core
from motorpool.api.errors import NotFound
from motorpool.api.meta import (
    Object,
    ObjectKey,
    annotations_of,
    is_deleting,
    key_of,
    name_of,
    namespace_of,
    uid_of,
)
from motorpool.loop.informer import Change, Informer
from motorpool.loop.runner import Context, Controller

COMPONENT = "service-account-token-controller"
TYPE = "kubernetes.io/service-account-token"
ACCOUNT = "kubernetes.io/service-account.name"
ACCOUNT_UID = "kubernetes.io/service-account.uid"

Sign: TypeAlias = Callable[[Object, Object], Awaitable[str]]
"""The token of an account (first) for a Secret (second)."""


def controller(context: Context, *, sign: Sign, ca_certificate: str) -> Controller:
    """*ca_certificate* is PEM."""
    secrets = context.informers(core.SECRET)
    actor = _Tokens(context, sign, ca_certificate)
    sources = {secrets: _own, context.informers(core.SERVICE_ACCOUNT): _secrets_of(secrets)}
    return Controller(COMPONENT, sources, actor.reconcile)


def _own(change: Change) -> Iterable[ObjectKey]:
    return (key_of(change.object),) if change.object.get("type") == TYPE else ()


def _secrets_of(secrets: Informer) -> Callable[[Change], Iterable[ObjectKey]]:
    secrets.add_index(COMPONENT, _account_of)

    def keys(change: Change) -> Iterable[ObjectKey]:
        account = change.object
        if change.old is not None and change.new is not None and not is_deleting(account):
            return ()
        value = f"{namespace_of(account)}/{name_of(account)}"
        return [key_of(secret) for secret in secrets.by_index(COMPONENT, value)]

    return keys


def _account_of(secret: Object) -> Iterable[str]:
    if secret.get("type") != TYPE:
        return ()
    return (f"{namespace_of(secret)}/{annotations_of(secret).get(ACCOUNT, '')}",)


def filling(secret: Object, account: Object, token: str, ca_certificate: str) -> Object:
    """The patch that makes the Secret whole. Pure."""
    data = {"ca.crt": ca_certificate, "namespace": namespace_of(secret), "token": token}
    return {
        "metadata": {"annotations": {ACCOUNT_UID: uid_of(account)}},
        "data": {key: base64.b64encode(text.encode()).decode() for key, text in data.items()},
    }


class _Tokens:
    def __init__(self, context: Context, sign: Sign, ca_certificate: str) -> None:
        self._client = context.client
        self._sign = sign
        self._ca_certificate = ca_certificate
        self._secrets = context.informers(core.SECRET)

    async def reconcile(self, key: ObjectKey) -> float | None:
        secret = self._secrets.get(*key)
        if secret is None or secret.get("type") != TYPE or is_deleting(secret):
            return None
        filled_for = annotations_of(secret).get(ACCOUNT_UID, "")
        account = await self._account(key.namespace, annotations_of(secret).get(ACCOUNT, ""))
        if filled_for and (account is None or uid_of(account) != filled_for):
            await self._delete(secret)
        elif account is not None and not (secret.get("data") or {}).get("token"):
            token = await self._sign(account, secret)
            patch = filling(secret, account, token, self._ca_certificate)
            await self._client.patch(core.SECRET, *key, patch)
        return None

    async def _account(self, namespace: str, name: str) -> Object | None:
        """Asked of the server: on a stale copy a Secret would be deleted that has its account."""
        try:
            return await self._client.get(core.SERVICE_ACCOUNT, namespace, name)
        except NotFound:
            return None

    async def _delete(self, secret: Object) -> None:
        try:
            await self._client.delete(core.SECRET, *key_of(secret), uid=uid_of(secret))
        except NotFound:
            return
