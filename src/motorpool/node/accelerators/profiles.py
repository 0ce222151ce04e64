"""The profiles by which users of OpenShift AI choose accelerators: one for each kind that is here.

Rule: a profile is made where there is none of its name, and never written again: from then on it
belongs to the users. Who wants one out of sight disables it; what is deleted comes back.
"""

import asyncio
from collections.abc import Iterator

import structlog

from motorpool.api import profiles
from motorpool.api.errors import ApiError, NotFound
from motorpool.api.kinds import Kind
from motorpool.api.meta import Object, name_of
from motorpool.client import Client
from motorpool.node.accelerators.device import AMD, GAUDI, NVIDIA, Inventory, of_resource
from motorpool.node.accelerators.devices import Devices

log = structlog.get_logger(__name__)

RETRY_S = 2.0
NAMES = {
    # The name that OpenShift AI gave the GPUs it found, and that manifests of the field refer to.
    NVIDIA: ("migrated-gpu", "NVIDIA GPU"),
    AMD: ("amd-gpu", "AMD GPU"),
    GAUDI: ("intel-gaudi", "Intel Gaudi accelerator"),
}


def profiles_of(devices: Inventory, namespace: str) -> Iterator[tuple[Kind, Object]]:
    """What should be there for what is known of this machine."""
    for resource, (name, title) in NAMES.items():
        found = of_resource(devices, resource)
        if not found:
            continue
        tolerations = [{"effect": "NoSchedule", "key": resource, "operator": "Exists"}]
        words = f"Found by the node: {', '.join(sorted({each.product for each in found}))}"
        identifier = {
            "displayName": title,
            "identifier": resource,
            "minCount": 1,
            "maxCount": len(found),
            "defaultCount": 1,
            "resourceType": "Accelerator",
        }
        accelerator = {
            "displayName": title,
            "description": words,
            "enabled": True,
            "identifier": resource,
            "tolerations": tolerations,
        }
        yield _made(profiles.ACCELERATOR_PROFILE, name, namespace, accelerator)
        hardware: Object = {
            "identifiers": [identifier],
            "scheduling": {"type": "Node", "node": {"tolerations": tolerations}},
        }
        kind, obj = _made(profiles.HARDWARE_PROFILE, name, namespace, hardware)
        obj["metadata"]["annotations"] = {
            "opendatahub.io/display-name": title,
            "opendatahub.io/description": words,
            "opendatahub.io/disabled": "false",
        }
        yield kind, obj


def _made(kind: Kind, name: str, namespace: str, spec: Object) -> tuple[Kind, Object]:
    metadata = {"name": name, "namespace": namespace}
    obj: Object = {
        "apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, "spec": spec,
    }  # fmt: skip
    return kind, obj


class Profiles:
    """Makes what is missing for what *devices* knows of."""

    def __init__(self, client: Client, namespace: str, devices: Devices) -> None:
        self._client = client
        self._namespace = namespace
        self._devices = devices
        self._made: set[tuple[Kind, str]] = set()
        self._news = asyncio.Event()

    def look_again(self) -> None:
        self._news.set()

    async def run(self) -> None:
        """Until cancelled."""
        await self._devices.looked()
        while True:
            self._news.clear()
            try:
                await self.ensure()
            except (ApiError, OSError) as error:
                # At the first start the namespace may come after the node.
                log.info("profiles not made", error=str(error))
                await asyncio.sleep(RETRY_S)
                continue
            await self._news.wait()

    async def ensure(self) -> None:
        """Raises ApiError or OSError where not all could be made."""
        for kind, obj in profiles_of(self._devices.found, self._namespace):
            name = name_of(obj)
            if (kind, name) in self._made:
                continue
            try:
                await self._client.get(kind, self._namespace, name)
            except NotFound:
                await self._client.create(kind, obj)
            self._made.add((kind, name))
