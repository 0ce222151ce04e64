"""The ScaledObject of a component, for KEDA. Pure.

Amounts stay as the user spelt them. Without metrics it scales by cpu, as an autoscaler of
Kubernetes would: KEDA takes no ScaledObject without a trigger.
"""

from motorpool.api.meta import Object, at
from motorpool.controllers.inferenceservice.config import Config
from motorpool.controllers.inferenceservice.refusal import INVALID_PREDICTOR_SPEC, Refusal

CPU_UTILIZATION_PERCENT = 80
BACKENDS = ("prometheus", "graphite")


def scaled_object(metadata: Object, spec: Object, config: Config) -> Object:
    """For the component *spec*, whose Deployment has the same name. Raises Refusal."""
    wanted = spec.get("minReplicas")
    least = 1 if wanted is None else int(wanted)
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": metadata,
        "spec": {
            "scaleTargetRef": {"name": metadata["name"]},
            "minReplicaCount": least,
            "maxReplicaCount": max(1, least, int(spec.get("maxReplicas") or 0)),
            "triggers": _triggers(spec),
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": _behavior(spec, config)}},
        },
    }


def _triggers(spec: Object) -> list[Object]:
    listed = at(spec, "autoScaling", "metrics", default=())
    if not listed:
        percent = spec.get("scaleTarget") or CPU_UTILIZATION_PERCENT
        return [_resource("cpu", "Utilization", percent)]
    return [_trigger(entry) for entry in listed]


def _trigger(entry: Object) -> Object:
    if entry.get("type") == "External":
        return _external(entry["external"])
    if entry.get("type") != "Resource":
        raise Refusal(
            INVALID_PREDICTOR_SPEC,
            f"metrics of type {entry.get('type')} need a collector that is not supported: use type "
            "External with a Prometheus that scrapes the pods",
        )
    resource = entry["resource"]
    target = resource.get("target") or {}
    if target.get("type") == "AverageValue":
        return _resource(resource["name"], "AverageValue", target["averageValue"])
    percent = target.get("averageUtilization") or CPU_UTILIZATION_PERCENT
    return _resource(resource["name"], "Utilization", percent)


def _resource(name: str, kind: str, value: object) -> Object:
    return {"type": name, "metricType": kind, "metadata": {"value": str(value)}}


def _external(external: Object) -> Object:
    metric = external.get("metric") or {}
    backend = str(metric.get("backend") or BACKENDS[0])
    if backend not in BACKENDS:
        raise Refusal(
            INVALID_PREDICTOR_SPEC,
            f"external metrics of {backend} are not supported: use {' or '.join(BACKENDS)}",
        )
    details = {
        "serverAddress": str(metric.get("serverAddress") or ""),
        "query": str(metric["query"]),
        "threshold": str(external["target"]["value"]),
    }
    if metric.get("namespace"):
        details["namespace"] = str(metric["namespace"])
    trigger: Object = {"type": backend, "metadata": details}
    reference = external.get("authenticationRef") or {}
    if reference.get("authModes"):
        details["authModes"] = str(reference["authModes"])
    name = at(reference, "authenticationRef", "name", default="")
    if name:
        trigger["authenticationRef"] = {"name": name}
    return trigger


def _behavior(spec: Object, config: Config) -> Object:
    """The user's, with the configuration's windows where he names none."""
    given = at(spec, "autoScaling", "behavior", default={})
    windows = {"scaleUp": config.scale_up_window_s, "scaleDown": config.scale_down_window_s}
    return {
        way: {"stabilizationWindowSeconds": seconds, **(given.get(way) or {})}
        for way, seconds in windows.items()
    }
