"""Defaults and rules of Deployments and ReplicaSets. Pure."""

from collections.abc import Iterator
from typing import Any

from motorpool.api.errors import BadRequest, FieldError
from motorpool.api.meta import Object
from motorpool.api.podrules import pod_spec_errors
from motorpool.api.pods import default_template
from motorpool.api.quantity import scaled
from motorpool.api.selectors import LabelSelector
from motorpool.api.validation import (
    IMMUTABLE,
    go_labels,
    go_selector,
    label_errors,
    listed,
    not_negative,
    one_of,
)

_STRATEGIES = ("Recreate", "RollingUpdate")


def default_deployment(deployment: Object) -> None:
    spec = deployment.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    strategy = spec.setdefault("strategy", {})
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")
    default_template(spec.setdefault("template", {}))
    deployment.setdefault("status", {})


def default_replica_set(replica_set: Object) -> None:
    spec = replica_set.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    default_template(spec.setdefault("template", {}))
    replica_set.setdefault("status", {}).setdefault("replicas", 0)


def _selector_errors(spec: Object, kind: str) -> Iterator[FieldError]:
    selector = spec.get("selector")
    if selector is None:
        yield FieldError.required("spec.selector")
        return
    yield from label_errors(selector.get("matchLabels"), "spec.selector.matchLabels")
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        text = f"empty selector is invalid for {kind}"
        yield FieldError.invalid("spec.selector", go_selector(selector), text)


def _template_errors(spec: Object) -> Iterator[FieldError]:
    path = "spec.template"
    template = spec.get("template") or {}
    labels = (template.get("metadata") or {}).get("labels") or {}
    selector = spec.get("selector")
    if selector:
        try:
            matches = LabelSelector.from_object(selector).matches(labels)
        except BadRequest as error:
            yield FieldError.invalid("spec.selector", go_selector(selector), str(error))
            return
        if not matches:
            text = "`selector` does not match template `labels`"
            yield FieldError.invalid(f"{path}.metadata.labels", go_labels(labels), text)
    yield from label_errors(labels, f"{path}.labels")
    yield from pod_spec_errors(template.get("spec") or {}, f"{path}.spec")
    policy = (template.get("spec") or {}).get("restartPolicy")
    if policy in ("Never", "OnFailure"):
        yield FieldError.not_supported(f"{path}.spec.restartPolicy", policy, ["Always"])


def _strategy_errors(strategy: Object) -> Iterator[FieldError]:
    path = "spec.strategy"
    yield from one_of(f"{path}.type", strategy.get("type"), _STRATEGIES)
    rolling = strategy.get("rollingUpdate")
    if rolling is None:
        return
    if strategy.get("type") == "Recreate":
        text = "may not be specified when strategy `type` is 'Recreate'"
        yield FieldError.forbidden(f"{path}.rollingUpdate", text)
        return
    amounts = []
    for field in ("maxUnavailable", "maxSurge"):
        yield from _amount_errors(rolling.get(field), f"{path}.rollingUpdate.{field}")
        amounts.append(rolling.get(field))
    if all(amount in (0, "0%") for amount in amounts):
        text = "may not be 0 when `maxSurge` is 0"
        yield FieldError.invalid(f"{path}.rollingUpdate.maxUnavailable", amounts[0], text)


def _amount_errors(amount: Any, path: str) -> Iterator[FieldError]:
    if isinstance(amount, int):
        yield from not_negative(path, amount)
    elif isinstance(amount, str):
        try:
            share = scaled(amount, 100, round_up=True)
        except ValueError:
            text = "a valid percent string must be a numeric string followed by an ending '%' "
            text += "(e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"
            yield FieldError.invalid(path, amount, text)
            return
        if path.endswith("maxUnavailable") and share > 100:
            yield FieldError.invalid(path, amount, "must not be greater than 100%")


def _deployment_errors(new: Object, old: Object | None) -> Iterator[FieldError]:
    spec = new.get("spec") or {}
    yield from not_negative("spec.replicas", spec.get("replicas"))
    yield from _selector_errors(spec, "deployment")
    yield from _template_errors(spec)
    yield from _strategy_errors(spec.get("strategy") or {})
    for field in ("minReadySeconds", "revisionHistoryLimit"):
        yield from not_negative(f"spec.{field}", spec.get(field))
    deadline = spec.get("progressDeadlineSeconds")
    if isinstance(deadline, int) and deadline <= spec.get("minReadySeconds", 0):
        text = "must be greater than minReadySeconds"
        yield FieldError.invalid("spec.progressDeadlineSeconds", deadline, text)
    yield from _fixed_selector(spec, old)


def _replica_set_errors(new: Object, old: Object | None) -> Iterator[FieldError]:
    spec = new.get("spec") or {}
    yield from not_negative("spec.replicas", spec.get("replicas"))
    yield from not_negative("spec.minReadySeconds", spec.get("minReadySeconds"))
    yield from _selector_errors(spec, "ReplicaSet")
    yield from _template_errors(spec)
    yield from _fixed_selector(spec, old)


def _fixed_selector(spec: Object, old: Object | None) -> Iterator[FieldError]:
    if old is not None and spec.get("selector") != (old.get("spec") or {}).get("selector"):
        shown = go_selector(spec.get("selector") or {})
        yield FieldError.invalid("spec.selector", shown, IMMUTABLE)


validate_deployment = listed(_deployment_errors)
validate_replica_set = listed(_replica_set_errors)
