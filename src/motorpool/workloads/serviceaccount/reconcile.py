"""Creates the default ServiceAccount, and the CA's ConfigMap, in every namespace that stays.

What a user deletes comes back. An account that is there is left as it is, because users add pull
secrets to it; the CA is kept true.
"""

import contextlib
from collections.abc import Iterable

from motorpool.api import core
from motorpool.api.errors import AlreadyExists, ApiError
from motorpool.api.meta import ObjectKey, is_deleting, name_of, namespace_of
from motorpool.loop.informer import Change
from motorpool.loop.ownwrites import OwnWrites
from motorpool.loop.refusals import is_namespace_ending
from motorpool.loop.runner import Context, Controller, KeysOf, own_key
from motorpool.workloads.serviceaccount.desired import ACCOUNT, ROOT_CA, root_ca, service_account

COMPONENT = "serviceaccount-controller"


def controller(context: Context, *, ca_certificate: str = "") -> Controller:
    """*ca_certificate* is PEM; without it there is no ConfigMap."""
    actor = _ServiceAccounts(context, ca_certificate)
    sources = {
        context.informers(core.NAMESPACE): own_key,
        context.informers(core.SERVICE_ACCOUNT): _named(ACCOUNT),
    }
    if ca_certificate:
        sources[context.informers(core.CONFIG_MAP)] = _named(ROOT_CA)
    return Controller(COMPONENT, sources, actor.reconcile)


def _named(name: str) -> KeysOf:
    """The namespace of what has that name and changed; what comes into being needs no look."""

    def keys(change: Change) -> Iterable[ObjectKey]:
        if name_of(change.object) != name or change.old is None:
            return ()
        return (ObjectKey("", namespace_of(change.object)),)

    return keys


class _ServiceAccounts:
    def __init__(self, context: Context, ca_certificate: str) -> None:
        self._client = context.client
        self._ca_certificate = ca_certificate
        self._namespaces = context.informers(core.NAMESPACE)
        self._accounts = OwnWrites(context.informers(core.SERVICE_ACCOUNT), context.clock)
        self._config_maps = (
            OwnWrites(context.informers(core.CONFIG_MAP), context.clock) if ca_certificate else None
        )

    async def reconcile(self, key: ObjectKey) -> float | None:
        namespace = self._namespaces.get(*key)
        if namespace is None or is_deleting(namespace):
            return None
        try:
            await self._ensure_account(key.name)
            await self._ensure_root_ca(key.name)
        except ApiError as error:
            if not is_namespace_ending(error):
                raise
        return None

    async def _ensure_account(self, namespace: str) -> None:
        if self._accounts.get(namespace, ACCOUNT) is not None:
            return
        with contextlib.suppress(AlreadyExists):  # A user was quicker.
            account = service_account(namespace)
            self._accounts.note(await self._client.create(core.SERVICE_ACCOUNT, account))

    async def _ensure_root_ca(self, namespace: str) -> None:
        if self._config_maps is None:
            return
        wanted = root_ca(namespace, self._ca_certificate)
        found = self._config_maps.get(namespace, ROOT_CA)
        if found is not None and found.get("data") == wanted["data"]:
            return
        if found is None:
            try:
                self._config_maps.note(await self._client.create(core.CONFIG_MAP, wanted))
            except AlreadyExists:
                found = await self._client.get(core.CONFIG_MAP, namespace, ROOT_CA)
        if found is not None and found.get("data") != wanted["data"]:
            changed = {**found, "data": wanted["data"]}
            self._config_maps.note(await self._client.update(core.CONFIG_MAP, changed))
