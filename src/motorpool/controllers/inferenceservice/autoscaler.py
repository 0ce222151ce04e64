"""The HorizontalPodAutoscaler of a component. Pure.

Made only where the API has the kind; without it the controller sets the replicas itself.
"""

from motorpool.api.meta import Object, at

CPU_UTILIZATION_PERCENT = 80


def autoscaler_of(metadata: Object, spec: Object) -> Object:
    least = max(1, int(spec.get("minReplicas") or 1))
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata,
        "spec": {
            "scaleTargetRef": {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "name": metadata["name"],
            },
            "minReplicas": least,
            "maxReplicas": max(least, int(spec.get("maxReplicas") or 0)),
            "metrics": _metrics(spec),
            "behavior": at(spec, "autoScaling", "behavior", default={}),
        },
    }


def _metrics(spec: Object) -> list[Object]:
    listed = at(spec, "autoScaling", "metrics", default=[])
    if listed:
        return [_listed(entry["resource"]) for entry in listed if entry.get("type") == "Resource"]
    metric = spec.get("scaleMetric") or "cpu"
    target = spec.get("scaleTarget")
    if metric == "cpu":
        return [_resource("cpu", _utilization(target))]
    if metric == "memory" and target:
        return [_resource("memory", _utilization(target))]
    return []


def _listed(resource: Object) -> Object:
    target = resource.get("target") or {}
    if resource.get("name") == "memory" and target.get("type") == "AverageValue":
        value = {"type": "AverageValue", "averageValue": target.get("averageValue")}
        return _resource("memory", value)
    return _resource(str(resource.get("name")), _utilization(target.get("averageUtilization")))


def _utilization(percent: int | None) -> Object:
    return {"type": "Utilization", "averageUtilization": percent or CPU_UTILIZATION_PERCENT}


def _resource(name: str, target: Object) -> Object:
    return {"type": "Resource", "resource": {"name": name, "target": target}}
