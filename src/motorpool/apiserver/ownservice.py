"""The API's own Service, ``default/kubernetes``: a cluster address that leads to this server.

Rules: it keeps its address, which the serving certificate names; its endpoint is written anew at
each start, as the port may be another one. Endpoints and slice are both ours: no controller makes
one of the other.
"""

from urllib.parse import urlsplit

from motorpool.api import clusterips, core, discovery
from motorpool.api.errors import NotFound
from motorpool.api.meta import Object, name_of
from motorpool.apiserver.registry import Registry
from motorpool.client import Client

NAME = "kubernetes"
NAMESPACE = "default"
MANAGER = "motorpool-apiserver"
PORT = 443


async def own_address(registry: Registry) -> str:
    """Its cluster address, be it there or to come; "" where none is free."""
    try:
        service = await registry.get(core.SERVICE, NAMESPACE, NAME, full=False)
    except NotFound:
        return (await registry.held_addresses()).own()
    return clusterips.routed_address(service)


async def ensure_own_service(client: Client, address: str, url: str) -> None:
    """*url* is where the server is reached from this machine. Raises ApiError."""
    if not address:
        return
    reached = urlsplit(url)
    service, *behind = own_objects(address, reached.hostname or "", reached.port or PORT)
    await client.apply(core.SERVICE, service, manager=MANAGER)
    for kind, obj in zip((core.ENDPOINTS, discovery.ENDPOINT_SLICE), behind, strict=True):
        await client.apply(kind, obj, manager=MANAGER)


def own_objects(address: str, host: str, port: int) -> list[Object]:
    """Service, Endpoints and EndpointSlice. Pure."""
    entry = {"name": "https", "port": port, "protocol": "TCP"}
    service: Object = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata({"component": "apiserver", "provider": "kubernetes"}),
        "spec": {
            "clusterIP": address,
            "ports": [{**entry, "port": PORT, "targetPort": port}],
            "type": "ClusterIP",
        },
    }
    endpoints: Object = {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": _metadata({"endpointslice.kubernetes.io/skip-mirror": "true"}),
        "subsets": [{"addresses": [{"ip": host}], "ports": [entry]}],
    }
    endpoint_slice: Object = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": _metadata({"kubernetes.io/service-name": name_of(service)}),
        "addressType": "IPv6" if ":" in host else "IPv4",
        "endpoints": [{"addresses": [host], "conditions": {"ready": True}}],
        "ports": [entry],
    }
    return [service, endpoints, endpoint_slice]


def _metadata(labels: dict[str, str]) -> Object:
    return {"name": NAME, "namespace": NAMESPACE, "labels": labels}
