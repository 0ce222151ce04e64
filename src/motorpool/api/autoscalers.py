"""Defaults and rules of HorizontalPodAutoscalers, and their two versions. Pure.

v1 knows one metric, the use of the CPU. What else a v2 object says stands in annotations of its v1
view, as the API has it, so that nothing is lost on the way there and back.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from motorpool.api import names
from motorpool.api.errors import FieldError
from motorpool.api.meta import Object, annotations_of, at
from motorpool.api.validation import listed, one_of

CPU_UTILIZATION_PERCENT = 80

METRICS = "autoscaling.alpha.kubernetes.io/metrics"
BEHAVIOR = "autoscaling.alpha.kubernetes.io/behavior"
CURRENT_METRICS = "autoscaling.alpha.kubernetes.io/current-metrics"
CONDITIONS = "autoscaling.alpha.kubernetes.io/conditions"
_ANNOTATIONS = (METRICS, BEHAVIOR, CURRENT_METRICS, CONDITIONS)

_TYPES = ("ContainerResource", "External", "Object", "Pods", "Resource")
_SOURCES = {
    "ContainerResource": "containerResource", "External": "external", "Object": "object",
    "Pods": "pods", "Resource": "resource",
}  # fmt: skip
_TARGETS = ("AverageValue", "Utilization", "Value")
_SELECTIONS = ("Disabled", "Max", "Min")
_WINDOW_S_MAX = 3600
_PERIOD_S_MAX = 1800
_PLAIN = {"type", "averageUtilization"}
_CPU_NOW = ("resource", "current", "averageUtilization")
_STATUS = ("currentReplicas", "desiredReplicas", "lastScaleTime", "observedGeneration")

_SCALE_UP: Object = {
    "stabilizationWindowSeconds": 0,
    "selectPolicy": "Max",
    "policies": [
        {"type": "Pods", "value": 4, "periodSeconds": 15},
        {"type": "Percent", "value": 100, "periodSeconds": 15},
    ],
}
_SCALE_DOWN: Object = {
    "selectPolicy": "Max",
    "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
}


def default_autoscaler(autoscaler: Object) -> None:
    spec = autoscaler.setdefault("spec", {})
    if spec.get("minReplicas") is None:
        spec["minReplicas"] = 1
    if not spec.get("metrics"):
        spec["metrics"] = [_cpu(CPU_UTILIZATION_PERCENT)]
    behavior = spec.get("behavior")
    if behavior is not None:
        for direction, rules in (("scaleUp", _SCALE_UP), ("scaleDown", _SCALE_DOWN)):
            spec["behavior"] = behavior = {
                **behavior, direction: _completed(behavior.get(direction) or {}, rules)
            }  # fmt: skip
    status = autoscaler.setdefault("status", {})
    status.setdefault("desiredReplicas", 0)
    status.setdefault("currentMetrics", None)


def _completed(given: Object, rules: Object) -> Object:
    copied: Object = json.loads(json.dumps(rules))
    return {**copied, **{key: value for key, value in given.items() if value not in (None, [])}}


def default_autoscaler_v1(autoscaler: Object) -> None:
    spec = autoscaler.setdefault("spec", {})
    if spec.get("minReplicas") is None:
        spec["minReplicas"] = 1
    if not spec.get("targetCPUUtilizationPercentage") and METRICS not in annotations_of(autoscaler):
        spec["targetCPUUtilizationPercentage"] = CPU_UTILIZATION_PERCENT
    autoscaler.setdefault("status", {}).setdefault("desiredReplicas", 0)
    autoscaler["status"].setdefault("currentReplicas", 0)


def _cpu(percent: int) -> Object:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}


# Versions


def v1_of(stored: Object) -> Object:
    """The v1 view of a v2 object."""
    spec, status = stored.get("spec") or {}, stored.get("status") or {}
    percent, others = _split(spec.get("metrics") or ())
    values = status.get("currentMetrics") or ()
    shares = [at(v, *_CPU_NOW) for v in values if at(v, "resource", "name") == "cpu"]
    used = next((share for share in shares if share is not None), None)
    annotations = {
        **annotations_of(stored),
        **_annotation(METRICS, others),
        **_annotation(BEHAVIOR, spec.get("behavior")),
        **_annotation(CURRENT_METRICS, values),
        **_annotation(CONDITIONS, status.get("conditions")),
    }
    metadata = {**stored["metadata"], "annotations": annotations}
    if not annotations:
        del metadata["annotations"]
    kept = {k: spec[k] for k in ("scaleTargetRef", "minReplicas", "maxReplicas") if k in spec}
    if percent is not None:
        kept["targetCPUUtilizationPercentage"] = percent
    shown = {key: status[key] for key in _STATUS if key in status}
    if used is not None:
        shown["currentCPUUtilizationPercentage"] = used
    return {
        "apiVersion": "autoscaling/v1",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata,
        "spec": kept,
        "status": {"currentReplicas": 0, "desiredReplicas": 0, **shown},
    }


def v2_of(view: Object) -> Object:
    """What is stored for a v1 object."""
    annotations = annotations_of(view)
    metadata = dict(view["metadata"])
    kept = {key: value for key, value in annotations.items() if key not in _ANNOTATIONS}
    metadata.pop("annotations", None)
    if kept:
        metadata["annotations"] = kept
    spec = dict(view.get("spec") or {})
    percent = spec.pop("targetCPUUtilizationPercentage", None)
    spec["metrics"] = [*_noted(annotations, METRICS), *([_cpu(percent)] if percent else [])]
    behavior = _noted(annotations, BEHAVIOR)
    if behavior:
        spec["behavior"] = behavior
    status = dict(view.get("status") or {})
    used = status.pop("currentCPUUtilizationPercentage", None)
    values = list(_noted(annotations, CURRENT_METRICS))
    if used is not None and not values:
        current = {"averageUtilization": used}
        values.append({"type": "Resource", "resource": {"name": "cpu", "current": current}})
    status["currentMetrics"] = values or None
    conditions = _noted(annotations, CONDITIONS)
    if conditions:
        status["conditions"] = conditions
    result: Object = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata,
        "spec": spec,
        "status": status,
    }
    default_autoscaler(result)
    return result


def _split(metrics: Sequence[Object]) -> tuple[int | None, list[Object]]:
    """The use of the CPU in percent, and every other metric."""
    percent: int | None = None
    others = []
    for metric in metrics:
        target = at(metric, "resource", "target", default={})
        if percent is None and at(metric, "resource", "name") == "cpu" and set(target) == _PLAIN:
            percent = target["averageUtilization"]
        else:
            others.append(metric)
    return percent, others


def _annotation(name: str, value: Any) -> dict[str, str]:
    return {name: json.dumps(value, separators=(",", ":"))} if value else {}


def _noted(annotations: dict[str, str], name: str) -> Any:
    """The value of an annotation; nothing where it cannot be read, as it is the user's to write."""
    try:
        value = json.loads(annotations.get(name) or "[]")
    except ValueError:
        return []
    wanted = dict if name == BEHAVIOR else list
    return value if isinstance(value, wanted) else []


# Rules


def _autoscaler_errors(new: Object, _: Object | None) -> Iterator[FieldError]:
    spec = new.get("spec") or {}
    least, most = spec.get("minReplicas", 1), spec.get("maxReplicas") or 0
    has_outer = any(m.get("type") in ("External", "Object") for m in spec.get("metrics") or ())
    if least < 0 or (least == 0 and not has_outer):
        yield FieldError.invalid("spec.minReplicas", least, "must be greater than or equal to 1")
    if most < 1:
        yield FieldError.invalid("spec.maxReplicas", most, "must be greater than 0")
    elif most < least:
        text = "must be greater than or equal to `minReplicas`"
        yield FieldError.invalid("spec.maxReplicas", most, text)
    target = spec.get("scaleTargetRef") or {}
    for field in ("kind", "name"):
        if not target.get(field):
            yield FieldError.required(f"spec.scaleTargetRef.{field}")
        else:
            for text in names.path_segment(str(target[field])):
                yield FieldError.invalid(f"spec.scaleTargetRef.{field}", target[field], text)
    for position, metric in enumerate(spec.get("metrics") or ()):
        yield from _metric_errors(metric, f"spec.metrics[{position}]")
    for direction in ("scaleUp", "scaleDown"):
        rules = at(spec, "behavior", direction)
        if rules is not None:
            yield from _rule_errors(rules, f"spec.behavior.{direction}")


def _metric_errors(metric: Object, path: str) -> Iterator[FieldError]:
    kind = metric.get("type")
    if not kind:
        yield FieldError.required(f"{path}.type", "must specify a metric source type")
        return
    yield from one_of(f"{path}.type", kind, _TYPES)
    source = metric.get(_SOURCES.get(kind, ""))
    if source is None:
        text = f"must populate information for the given metric source (only {kind})"
        yield FieldError.required(f"{path}.{_SOURCES.get(kind, 'type')}", text)
        return
    where = f"{path}.{_SOURCES[kind]}"
    if kind in ("Resource", "ContainerResource") and not source.get("name"):
        yield FieldError.required(f"{where}.name", "must specify a resource name")
    target = source.get("target") or {}
    if not target.get("type"):
        yield FieldError.required(f"{where}.target.type", "must specify a metric target type")
    yield from one_of(f"{where}.target.type", target.get("type"), _TARGETS)
    percent = target.get("averageUtilization")
    if percent is not None and percent < 1:
        yield FieldError.invalid(
            f"{where}.target.averageUtilization", percent, "must be greater than 0"
        )
    if kind == "Resource" and percent is None and target.get("averageValue") is None:
        text = "must set either a target raw value or a target utilization"
        yield FieldError.required(f"{where}.target.averageUtilization", text)


def _rule_errors(rules: Object, path: str) -> Iterator[FieldError]:
    window = rules.get("stabilizationWindowSeconds")
    if window is not None and window < 0:
        text = "must be greater than or equal to zero"
        yield FieldError.invalid(f"{path}.stabilizationWindowSeconds", window, text)
    elif window is not None and window > _WINDOW_S_MAX:
        text = f"must be less than or equal to {_WINDOW_S_MAX}"
        yield FieldError.invalid(f"{path}.stabilizationWindowSeconds", window, text)
    yield from one_of(f"{path}.selectPolicy", rules.get("selectPolicy"), _SELECTIONS)
    for position, policy in enumerate(rules.get("policies") or ()):
        where = f"{path}.policies[{position}]"
        yield from one_of(f"{where}.type", policy.get("type"), ("Percent", "Pods"))
        if (policy.get("value") or 0) <= 0:
            yield FieldError.invalid(
                f"{where}.value", policy.get("value") or 0, "must be greater than zero"
            )
        period = policy.get("periodSeconds") or 0
        if period <= 0:
            yield FieldError.invalid(f"{where}.periodSeconds", period, "must be greater than zero")
        elif period > _PERIOD_S_MAX:
            text = f"must be less than or equal to {_PERIOD_S_MAX}"
            yield FieldError.invalid(f"{where}.periodSeconds", period, text)


validate_autoscaler = listed(_autoscaler_errors)


def validate_autoscaler_v1(new: Object, old: Object | None) -> Sequence[FieldError]:
    percent = at(new, "spec", "targetCPUUtilizationPercentage")
    if percent is not None and percent < 1:
        path = "spec.targetCPUUtilizationPercentage"
        return [FieldError.invalid(path, percent, "must be greater than 0")]
    return validate_autoscaler(v2_of(new), None if old is None else v2_of(old))
