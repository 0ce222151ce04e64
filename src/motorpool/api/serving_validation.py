"""Why an InferenceService is refused beyond what its schema says. Pure.

Rules in the schema (`serving_rules`) see no annotations and no condition of another object; what is
here does. On a server that does not ask it, the controller does, and says the same in a condition.
What depends on runtimes, secrets or configuration becomes a condition, too: among it the schemes of
storage locations, because a cluster may add some.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from motorpool.api import quantity
from motorpool.api.errors import FieldError
from motorpool.api.meta import Object, annotations_of, at, is_deleting
from motorpool.api.serving_fields import (
    AUTOSCALER_ANNOTATION,
    MODE_ANNOTATION,
    MODES,
)

AUTOSCALERS = ("hpa", "external", "keda", "none")
COMPONENTS = ("predictor", "transformer", "explainer")
MEBIBYTE = 1 << 20


def inference_service_errors(new: Object, old: Object | None) -> Sequence[FieldError]:
    """Every reason to refuse the InferenceService."""
    if old is not None and is_deleting(new):
        return ()
    return [*_change_errors(new, old), *_annotation_errors(new), *_component_errors(new),
            *_canary_errors(new)]  # fmt: skip


def _change_errors(new: Object, old: Object | None) -> Iterator[FieldError]:
    if old is None:
        return
    recorded = at(old, "status", "deploymentMode", default="")
    wanted = annotations_of(new).get(MODE_ANNOTATION)
    if recorded and wanted and MODES.get(wanted, wanted) != MODES.get(recorded, recorded):
        text = f"the deployment mode cannot change from {recorded} to {wanted}"
        yield FieldError.forbidden(f"metadata.annotations[{MODE_ANNOTATION}]", text)


def _annotation_errors(isvc: Object) -> Iterator[FieldError]:
    scaler = annotations_of(isvc).get(AUTOSCALER_ANNOTATION)
    path = f"metadata.annotations[{AUTOSCALER_ANNOTATION}]"
    if scaler is not None and scaler not in AUTOSCALERS:
        yield FieldError.not_supported(path, scaler, AUTOSCALERS)


def _component_errors(isvc: Object) -> Iterator[FieldError]:
    scaler = annotations_of(isvc).get(AUTOSCALER_ANNOTATION, "")
    for name in COMPONENTS:
        component = at(isvc, "spec", name)
        if component is None:
            continue
        path = f"spec.{name}"
        if scaler == "hpa":
            yield from _hpa_errors(component, path)
        elif scaler == "keda":
            yield from _keda_errors(component, path)
        if component.get("workerSpec") is not None and scaler != "none":
            where = f"metadata.annotations[{AUTOSCALER_ANNOTATION}]"
            yield FieldError.invalid(where, scaler, "must be none with several nodes")


def _hpa_errors(component: Object, path: str) -> Iterator[FieldError]:
    """Only an autoscaler that the user named is held to its rules."""
    metric, target = component.get("scaleMetric"), component.get("scaleTarget")
    if metric is not None and metric not in ("cpu", "memory"):
        yield FieldError.not_supported(f"{path}.scaleMetric", metric, ("cpu", "memory"))
    if target is not None and not _is_target(metric or "cpu", target):
        text = "must be a percentage between 1 and 100"
        yield FieldError.invalid(f"{path}.scaleTarget", target, text)
    for where, entry in _metrics(component, path):
        if entry.get("type") != "Resource":
            yield FieldError.not_supported(f"{where}.type", entry.get("type") or "", ("Resource",))


def _is_target(metric: str, target: int) -> bool:
    """A share of the memory that was asked for may be more than the whole of it."""
    return target >= 1 and (metric == "memory" or target <= 100)


def _keda_errors(component: Object, path: str) -> Iterator[FieldError]:
    if component.get("scaleMetric") is not None:
        yield FieldError.forbidden(f"{path}.scaleMetric", "use autoScaling.metrics with keda")
    for where, entry in _metrics(component, path):
        if entry.get("type") == "Resource":
            yield from _keda_resource_errors(entry.get("resource") or {}, f"{where}.resource")
            continue
        source = "external" if entry.get("type") == "External" else "podmetric"
        metric = entry.get(source) or {}
        if not at(metric, "metric", "query"):
            yield FieldError.required(f"{where}.{source}.metric.query")
        if at(metric, "target", "value") is None:
            yield FieldError.required(f"{where}.{source}.target.value")


def _keda_resource_errors(resource: Object, path: str) -> Iterator[FieldError]:
    name, target = resource.get("name"), resource.get("target") or {}
    kinds = ("Utilization", "AverageValue") if name == "memory" else ("Utilization",)
    kind = target.get("type")
    if kind not in kinds:
        yield FieldError.not_supported(f"{path}.target.type", kind or "", kinds)
    elif kind == "Utilization":
        percent = target.get("averageUtilization")
        if percent is not None and not 1 <= percent <= 100:
            text = "must be a percentage between 1 and 100"
            yield FieldError.invalid(f"{path}.target.averageUtilization", percent, text)
    elif not _is_memory(target.get("averageValue")):
        text = "must be at least 1Mi"
        where = f"{path}.target.averageValue"
        yield FieldError.invalid(where, target.get("averageValue"), text)


def _is_memory(amount: Any) -> bool:
    return quantity.is_quantity(amount) and quantity.parse(amount) >= MEBIBYTE


def _metrics(component: Object, path: str) -> Iterator[tuple[str, Object]]:
    for number, entry in enumerate(at(component, "autoScaling", "metrics", default=())):
        yield f"{path}.autoScaling.metrics[{number}]", entry


def _canary_errors(isvc: Object) -> Iterator[FieldError]:
    if at(isvc, "spec", "canary"):
        text = "canary predictors are not supported: use two InferenceServices and a weighted Route"
        yield FieldError.forbidden("spec.canary", text)
