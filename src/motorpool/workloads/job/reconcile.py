"""Creates and deletes the pods of Jobs, counts those that ended, and deletes what has expired.

What was written is laid over the informers, so that a second pass right after the first creates no
pod twice. The status comes before the finalizers: a pod is only let go when it is on record.
"""

import contextlib
from collections.abc import Iterable, Sequence

from motorpool.api import batch, core
from motorpool.api.errors import ApiError, Conflict, NotFound
from motorpool.api.meta import (
    Object,
    ObjectKey,
    controller_of,
    is_deleting,
    key_of,
    name_of,
    namespace_of,
    uid_of,
)
from motorpool.loop.ownership import BY_CONTROLLER, controllers, settle
from motorpool.loop.ownwrites import OwnWrites
from motorpool.loop.refusals import is_namespace_ending
from motorpool.loop.runner import Context, Controller, own_key, owner_key
from motorpool.workloads.job.plan import (
    Plan,
    expires_in_s,
    plan,
    pod_of,
)
from motorpool.workloads.job.status import status
from motorpool.workloads.job.tally import FINALIZER, Tally, is_tracked, outcome, tally

COMPONENT = "job-controller"
BY_JOB = "job"


def controller(context: Context) -> Controller:
    actor = _Jobs(context)
    sources = {
        context.informers(batch.JOB): own_key,
        context.informers(core.POD): owner_key("Job"),
    }
    return Controller(COMPONENT, sources, actor.reconcile)


def job_of_pod(pod: Object) -> Iterable[str]:
    """An informer index: ``NAMESPACE/NAME`` of the Job that tracks the pod."""
    reference = controller_of(pod)
    if reference is None or reference["kind"] != "Job" or not is_tracked(pod):
        return ()
    return (f"{namespace_of(pod)}/{reference['name']}",)


class _Jobs:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._events = context.events
        self._clock = context.clock
        self._jobs = OwnWrites(context.informers(batch.JOB), context.clock)
        self._pods = OwnWrites(context.informers(core.POD), context.clock)
        self._pods.add_index(BY_CONTROLLER, controllers)
        self._pods.add_index(BY_JOB, job_of_pod)

    async def reconcile(self, key: ObjectKey) -> float | None:
        job = self._jobs.get(*key)
        await self._release_orphans(key, job)
        if job is None:
            return None  # Deleted: its pods carry owner references and are collected.
        pods = await settle(self._client, core.POD, job, self._pods)
        now = self._clock()
        counted = tally(job, pods)
        made = plan(job, pods, counted, now)
        present, error = await self._carry_out(job, pods, made)
        new = status(job, present, counted, made, now)
        written = await self._report(job, new)
        if written is None:
            return None
        await self._let_go(pods, counted)
        if error is not None and not is_namespace_ending(error):
            raise error
        return await self._again_s(written, made)

    async def _again_s(self, job: Object, made: Plan) -> float | None:
        expires_s = expires_in_s(job, self._clock())
        if expires_s is not None and expires_s <= 0 and not is_deleting(job):
            with contextlib.suppress(NotFound, Conflict):  # Gone already.
                await self._client.delete(batch.JOB, *key_of(job), uid=uid_of(job))
            return None
        waits = (expires_s, made.again_s, self._pods.again_s)
        return min((max(wait, 0.0) for wait in waits if wait is not None), default=None)

    async def _carry_out(
        self, job: Object, pods: Sequence[Object], made: Plan
    ) -> tuple[list[Object], ApiError | None]:
        """The pods that there are afterwards, and what kept the plan from being carried out."""
        gone: set[str] = set()
        for pod in made.delete:
            await self._untrack(pod)  # That it goes is our wish, and no failure.
            with contextlib.suppress(NotFound, Conflict):
                await self._client.delete(core.POD, *key_of(pod), uid=uid_of(pod))
            self._pods.note_deleted(pod)
            gone.add(uid_of(pod))
            self._record(job, "SuccessfulDelete", f"Deleted pod: {name_of(pod)}")
        present = [pod for pod in pods if uid_of(pod) not in gone]
        for index in made.create:
            try:
                created = await self._client.create(core.POD, pod_of(job, index))
            except ApiError as error:
                if not is_namespace_ending(error):
                    self._record(job, "FailedCreate", f"Error creating: {error}")
                return present, error
            present.append(self._pods.note(created))
            self._record(job, "SuccessfulCreate", f"Created pod: {name_of(created)}")
        return present, None

    async def _report(self, job: Object, new: Object) -> Object | None:
        """The Job as it is now; None where it is gone."""
        if job.get("status") == new:
            return job
        try:
            written = await self._client.replace_status(batch.JOB, job, new)
        except NotFound:
            return None
        self._tell(job, written)
        return self._jobs.note(written)

    def _tell(self, before: Object, after: Object) -> None:
        old = {(c["type"], c["status"]) for c in (before.get("status") or {}).get("conditions", ())}
        for condition in (after.get("status") or {}).get("conditions", ()):
            kind, value = condition["type"], condition["status"]
            if (kind, value) in old:
                continue
            if kind == "Complete":
                self._record(after, "Completed", "Job completed")
            elif kind == "Failed":
                self._record(after, condition["reason"], condition["message"], "Warning")
            elif kind == "Suspended":
                words = ("Suspended", "Job suspended")
                self._record(after, *(words if value == "True" else ("Resumed", "Job resumed")))

    async def _let_go(self, pods: Sequence[Object], counted: Tally) -> None:
        recorded = {uid for uids in counted.uncounted.values() for uid in uids}
        for pod in pods:
            if uid_of(pod) in recorded and is_tracked(pod):
                await self._untrack(pod)

    async def _release_orphans(self, key: ObjectKey, job: Object | None) -> None:
        """Pods of a Job that is gone, and those that go with it, wait for nobody's count."""
        if job is not None and not is_deleting(job):
            return
        for pod in self._pods.by_index(BY_JOB, str(key)):
            if job is None or is_deleting(pod) or outcome(pod):
                await self._untrack(pod)

    async def _untrack(self, pod: Object) -> None:
        kept = [each for each in pod["metadata"].get("finalizers") or () if each != FINALIZER]
        patch = {"metadata": {"uid": uid_of(pod), "finalizers": kept or None}}
        with contextlib.suppress(NotFound, Conflict):  # Gone, or another pod has the name.
            self._pods.note(await self._client.patch(core.POD, *key_of(pod), patch))

    def _record(self, job: Object, reason: str, message: str, type_: str = "Normal") -> None:
        if type_ == "Warning" or reason.startswith("Failed"):
            self._events.record(job, "Warning", reason, message, component=COMPONENT)
        else:
            self._events.record(job, "Normal", reason, message, component=COMPONENT)
