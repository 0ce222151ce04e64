"""What the server does for one kind beyond its table entry: functions by kind. Pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from motorpool.api import batch, claims, core, definitions, jobs, static_definitions
from motorpool.api.apiextensions import CUSTOM_RESOURCE_DEFINITION
from motorpool.api.errors import FieldError
from motorpool.api.kinds import Kind
from motorpool.api.meta import Object
from motorpool.apiserver.refusals import invalid


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
