"""The EndpointSlices of a Service, and what has to be written to have them. Pure.

Names follow from the Service's uid and a number, so that creating a slice is idempotent and a
Service that is deleted and made anew does not quarrel with the slices of its predecessor. Pods with
the same ports share slices; within them they are in the order of their names.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from motorpool.api.meta import (
    Object,
    controller_reference,
    labels_of,
    name_of,
    namespace_of,
    sorted_by_name,
    uid_of,
)
from motorpool.workloads.endpointslice.endpoints import Ports, endpoint_of, is_endpoint, ports_of

SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
HEADLESS = "service.kubernetes.io/headless"
ENDPOINTS_MAX = 100
"""In one slice, as Kubernetes has it: a change of one pod then rewrites no more than this."""

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def desired_slices(service: Object, pods: Iterable[Object]) -> list[Object]:
    """Every slice that the Service should have; at least one, be it empty."""
    groups: dict[Ports, list[Object]] = {}
    for pod in sorted_by_name(pod for pod in pods if is_endpoint(pod)):
        groups.setdefault(ports_of(service, pod), []).append(endpoint_of(service, pod))
    parts = [
        (ports, endpoints[start : start + ENDPOINTS_MAX])
        for ports, endpoints in sorted(groups.items(), key=lambda item: repr(item[0]))
        for start in range(0, len(endpoints), ENDPOINTS_MAX)
    ]
    return [
        _slice(service, number, ports, endpoints)
        for number, (ports, endpoints) in enumerate(parts or [((), [])])
    ]


def _slice(service: Object, number: int, ports: Ports, endpoints: list[Object]) -> Object:
    labels = {**labels_of(service), SERVICE_NAME: name_of(service), MANAGED_BY: MANAGER}
    if service["spec"].get("clusterIP") == "None":
        labels[HEADLESS] = ""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{name_of(service)}-{_suffix(uid_of(service), number)}",
            "generateName": f"{name_of(service)}-",
            "namespace": namespace_of(service),
            "labels": labels,
            "ownerReferences": [controller_reference(service)],
        },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [dict(port) for port in ports],
    }


def _suffix(uid: str, number: int) -> str:
    digest = hashlib.blake2b(f"{uid}/{number}".encode(), digest_size=5).digest()
    return "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest)


@dataclass(frozen=True, slots=True)
class Changes:
    create: list[Object]
    update: list[Object]
    delete: list[Object]


def changes(desired: Sequence[Object], existing: Iterable[Object]) -> Changes:
    """What to write so that *existing* becomes *desired*."""
    present = {name_of(each): each for each in existing}
    result = Changes([], [], [])
    for wanted in desired:
        found = present.pop(name_of(wanted), None)
        if found is None:
            result.create.append(wanted)
        elif not _is_same(found, wanted):
            metadata = {**found["metadata"], "labels": wanted["metadata"]["labels"]}
            content = {field: wanted[field] for field in ("endpoints", "ports")}
            result.update.append({**found, "metadata": metadata, **content})
    result.delete.extend(present.values())
    return result


def _is_same(found: Object, wanted: Object) -> bool:
    return _content(found) == _content(wanted)


def _content(obj: Object) -> tuple[object, ...]:
    """What is kept true; a server may write an empty list as null."""
    return (labels_of(obj), obj.get("endpoints") or [], obj.get("ports") or [])
