"""Defaults and rules of Services and EndpointSlices. Pure; who gets which address is decided by
the API server, which alone knows those that are taken."""

from collections.abc import Iterator, Sequence
from typing import Any

from motorpool.api import names
from motorpool.api.errors import FieldError, GoValue
from motorpool.api.meta import Object
from motorpool.api.validation import (
    go_strings,
    immutable,
    label_errors,
    listed,
    one_of,
    port_number,
    port_reference,
)

_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_EXPOSED = ("LoadBalancer", "NodePort")
_ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")
_ADDRESSES_MAX = 100


def default_service(service: Object) -> None:
    spec = service.setdefault("spec", {})
    if not spec.get("type"):
        spec["type"] = "ClusterIP"
    if not spec.get("sessionAffinity"):
        spec["sessionAffinity"] = "None"
    for port in spec.get("ports") or ():
        if not port.get("protocol"):
            port["protocol"] = "TCP"
        if not port.get("targetPort"):
            port["targetPort"] = port.get("port", 0)
    if spec["type"] != "ExternalName":
        _default_reachable(spec)
    service.setdefault("status", {}).setdefault("loadBalancer", {})


def _default_reachable(spec: Object) -> None:
    spec.setdefault("internalTrafficPolicy", "Cluster")
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")
    if spec.get("clusterIP"):
        spec.setdefault("clusterIPs", [spec["clusterIP"]])
    elif spec.get("clusterIPs"):
        spec["clusterIP"] = spec["clusterIPs"][0]
    if spec["sessionAffinity"] == "ClientIP":
        config = spec.setdefault("sessionAffinityConfig", {}).setdefault("clientIP", {})
        config.setdefault("timeoutSeconds", 10800)
    if spec["type"] in _EXPOSED:
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if spec["type"] == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)


def _service_errors(new: Object, old: Object | None) -> Iterator[FieldError]:
    spec = new.get("spec") or {}
    kind = spec.get("type")
    ports = spec.get("ports") or ()
    if not ports and kind != "ExternalName" and spec.get("clusterIP") != "None":
        yield FieldError.required("spec.ports")
    if kind == "ExternalName":
        name = str(spec.get("externalName") or "")
        if not name:
            yield FieldError.required("spec.externalName")
        else:
            for text in names.subdomain(name.removesuffix(".")):
                yield FieldError.invalid("spec.externalName", name, text)
    yield from _port_errors(ports)
    yield from label_errors(spec.get("selector"), "spec.selector")
    yield from one_of("spec.sessionAffinity", spec.get("sessionAffinity"), ("ClientIP", "None"))
    yield from one_of("spec.type", kind, _TYPES)
    if old is not None and kind != "ExternalName":
        yield from _kept_address(spec, old.get("spec") or {})


def _kept_address(spec: Object, before: Object) -> Iterator[FieldError]:
    new, old = spec.get("clusterIP"), before.get("clusterIP")
    if new and old and new != old and before.get("type") != "ExternalName":
        text = "may not change once set"
        yield FieldError.invalid("spec.clusterIPs[0]", go_strings([new]), text)


def _port_errors(ports: Sequence[Object]) -> Iterator[FieldError]:
    seen_names: set[str] = set()
    for position, port in enumerate(ports):
        path = f"spec.ports[{position}]"
        name = port.get("name")
        if name:
            for text in names.label(name):
                yield FieldError.invalid(f"{path}.name", name, text)
            if name in seen_names:
                yield FieldError.duplicate(f"{path}.name", name)
            seen_names.add(name)
        elif len(ports) > 1:
            yield FieldError.required(f"{path}.name")
        yield from port_number(f"{path}.port", port.get("port"))
        yield from one_of(f"{path}.protocol", port.get("protocol"), _PROTOCOLS)
        yield from port_reference(f"{path}.targetPort", port.get("targetPort"))
    seen: set[tuple[Any, Any]] = set()
    for position, port in enumerate(ports):
        key = (port.get("port"), port.get("protocol"))
        if key in seen:
            yield FieldError.duplicate(f"spec.ports[{position}]", _go_port(port))
        seen.add(key)


def _go_port(port: Object) -> GoValue:
    return GoValue(
        f'core.ServicePort{{Name:"", Protocol:"{port.get("protocol")}", '
        f"AppProtocol:(*string)(nil), Port:{port.get('port')}, "
        'TargetPort:intstr.IntOrString{Type:0, IntVal:0, StrVal:""}, NodePort:0}'
    )


validate_service = listed(_service_errors)


def default_endpoint_slice(endpoints: Object) -> None:
    for port in endpoints.get("ports") or ():
        port.setdefault("name", "")
        if not port.get("protocol"):
            port["protocol"] = "TCP"


def _endpoint_slice_errors(new: Object, old: Object | None) -> Iterator[FieldError]:
    kind = new.get("addressType")
    if not kind:
        yield FieldError.required("addressType")
    yield from one_of("addressType", kind, _ADDRESS_TYPES)
    for position, endpoint in enumerate(new.get("endpoints") or ()):
        path = f"endpoints[{position}].addresses"
        addresses = endpoint.get("addresses") or ()
        if not addresses:
            yield FieldError.required(path, "must contain at least 1 address")
        elif len(addresses) > _ADDRESSES_MAX:
            yield FieldError.too_many(path, len(addresses), _ADDRESSES_MAX)
    seen: set[str] = set()
    for position, port in enumerate(new.get("ports") or ()):
        name = str(port.get("name", ""))
        if name in seen:
            yield FieldError.duplicate(f"ports[{position}].name", name)
        seen.add(name)
        yield from one_of(f"ports[{position}].protocol", port.get("protocol"), _PROTOCOLS)
    if old is not None:
        yield from immutable("addressType", kind, old.get("addressType"))


validate_endpoint_slice = listed(_endpoint_slice_errors)
