"""What protects the server of a component: a proxy beside it, which lets only those through who may
`get` the InferenceService. Pure.

The proxy answers on port 8443 of the pod by TLS, and it alone is behind the Service. It is made
where it is asked for, so that nobody else's pods are started anew or pay for it. What a server
listens on is on the pod's own address all the same: who gets at a pod's address needs no Service.
"""

from typing import NamedTuple

from motorpool.api.meta import Object, controller_reference, name_of, namespace_of
from motorpool.controllers.inferenceservice.agents import AGENT_PORT, has_agent
from motorpool.controllers.inferenceservice.config import Config
from motorpool.controllers.inferenceservice.names import TRANSFORMER_CONTAINER, component_name
from motorpool.controllers.inferenceservice.probes import DEFAULT_PORT
from motorpool.controllers.inferenceservice.refusal import INVALID_PREDICTOR_SPEC, Refusal

PROXY, RULES = "kube-rbac-proxy", "kube-rbac-proxy-sar-config"
PORT_NAME, PORT, HEALTH_PORT = "https", 8443, 8643
TLS_VOLUME, TLS_PATH, RULES_PATH = "proxy-tls", "/etc/tls/private", "/etc/kube-rbac-proxy"
CERTIFICATE_ANNOTATION = "service.beta.openshift.io/serving-cert-secret-name"
H2C = ("grpc", "h2c")


class Upstream(NamedTuple):
    """Where the proxy sends what it lets through."""

    port: int
    speaks_h2c: bool = False


def with_proxy(pod: Object, isvc: Object, component: str, config: Config) -> Object:
    """*pod*, whose containers are complete, with the proxy after them. Raises Refusal."""
    _check_ports(pod)
    proxy = _proxy(pod, isvc, component, config)
    own = {TLS_VOLUME, RULES}
    others = [volume for volume in pod.get("volumes") or () if volume["name"] not in own]
    volumes: list[Object] = [
        *others,
        {"name": TLS_VOLUME, "secret": {"secretName": secret_name(isvc, component)}},
        {"name": RULES, "configMap": {"name": rules_name(isvc)}},
    ]
    return {
        **pod,
        "containers": [*pod["containers"], proxy],
        "volumes": volumes,
        # The proxy asks the API as the pod.
        "automountServiceAccountToken": True,
    }


def protected_service(service: Object, isvc: Object, component: str) -> Object:
    """*service* with the proxy's port as its only one, and the wish for a certificate."""
    metadata = service["metadata"]
    asked = {CERTIFICATE_ANNOTATION: secret_name(isvc, component)}
    port = {"name": PORT_NAME, "port": PORT, "targetPort": PORT_NAME, "protocol": "TCP"}
    return {
        **service,
        "metadata": {**metadata, "annotations": {**(metadata.get("annotations") or {}), **asked}},
        "spec": {**service["spec"], "ports": [port]},
    }


def rules(isvc: Object) -> Object:
    """What a caller must be allowed to do, in the words of kube-rbac-proxy."""
    fields = {
        "namespace": namespace_of(isvc),
        "apiGroup": "serving.kserve.io",
        "apiVersion": "v1beta1",
        "resource": "inferenceservices",
        "name": name_of(isvc),
        "verb": "get",
    }
    lines = ["authorization:", "  resourceAttributes:"]
    lines += [f'    {field}: "{value}"' for field, value in fields.items()]
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": rules_name(isvc),
            "namespace": namespace_of(isvc),
            "ownerReferences": [controller_reference(isvc)],
        },
        "data": {"config-file.yaml": "\n".join(lines) + "\n"},
        "immutable": True,
    }


def rules_name(isvc: Object) -> str:
    return f"{name_of(isvc)}-{RULES}"


def secret_name(isvc: Object, component: str) -> str:
    return f"{component_name(isvc, component)}-serving-cert"


def _check_ports(pod: Object) -> None:
    """A Service finds the proxy by its port's name: another port of it would be behind it too."""
    for container in pod["containers"]:
        for port in container.get("ports") or ():
            taken = port.get("name") == PORT_NAME or port["containerPort"] in (PORT, HEALTH_PORT)
            if taken:
                raise Refusal(
                    INVALID_PREDICTOR_SPEC,
                    f"container {container['name']} has port {port['containerPort']}, called "
                    f"'{port.get('name', '')}': with authentication {PORT} (https) and "
                    f"{HEALTH_PORT} are the proxy's, choose another number and name",
                )


def _proxy(pod: Object, isvc: Object, component: str, config: Config) -> Object:
    container: Object = {
        "name": PROXY,
        "image": config.proxy.image,
        "args": _args(pod, isvc, component, config),
        "ports": [
            {"name": PORT_NAME, "containerPort": PORT, "protocol": "TCP"},
            {"name": "proxy", "containerPort": HEALTH_PORT, "protocol": "TCP"},
        ],
        "livenessProbe": _probe(delay_s=30),
        "readinessProbe": _probe(delay_s=0),
        "resources": {
            "requests": dict(config.proxy.requests),
            "limits": dict(config.proxy.limits),
        },
        "volumeMounts": [
            {"name": TLS_VOLUME, "mountPath": TLS_PATH, "readOnly": True},
            {"name": RULES, "mountPath": RULES_PATH, "readOnly": True},
        ],
        "imagePullPolicy": "IfNotPresent",
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    if pod["containers"][0].get("securityContext"):
        container["securityContext"] = pod["containers"][0]["securityContext"]
    return container


def _args(pod: Object, isvc: Object, component: str, config: Config) -> list[str]:
    spec = isvc["spec"][component]
    upstream = _upstream(pod, agent=has_agent(spec, config.agent))
    args = [
        f"--secure-listen-address=:{PORT}",
        f"--proxy-endpoints-port={HEALTH_PORT}",
        f"--upstream=http://localhost:{upstream.port}",
        "--auth-header-fields-enabled=true",
        f"--tls-cert-file={TLS_PATH}/tls.crt",
        f"--tls-private-key-file={TLS_PATH}/tls.key",
        f"--config-file={RULES_PATH}/config-file.yaml",
        "--v=4",
    ]
    if upstream.speaks_h2c:
        args.append("--upstream-force-h2c=true")
    timeout = spec.get("timeout") or config.proxy.upstream_timeout_s
    return [*args, f"--upstream-timeout={timeout}s"] if timeout else args


def _upstream(pod: Object, *, agent: bool) -> Upstream:
    """The agent where there is one, else the port that the Service would have led to."""
    if agent:
        return Upstream(AGENT_PORT)
    containers = pod["containers"]
    serving = next((c for c in containers if c.get("name") == TRANSFORMER_CONTAINER), containers[0])
    ports = serving.get("ports") or ()
    if not ports:
        return Upstream(DEFAULT_PORT)
    label = str(ports[0].get("name") or "")
    return Upstream(int(ports[0]["containerPort"]), any(word in label for word in H2C))


def _probe(*, delay_s: int) -> Object:
    probe: Object = {
        "httpGet": {"path": "/healthz", "port": HEALTH_PORT, "scheme": "HTTPS"},
        "timeoutSeconds": 1,
        "periodSeconds": 5,
        "successThreshold": 1,
        "failureThreshold": 3,
    }
    return {"initialDelaySeconds": delay_s, **probe} if delay_s else probe
