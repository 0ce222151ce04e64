"""How many pods of a Job ended, each counted once. Pure.

A pod counts although its object goes: it carries a finalizer until it is counted. First its uid is
written into ``uncountedTerminatedPods``, then the finalizer goes, and when that is seen the uid
becomes one more in ``succeeded`` or ``failed``. Whatever stops us in between, no pod counts twice
and none is lost.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from motorpool.api.meta import Object, annotations_of, at, is_deleting, uid_of
from motorpool.api.podstatus import is_terminal
from motorpool.base.clock import parse_rfc3339

FINALIZER = "batch.kubernetes.io/job-tracking"
INDEX = "batch.kubernetes.io/job-completion-index"
_KINDS = ("succeeded", "failed")


@dataclass(frozen=True, slots=True)
class Tally:
    counters: dict[str, int]
    uncounted: dict[str, list[str]]
    indexes: frozenset[int]  # that have succeeded, of an indexed Job

    @property
    def succeeded(self) -> int:
        return self.counters["succeeded"] + len(self.uncounted["succeeded"])

    @property
    def failed(self) -> int:
        return self.counters["failed"] + len(self.uncounted["failed"])


def is_tracked(pod: Object) -> bool:
    return FINALIZER in (pod["metadata"].get("finalizers") or ())


def outcome(pod: Object) -> str:
    """``succeeded``, ``failed``, or "" while it runs. One that is told to go has failed."""
    if at(pod, "status", "phase") == "Succeeded":
        return "succeeded"
    return "failed" if is_terminal(pod) or is_deleting(pod) else ""


def tally(job: Object, pods: Sequence[Object]) -> Tally:
    status = at(job, "status", default={})
    held = {uid_of(pod) for pod in pods if is_tracked(pod)}
    counters = {kind: int(status.get(kind) or 0) for kind in _KINDS}
    uncounted: dict[str, list[str]] = {kind: [] for kind in _KINDS}
    known: set[str] = set()
    for kind in _KINDS:
        for uid in at(status, "uncountedTerminatedPods", kind, default=()):
            known.add(uid)
            if uid in held:
                uncounted[kind].append(uid)
            else:
                counters[kind] += 1
    for pod in pods:
        kind = outcome(pod)
        if kind and is_tracked(pod) and uid_of(pod) not in known:
            uncounted[kind].append(uid_of(pod))
    indexes = set(parse_indexes(str(status.get("completedIndexes") or "")))
    if at(job, "spec", "completionMode") == "Indexed":
        indexes |= {index_of(pod) for pod in pods if outcome(pod) == "succeeded"}
        indexes.discard(-1)
    return Tally(counters, uncounted, frozenset(indexes))


def index_of(pod: Object) -> int:
    """Which part of an indexed Job a pod does; -1 for none."""
    text = annotations_of(pod).get(INDEX, "")
    return int(text) if text.isdigit() else -1


def parse_indexes(text: str) -> Iterable[int]:
    """``0,2-4`` as numbers."""
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def shown_indexes(indexes: Iterable[int]) -> str:
    """Numbers as ``0,2-4``; two neighbours stay apart, as the API has it."""
    parts: list[list[int]] = []
    for index in sorted(indexes):
        if parts and parts[-1][1] == index - 1:
            parts[-1][1] = index
        else:
            parts.append([index, index])
    return ",".join(str(a) if a == b else f"{a},{b}" if b == a + 1 else f"{a}-{b}"
                    for a, b in parts)  # fmt: skip


def ended_at(pod: Object) -> datetime | None:
    """When its last container ended, or when it was told to go."""
    ends = [
        parse_rfc3339(ended)
        for each in at(pod, "status", "containerStatuses", default=())
        if (ended := at(each, "state", "terminated", "finishedAt"))
    ]
    if ends:
        return max(ends)
    moment = pod["metadata"].get("deletionTimestamp") or pod["metadata"].get("creationTimestamp")
    return parse_rfc3339(moment) if moment else None
