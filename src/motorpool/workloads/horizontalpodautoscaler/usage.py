"""How many replicas one metric asks for. Pure.

Theory: with r the use over the target, n pods that count need ceil(r * n). Who counts: pods that
are going or failed do not; pods that are not ready yet would only blur the use of the CPU. What is
not known never makes a change larger: a pod without a measurement is taken to use all it may when
the answer would be fewer replicas, and nothing when it would be more; nor may it turn the answer
round. A change within the tolerance is none.

Amounts are in thousandths: millicores and millibytes, whole numbers as the API's quantities are.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from motorpool.api import quantity
from motorpool.api.conditions import condition_of
from motorpool.api.meta import Object, at, is_deleting, name_of
from motorpool.base.clock import parse_rfc3339

TOLERANCE = 0.1
CPU_SETTLES = timedelta(minutes=5)
FIRST_READY = timedelta(seconds=30)


class NoMetric(Exception):
    """Why a metric gives no answer; *reason* is the condition's."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Measured:
    """What the containers of one pod used, ended at that time, over a window."""

    usage: Mapping[str, Mapping[str, int]]  # container -> resource -> thousandths
    at: datetime
    window: timedelta


@dataclass(frozen=True, slots=True)
class Resource:
    """A Resource or ContainerResource metric of the spec."""

    name: str
    container: str = ""  # "" is all of the pod's
    utilization: int | None = None  # percent of what is requested
    average: int | None = None  # thousandths

    @property
    def text(self) -> str:
        what = f"{self.name} container resource" if self.container else f"{self.name} resource"
        if self.utilization is None:
            return what
        return f"{what} utilization (percentage of request)"


@dataclass(frozen=True, slots=True)
class Proposal:
    replicas: int
    current: Object
    """``{"averageUtilization": ..., "averageValue": ...}``"""


@dataclass(frozen=True, slots=True)
class _Pods:
    counted: dict[str, int]
    ready: int
    unready: set[str]
    missing: set[str]


def thousandths(amount: str | float) -> int:
    return int((quantity.parse(amount) * 1000).to_integral_value(rounding="ROUND_CEILING"))


def measured_of(metrics: Object) -> Measured:
    """A PodMetrics object."""
    usage = {
        container["name"]: {
            name: thousandths(amount) for name, amount in (container.get("usage") or {}).items()
        }
        for container in metrics.get("containers") or ()
    }
    seconds = float(str(metrics.get("window") or "0s").removesuffix("s") or 0)
    return Measured(usage, parse_rfc3339(metrics["timestamp"]), timedelta(seconds=seconds))


def propose(
    metric: Resource,
    current: int,
    pods: Sequence[Object],
    measured: Mapping[str, Measured],
    now: datetime,
) -> Proposal:
    """Raises NoMetric."""
    groups = _grouped(metric, pods, measured, now)
    if not groups.counted:
        text = "did not receive metrics for targeted pods (pods might be unready)"
        raise NoMetric("FailedGetResourceMetric", f"{_failed(metric)}: {text}")
    requests = _requests(metric, pods)
    ratio, shown = _ratio(metric, groups.counted, requests)
    grows_unready = bool(groups.unready) and ratio > 1
    if not grows_unready and not groups.missing:
        if abs(1 - ratio) <= TOLERANCE:
            return Proposal(current, shown)
        return Proposal(math.ceil(ratio * groups.ready), shown)
    amounts = dict(groups.counted)
    for name in groups.missing:
        amounts[name] = _assumed(metric, requests.get(name, 0)) if ratio < 1 else 0
    if grows_unready:
        amounts |= dict.fromkeys(groups.unready, 0)
    new_ratio, _ = _ratio(metric, amounts, requests)
    return Proposal(_careful(ratio, new_ratio, len(amounts), current), shown)


def _careful(ratio: float, new_ratio: float, count: int, current: int) -> int:
    turned = (ratio < 1 < new_ratio) or (new_ratio < 1 < ratio)
    if abs(1 - new_ratio) <= TOLERANCE or turned:
        return current
    replicas = math.ceil(new_ratio * count)
    if (new_ratio < 1 and replicas > current) or (new_ratio > 1 and replicas < current):
        return current
    return replicas


def _grouped(
    metric: Resource, pods: Iterable[Object], measured: Mapping[str, Measured], now: datetime
) -> _Pods:
    groups = _Pods({}, 0, set(), set())
    ready = 0
    for pod in pods:
        name, phase = name_of(pod), at(pod, "status", "phase")
        if is_deleting(pod) or phase in ("Failed", "Succeeded"):
            continue
        sample = measured.get(name)
        used = None if sample is None else _used(metric, sample)
        if phase == "Pending":
            groups.unready.add(name)
        elif used is None or sample is None:
            groups.missing.add(name)
        elif metric.name == "cpu" and _is_settling(pod, sample, now):
            groups.unready.add(name)
        else:
            groups.counted[name] = used
            ready += 1
    return _Pods(groups.counted, ready, groups.unready, groups.missing)


def _used(metric: Resource, sample: Measured) -> int | None:
    if metric.container:
        return sample.usage.get(metric.container, {}).get(metric.name)
    amounts = [usage.get(metric.name) for usage in sample.usage.values()]
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if amounts and len(known) == len(amounts) else None


def _is_settling(pod: Object, sample: Measured, now: datetime) -> bool:
    """Whether what it uses of the CPU is still that of its start."""
    ready = condition_of(pod, "Ready")
    started = at(pod, "status", "startTime")
    if ready is None or not started or not ready.get("lastTransitionTime"):
        return True
    begun, since = parse_rfc3339(started), parse_rfc3339(ready["lastTransitionTime"])
    is_unready = ready.get("status") != "True"
    if now < begun + CPU_SETTLES:
        return is_unready or sample.at < since + sample.window
    return is_unready and since < begun + FIRST_READY


def _requests(metric: Resource, pods: Iterable[Object]) -> dict[str, int]:
    """What each pod requests. Raises NoMetric where utilization is asked for and one does not."""
    if metric.utilization is None:
        return {}
    found = {}
    for pod in pods:
        total = 0
        for container in at(pod, "spec", "containers", default=()):
            if metric.container and container.get("name") != metric.container:
                continue
            amount = at(container, "resources", "requests", metric.name)
            if amount is None:
                where = f"in container {container.get('name')} of Pod {name_of(pod)}"
                text = f"{_failed(metric)}: missing request for {metric.name} {where}"
                raise NoMetric("FailedGetResourceMetric", text)
            total += thousandths(amount)
        found[name_of(pod)] = total
    return found


def _failed(metric: Resource) -> str:
    if metric.utilization is not None:
        return f"failed to get {metric.name} utilization"
    return f"failed to get {metric.name} resource metric value"


def _ratio(
    metric: Resource, amounts: Mapping[str, int], requests: Mapping[str, int]
) -> tuple[float, Object]:
    total, average = sum(amounts.values()), sum(amounts.values()) // len(amounts)
    shown: Object = {"averageValue": shown_amount(metric.name, average)}
    if metric.utilization is None:
        return average / (metric.average or 1), shown
    requested = sum(requests.get(name, 0) for name in amounts)
    if not requested:
        text = f"{_failed(metric)}: no metrics returned matched known pods"
        raise NoMetric("FailedGetResourceMetric", text)
    percent = total * 100 // requested
    return percent / metric.utilization, {"averageUtilization": percent, **shown}


def shown_amount(resource: str, amount: int) -> str:
    """Millicores as such, bytes whole."""
    return f"{amount}m" if resource == "cpu" else str(amount // 1000)


def _assumed(metric: Resource, requested: int) -> int:
    """What a pod that was not measured is taken to use where others use little."""
    if metric.utilization is None:
        return metric.average or 0
    return requested * max(100, metric.utilization) // 100
