"""The listeners, and what Envoy is told at its start, in Envoy's dialect. Pure.

The plain listener serves HTTP/1 and HTTP/2 with prior knowledge, which is what gRPC clients speak.
The TLS listener ends TLS with the certificate of the route, chosen by server name, or with the
router's own. HTTP/2 is offered only on a route's own certificate: on a shared one, browsers would
send requests for other hosts down the same connection.
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from motorpool.router.envoy import TYPE, Json, forwarded_headers
from motorpool.router.table import Table

ADMIN_SOCKET = "run/envoy.sock"  # relative to the data directory: socket paths are short
CONNECTIONS_MAX = 50_000


@dataclass(frozen=True, slots=True)
class Certificate:
    """Paths of PEM files."""

    certificate: str
    key: str


@dataclass(frozen=True, slots=True)
class Addresses:
    host: str
    http_port: int
    https_port: int | None
    certificate: Certificate | None = None  # the router's own; without it no TLS is served
    authority: str = ""  # PEM of who vouches for the pods that speak TLS


def bootstrap(directory: str) -> Json:
    """What never changes while Envoy runs; the rest comes from files in *directory*."""

    def watched(name: str) -> Json:
        return {
            "path_config_source": {
                "path": f"{directory}/{name}.json",
            },
            "resource_api_version": "V3",
        }

    return {
        "node": {"id": "router", "cluster": "motorpool"},
        "admin": {"address": {"pipe": {"path": ADMIN_SOCKET, "mode": 0o600}}},
        "dynamic_resources": {"lds_config": watched("lds"), "cds_config": watched("cds")},
        # Few counters, flushed and watched over seldom: an idle router should cost nothing.
        "stats_config": {
            "stats_matcher": {
                "inclusion_list": {
                    "patterns": [
                        {"prefix": "cluster_manager."},
                        {"prefix": "listener_manager."},
                        {"prefix": "server."},
                        {"safe_regex": {"regex": r"http\.https?\.(rds\..*|downstream_rq_.*)"}},
                    ]
                }
            }
        },
        "stats_flush_interval": "60s",
        "watchdogs": {
            "main_thread_watchdog": {"miss_timeout": "10s", "megamiss_timeout": "60s"},
            "worker_watchdog": {"miss_timeout": "10s", "megamiss_timeout": "60s"},
        },
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {
                        "@type": TYPE + "envoy.extensions.resource_monitors"
                        ".downstream_connections.v3.DownstreamConnectionsConfig",
                        "max_active_downstream_connections": CONNECTIONS_MAX,
                    },
                }
            ]
        },
    }


def listeners_of(table: Table, addresses: Addresses, directory: str) -> list[Json]:
    listeners = [_plain(addresses, directory)]
    if addresses.certificate is not None and addresses.https_port is not None:
        listeners.append(_secure(table, addresses, addresses.https_port, directory))
    return listeners


def _plain(addresses: Addresses, directory: str) -> Json:
    chain = {"filters": [_connection_manager("http", directory)]}
    return _listener("http", addresses.host, addresses.http_port, [chain])


def _secure(table: Table, addresses: Addresses, port: int, directory: str) -> Json:
    chains = []
    seen: set[str] = set()
    for entry in table.entries:
        if entry.tls and entry.tls.certificate and entry.host not in seen:
            seen.add(entry.host)
            pair = {
                "certificate_chain": {"inline_string": entry.tls.certificate},
                "private_key": {"inline_string": entry.tls.key},
            }
            chain = _tls_chain(pair, ["h2", "http/1.1"], directory)
            chains.append({"filter_chain_match": {"server_names": [entry.host]}, **chain})
    if addresses.certificate is not None:
        pair = {
            "certificate_chain": {"filename": addresses.certificate.certificate},
            "private_key": {"filename": addresses.certificate.key},
        }
        chains.append(_tls_chain(pair, ["http/1.1"], directory))
    listener = _listener("https", addresses.host, port, chains)
    inspector = TYPE + "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"
    listener["listener_filters"] = [
        {"name": "envoy.filters.listener.tls_inspector", "typed_config": {"@type": inspector}}
    ]
    return listener


def _tls_chain(pair: Json, protocols: list[str], directory: str) -> Json:
    context = TYPE + "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
    return {
        "transport_socket": {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": context,
                "common_tls_context": {"tls_certificates": [pair], "alpn_protocols": protocols},
            },
        },
        "filters": [_connection_manager("https", directory)],
    }


def _listener(name: str, host: str, port: int, chains: list[Json]) -> Json:
    return {
        "@type": TYPE + "envoy.config.listener.v3.Listener",
        "name": name,
        "address": {"socket_address": {"address": host, "port_value": port}},
        "filter_chains": chains,
        # No other Envoy may share the port, and the workers get equal shares of the connections.
        "enable_reuse_port": False,
        "connection_balance_config": {"exact_balance": {}},
    }


def _filter(name: str, message: str, **config: object) -> Json:
    return {
        "name": f"envoy.filters.http.{name}",
        "typed_config": {"@type": TYPE + message, **config},
    }


def _connection_manager(name: str, directory: str) -> Json:
    extensions = "envoy.extensions.filters.http."
    mutations = [{"append": header} for header in forwarded_headers("append")]
    return {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": TYPE + "envoy.extensions.filters.network.http_connection_manager.v3"
            ".HttpConnectionManager",
            "stat_prefix": name,
            "rds": {
                "route_config_name": name,
                "config_source": {
                    "path_config_source": {
                        "path": f"{directory}/{name}.json",
                    },
                    "resource_api_version": "V3",
                },
            },
            # Who asked is said by the header mutations below, which a route may switch off.
            "use_remote_address": True,
            "skip_xff_append": True,
            "generate_request_id": False,
            "server_header_transformation": "PASS_THROUGH",
            "strip_trailing_host_dot": True,
            "normalize_path": False,
            "http_protocol_options": {"accept_http_10": True},
            "upgrade_configs": [{"upgrade_type": "websocket"}],
            "common_http_protocol_options": {"idle_timeout": "300s"},
            "request_headers_timeout": "10s",
            "local_reply_config": _local_replies(),
            "http_filters": [
                _filter(
                    "header_mutation",
                    extensions + "header_mutation.v3.HeaderMutation",
                    mutations={"request_mutations": mutations},
                ),
                _filter("rbac", extensions + "rbac.v3.RBAC"),
                _filter("stateful_session", extensions + "stateful_session.v3.StatefulSession"),
                _filter("router", extensions + "router.v3.Router", suppress_envoy_headers=True),
            ],
        },
    }


def _local_replies() -> Json:
    """Every 503 of the router's own is one page: only its reader can know what was meant."""
    is_503 = {
        "status_code_filter": {
            "comparison": {
                "op": "EQ",
                "value": {"default_value": 503, "runtime_key": "motorpool.unavailable"},
            }
        }
    }
    headers = {
        "pragma": "no-cache",
        "cache-control": "private, max-age=0, no-cache, no-store",
    }
    return {
        "mappers": [
            {
                "filter": is_503,
                "body_format_override": {
                    "text_format_source": {"inline_string": _page()},
                    "content_type": "text/html",
                },
                "headers_to_add": [
                    {
                        "header": {"key": key, "value": value},
                        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
                    }
                    for key, value in headers.items()
                ],
            }
        ]
    }


@cache
def _page() -> str:
    page = files("motorpool.router").joinpath("unavailable.html").read_text()
    return page.replace("%", "%%")
