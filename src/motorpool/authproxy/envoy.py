"""Envoy's configuration: one listener for requests, one for its health. Pure.

- Each request is put to the check first, by its headers alone; no answer means no.
- Its certificate is fetched from the check too, now and then: it is kept in no file, and a new one
  needs no restart. Connections that are open go on.
- Bodies flow through as they come, in both directions; what is buffered is bounded.
- What tells the server who calls is taken from every request before anything is added.
- Where no answer came from the server at all, the answer bears a header that says so: the router
  may then ask another pod.
"""

from typing import Any, TypeAlias

from motorpool.authproxy.flags import Address, Settings

Json: TypeAlias = dict[str, Any]

TYPE = "type.googleapis.com/"
CHECK_SOCKET, ADMIN_SOCKET = (
    "check.sock",
    "admin.sock",
)  # relative to its directory: paths are short
CHECK_PATH, HEALTH_PATH = "/check", "/healthz"
CHECK_TIMEOUT = "10s"  # longer than both questions to the API may take
CERTIFICATE_PERIOD = "10s"
SILENCE_S = 3600.0
CONNECTIONS_MAX = 10_000
STREAMS_MAX = 1000
HEADERS_MAX_KB = 60
BUFFER_BYTES_MAX = 1 << 20
NO_LIMIT = 1_000_000
# Shorter than the keep-alive of the usual Python servers (5 s): the proxy hangs up first.
UPSTREAM_IDLE = "4s"
NEVER_ANSWERED = "x-motorpool-never-answered"
_FROM_CALLERS = ("x-remote-user", "x-remote-groups", NEVER_ANSWERED)


def bootstrap(settings: Settings) -> Json:
    listeners = [_listener("requests", settings.listen, _requests(settings))]
    if settings.health_port:
        address = Address(settings.listen.host, settings.health_port)
        listeners.append(_listener("health", address, _health()))
    return {
        "node": {"id": "auth-proxy", "cluster": "auth-proxy"},
        "admin": {"address": {"pipe": {"path": ADMIN_SOCKET, "mode": 0o600}}},
        "static_resources": {"listeners": listeners, "clusters": [_upstream(settings), _check()]},
        # One number is looked at, when it ends: an idle proxy should cost nothing.
        "stats_config": {
            "stats_matcher": {
                "inclusion_list": {
                    "patterns": [
                        {"exact": "http.requests.downstream_rq_active"},
                        {"prefix": "listener_manager."},
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


def _listener(name: str, address: Address, manager: Json) -> Json:
    fetched = {
        "api_config_source": {
            "api_type": "REST",
            "transport_api_version": "V3",
            "cluster_names": ["check"],
            "refresh_delay": CERTIFICATE_PERIOD,
            "request_timeout": "5s",
        },
        "resource_api_version": "V3",
    }
    context = TYPE + "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
    return {
        "name": name,
        "address": {"socket_address": {"address": address.host, "port_value": address.port}},
        "per_connection_buffer_limit_bytes": BUFFER_BYTES_MAX,
        "enable_reuse_port": False,
        "filter_chains": [
            {
                "transport_socket": {
                    "name": "envoy.transport_sockets.tls",
                    "typed_config": {
                        "@type": context,
                        "common_tls_context": {
                            "alpn_protocols": ["h2", "http/1.1"],
                            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
                            "tls_certificate_sds_secret_configs": [
                                {"name": "serving", "sds_config": fetched}
                            ],
                        },
                    },
                },
                "transport_socket_connect_timeout": "10s",
                "filters": [manager],
            }
        ],
    }


def _manager(name: str, routes: list[Json], filters: list[Json], **more: object) -> Json:
    return {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": TYPE + "envoy.extensions.filters.network.http_connection_manager.v3"
            ".HttpConnectionManager",
            "stat_prefix": name,
            "route_config": {
                "name": name,
                "virtual_hosts": [{"name": name, "domains": ["*"], "routes": routes}],
            },
            # Who asked the router is said by the router.
            "use_remote_address": False,
            "generate_request_id": False,
            "server_header_transformation": "PASS_THROUGH",
            "normalize_path": False,
            "http_protocol_options": {"accept_http_10": True},
            "http2_protocol_options": {
                "max_concurrent_streams": STREAMS_MAX,
                "initial_stream_window_size": BUFFER_BYTES_MAX,
                "initial_connection_window_size": 16 * BUFFER_BYTES_MAX,
            },
            "max_request_headers_kb": HEADERS_MAX_KB,
            "request_headers_timeout": "10s",
            "common_http_protocol_options": {"idle_timeout": "300s"},
            "http_filters": [
                *filters,
                _filter("router", "envoy.extensions.filters.http.router.v3.Router",
                        suppress_envoy_headers=True),
            ],
            **more,
        },
    }  # fmt: skip


def _filter(name: str, message: str, **config: object) -> Json:
    return {
        "name": f"envoy.filters.http.{name}",
        "typed_config": {"@type": TYPE + message, **config},
    }


def _requests(settings: Settings) -> Json:
    silence_s = settings.upstream_timeout_s or SILENCE_S
    action: Json = {
        "cluster": "upstream",
        "timeout": "0s",
        "idle_timeout": f"{silence_s:.3f}s",
        "retry_policy": {
            "retry_on": "connect-failure,refused-stream,reset-before-request",
            "num_retries": 2,
            "retry_back_off": {"base_interval": "0.010s", "max_interval": "0.1s"},
        },
    }
    # The token has done its work: what the server never sees it cannot tell.
    checked = {"match": {"prefix": "/"}, "route": action,
               "request_headers_to_remove": ["authorization"]}  # fmt: skip
    unchecked = {
        "envoy.filters.http.ext_authz": {
            "@type": TYPE + "envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute",
            "disabled": True,
        }
    }
    open_to_all = [
        {"match": {"path": path}, "route": action, "typed_per_filter_config": unchecked}
        for path in settings.ignored_paths
    ]
    named = (settings.user_header, settings.groups_header)
    taken = dict.fromkeys((*_FROM_CALLERS, *filter(None, named)))
    mutation = _filter(
        "header_mutation",
        "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
        mutations={"request_mutations": [{"remove": header} for header in taken]},
    )
    return _manager(
        "requests",
        [*open_to_all, checked],
        [mutation, _authorization(settings)],
        upgrade_configs=[{"upgrade_type": "websocket"}],
        stream_idle_timeout=f"{silence_s:.3f}s",
        local_reply_config={"mappers": [_never_answered(), _not_checked()]},
    )


def _authorization(settings: Settings) -> Json:
    told = [{"exact": name} for name in (settings.user_header, settings.groups_header) if name]
    answer: Json = {
        "allowed_client_headers": {
            "patterns": [{"exact": "www-authenticate"}, {"exact": "content-type"}]
        }
    }
    if told:
        answer["allowed_upstream_headers"] = {"patterns": told}
    return _filter(
        "ext_authz",
        "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
        transport_api_version="V3",
        failure_mode_allow=False,
        status_on_error={"code": "ServiceUnavailable"},
        allowed_headers={"patterns": [{"exact": "authorization"}]},
        http_service={
            "server_uri": {"uri": "http://check", "cluster": "check", "timeout": CHECK_TIMEOUT},
            "path_prefix": CHECK_PATH,
            "authorization_response": answer,
        },
    )


def _never_answered() -> Json:
    return {
        "filter": {"response_flag_filter": {"flags": ["UF", "UC", "UH", "UR"]}},
        "headers_to_add": [
            {
                "header": {"key": NEVER_ANSWERED, "value": "true"},
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }
        ],
    }


def _not_checked() -> Json:
    """To Envoy a check that says 5xx has failed: it gives none of its words on."""
    status = {"default_value": 503, "runtime_key": "motorpool.not_checked"}
    comparison = {"comparison": {"op": "EQ", "value": status}}
    filters = [{"status_code_filter": comparison}, {"response_flag_filter": {"flags": ["UAEX"]}}]
    text = "the token cannot be checked now; the proxy's log says why\n"
    return {
        "filter": {"and_filter": {"filters": filters}},
        "body_format_override": {"text_format_source": {"inline_string": text}},
    }


def _health() -> Json:
    asked = {"match": {"path": HEALTH_PATH}, "route": {"cluster": "check", "timeout": "1s"}}
    others = {"match": {"prefix": "/"}, "direct_response": {"status": 404}}
    return _manager("health", [asked, others], [])


def _cluster(name: str, address: Json, *, named: bool = False, **more: object) -> Json:
    endpoint = {"endpoint": {"address": address}}
    return {
        "name": name,
        "type": "STRICT_DNS" if named else "STATIC",
        "connect_timeout": "5s",
        "per_connection_buffer_limit_bytes": BUFFER_BYTES_MAX,
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        "circuit_breakers": {
            "thresholds": [
                {
                    "max_connections": NO_LIMIT,
                    "max_pending_requests": NO_LIMIT,
                    "max_requests": NO_LIMIT,
                    "max_retries": NO_LIMIT,
                }
            ]
        },
        **more,
    }


def _upstream(settings: Settings) -> Json:
    to = settings.upstream
    address = {"socket_address": {"address": to.host, "port_value": to.port}}
    protocol = "http2_protocol_options" if settings.speaks_h2c else "http_protocol_options"
    options = TYPE + "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    return _cluster(
        "upstream",
        address,
        named=not _is_ip(to.host),
        typed_extension_protocol_options={
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": options,
                "common_http_protocol_options": {"idle_timeout": UPSTREAM_IDLE},
                "explicit_http_config": {protocol: {}},
            }
        },
    )


def _check() -> Json:
    return _cluster("check", {"pipe": {"path": CHECK_SOCKET}})


def _is_ip(host: str) -> bool:
    return ":" in host or all(part.isdecimal() for part in host.split("."))
