"""Makes and renews the serving certificates of Services, and tells ConfigMaps who signs them.

The embedded engine does it for whoever asks, as OpenShift does, by the platform's own authority. On
a cluster that is no OpenShift the operator does it for InferenceServices, by an authority that it
keeps in a Secret. A Secret that was made for something else is left alone, and an event says so.
"""

from collections.abc import Iterable

from motorpool.api import core
from motorpool.api.meta import (
    Object,
    ObjectKey,
    annotations_of,
    controller_of,
    is_deleting,
    key_of,
    namespace_of,
)
from motorpool.api.serving import INFERENCE_SERVICE
from motorpool.base.certificates import Authority
from motorpool.controllers.servingcertificate import desired
from motorpool.controllers.servingcertificate.authority import FIELD_MANAGER, KeptAuthority
from motorpool.loop.informer import Change
from motorpool.loop.runner import Context, Controller

RECHECK_S = 6 * 3600.0  # a certificate is renewed in its last 30 days


def controllers(context: Context, authority: Authority | None = None) -> list[Controller]:
    """Without an *authority* of the platform: those of a cluster that has none."""
    signer = _Given(authority) if authority is not None else KeptAuthority(context)
    secrets = _Secrets(context, signer, serves_all=authority is not None)
    found = [
        Controller(
            "servingcertificate",
            {
                context.informers(core.SERVICE): secrets.keys,
                context.informers(core.SECRET): _service_of,
            },
            secrets.reconcile,
        )
    ]
    if authority is not None:
        bundles = _Bundles(context, authority)
        sources = {context.informers(core.CONFIG_MAP): bundles.keys}
        found.append(Controller("servicecabundle", sources, bundles.reconcile))
    return found


class _Given:
    def __init__(self, authority: Authority) -> None:
        self._authority = authority

    async def get(self) -> Authority:
        return self._authority


class _Secrets:
    def __init__(
        self, context: Context, signer: _Given | KeptAuthority, *, serves_all: bool
    ) -> None:
        self._context = context
        self._signer = signer
        self._serves_all = serves_all
        self._services = context.informers(core.SERVICE)
        self._secrets = context.informers(core.SECRET)
        self._told: set[str] = set()

    def keys(self, change: Change) -> Iterable[ObjectKey]:
        return (key_of(change.object),) if self._is_served(change.object) else ()

    def _is_served(self, service: Object) -> bool:
        if not desired.secret_name(service):
            return False
        owner = controller_of(service)
        is_model = owner is not None and owner["kind"] == INFERENCE_SERVICE.kind
        return self._serves_all or is_model

    async def reconcile(self, key: ObjectKey) -> float | None:
        service = self._services.get(*key)
        if service is None or is_deleting(service) or not self._is_served(service):
            return None
        authority, now = await self._signer.get(), self._context.clock()
        there = self._secrets.get(key.namespace, desired.secret_name(service))
        if there is not None and not desired.is_of(there, service):
            self._tell(service)
            return RECHECK_S
        if there is None or not desired.will_do(there, service, authority, now):
            issued = authority.issue(desired.hosts_of(service), now)
            wanted = desired.serving_secret(service, issued)
            await self._context.client.apply(core.SECRET, wanted, manager=FIELD_MANAGER)
        return RECHECK_S

    def _tell(self, service: Object) -> None:
        uid = service["metadata"]["uid"]
        if uid in self._told:
            return
        self._told.add(uid)
        name = desired.secret_name(service)
        message = f"Secret {name} exists and is not of this Service: delete it, or name another"
        self._context.events.record(service, "Warning", "SecretTaken", message)


class _Bundles:
    def __init__(self, context: Context, authority: Authority) -> None:
        self._client = context.client
        self._authority = authority
        self._config_maps = context.informers(core.CONFIG_MAP)

    def keys(self, change: Change) -> Iterable[ObjectKey]:
        return (key_of(change.object),) if desired.wants_bundle(change.object) else ()

    async def reconcile(self, key: ObjectKey) -> float | None:
        config_map = self._config_maps.get(*key)
        if config_map is None or is_deleting(config_map) or not desired.wants_bundle(config_map):
            return None
        if not desired.has_bundle(config_map, self._authority):
            wanted = desired.bundle(config_map, self._authority)
            await self._client.apply(core.CONFIG_MAP, wanted, manager=FIELD_MANAGER)
        return None


def _service_of(change: Change) -> Iterable[ObjectKey]:
    name = annotations_of(change.object).get(desired.SERVICE_NAME, "")
    return (ObjectKey(namespace_of(change.object), name),) if name else ()
