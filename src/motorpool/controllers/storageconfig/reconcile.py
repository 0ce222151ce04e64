"""Keeps the Secret `storage-config` of each namespace equal to its data connections.

Only the entries that it made are its own: what a user put beside them stays. The Secret goes with
the last connection, unless it holds something of somebody else. The CA bundle that the entries name
is kept beside it.
"""

from collections.abc import Iterable

from motorpool.api import core
from motorpool.api.meta import Object, ObjectKey, at, is_deleting, name_of
from motorpool.controllers.storageconfig import cabundle
from motorpool.controllers.storageconfig.desired import (
    NAME,
    is_connection,
    own_entries,
    storage_config,
)
from motorpool.loop.informer import Change
from motorpool.loop.runner import Context, Controller

FIELD_MANAGER = "motorpool-storage-config"


def controller(context: Context) -> Controller:
    reconciler = _Reconciler(context)
    sources = {
        context.informers(core.SECRET): _namespace_of,
        context.informers(core.CONFIG_MAP): _of_bundle,
    }
    return Controller("storageconfig", sources, reconciler.reconcile)


class _Reconciler:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._secrets = context.informers(core.SECRET)
        self._config_maps = context.informers(core.CONFIG_MAP)

    async def reconcile(self, key: ObjectKey) -> float | None:
        present = [s for s in self._secrets.list(key.namespace) if not is_deleting(s)]
        bundle = await self._keep_bundle(key.namespace)
        wanted = storage_config(key.namespace, present, ca_bundle=bundle)
        there = self._secrets.get(*key)
        if wanted is not None:
            if there is None or not _holds(there, wanted):
                await self._client.apply(core.SECRET, wanted, manager=FIELD_MANAGER)
        elif there is not None and not is_deleting(there) and own_entries(there):
            await self._withdraw(key, there)
        return None

    async def _keep_bundle(self, namespace: str) -> str:
        """Makes the CA bundle what it has to be; gives its name, "" where there is none."""
        found = {
            name: config_map
            for name in (cabundle.NAME, cabundle.TRUSTED, cabundle.SERVICE_CA)
            if (config_map := self._config_maps.get(namespace, name)) is not None
        }
        there = found.get(cabundle.NAME)
        if there is not None and (is_deleting(there) or not cabundle.is_ours(there)):
            return "" if is_deleting(there) else cabundle.NAME
        wanted = cabundle.ca_bundle(namespace, found)
        if wanted is None:
            if there is not None:
                uid = there["metadata"]["uid"]
                await self._client.delete(core.CONFIG_MAP, namespace, cabundle.NAME, uid=uid)
            return ""
        if not cabundle.holds(there, wanted):
            await self._client.apply(core.CONFIG_MAP, wanted, manager=FIELD_MANAGER)
        return cabundle.NAME

    async def _withdraw(self, key: ObjectKey, there: Object) -> None:
        if own_entries(there) >= set(at(there, "data", default={})):
            await self._client.delete(core.SECRET, *key, uid=there["metadata"]["uid"])
            return
        nothing: Object = {
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": key.name, "namespace": key.namespace},
        }  # fmt: skip
        await self._client.apply(core.SECRET, nothing, manager=FIELD_MANAGER)


def _holds(there: Object, wanted: Object) -> bool:
    """Whether nothing is to be written: our entries are those, and none of ours is left over."""
    data = at(there, "data", default={})
    return (
        all(data.get(name) == value for name, value in wanted["data"].items())
        and own_entries(there) == set(wanted["data"])
    )  # fmt: skip


def _of_bundle(change: Change) -> Iterable[ObjectKey]:
    if not cabundle.concerns(name_of(change.object)):
        return ()
    return (ObjectKey(change.object["metadata"]["namespace"], NAME),)


def _namespace_of(change: Change) -> Iterable[ObjectKey]:
    for secret in (change.old, change.new):
        if secret is not None and (is_connection(secret) or secret["metadata"]["name"] == NAME):
            return (ObjectKey(secret["metadata"]["namespace"], NAME),)
    return ()
