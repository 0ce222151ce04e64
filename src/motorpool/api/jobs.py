"""Defaults and rules of Jobs. Pure."""

import json
from collections.abc import Iterator

from motorpool.api.errors import FieldError, GoValue
from motorpool.api.meta import Object, at
from motorpool.api.podrules import pod_spec_errors
from motorpool.api.pods import default_template
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

CONTROLLER_UID = "batch.kubernetes.io/controller-uid"
JOB_NAME = "batch.kubernetes.io/job-name"
_LEGACY = {CONTROLLER_UID: "controller-uid", JOB_NAME: "job-name"}

_AMOUNTS = (
    "parallelism", "completions", "backoffLimit", "activeDeadlineSeconds",
    "ttlSecondsAfterFinished", "backoffLimitPerIndex", "maxFailedIndexes",
)  # fmt: skip
_MODES = ("Indexed", "NonIndexed")
_FIXED = ("completionMode", "podFailurePolicy", "backoffLimitPerIndex", "successPolicy")
_UNLIMITED = 2**31 - 1


def default_job(job: Object) -> None:
    spec = job.setdefault("spec", {})
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    spec.setdefault("parallelism", 1)
    per_index = spec.get("backoffLimitPerIndex") is not None
    spec.setdefault("backoffLimit", _UNLIMITED if per_index else 6)
    if not spec.get("completionMode"):
        spec["completionMode"] = "NonIndexed"
    spec.setdefault("suspend", False)
    spec.setdefault("manualSelector", False)
    policy = "Failed" if spec.get("podFailurePolicy") else "TerminatingOrFailed"
    spec.setdefault("podReplacementPolicy", policy)
    default_template(spec.setdefault("template", {}))
    labels = at(spec, "template", "metadata", "labels")
    if labels and not job["metadata"].get("labels"):
        job["metadata"]["labels"] = dict(labels)
    job.setdefault("status", {})


def begin_job(job: Object) -> None:
    """A new Job's pods are told from all others by its uid, unless the user chose a selector."""
    spec = job["spec"]
    if spec.get("manualSelector"):
        return
    values = {CONTROLLER_UID: job["metadata"]["uid"], JOB_NAME: job["metadata"]["name"]}
    metadata = spec["template"].setdefault("metadata", {})
    labels = dict(metadata.get("labels") or {})
    for key, value in values.items():
        labels |= {key: value, _LEGACY[key]: value}
    metadata["labels"] = labels
    spec["selector"] = {"matchLabels": {CONTROLLER_UID: values[CONTROLLER_UID]}}
    if not job["metadata"].get("labels"):
        job["metadata"]["labels"] = dict(labels)


def _job_errors(new: Object, old: Object | None) -> Iterator[FieldError]:
    spec = new.get("spec") or {}
    for field in _AMOUNTS:
        yield from not_negative(f"spec.{field}", spec.get(field))
    yield from one_of("spec.completionMode", spec.get("completionMode"), _MODES)
    if spec.get("completionMode") == "Indexed" and spec.get("completions") is None:
        text = "when completion mode is Indexed"
        yield FieldError.required("spec.completions", text)
    yield from _selector_errors(spec)
    template = spec.get("template") or {}
    yield from label_errors(at(template, "metadata", "labels"), "spec.template.labels")
    yield from pod_spec_errors(template.get("spec") or {}, "spec.template.spec")
    if at(template, "spec", "restartPolicy") == "Always":
        text = 'valid values: "OnFailure", "Never"'
        yield FieldError.required("spec.template.spec.restartPolicy", text)
    if old is not None:
        yield from _change_errors(spec, old)


def _selector_errors(spec: Object) -> Iterator[FieldError]:
    selector = spec.get("selector")
    if not selector:
        yield FieldError.required("spec.selector")
        return
    labels = at(spec, "template", "metadata", "labels", default={})
    if not LabelSelector.from_object(selector).matches(labels):
        text = "`selector` does not match template `labels`"
        yield FieldError.invalid("spec.template.metadata.labels", go_labels(labels), text)


def _change_errors(spec: Object, old: Object) -> Iterator[FieldError]:
    before = old.get("spec") or {}
    if spec.get("completions") != before.get("completions") and not _may_resize(spec, before):
        yield FieldError.invalid("spec.completions", spec.get("completions"), IMMUTABLE)
    if spec.get("selector") != before.get("selector"):
        shown = go_selector(spec.get("selector") or {})
        yield FieldError.invalid("spec.selector", shown, IMMUTABLE)
    never_ran = before.get("suspend") and not at(old, "status", "startTime")
    if spec.get("template") != before.get("template") and not never_ran:
        shown = GoValue(json.dumps(spec.get("template"), separators=(",", ":")))
        yield FieldError.invalid("spec.template", shown, IMMUTABLE)
    for field in _FIXED:
        if spec.get(field) != before.get(field):
            yield FieldError.invalid(f"spec.{field}", spec.get(field), IMMUTABLE)


def _may_resize(spec: Object, before: Object) -> bool:
    """An indexed Job may grow and shrink with its parallelism."""
    return before.get("completionMode") == "Indexed" and spec.get("completions") == spec.get(
        "parallelism"
    )


validate_job = listed(_job_errors)
