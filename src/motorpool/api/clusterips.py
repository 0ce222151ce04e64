"""Which cluster addresses lead somewhere on the embedded engine, and which of their ports. Pure.

Addresses come from a range of the loopback interface, beside that of the pods: whoever runs on this
machine reaches them, and the router listens there. A Service from before that has an address of
another range keeps it, and is not routed.
"""

from collections.abc import Callable, Iterator
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from typing import TypeAlias

from motorpool.api.meta import Object, at

NETWORK = IPv4Network("127.128.0.0/10")

MayListen: TypeAlias = Callable[[int], bool]
"""Whether the router may listen on a port."""


def routed_address(service: Object) -> str:
    """The cluster address, where it is one of ours; "" elsewhere."""
    if at(service, "spec", "type") == "ExternalName":
        return ""
    address = str(at(service, "spec", "clusterIP") or "")
    return address if is_ours(address) else ""


def is_ours(address: str) -> bool:
    try:
        return IPv4Address(address) in NETWORK
    except AddressValueError:
        return False


def tcp_ports(service: Object) -> Iterator[Object]:
    """The ports that a router of connections can serve."""
    for port in at(service, "spec", "ports", default=None) or ():
        if port.get("protocol", "TCP") == "TCP":
            yield port
