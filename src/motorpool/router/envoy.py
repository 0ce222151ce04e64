"""A routing table in Envoy's dialect: clusters and virtual hosts. Pure.

Choices
- One cluster per Route; its backends are localities, whose weights share out the traffic whatever
  the number of their pods, and across which a sticky cookie holds.
- Endpoints stand inside the clusters. Envoy watches each file of endpoints with an inotify instance
  of its own, of which a user has 128; one file of clusters needs one. Envoy replaces only clusters
  that changed, and lets a replaced one finish its requests.
- Time limits are idle times, as in OpenShift's router: a long answer that keeps coming is fine.
- A request is sent again where no answer came back at all, so that a pod that goes away takes no
  request with it. Once an answer has begun it is never repeated.
"""

import re
from itertools import groupby
from typing import Any, TypeAlias

from motorpool.router.table import Backend, Balance, Entry, HeaderAction, PodTls, Table

Json: TypeAlias = dict[str, Any]

TYPE = "type.googleapis.com/"
NO_LIMIT = 1_000_000
CONNECT_TIMEOUT = "5s"
# Shorter than the keep-alive of the usual Python servers (5 s), so that the router hangs up first.
UPSTREAM_IDLE = "4s"
RETRY_POLICY: Json = {
    "retry_on": "connect-failure,refused-stream,reset-before-request,reset",
    # Enough tries to outlast the moment between a pod's end and its place in the table: each one
    # sees the endpoints of its own time.
    "num_retries": 4,
    "retry_back_off": {"base_interval": "0.025s", "max_interval": "0.25s"},
    "retry_host_predicate": [
        {
            "name": "envoy.retry_host_predicates.previous_hosts",
            "typed_config": {
                "@type": TYPE
                + "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
            },
        }
    ],
    "host_selection_retry_max_attempts": 3,
}
NEVER_ANSWERED = "x-motorpool-never-answered"
"""By which a proxy beside a server says that the answer is its own, for want of one."""
_RETRY_BEHIND_PROXIES: Json = {
    **RETRY_POLICY,
    "retry_on": f"{RETRY_POLICY['retry_on']},retriable-headers",
    "retriable_headers": [{"name": NEVER_ANSWERED, "present_match": True}],
}
UNAVAILABLE: Json = {"match": {"prefix": "/"}, "direct_response": {"status": 503}}
"""What an unknown host or path gets; the listener gives the answer its page."""

REMOVED_HEADERS = (
    "x-envoy-external-address",  # Envoy's own; nobody asked for it
    "proxy",
    "x-ssl",
    "x-ssl-client-verify",
    "x-ssl-client-dn",
    "x-ssl-client-cn",
    "x-ssl-client-der",
    "x-ssl-client-sha1",
    "x-ssl-client-notbefore",
    "x-ssl-client-notafter",
    "x-ssl-issuer",
)
_FORWARDED = {
    "x-forwarded-for": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
    "x-forwarded-host": "%REQ(:AUTHORITY)%",
    "x-forwarded-port": "%DOWNSTREAM_LOCAL_PORT%",
    "forwarded": (
        "for=%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%"
        ";host=%REQ(:AUTHORITY)%;proto=%REQ(:SCHEME)%"
    ),
}
_APPEND_ACTIONS = {
    "append": "APPEND_IF_EXISTS_OR_ADD",
    "replace": "OVERWRITE_IF_EXISTS_OR_ADD",
    "if-none": "ADD_IF_ABSENT",
}
_LB_POLICIES: dict[Balance, Json] = {
    # HAProxy's "random" draws two and takes the less loaded one; so does this.
    "random": {"lb_policy": "LEAST_REQUEST"},
    "roundrobin": {"lb_policy": "ROUND_ROBIN"},
    "leastconn": {
        "lb_policy": "LEAST_REQUEST",
        "least_request_lb_config": {"choice_count": 16},
    },
    "source": {"lb_policy": "RING_HASH"},
}


def clusters_of(table: Table, authority: str = "") -> list[Json]:
    """One cluster per Route. *authority*: PEM of who vouches for pods that speak TLS."""
    return [_cluster(entry, authority) for entry in table.entries]


def routes_of(table: Table, *, secure: bool, https_port: int = 443) -> Json:
    """The route configuration of the plain or the TLS listener.

    Plain requests that belong on TLS are sent to *https_port*, wherever they came in.
    """
    hosts = [
        _virtual_host(host, list(entries), 0 if secure else https_port)
        for host, entries in groupby(table.entries, key=lambda entry: entry.host)
    ]
    return {
        "@type": TYPE + "envoy.config.route.v3.RouteConfiguration",
        "name": "https" if secure else "http",
        "ignore_port_in_host_matching": True,
        "request_headers_to_remove": list(REMOVED_HEADERS),
        "virtual_hosts": [
            *(host for host in hosts if host["routes"]),
            {"name": "unknown", "domains": ["*"], "routes": [UNAVAILABLE]},
        ],
    }


def forwarded_headers(policy: str) -> list[Json]:
    """What tells the pod who asked, and how; nothing for the policy ``never``."""
    if policy == "never":
        return []
    action = _APPEND_ACTIONS[policy]
    return [
        {"header": {"key": key, "value": value}, "append_action": action}
        for key, value in _FORWARDED.items()
    ]


def _cluster(entry: Entry, authority: str) -> Json:
    endpoint_count = sum(len(backend.endpoints) for backend in entry.backends)
    cluster: Json = {
        "@type": TYPE + "envoy.config.cluster.v3.Cluster",
        "name": entry.cluster,
        "type": "STATIC",
        "connect_timeout": CONNECT_TIMEOUT,
        **_LB_POLICIES[entry.balance],
        "load_assignment": {
            "cluster_name": entry.cluster,
            "endpoints": _localities(entry, authority),
        },
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
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": TYPE + "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "common_http_protocol_options": {"idle_timeout": UPSTREAM_IDLE},
                **_protocol(entry),
            }
        },
    }
    if entry.pod_tls is not None:
        cluster["transport_socket"] = _pod_tls(entry.pod_tls, authority)
    if len(entry.backends) > 1:
        cluster["common_lb_config"] = {"locality_weighted_lb_config": {}}
    if endpoint_count > 1:
        cluster["outlier_detection"] = _OUTLIERS
    return cluster


def _protocol(entry: Entry) -> Json:
    if entry.pod_tls is not None:
        # As the client speaks, so that calls by gRPC need no word about it; agreed upon by ALPN.
        return {
            "use_downstream_protocol_config": {
                "http_protocol_options": {},
                "http2_protocol_options": {},
            }
        }
    protocol = "http2_protocol_options" if entry.speaks_h2c else "http_protocol_options"
    return {"explicit_http_config": {protocol: {}}}


def _pod_tls(tls: PodTls, authority: str) -> Json:
    """Like OpenShift's router: who has the user's own authority may have any name."""
    validation: Json = {"trusted_ca": {"inline_string": tls.authority or authority}}
    if not tls.authority:
        validation["match_typed_subject_alt_names"] = [
            {"san_type": "DNS", "matcher": {"exact": name}} for name in dict.fromkeys(tls.names)
        ]
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": TYPE + "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "sni": tls.names[0],
            "common_tls_context": {"validation_context": validation},
        },
    }


_OUTLIERS: Json = {
    # Only what never answered counts: a pod that says 500 is alive.
    "split_external_local_origin_errors": True,
    "consecutive_local_origin_failure": 3,
    "enforcing_consecutive_local_origin_failure": 100,
    "enforcing_local_origin_success_rate": 0,
    "enforcing_success_rate": 0,
    "enforcing_consecutive_5xx": 0,
    "enforcing_consecutive_gateway_failure": 0,
    "interval": "5s",
    "base_ejection_time": "5s",
    "max_ejection_time": "30s",
    "max_ejection_percent": 50,
}


def _localities(entry: Entry, authority: str) -> list[Json]:
    if not any(backend.weight for backend in entry.backends):
        return []  # all weights 0: nobody is to get anything
    if entry.pod_tls is not None and not (entry.pod_tls.authority or authority):
        return []  # nobody could tell these pods from others
    weighted = len(entry.backends) > 1
    return [_locality(backend, weighted) for backend in entry.backends if backend.endpoints]


def _locality(backend: Backend, weighted: bool) -> Json:
    locality: Json = {
        "locality": {"zone": backend.service},
        "lb_endpoints": [
            {
                "endpoint": {
                    "address": {
                        "socket_address": {
                            "address": endpoint.address,
                            "port_value": endpoint.port,
                        }
                    }
                }
            }
            for endpoint in backend.endpoints
        ],
    }
    # Weight 0 is said by leaving it out: no new traffic, but a cookie still finds its pod.
    if weighted and backend.weight:
        locality["load_balancing_weight"] = backend.weight
    return locality


def _virtual_host(host: str, entries: list[Entry], redirect_port: int) -> Json:
    routes = [route for entry in entries for route in _routes(entry, redirect_port)]
    if routes and routes[-1]["match"] != UNAVAILABLE["match"]:
        routes.append(UNAVAILABLE)
    return {
        "name": host,
        "domains": [host],
        "retry_policy": RETRY_POLICY,
        "routes": routes,
    }


def _routes(entry: Entry, redirect_port: int) -> list[Json]:
    """Nothing where the entry is not for this listener, or where no request can match.

    A *redirect_port* of 0 means the TLS listener.
    """
    if "?" in entry.path:
        return []
    if not redirect_port:
        return _forwards(entry) if entry.tls else []
    if entry.tls is None or entry.tls.insecure == "Allow":
        return _forwards(entry)
    if entry.tls.insecure == "Redirect":
        redirect: Json = {"https_redirect": True, "host_redirect": entry.host}
        if redirect_port != 443:
            redirect["port_redirect"] = redirect_port
        redirect["response_code"] = "FOUND"
        return [{"match": _path_match(entry.path), "redirect": redirect}]
    return []


def _forwards(entry: Entry) -> list[Json]:
    plain = _forward(entry, _path_match(entry.path), entry.idle_timeout_ms)
    if entry.tunnel_timeout_ms == entry.idle_timeout_ms:
        return [plain]
    upgrade = {"name": "upgrade", "string_match": {"exact": "websocket", "ignore_case": True}}
    match = {**_path_match(entry.path), "headers": [upgrade]}
    return [_forward(entry, match, entry.tunnel_timeout_ms), plain]


def _forward(entry: Entry, match: Json, idle_ms: int) -> Json:
    action: Json = {
        "cluster": entry.cluster,
        "timeout": "0s",
        "idle_timeout": f"{idle_ms / 1000:g}s" if idle_ms % 1000 else f"{idle_ms // 1000}s",
    }
    if entry.rewrite_target:
        action["regex_rewrite"] = _rewrite(entry.path, entry.rewrite_target)
    if entry.balance == "source":
        action["hash_policy"] = [{"connection_properties": {"source_ip": True}}]
    if entry.pod_tls is not None:
        action["retry_policy"] = _RETRY_BEHIND_PROXIES
    route: Json = {"match": match, "route": action}
    filters = _filters(entry)
    if filters:
        route["typed_per_filter_config"] = filters
    return {**route, **_header_changes(entry)}


def _path_match(path: str) -> Json:
    if path.endswith("/") or not path:
        return {"prefix": path or "/"}
    return {"path_separated_prefix": path}


def _rewrite(path: str, target: str) -> Json:
    """``/`` strips the route's path; anything else takes its place."""
    matched = re.escape(path or "/")
    pattern = f"^{matched}/?(.*)$" if target == "/" else f"^{matched}(.*)$"
    return {
        "pattern": {"regex": pattern},
        "substitution": target.replace("\\", "\\\\") + "\\1",
    }


def _filters(entry: Entry) -> Json:
    filters: Json = {}
    if entry.cookie is not None:
        cookie: Json = {"name": entry.cookie.name, "path": "/"}
        if entry.cookie.attributes:
            cookie["attributes"] = [
                {"name": name, **({"value": value} if value else {})}
                for name, value in entry.cookie.attributes
            ]
        filters["envoy.filters.http.stateful_session"] = {
            "@type": TYPE
            + "envoy.extensions.filters.http.stateful_session.v3.StatefulSessionPerRoute",
            "stateful_session": {
                "session_state": {
                    "name": "envoy.http.stateful_session.cookie",
                    "typed_config": {
                        "@type": TYPE + "envoy.extensions.http.stateful_session.cookie.v3"
                        ".CookieBasedSessionState",
                        "cookie": cookie,
                    },
                }
            },
        }
    if entry.allowed_sources:
        filters["envoy.filters.http.rbac"] = _allowed(entry.allowed_sources)
    if entry.forwarding != "append":
        filters["envoy.filters.http.header_mutation"] = {
            "@type": TYPE + "envoy.config.route.v3.FilterConfig",
            "disabled": True,
        }
    return filters


def _allowed(sources: tuple[str, ...]) -> Json:
    principals = []
    for source in sources:
        prefix, length = source.split("/")
        cidr = {"address_prefix": prefix, "prefix_len": int(length)}
        principals.append({"direct_remote_ip": cidr})
    policy = {"permissions": [{"any": True}], "principals": principals}
    return {
        "@type": TYPE + "envoy.extensions.filters.http.rbac.v3.RBACPerRoute",
        "rbac": {"rules": {"action": "ALLOW", "policies": {"sources": policy}}},
    }


def _header_changes(entry: Entry) -> Json:
    added, removed = _header_actions(entry.request_headers)
    if entry.forwarding != "append":
        added = forwarded_headers(entry.forwarding) + added
    response_added, response_removed = _header_actions(entry.response_headers)
    if entry.pod_tls is not None:
        response_removed.append(NEVER_ANSWERED)
    if entry.hsts:
        response_added.append(_set_header("strict-transport-security", entry.hsts))
    changes = {
        "request_headers_to_add": added,
        "request_headers_to_remove": removed,
        "response_headers_to_add": response_added,
        "response_headers_to_remove": response_removed,
    }
    return {key: value for key, value in changes.items() if value}


def _header_actions(actions: tuple[HeaderAction, ...]) -> tuple[list[Json], list[str]]:
    usable = [action for action in actions if _is_usable(action)]
    added = [_set_header(a.name, _format(a.value)) for a in usable if a.value is not None]
    return added, [action.name for action in usable if action.value is None]


def _is_usable(action: HeaderAction) -> bool:
    """Whether Envoy takes it: what it does not take would cost every route its update."""
    # Envoy routes by these, so that it lets nobody change them here.
    if action.name.startswith(":") or action.name.lower() == "host":
        return False
    return not _CONTROL.search(action.value or "")


_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def _set_header(name: str, value: str) -> Json:
    return {
        "header": {"key": name, "value": value},
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    }


_FETCH = re.compile(r"%%|%\[(req|res)\.hdr\(([A-Za-z0-9-]+)\)\]|%")


def _format(value: str) -> str:
    """HAProxy's ``%[req.hdr(X)]`` as Envoy's ``%REQ(X)%``; any other percent stays a percent."""

    def translated(match: re.Match[str]) -> str:
        if match[1] is None:
            return "%%"
        return f"%{'REQ' if match[1] == 'req' else 'RESP'}({match[2]})%"

    return _FETCH.sub(translated, value)
