"""Defaults and rules of Ingresses, IngressClasses, NetworkPolicies and Endpoints. Pure."""

import ipaddress
from collections.abc import Iterator

from motorpool.api import names
from motorpool.api.errors import FieldError
from motorpool.api.meta import Object, at
from motorpool.api.validation import (
    IMMUTABLE,
    label_errors,
    listed,
    one_of,
    port_number,
    port_reference,
)

_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_POLICY_TYPES = ("Egress", "Ingress")
_PROTOCOLS = ("SCTP", "TCP", "UDP")


def default_ingress(ingress: Object) -> None:
    ingress.setdefault("spec", {})
    ingress.setdefault("status", {}).setdefault("loadBalancer", {})


def _ingress_errors(new: Object, _: Object | None) -> Iterator[FieldError]:
    spec = new.get("spec") or {}
    backend = spec.get("defaultBackend")
    if backend is not None:
        yield from _backend_errors(backend, "spec.defaultBackend")
    elif not spec.get("rules"):
        text = "either `defaultBackend` or `rules` must be specified"
        yield FieldError.invalid("spec", [], text)
    for position, rule in enumerate(spec.get("rules") or ()):
        where = f"spec.rules[{position}]"
        host = rule.get("host")
        if host:
            for text in names.subdomain(host.removeprefix("*.")):
                yield FieldError.invalid(f"{where}.host", host, text)
        paths = at(rule, "http", "paths", default=())
        if rule.get("http") is not None and not paths:
            yield FieldError.required(f"{where}.http.paths")
        for number, path in enumerate(paths):
            yield from _path_errors(path, f"{where}.http.paths[{number}]")


def _path_errors(path: Object, where: str) -> Iterator[FieldError]:
    kind, text = path.get("pathType"), str(path.get("path") or "")
    if not kind:
        yield FieldError.required(f"{where}.pathType", "pathType must be specified")
    yield from one_of(f"{where}.pathType", kind, _PATH_TYPES)
    if kind in ("Exact", "Prefix") and not text.startswith("/"):
        yield FieldError.invalid(f"{where}.path", text, "must be an absolute path")
    yield from _backend_errors(path.get("backend") or {}, f"{where}.backend")


def _backend_errors(backend: Object, where: str) -> Iterator[FieldError]:
    service, resource = backend.get("service"), backend.get("resource")
    if service is not None and resource is not None:
        text = "cannot set both resource and service backends"
        yield FieldError.invalid(where, "", text)
    elif service is None and resource is None:
        text = "resource or service backend is required"
        yield FieldError.required(where, text)
    elif service is not None:
        if not service.get("name"):
            yield FieldError.required(f"{where}.service.name")
        port = service.get("port") or {}
        if port.get("name") and port.get("number"):
            text = "cannot set both port name & port number"
            yield FieldError.invalid(where, "", text)
        elif not port.get("name") and not port.get("number"):
            yield FieldError.required(f"{where}.service", "port name or number is required")
        elif port.get("number"):
            yield from port_number(f"{where}.service.port.number", port["number"])


def _ingress_class_errors(new: Object, old: Object | None) -> Iterator[FieldError]:
    controller = at(new, "spec", "controller")
    if not controller:
        yield FieldError.required("spec.controller")
    if old is not None and controller != at(old, "spec", "controller"):
        yield FieldError.invalid("spec.controller", controller, IMMUTABLE)


def default_network_policy(policy: Object) -> None:
    spec = policy.setdefault("spec", {})
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", *(["Egress"] if spec.get("egress") else [])]
    for direction in ("ingress", "egress"):
        for rule in spec.get(direction) or ():
            for port in rule.get("ports") or ():
                if not port.get("protocol"):
                    port["protocol"] = "TCP"


def _network_policy_errors(new: Object, _: Object | None) -> Iterator[FieldError]:
    spec = new.get("spec") or {}
    selected = at(spec, "podSelector", "matchLabels")
    yield from label_errors(selected, "spec.podSelector.matchLabels")
    for position, kind in enumerate(spec.get("policyTypes") or ()):
        yield from one_of(f"spec.policyTypes[{position}]", kind, _POLICY_TYPES)
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for position, rule in enumerate(spec.get(direction) or ()):
            where = f"spec.{direction}[{position}]"
            for number, port in enumerate(rule.get("ports") or ()):
                path = f"{where}.ports[{number}]"
                yield from one_of(f"{path}.protocol", port.get("protocol"), _PROTOCOLS)
                if port.get("port") is not None:
                    yield from port_reference(f"{path}.port", port["port"])
            for number, peer in enumerate(rule.get(peers) or ()):
                yield from _peer_errors(peer, f"{where}.{peers}[{number}]")


def _peer_errors(peer: Object, where: str) -> Iterator[FieldError]:
    block = peer.get("ipBlock")
    if not peer:
        yield FieldError.required(where, "must specify a peer")
    elif block is not None and len(peer) > 1:
        text = "may not specify both ipBlock and another peer"
        yield FieldError.forbidden(where, text)
    elif block is not None:
        for path, text in (("cidr", block.get("cidr")), *_exceptions(block)):
            try:
                ipaddress.ip_network(str(text or ""), strict=False)
            except ValueError:
                problem = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
                yield FieldError.invalid(f"{where}.ipBlock.{path}", text or "", problem)


def _exceptions(block: Object) -> Iterator[tuple[str, str]]:
    for position, text in enumerate(block.get("except") or ()):
        yield f"except[{position}]", text


def default_endpoints(endpoints: Object) -> None:
    for subset in endpoints.get("subsets") or ():
        for port in subset.get("ports") or ():
            if not port.get("protocol"):
                port["protocol"] = "TCP"


def _endpoints_errors(new: Object, _: Object | None) -> Iterator[FieldError]:
    for position, subset in enumerate(new.get("subsets") or ()):
        where = f"subsets[{position}]"
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            text = "must specify `addresses` or `notReadyAddresses`"
            yield FieldError.required(where, text)
        for field in ("addresses", "notReadyAddresses"):
            for number, address in enumerate(subset.get(field) or ()):
                yield from _address_errors(address.get("ip"), f"{where}.{field}[{number}].ip")
        ports = subset.get("ports") or ()
        for number, port in enumerate(ports):
            path = f"{where}.ports[{number}]"
            if len(ports) > 1 and not port.get("name"):
                yield FieldError.required(f"{path}.name")
            yield from port_number(f"{path}.port", port.get("port"))
            yield from one_of(f"{path}.protocol", port.get("protocol"), _PROTOCOLS)


def _address_errors(text: object, path: str) -> Iterator[FieldError]:
    try:
        address = ipaddress.ip_address(str(text or ""))
    except ValueError:
        problem = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
        yield FieldError.invalid(path, text or "", problem)
        return
    if address.is_unspecified:
        yield FieldError.invalid(path, text, "may not be unspecified (0.0.0.0 or ::)")


validate_ingress = listed(_ingress_errors)
validate_ingress_class = listed(_ingress_class_errors)
validate_network_policy = listed(_network_policy_errors)
validate_endpoints = listed(_endpoints_errors)
