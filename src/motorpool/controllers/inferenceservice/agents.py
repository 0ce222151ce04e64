"""KServe's agent beside a server: it logs requests and gathers them into batches. Pure.

It stands in front of the server, so that only what comes through the Service passes it. It is made
where its image can run: on a cluster.
"""

import json

from motorpool.api.meta import Object, annotations_of, at, labels_of, name_of, namespace_of
from motorpool.controllers.inferenceservice.config import AgentConfig
from motorpool.controllers.inferenceservice.names import TRANSFORMER_CONTAINER
from motorpool.controllers.inferenceservice.probes import first_port

AGENT = "agent"
AGENT_PORT = 9081
CA_VOLUME, CA_PATH = "agent-ca-bundle", "/etc/tls/logger"
POD_NAME = "POD_NAME"


def has_agent(component: Object, config: AgentConfig) -> bool:
    """Whether the component asks for what an agent does, and here it can be done."""
    return config.is_possible and (
        component.get("batcher") is not None or logger_of(component) is not None
    )


def logger_of(component: Object) -> Object | None:
    """The logger, if its events go to a URL; stores of objects are not supported."""
    logger = component.get("logger")
    return logger if logger is not None and logger.get("storage") is None else None


def with_agent(pod: Object, isvc: Object, component: str, config: AgentConfig) -> Object:
    """*pod*, whose containers are complete, with the agent after them."""
    spec = isvc["spec"][component]
    if not has_agent(spec, config):
        return pod
    containers = pod["containers"]
    serving = next((c for c in containers if c["name"] == TRANSFORMER_CONTAINER), containers[0])
    logger = logger_of(spec)
    probe = serving.get("readinessProbe") or {}
    args = _batcher_args(spec.get("batcher"))
    if logger is not None:
        args += _logger_args(logger, isvc, component, config)
    agent: Object = {
        "name": AGENT,
        "image": config.image,
        "args": [*args, "--component-port", str(first_port(serving))],
        "ports": [{"name": "agent-port", "containerPort": AGENT_PORT, "protocol": "TCP"}],
        "env": _env(probe, first_port(serving), named=logger is not None),
        "resources": {"requests": dict(config.requests), "limits": dict(config.limits)},
        "readinessProbe": _readiness(probe),
        "imagePullPolicy": "IfNotPresent",
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
    }
    if containers[0].get("securityContext"):
        agent["securityContext"] = containers[0]["securityContext"]
    result = {**pod, "containers": [*containers, agent]}
    if logger is not None and config.ca_bundle:
        agent["volumeMounts"] = [{"name": CA_VOLUME, "mountPath": CA_PATH, "readOnly": True}]
        volume = {"name": CA_VOLUME, "configMap": {"name": config.ca_bundle}}
        result["volumes"] = [*(pod.get("volumes") or ()), volume]
    return result


def _batcher_args(batcher: Object | None) -> list[str]:
    if batcher is None:
        return []
    args = ["--enable-batcher"]
    for flag, field in (("--max-batchsize", "maxBatchSize"), ("--max-latency", "maxLatency")):
        if batcher.get(field) is not None:
            args += [flag, str(batcher[field])]
    return args


def _logger_args(logger: Object, isvc: Object, component: str, config: AgentConfig) -> list[str]:
    args = [
        "--log-url", str(logger.get("url") or config.default_url),
        "--source-uri", f"$({POD_NAME})",
        "--log-mode", str(logger.get("mode") or "all"),
        "--inference-service", name_of(isvc),
        "--namespace", namespace_of(isvc),
        "--endpoint", labels_of(isvc).get("endpoint", ""),
        "--component", component,
    ]  # fmt: skip
    wanted = logger.get("metadataAnnotations") or ()
    have = annotations_of(isvc)
    values = {
        "--metadata-headers": ",".join(logger.get("metadataHeaders") or ()),
        "--metadata-annotations": ",".join(f"{k}={have[k]}" for k in wanted if k in have),
        "--log-marshaller-url": str(logger.get("marshallerUrl") or ""),
        "--log-batch-size": str(logger.get("batchSize") or ""),
        "--log-batch-interval": str(logger.get("batchInterval") or ""),
    }
    if config.ca_bundle:
        values["--logger-ca-cert-file"] = config.ca_file
    args += [part for flag, value in values.items() if value for part in (flag, value)]
    return [*args, "--logger-tls-skip-verify"] if config.skips_tls else args


def _env(probe: Object, port: int, *, named: bool) -> list[Object]:
    """The agent is ready when the server is; it is told of a probe that it can make itself.

    It does not start without one: for a command that only the server's container has, it connects.
    """
    env: list[Object] = []
    if named:
        source = {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}
        env.append({"name": POD_NAME, "valueFrom": source})
    if "httpGet" not in probe and "tcpSocket" not in probe:
        probe = {"tcpSocket": {"port": port}}
    text = json.dumps(probe, sort_keys=True, separators=(",", ":"))
    env.append({"name": "SERVING_READINESS_PROBE", "value": text})
    return env


def _readiness(probe: Object) -> Object:
    return {
        "httpGet": {
            "path": at(probe, "httpGet", "path", default="/"),
            "port": AGENT_PORT,
            "scheme": "HTTP",
            "httpHeaders": [{"name": "K-Network-Probe", "value": "queue"}],
        },
        "timeoutSeconds": 1,
        "periodSeconds": 10,
        "successThreshold": 1,
        "failureThreshold": 3,
    }
