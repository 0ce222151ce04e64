"""What the server does for one kind beyond its table entry: functions by kind. Pure but for the
addresses, which are handed out by an allocator that the registry owns.
"""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import IPv4Network
from typing import TypeAlias

from motorpool.api import batch, claims, core, definitions, jobs, static_definitions
from motorpool.api.apiextensions import CUSTOM_RESOURCE_DEFINITION
from motorpool.api.errors import FieldError, InternalError
from motorpool.api.kinds import Kind
from motorpool.api.meta import Object, at
from motorpool.apiserver.refusals import invalid

SERVICE_NETWORK = IPv4Network("10.217.0.0/16")
_TRIES_MAX = 64


class ServiceAddresses:
    """The cluster addresses that Services hold. Nothing routes them: the router and the pods'
    environment resolve them; they have to be unique and to look as clients expect."""

    def __init__(
        self, network: IPv4Network = SERVICE_NETWORK, source: random.Random | None = None
    ) -> None:
        self._network = network
        self._random = source or random.Random()
        self._held: set[str] = set()

    def hold(self, services: Iterable[Object]) -> None:
        for service in services:
            self._held.update(addresses_of(service))

    def release(self, service: Object) -> None:
        self._held.difference_update(addresses_of(service))

    def allocate(self) -> str:
        size = self._network.num_addresses
        for _ in range(_TRIES_MAX):
            # The first addresses are left to those who choose theirs.
            address = str(self._network[self._random.randrange(16, size - 1)])
            if address not in self._held:
                self._held.add(address)
                return address
        raise InternalError(
            "Internal error occurred: failed to allocate a serviceIP: range is full"
        )

    def claim(self, service: Object, address: str) -> None:
        """Takes the address that a user chose."""
        if address in self._held:
            text = f"failed to allocate IP {address}: provided IP is already allocated"
            error = FieldError.invalid("spec.clusterIPs", [address], text)
            raise invalid(core.SERVICE, str(service["metadata"].get("name", "")), error)
        self._held.add(address)


def addresses_of(service: Object) -> list[str]:
    found = at(service, "spec", "clusterIPs", default=()) or [at(service, "spec", "clusterIP")]
    return [address for address in found if address and address != "None"]


def allocate_addresses(service: Object, addresses: ServiceAddresses) -> None:
    """Gives a new Service its cluster address, unless it is headless or a mere name."""
    spec = service.setdefault("spec", {})
    if spec.get("type") == "ExternalName":
        return
    chosen = spec.get("clusterIP") or next(iter(spec.get("clusterIPs") or ()), "")
    if not chosen:
        chosen = addresses.allocate()
    elif chosen != "None":
        addresses.claim(service, chosen)
    spec["clusterIP"] = chosen
    spec["clusterIPs"] = [chosen]
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")


def nothing(_: Object) -> None:
    """For a kind that begins with nothing of its own."""


def _begin_namespace(namespace: Object) -> None:
    metadata = namespace["metadata"]
    metadata.setdefault("labels", {})["kubernetes.io/metadata.name"] = metadata["name"]
    namespace["spec"] = {"finalizers": ["kubernetes"]}
    namespace["status"] = {"phase": "Active"}


def _begin_pod(pod: Object) -> None:
    pod["status"] = {"phase": "Pending", "qosClass": quality_of_service(pod)}


def _begin_service(service: Object) -> None:
    service["status"] = {"loadBalancer": {}}


def quality_of_service(pod: Object) -> str:
    """Guaranteed where every container's limits equal its requests, BestEffort without any."""
    spec = pod.get("spec") or {}
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    resources = [container.get("resources") or {} for container in containers]
    asked = [_compute(r.get("requests")) | _compute(r.get("limits")) for r in resources]
    if not any(asked):
        return "BestEffort"
    for resource in resources:
        limits = _compute(resource.get("limits"))
        requests = {**limits, **_compute(resource.get("requests"))}
        if limits.keys() != {"cpu", "memory"} or requests != limits:
            return "Burstable"
    return "Guaranteed"


def _compute(amounts: Object | None) -> Object:
    found = {name: (amounts or {}).get(name) for name in ("cpu", "memory")}
    return {name: value for name, value in found.items() if value is not None}


Begin: TypeAlias = Callable[[Object], None]

BEGIN: Mapping[Kind, Begin] = {
    core.NAMESPACE: _begin_namespace,
    core.POD: _begin_pod,
    core.SERVICE: _begin_service,
    core.PERSISTENT_VOLUME_CLAIM: claims.begin_claim,
    core.PERSISTENT_VOLUME: claims.begin_volume,
    batch.JOB: jobs.begin_job,
    CUSTOM_RESOURCE_DEFINITION: definitions.begin,
}
"""What an object of that kind starts its life with."""


def keep_addresses(old: Object, new: Object) -> Sequence[str]:
    """An update that does not name the address of a Service keeps it; none may change it."""
    before, spec = old.get("spec") or {}, new.setdefault("spec", {})
    if "ExternalName" in (before.get("type"), spec.get("type")):
        return ()
    for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
        if not spec.get(name) and name in before:
            spec[name] = before[name]
    if spec.get("clusterIP") != before.get("clusterIP"):
        listed = f'[]string{{"{spec.get("clusterIP")}"}}'
        error = FieldError(
            "spec.clusterIPs[0]",
            "FieldValueInvalid",
            f"Invalid value: {listed}: may not change once set",
        )
        raise invalid(core.SERVICE, str(old["metadata"]["name"]), error)
    return ()


Keep: TypeAlias = Callable[[Object, Object], Sequence[str]]
"""Changes the new object; returns what the client is to be warned of."""


def keep_nothing(_: Object, __: Object) -> Sequence[str]:
    """For a kind whose updates take nothing over."""
    return ()


def keep_definition(_: Object, new: Object) -> Sequence[str]:
    """A version that was once stored stays listed; what is built in stays as it is."""
    warnings = static_definitions.keep(new)
    definitions.keep_stored_versions(new)
    return warnings


KEEP: Mapping[Kind, Keep] = {
    core.SERVICE: keep_addresses,
    CUSTOM_RESOURCE_DEFINITION: keep_definition,
}
"""What an update of that kind takes over from the old object."""
