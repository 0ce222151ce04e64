"""The HTTPRoutes of an InferenceService, for the Gateway API. Pure.

One for each component, and one for the whole, which leads to its entry. Where services share a
domain by path, this is a route of its own: it must take nothing but its path from the others. The
Gateway itself is somebody else's; the configuration names it.
"""

from collections.abc import Mapping, Sequence

from motorpool.api.meta import (
    Object,
    at,
    controller_reference,
    labels_of,
    name_of,
    namespace_of,
)
from motorpool.controllers.inferenceservice.config import Config
from motorpool.controllers.inferenceservice.hosts import checked_host
from motorpool.controllers.inferenceservice.labels import COMPONENT_LABEL, ISVC_LABEL
from motorpool.controllers.inferenceservice.names import EXPLAINER, PREDICTOR, TRANSFORMER
from motorpool.controllers.inferenceservice.placeholders import filled_domain
from motorpool.controllers.inferenceservice.refusal import INVALID_CONFIGURATION, Refusal

API_VERSION = "gateway.networking.k8s.io/v1"
TIMEOUT_S = 60
EVERYTHING, EXPLAIN = "^/.*$", r"^/v1/models/[\w-]+:explain$"
GRPC_PATH, GRPC_TYPE = r"^/inference\.GRPCInferenceService/.*$", "^application/grpc.*"
HIDDEN_LABELS = ("networking.knative.dev/visibility",)


def http_routes(isvc: Object, services: Mapping[str, Object], config: Config) -> list[Object]:
    """*services* are those of the components. Raises Refusal."""
    entry = TRANSFORMER if TRANSFORMER in services else PREDICTOR
    name = name_of(isvc)
    hosts = [checked_host(isvc, name, config)]
    hosts += [checked_host(isvc, name, config, domain) for domain in config.more_domains]
    rules = []
    if EXPLAINER in services:
        rules.append(_rule(isvc, EXPLAIN, services[EXPLAINER], EXPLAINER, config))
    rules += _rules(isvc, services[entry], entry, config)
    routes = [
        _route(isvc, name_of(service), component, [checked_host(isvc, name_of(service), config)],
               _rules(isvc, service, component, config), config)
        for component, service in services.items()
    ]  # fmt: skip
    routes.append(_route(isvc, name, "", hosts, rules, config))
    if config.path_template:
        shared = [_path_rule(isvc, services[entry], entry, config)]
        routes.append(
            _route(isvc, path_route_name(isvc), "", [config.ingress_domain], shared, config)
        )
    return routes


def path_route_name(isvc: Object) -> str:
    return f"{name_of(isvc)}-predictor-path"


def _route(
    isvc: Object,
    name: str,
    component: str,
    hosts: Sequence[str],
    rules: Sequence[Object],
    config: Config,
) -> Object:
    namespace, slash, gateway = config.gateway.partition("/")
    if not (namespace and slash and gateway):
        raise Refusal(
            INVALID_CONFIGURATION,
            f"{config.gateway or 'nothing'} names no Gateway: set ingress.kserveIngressGateway in "
            "ConfigMap inferenceservice-config to NAMESPACE/NAME",
        )
    labels = {k: v for k, v in labels_of(isvc).items() if k not in HIDDEN_LABELS}
    labels[ISVC_LABEL] = name_of(isvc)
    if component:
        labels[COMPONENT_LABEL] = component
    parent = {
        "group": "gateway.networking.k8s.io", "kind": "Gateway",
        "namespace": namespace, "name": gateway,
    }  # fmt: skip
    return {
        "apiVersion": API_VERSION,
        "kind": "HTTPRoute",
        "metadata": {
            "name": name,
            "namespace": namespace_of(isvc),
            "labels": labels,
            "ownerReferences": [controller_reference(isvc)],
        },
        "spec": {
            "hostnames": list(dict.fromkeys(hosts)),
            "parentRefs": [parent],
            "rules": list(rules),
        },
    }


def _rules(isvc: Object, service: Object, component: str, config: Config) -> list[Object]:
    """gRPC first, where the Service speaks both; then everything."""
    rules = []
    first, *others = service["spec"]["ports"]
    grpc = [port for port in others if port.get("appProtocol") == "kubernetes.io/h2c"]
    if grpc and first.get("appProtocol") != "kubernetes.io/h2c":
        rule = _rule(isvc, GRPC_PATH, service, component, config, port=grpc[0]["port"])
        header = {"type": "RegularExpression", "name": "content-type", "value": GRPC_TYPE}
        rule["matches"][0]["headers"] = [header]
        rules.append(rule)
    return [*rules, _rule(isvc, EVERYTHING, service, component, config)]


def _rule(
    isvc: Object, path: str, service: Object, component: str, config: Config, *, port: int = 80
) -> Object:
    rule: Object = {
        "matches": [{"path": {"type": "RegularExpression", "value": path}}],
        "filters": [_headers(isvc)],
        "backendRefs": [
            {"group": "", "kind": "Service", "name": name_of(service),
             "namespace": namespace_of(isvc), "port": port, "weight": 1}
        ],
    }  # fmt: skip
    if config.route_timeouts:
        seconds = at(isvc, "spec", component, "timeout") or TIMEOUT_S
        rule["timeouts"] = {"request": f"{seconds}s"}
    return rule


def _path_rule(isvc: Object, service: Object, component: str, config: Config) -> Object:
    """The domain itself with a path for each service, for who has no DNS name for each."""
    variables = {"Name": name_of(isvc), "Namespace": namespace_of(isvc)}
    path = filled_domain(config.path_template, variables).rstrip("/")
    rule = _rule(isvc, EVERYTHING, service, component, config)
    rule["matches"] = [{"path": {"type": "PathPrefix", "value": path}}]
    rewrite = {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}
    rule["filters"].append({"type": "URLRewrite", "urlRewrite": rewrite})
    return rule


def _headers(isvc: Object) -> Object:
    values = {"KServe-Isvc-Name": name_of(isvc), "KServe-Isvc-Namespace": namespace_of(isvc)}
    listed = [{"name": name, "value": value} for name, value in values.items()]
    return {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": listed}}
