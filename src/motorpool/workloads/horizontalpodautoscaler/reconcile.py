"""Scales workloads to what their pods use.

The use is read every 15 seconds, from the kind PodMetrics, and only for autoscalers that have
something to decide: one whose bounds are equal, or whose target stands still at zero, is looked at
when it or its target changes and not before. What was recommended and done is remembered here; a
restart begins with what runs.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from motorpool.api import apps, autoscaling, core, metrics
from motorpool.api.errors import ApiError, NotFound
from motorpool.api.kinds import Kind
from motorpool.api.meta import (
    Object,
    ObjectKey,
    at,
    is_deleting,
    key_of,
    labels_of,
    name_of,
    namespace_of,
)
from motorpool.api.scheme import by_kind
from motorpool.api.selectors import LabelSelector
from motorpool.loop.informer import Change, Informer
from motorpool.loop.runner import Context, Controller, KeysOf, own_key
from motorpool.workloads.horizontalpodautoscaler import plan
from motorpool.workloads.horizontalpodautoscaler.plan import History, Note
from motorpool.workloads.horizontalpodautoscaler.status import status
from motorpool.workloads.horizontalpodautoscaler.usage import (
    Measured,
    NoMetric,
    Proposal,
    Resource,
    measured_of,
    propose,
    thousandths,
)

COMPONENT = "horizontal-pod-autoscaler"
PERIOD_S = 15.0
BY_TARGET = "target"
KIND = autoscaling.HORIZONTAL_POD_AUTOSCALER


def controller(context: Context) -> Controller:
    actor = _Autoscalers(context)
    sources: dict[Informer, KeysOf] = {context.informers(KIND): own_key}
    for kind in (apps.DEPLOYMENT, apps.REPLICA_SET):
        sources[context.informers(kind)] = actor.keys_of_target
    return Controller(COMPONENT, sources, actor.reconcile, workers=2)


def target_of(autoscaler: Object) -> Iterable[str]:
    """An informer index: ``NAMESPACE/KIND/NAME`` of what it scales."""
    reference = at(autoscaler, "spec", "scaleTargetRef", default={})
    return (f"{namespace_of(autoscaler)}/{reference.get('kind')}/{reference.get('name')}",)


@dataclass(slots=True)
class _Pass:
    """What one reconcile finds out."""

    current: int
    desired: int
    notes: list[Note] = field(default_factory=list)
    metrics: list[Object] = field(default_factory=list)
    reason: str = ""  # why the size changes
    rescaled: bool = False


class _Autoscalers:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._events = context.events
        self._clock = context.clock
        self._informers = context.informers
        self._autoscalers = context.informers(KIND)
        self._autoscalers.add_index(BY_TARGET, target_of)
        self._pods = context.informers(core.POD)
        self._histories: dict[ObjectKey, History] = {}
        self._due: dict[ObjectKey, datetime] = {}

    def keys_of_target(self, change: Change) -> Iterable[ObjectKey]:
        """The autoscalers of a workload whose size was changed, by whomever."""
        if (
            change.old is not None
            and change.new is not None
            and _size(change.old) == _size(change.new)
        ):
            return ()
        obj = change.object
        value = f"{namespace_of(obj)}/{obj['kind']}/{name_of(obj)}"
        return [key_of(each) for each in self._autoscalers.by_index(BY_TARGET, value)]

    async def reconcile(self, key: ObjectKey) -> float | None:
        autoscaler = self._autoscalers.get(*key)
        if autoscaler is None or is_deleting(autoscaler):
            self._histories.pop(key, None)
            self._due.pop(key, None)
            return None
        found = await self._target(autoscaler)
        if found is None:
            return PERIOD_S
        kind, target = found
        step = _Pass(*_size(target))
        step.desired = at(target, "spec", "replicas", default=1)
        text = "the HPA controller was able to get the target's current scale"
        step.notes.append(Note("AbleToScale", True, "SucceededGetScale", text))
        again_s = await self._decide(key, autoscaler, target, step)
        await self._rescale(autoscaler, kind, target, step)
        await self._report(autoscaler, step)
        return again_s

    async def _decide(
        self, key: ObjectKey, autoscaler: Object, target: Object, step: _Pass
    ) -> float | None:
        """Sets what is desired. Returns when to look again."""
        spec = autoscaler["spec"]
        least, most = plan.bounds(spec)
        replicas = int(at(target, "spec", "replicas", default=1))
        if replicas == 0 and least != 0:
            text = "scaling is disabled since the replica count of the target is zero"
            step.notes.append(Note("ScalingActive", False, "ScalingDisabled", text))
            step.desired = 0
            return None
        if replicas > most:
            step.desired, step.reason = most, "Current number of replicas above Spec.MaxReplicas"
        elif replicas < least:
            step.desired, step.reason = least, "Current number of replicas below Spec.MinReplicas"
        elif plan.is_fixed(spec):
            text = "minReplicas and maxReplicas are equal: no metrics are read"
            step.notes.append(Note("ScalingActive", False, "FixedSize", text))
        else:
            return await self._follow(key, autoscaler, target, step)
        return None if plan.is_fixed(spec) else PERIOD_S

    async def _follow(
        self, key: ObjectKey, autoscaler: Object, target: Object, step: _Pass
    ) -> float | None:
        """Does what the metrics ask for, at most once in a period."""
        now = self._clock()
        due = self._due.get(key)
        if due is not None and now < due:
            step.notes.clear()
            step.metrics = at(autoscaler, "status", "currentMetrics", default=[])
            return (due - now).total_seconds()
        self._due[key] = now + timedelta(seconds=PERIOD_S - 1)
        spec, replicas = autoscaler["spec"], step.desired
        wanted, metric = await self._proposed(autoscaler, target, replicas, step, now)
        if wanted is None:
            return PERIOD_S
        step.reason = f"{metric} above target" if wanted > replicas else "All metrics below target"
        history = self._histories.setdefault(key, History())
        history.forget(now - timedelta(seconds=plan.keep_s(spec)))
        decision = plan.decide(spec, replicas, wanted, history, now)
        step.desired = decision.replicas
        step.notes += decision.notes
        if step.desired != replicas:
            history.changes.append((now, step.desired - replicas))
        return PERIOD_S

    async def _proposed(
        self, autoscaler: Object, target: Object, replicas: int, step: _Pass, now: datetime
    ) -> tuple[int | None, str]:
        """The largest proposal of all metrics, and whose it is."""
        best: tuple[int, str] | None = None
        failure: NoMetric | None = None
        pods = self._pods_of(target)
        measured: Mapping[str, Measured] | None = None
        for metric in autoscaler["spec"].get("metrics") or ():
            try:
                resource = _resource(metric)
                if measured is None:
                    measured = await self._measured(namespace_of(autoscaler), resource)
                proposal = propose(resource, replicas, pods, measured, now)
            except NoMetric as error:
                failure = failure or error
                step.metrics.append({"type": ""})
                self._record(autoscaler, "Warning", error.reason, str(error))
                continue
            step.metrics.append(_shown(metric, resource, proposal))
            if best is None or proposal.replicas > best[0]:
                best = proposal.replicas, resource.text
        # With one metric unknown nothing may be removed: it might be the one that needs the pods.
        if best is None or (failure is not None and best[0] < replicas):
            self._tell_failure(autoscaler, step, failure)
            return None, ""
        text = f"the HPA was able to successfully calculate a replica count from {best[1]}"
        step.notes.append(Note("ScalingActive", True, "ValidMetricFound", text))
        return best

    def _tell_failure(self, autoscaler: Object, step: _Pass, failure: NoMetric | None) -> None:
        if failure is None:
            return
        text = f"the HPA was unable to compute the replica count: {failure}"
        step.notes.append(Note("ScalingActive", False, failure.reason, text))
        text = f"invalid metrics (1 invalid out of {len(step.metrics)}), first error is: {failure}"
        self._record(autoscaler, "Warning", "FailedComputeMetricsReplicas", text)

    async def _measured(self, namespace: str, resource: Resource) -> dict[str, Measured]:
        try:
            listed = await self._client.list(metrics.POD_METRICS, namespace)
        except ApiError as error:
            text = f"unable to get metrics for resource {resource.name}: {error}"
            raise NoMetric("FailedGetResourceMetric", text) from error
        return {name_of(item): measured_of(item) for item in listed.items}

    def _pods_of(self, target: Object) -> Sequence[Object]:
        selector = LabelSelector.from_object(at(target, "spec", "selector"))
        near = self._pods.list(namespace_of(target))
        return [pod for pod in near if selector.matches(labels_of(pod))]

    async def _target(self, autoscaler: Object) -> tuple[Kind, Object] | None:
        """What is to be scaled; None, and a condition, where it is not there."""
        reference = autoscaler["spec"]["scaleTargetRef"]
        name, kind_name = reference["name"], reference["kind"]
        kind = by_kind(reference.get("apiVersion") or "apps/v1", kind_name)
        if kind is None or not any(sub.name == "scale" for sub in kind.subresources):
            text = f'no matches for kind "{kind_name}" in group "{reference.get("apiVersion")}"'
        else:
            try:
                return kind, await self._client.get(kind, namespace_of(autoscaler), name)
            except NotFound as error:
                text = str(error)
        text = f"the HPA controller was unable to get the target's current scale: {text}"
        step = _Pass(0, 0, [Note("AbleToScale", False, "FailedGetScale", text)])
        self._record(autoscaler, "Warning", "FailedGetScale", text)
        await self._report(autoscaler, step)
        return None

    async def _rescale(self, autoscaler: Object, kind: Kind, target: Object, step: _Pass) -> None:
        if step.desired == int(at(target, "spec", "replicas", default=1)):
            return
        patch = {"spec": {"replicas": step.desired}}
        try:
            await self._client.patch(kind, *key_of(target), patch, subresource="scale")
        except ApiError as error:
            text = f"the HPA controller was unable to update the target scale: {error}"
            step.notes.append(Note("AbleToScale", False, "FailedUpdateScale", text))
            self._record(
                autoscaler, "Warning", "FailedRescale",
                f"New size: {step.desired}; reason: {step.reason}; error: {error}",
            )  # fmt: skip
            return
        text = f"the HPA controller was able to update the target scale to {step.desired}"
        step.notes.append(Note("AbleToScale", True, "SucceededRescale", text))
        message = f"New size: {step.desired}; reason: {step.reason}"
        self._record(autoscaler, "Normal", "SuccessfulRescale", message)
        step.rescaled = True

    async def _report(self, autoscaler: Object, step: _Pass) -> None:
        new = status(
            autoscaler,
            current=step.current,
            desired=step.desired,
            notes=step.notes,
            metrics=step.metrics,
            rescaled=step.rescaled,
            now=self._clock(),
        )
        try:
            await self._client.replace_status(KIND, autoscaler, new)
        except NotFound:
            return  # Deleted while we looked at it.

    def _record(self, autoscaler: Object, type_: str, reason: str, message: str) -> None:
        if type_ == "Warning":
            self._events.record(autoscaler, "Warning", reason, message, component=COMPONENT)
        else:
            self._events.record(autoscaler, "Normal", reason, message, component=COMPONENT)


def _size(target: Object) -> tuple[int, int]:
    """The replicas that are there, and those that are wanted."""
    wanted = int(at(target, "spec", "replicas", default=1))
    return int(at(target, "status", "replicas", default=0)), wanted


def _resource(metric: Object) -> Resource:
    """Raises NoMetric for a kind of metric that nothing here measures."""
    kind = metric.get("type")
    source = metric.get("resource") or metric.get("containerResource")
    if kind not in ("Resource", "ContainerResource") or source is None:
        text = f"metrics of type {kind} are not served here: only resource metrics are"
        raise NoMetric(f"FailedGet{kind}Metric", text)
    target = source["target"]
    average = target.get("averageValue")
    return Resource(
        source["name"],
        source.get("container", ""),
        target.get("averageUtilization"),
        None if average is None else thousandths(average),
    )


def _shown(metric: Object, resource: Resource, proposal: Proposal) -> Object:
    name = "containerResource" if resource.container else "resource"
    shown: Object = {"name": resource.name, "current": proposal.current}
    if resource.container:
        shown["container"] = resource.container
    return {"type": metric["type"], name: shown}
