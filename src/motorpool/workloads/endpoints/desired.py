"""Endpoints, the older form of EndpointSlices, both ways. Pure.

A Service that selects pods has an Endpoints of its name, for clients that still read those. Where
a Service selects nothing, its user writes the Endpoints, and the slice is made of them.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from motorpool.api.meta import (
    Object,
    at,
    controller_reference,
    labels_of,
    name_of,
    namespace_of,
)

SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
HEADLESS = "service.kubernetes.io/headless"
MIRROR = "endpointslicemirroring-controller.k8s.io"
SKIP_MIRROR = "endpointslice.kubernetes.io/skip-mirror"
ADDRESSES_MAX = 1000
_PORT = ("name", "port", "protocol", "appProtocol")


def endpoints_of(service: Object, slices: Iterable[Object]) -> Object:
    """The Endpoints of a Service, from what its slices say."""
    subsets: dict[tuple[Any, ...], Object] = {}
    count = 0
    for each in slices:
        ports = [
            {key: port[key] for key in _PORT if port.get(key)} for port in each.get("ports") or ()
        ]
        for endpoint in each.get("endpoints") or ():
            if count == ADDRESSES_MAX or at(endpoint, "conditions", "terminating"):
                continue
            count += 1
            key = tuple(tuple(sorted(port.items())) for port in ports)
            subset = subsets.setdefault(key, {"ports": ports} if ports else {})
            ready = at(endpoint, "conditions", "ready", default=True)
            field = "addresses" if ready else "notReadyAddresses"
            subset.setdefault(field, []).append(_address(endpoint))
    for subset in subsets.values():
        for field in ("addresses", "notReadyAddresses"):
            if field in subset:
                subset[field].sort(key=lambda address: str(address["ip"]))
    labels = dict(labels_of(service))
    if at(service, "spec", "clusterIP") == "None":
        labels[HEADLESS] = ""
    metadata: Object = {
        "name": name_of(service),
        "namespace": namespace_of(service),
        "ownerReferences": [controller_reference(service)],
    }
    if labels:
        metadata["labels"] = labels
    found: Object = {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata}
    if subsets:
        found["subsets"] = [subsets[key] for key in sorted(subsets)]
    return found


def _address(endpoint: Object) -> Object:
    address: Object = {"ip": endpoint["addresses"][0]}
    for field in ("nodeName", "hostname", "targetRef"):
        if endpoint.get(field):
            address[field] = endpoint[field]
    return address


def is_same(existing: Object, wanted: Object) -> bool:
    if labels_of(existing) != labels_of(wanted):
        return False
    if existing["metadata"].get("ownerReferences") != wanted["metadata"]["ownerReferences"]:
        return False
    return (existing.get("subsets") or []) == (wanted.get("subsets") or [])


def mirrored(endpoints: Object) -> list[Object]:
    """The slices of Endpoints that a user wrote: one for each of its subsets."""
    return [
        _slice(endpoints, subset, number)
        for number, subset in enumerate(endpoints.get("subsets") or ())
    ]


def _slice(endpoints: Object, subset: Object, number: int) -> Object:
    name = name_of(endpoints)
    found = [_endpoint(address, ready=True) for address in subset.get("addresses") or ()]
    found += [_endpoint(address, ready=False) for address in subset.get("notReadyAddresses") or ()]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{name}-mirror-{number}",
            "namespace": namespace_of(endpoints),
            "labels": {**labels_of(endpoints), SERVICE_NAME: name, MANAGED_BY: MIRROR},
            "ownerReferences": [controller_reference(endpoints)],
        },
        "addressType": "IPv6" if ":" in _first(found) else "IPv4",
        "endpoints": found,
        "ports": [
            {"name": "", "protocol": "TCP", **{k: port[k] for k in _PORT if port.get(k)}}
            for port in subset.get("ports") or ()
        ],
    }


def _first(endpoints: Sequence[Object]) -> str:
    return str(endpoints[0]["addresses"][0]) if endpoints else ""


def _endpoint(address: Object, *, ready: bool) -> Object:
    endpoint: Object = {"addresses": [address["ip"]], "conditions": {"ready": ready}}
    for field in ("nodeName", "hostname", "targetRef"):
        if address.get(field):
            endpoint[field] = address[field]
    return endpoint
