"""The forwards of a routing table in Envoy's dialect: a cluster and a listener for each. Pure.

Choices
- A listener knows nothing of endpoints, so that none is touched when pods come and go; Envoy
  replaces the cluster, and connections that are open stay with the pod that they have.
- Nothing ends a connection for being idle or old: a cluster's service proxy does not either.
- A pod that does not accept is passed over; where nobody does, the connection is closed at once.
"""

from motorpool.router.envoy import CONNECT_TIMEOUT, NO_LIMIT, TYPE, Json
from motorpool.router.table import Endpoint, Forward, Table

ATTEMPTS_MAX = 3  # endpoints that one connection is offered to
THRESHOLDS: Json = {
    "max_connections": NO_LIMIT,
    "max_pending_requests": NO_LIMIT,
    "max_requests": NO_LIMIT,
    "max_retries": NO_LIMIT,
}


def clusters_of(table: Table) -> list[Json]:
    return [_cluster(forward) for forward in table.forwards]


def listeners_of(table: Table) -> list[Json]:
    return [_listener(forward) for forward in table.forwards]


def _cluster(forward: Forward) -> Json:
    localities = []
    if forward.endpoints:
        localities = [{"lb_endpoints": [_endpoint(each) for each in forward.endpoints]}]
    return {
        "@type": TYPE + "envoy.config.cluster.v3.Cluster",
        "name": forward.name,
        "type": "STATIC",
        "connect_timeout": CONNECT_TIMEOUT,
        "lb_policy": "RING_HASH" if forward.is_sticky else "ROUND_ROBIN",
        "load_assignment": {"cluster_name": forward.name, "endpoints": localities},
        "circuit_breakers": {"thresholds": [THRESHOLDS]},
    }


def _endpoint(endpoint: Endpoint) -> Json:
    address = {"address": endpoint.address, "port_value": endpoint.port}
    return {"endpoint": {"address": {"socket_address": address}}}


def _listener(forward: Forward) -> Json:
    proxy: Json = {
        "@type": TYPE + "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "service",  # one for all: they are not counted
        "cluster": forward.name,
        "idle_timeout": "0s",
        "max_connect_attempts": ATTEMPTS_MAX,
    }
    if forward.is_sticky:
        proxy["hash_policy"] = [{"source_ip": {}}]
    return {
        "@type": TYPE + "envoy.config.listener.v3.Listener",
        # A Service that is made anew has another address, and so a listener of its own.
        "name": f"{forward.address}:{forward.port}",
        "address": {"socket_address": {"address": forward.address, "port_value": forward.port}},
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.tcp_proxy", "typed_config": proxy}]}
        ],
        # As for the others: no Envoy but this one may share the port.
        "enable_reuse_port": False,
        "connection_balance_config": {"exact_balance": {}},
    }
