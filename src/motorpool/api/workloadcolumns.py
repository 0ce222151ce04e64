"""What ``kubectl get`` shows of Jobs and of HorizontalPodAutoscalers. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from motorpool.api import columns
from motorpool.api.autoscalers import v2_of
from motorpool.api.conditions import is_true
from motorpool.api.duration import duration, parse_time
from motorpool.api.kinds import Column
from motorpool.api.meta import Object, at
from motorpool.api.tables import AGE, NAME

_METRICS_SHOWN = 2
_UNKNOWN = "<unknown>"


def _job_status(obj: Object, _: datetime) -> str:
    if is_true(obj, "Complete"):
        return "Complete"
    if is_true(obj, "Failed"):
        return "Failed"
    if "deletionTimestamp" in obj["metadata"]:
        return "Terminating"
    if is_true(obj, "Suspended"):
        return "Suspended"
    return "FailureTarget" if is_true(obj, "FailureTarget") else "Running"


def _completions(obj: Object, _: datetime) -> str:
    succeeded = at(obj, "status", "succeeded", default=0)
    wanted = at(obj, "spec", "completions")
    if wanted is not None:
        return f"{succeeded}/{wanted}"
    parallel = at(obj, "spec", "parallelism", default=0)
    return f"{succeeded}/1 of {parallel}" if parallel > 1 else f"{succeeded}/1"


def _job_duration(obj: Object, now: datetime) -> str:
    started = parse_time(str(at(obj, "status", "startTime", default="")))
    if started is None:
        return ""
    ended = parse_time(str(at(obj, "status", "completionTime", default="")))
    return duration(((ended or now) - started).total_seconds())


JOB = (
    NAME,
    Column("Status", _job_status, description="How far the work has come"),
    Column("Completions", _completions, description="Pods that succeeded, of those wanted"),
    Column("Duration", _job_duration, description="How long it took, or has taken so far"),
    AGE,
    *columns.TEMPLATE,
)


def _reference(obj: Object, _: datetime) -> str:
    target = at(obj, "spec", "scaleTargetRef", default={})
    return f"{target.get('kind', '')}/{target.get('name', '')}"


def _targets(obj: Object, _: datetime) -> str:
    if obj.get("apiVersion") == "autoscaling/v1":
        obj = v2_of(obj)
    metrics: Sequence[Object] = at(obj, "spec", "metrics", default=())
    current: Sequence[Object] = at(obj, "status", "currentMetrics", default=())
    texts = [
        _target(metric, current[position] if position < len(current) else {})
        for position, metric in enumerate(metrics)
    ]
    if not texts:
        return "<none>"
    shown = ", ".join(texts[:_METRICS_SHOWN])
    more = len(texts) - _METRICS_SHOWN
    return f"{shown} + {more} more..." if more > 0 else shown


def _target(metric: Object, current: Object) -> str:
    source = {"ContainerResource": "containerResource"}.get(
        metric.get("type", ""), str(metric.get("type", "")).lower()
    )
    target = at(metric, source, "target", default={})
    value = at(current, source, "current", default={})
    prefix = ""
    if source in ("resource", "containerResource"):
        prefix = f"{at(metric, source, 'name', default='')}: "
    if target.get("averageUtilization") is not None:
        used = value.get("averageUtilization")
        shown = _UNKNOWN if used is None else f"{used}%"
        return f"{prefix}{shown}/{target['averageUtilization']}%"
    if target.get("averageValue") is not None:
        suffix = "" if prefix or source == "pods" else " (avg)"
        return f"{prefix}{_amount(value.get('averageValue'))}/{target['averageValue']}{suffix}"
    return f"{prefix}{_amount(value.get('value'))}/{target.get('value', '<auto>')}"


def _amount(value: Any) -> str:
    return _UNKNOWN if value is None else str(value)


def _least(obj: Object, _: datetime) -> str:
    return str(at(obj, "spec", "minReplicas", default="<unset>"))


def _number(*path: str) -> columns.Cell:
    return lambda obj, _: at(obj, *path, default=0)


AUTOSCALER = (
    NAME,
    Column("Reference", _reference, description="What is scaled"),
    Column("Targets", _targets, description="Each metric: what it is, and what it should be"),
    Column("MinPods", _least, description="The fewest pods"),
    Column("MaxPods", _number("spec", "maxReplicas"), "integer", description="The most pods"),
    Column("Replicas", _number("status", "currentReplicas"), "integer", description="Pods now"),
    AGE,
)
