"""Services and EndpointSlices become forwards: what leads from a cluster address to pods. Pure.

Rules
- Only addresses of the routed range, only TCP, and only ports that this user may listen on.
- A port goes to the endpoints' port of its name: who made the slices has looked up its targetPort.
- Where no endpoint is ready, those that end but still answer are better than none.
- A port without any endpoint stays: its connections are closed at once.
"""

from collections.abc import Iterable, Iterator, Sequence

from motorpool.api.clusterips import MayListen, routed_address, tcp_ports
from motorpool.api.meta import Object, at, key_of, uid_of
from motorpool.router.routes import Slices
from motorpool.router.table import Endpoint, Forward


def forwards_of(
    services: Iterable[Object], slices: Slices, may_listen: MayListen
) -> tuple[Forward, ...]:
    """By address and port, no two alike."""
    found: dict[tuple[str, int], Forward] = {}
    for service in sorted(services, key=_age):
        for forward in _forwards(service, slices.get(key_of(service), ())):
            if may_listen(forward.port):
                found.setdefault((forward.address, forward.port), forward)
    return tuple(found[place] for place in sorted(found))


def forbidden_ports(
    services: Iterable[Object], may_listen: MayListen
) -> Iterator[tuple[Object, int]]:
    """Ports that would be forwarded if this user might listen on them."""
    for service in services:
        if routed_address(service):
            for port in tcp_ports(service):
                if not may_listen(int(port["port"])):
                    yield service, int(port["port"])


def _age(service: Object) -> tuple[str, str]:
    return str(at(service, "metadata", "creationTimestamp", default="")), uid_of(service)


def _forwards(service: Object, slices: Sequence[Object]) -> Iterator[Forward]:
    address = routed_address(service)
    if not address:
        return
    is_sticky = at(service, "spec", "sessionAffinity") == "ClientIP"
    for port in tcp_ports(service):
        yield Forward(
            service=key_of(service),
            address=address,
            port=int(port["port"]),
            endpoints=_endpoints(slices, port.get("name") or ""),
            is_sticky=is_sticky,
        )


def _endpoints(slices: Sequence[Object], name: str) -> tuple[Endpoint, ...]:
    found = [
        (Endpoint(endpoint["addresses"][0], int(port["port"])), endpoint.get("conditions") or {})
        for each in slices
        if each.get("addressType") != "FQDN"
        for port in each.get("ports") or ()
        if (port.get("name") or "") == name and port.get("port") and _is_tcp(port)
        for endpoint in each.get("endpoints") or ()
    ]
    # An absent condition means ready.
    ready = {place for place, conditions in found if conditions.get("ready") in (None, True)}
    ending = {
        place
        for place, conditions in found
        if conditions.get("serving") and conditions.get("terminating")
    }
    return tuple(sorted(ready or ending))


def _is_tcp(port: Object) -> bool:
    return bool(port.get("protocol", "TCP") == "TCP")
