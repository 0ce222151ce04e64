"""Routes and EndpointSlices become a routing table. Pure.

Rules
- Only an admitted Route counts, under the host that it was admitted with.
- The router goes straight to endpoints, so the number of a Service's port plays no part: a route's
  targetPort is matched against the endpoint ports' names and numbers, and no targetPort means all.
- Only ready endpoints count. A route without any stays in the table: it answers 503.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from motorpool.api.meta import Object, ObjectKey, annotations_of, at, key_of, labels_of, uid_of
from motorpool.router import annotations
from motorpool.router.table import (
    Backend,
    Balance,
    Endpoint,
    Entry,
    HeaderAction,
    Insecure,
    PodTls,
    Table,
    Tls,
)

ROUTER_NAME = "default"
SERVICE_NAME_LABEL = "kubernetes.io/service-name"
H2C_PROTOCOLS = ("h2c", "kubernetes.io/h2c")
IDLE_TIMEOUT_MS = 30_000
TUNNEL_TIMEOUT_MS = 3_600_000

Slices = Mapping[ObjectKey, Sequence[Object]]
"""The EndpointSlices of each Service, by the Service's key."""


def service_of_slice(endpoint_slice: Object) -> ObjectKey | None:
    """The Service that an EndpointSlice belongs to."""
    name = labels_of(endpoint_slice).get(SERVICE_NAME_LABEL)
    return ObjectKey(endpoint_slice["metadata"].get("namespace", ""), name) if name else None


def slices_by_service(endpoint_slices: Iterable[Object]) -> dict[ObjectKey, list[Object]]:
    found: dict[ObjectKey, list[Object]] = {}
    for endpoint_slice in endpoint_slices:
        service = service_of_slice(endpoint_slice)
        if service is not None:
            found.setdefault(service, []).append(endpoint_slice)
    return found


def table_of(routes: Iterable[Object], slices: Slices) -> Table:
    """Everything that the router has to serve."""
    winners: dict[tuple[str, str], Entry] = {}
    for route in sorted(routes, key=_age):
        entry = entry_of(route, slices)
        if entry is not None:
            # Two claims on one path stand only until the younger one's admission is withdrawn.
            winners.setdefault((entry.host, entry.path), entry)
    by_path = sorted(winners.values(), key=lambda entry: entry.path, reverse=True)
    return Table(tuple(sorted(by_path, key=lambda entry: entry.host)))


def entry_of(route: Object, slices: Slices) -> Entry | None:
    """The table's entry for one Route; None for one that is not admitted."""
    host = admitted_host(route)
    termination = at(route, "spec", "tls", "termination")
    if not host or termination not in (None, "edge", "reencrypt"):
        return None
    spec, notes, key = route["spec"], annotations_of(route), key_of(route)
    tls = _tls(spec.get("tls"))
    ports = [
        (b, _ports(slices, key.namespace, b, at(spec, "port", "targetPort"))) for b in _to(spec)
    ]
    backends = tuple(
        Backend(b["name"], int(at(b, "weight", default=100)), _endpoints(found))
        for b, found in ports
    )
    secure_only = tls is not None and tls.insecure != "Allow"
    return Entry(
        key=key,
        host=host,
        path=spec.get("path") or "",
        backends=backends,
        balance=annotations.balance(notes, _default_balance(backends)),
        speaks_h2c=_speak_h2c([port for _, found in ports for port, _ in found]),
        cookie=annotations.cookie(key, notes, secure_only=secure_only),
        idle_timeout_ms=annotations.duration_ms(
            notes.get(annotations.PREFIX + "timeout"), IDLE_TIMEOUT_MS
        ),
        tunnel_timeout_ms=annotations.duration_ms(
            notes.get(annotations.PREFIX + "timeout-tunnel"), TUNNEL_TIMEOUT_MS
        ),
        rewrite_target=annotations.rewrite_target(notes),
        forwarding=annotations.forwarding(notes),
        allowed_sources=annotations.allowed_sources(notes),
        hsts=annotations.hsts(notes) if tls else "",
        request_headers=_header_actions(spec, "request"),
        response_headers=_header_actions(spec, "response"),
        tls=tls,
        pod_tls=_pod_tls(spec, key.namespace),
    )


def admitted_host(route: Object) -> str:
    """The host under which this router admitted *route*; "" where it did not."""
    for ingress in at(route, "status", "ingress", default=()):
        if ingress.get("routerName") != ROUTER_NAME:
            continue
        for condition in ingress.get("conditions") or ():
            if condition.get("type") == "Admitted" and condition.get("status") == "True":
                return str(ingress.get("host") or "").lower()
    return ""


def _age(route: Object) -> tuple[str, str]:
    return str(at(route, "metadata", "creationTimestamp", default="")), uid_of(route)


def _to(spec: Object) -> list[Object]:
    return [spec["to"], *(spec.get("alternateBackends") or ())]


def _default_balance(backends: Sequence[Backend]) -> Balance:
    return "roundrobin" if sum(backend.weight > 0 for backend in backends) > 1 else "random"


_Found = list[tuple[Object, Object]]  # an endpoint port and a ready endpoint that has it


def _ports(slices: Slices, namespace: str, backend: Object, target: Any) -> _Found:
    return [
        (port, endpoint)
        for endpoint_slice in slices.get(ObjectKey(namespace, backend["name"]), ())
        if endpoint_slice.get("addressType") != "FQDN"
        for port in endpoint_slice.get("ports") or ()
        if _matches(port, target)
        for endpoint in endpoint_slice.get("endpoints") or ()
        # An absent condition means ready.
        if at(endpoint, "conditions", "ready", default=True)
    ]


def _matches(port: Object, target: Any) -> bool:
    if port.get("port") is None or port.get("protocol", "TCP") != "TCP":
        return False
    if target in (None, "", 0):
        return True
    if isinstance(target, int) or str(target).isdecimal():
        return bool(port["port"] == int(target))
    return bool(port.get("name") == target)


def _speak_h2c(ports: Sequence[Object]) -> bool:
    return bool(ports) and all(port.get("appProtocol") in H2C_PROTOCOLS for port in ports)


def _endpoints(found: _Found) -> tuple[Endpoint, ...]:
    return tuple(
        sorted({Endpoint(endpoint["addresses"][0], port["port"]) for port, endpoint in found})
    )


def _tls(tls: Object | None) -> Tls | None:
    if not tls:
        return None
    insecure: Insecure = "None"
    match tls.get("insecureEdgeTerminationPolicy"):
        case "Allow" | "Redirect" as chosen:
            insecure = chosen
    return Tls(insecure, tls.get("certificate") or "", tls.get("key") or "")


def _pod_tls(spec: Object, namespace: str) -> PodTls | None:
    """The names are those that serving certificates bear; see ``service-ca``."""
    if at(spec, "tls", "termination") != "reencrypt":
        return None
    names = tuple(f"{backend['name']}.{namespace}.svc" for backend in _to(spec))
    return PodTls(names, at(spec, "tls", "destinationCACertificate", default=""))


def _header_actions(spec: Object, side: str) -> tuple[HeaderAction, ...]:
    actions = at(spec, "httpHeaders", "actions", side, default=())
    return tuple(
        HeaderAction(action["name"], at(action, "action", "set", "value")) for action in actions
    )
