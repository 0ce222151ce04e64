"""Creates and deletes the pods of ReplicaSets.

The pods just written are laid over the informer (`loop.ownwrites`), so that a second pass right
after the first counts them and creates none twice. Creation starts slowly - one, two, four ... - so
that a template that the API server refuses costs one refusal per pass and not five hundred.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from motorpool.api import apps, core
from motorpool.api.errors import ApiError, Conflict, NotFound
from motorpool.api.meta import (
    Object,
    ObjectKey,
    at,
    controller_of,
    is_deleting,
    key_of,
    labels_of,
    name_of,
    namespace_of,
    uid_of,
)
from motorpool.api.selectors import LabelSelector
from motorpool.loop.informer import Change
from motorpool.loop.ownership import BY_CONTROLLER, controllers, settle
from motorpool.loop.ownwrites import OwnWrites
from motorpool.loop.refusals import is_namespace_ending
from motorpool.loop.runner import Context, Controller, own_key, owner_key
from motorpool.workloads.replicaset.plan import Plan, forgotten, plan, pod_of, wait_s
from motorpool.workloads.replicaset.status import Failure, next_available_s, status

COMPONENT = "replicaset-controller"


def controller(context: Context) -> Controller:
    sets = OwnWrites(context.informers(apps.REPLICA_SET), context.clock)
    pods = OwnWrites(context.informers(core.POD), context.clock)
    pods.add_index(BY_CONTROLLER, controllers)
    actor = _ReplicaSets(context, sets, pods)
    return Controller(
        COMPONENT,
        {
            sets.informer: own_key,
            pods.informer: actor.keys_of_pod,
            context.informers(core.SERVICE_ACCOUNT): actor.keys_of_account,
        },
        actor.reconcile,
    )


@dataclass(slots=True)
class _Outcome:
    """What a pass did, and what stopped it."""

    created: list[Object] = field(default_factory=list)
    deleted: set[str] = field(default_factory=set)
    failure: Failure | None = None
    error: ApiError | None = None


class _ReplicaSets:
    def __init__(self, context: Context, sets: OwnWrites, pods: OwnWrites) -> None:
        self._client = context.client
        self._events = context.events
        self._clock = context.clock
        self._sets = sets
        self._pods = pods

    def keys_of_pod(self, change: Change) -> Iterable[ObjectKey]:
        """The ReplicaSet that controls the pod, or those that might adopt it."""
        keys = list(owner_key("ReplicaSet")(change))
        pod = change.new
        if pod is None or controller_of(pod) is not None or is_deleting(pod):
            return keys
        labels = labels_of(pod)
        for replica_set in self._sets.informer.list(namespace_of(pod)):
            selector = LabelSelector.from_object(replica_set["spec"].get("selector"))
            if selector.matches(labels):
                keys.append(key_of(replica_set))
        return keys

    def keys_of_account(self, change: Change) -> Iterable[ObjectKey]:
        """The ReplicaSets whose pods were refused, perhaps for want of an account that is new."""
        if change.new is None or change.old is not None:
            return []
        sets = self._sets.informer.list(namespace_of(change.new))
        return [key_of(each) for each in sets if at(each, "status", "conditions")]

    async def reconcile(self, key: ObjectKey) -> float | None:
        replica_set = self._sets.get(*key)
        if replica_set is None:
            return None  # Deleted: its pods carry owner references and are collected.
        pods = await settle(self._client, core.POD, replica_set, self._pods)
        held_s = wait_s(pods, self._clock())
        wanted = plan(replica_set, pods)
        outcome = await self._carry_out(
            replica_set, replace(wanted, create=0) if held_s else wanted
        )
        present = [*(pod for pod in pods if name_of(pod) not in outcome.deleted), *outcome.created]
        now = self._clock()
        await self._report(replica_set, status(replica_set, present, outcome.failure, now))
        if outcome.error is not None:
            if is_namespace_ending(outcome.error):
                return None  # The ReplicaSet itself goes next.
            raise outcome.error
        await self._forget(forgotten(pods))
        rest = plan(replica_set, present)  # what the burst limit or a wait left
        waits = (
            held_s if rest.create or rest.delete else None,
            next_available_s(replica_set, present, now),
            self._pods.again_s,
        )
        return min((wait for wait in waits if wait is not None), default=None)

    async def _carry_out(self, replica_set: Object, wanted: Plan) -> _Outcome:
        outcome = _Outcome()
        await self._create(replica_set, wanted.create, outcome)
        await self._delete(replica_set, wanted.delete, outcome)
        return outcome

    async def _create(self, replica_set: Object, count: int, outcome: _Outcome) -> None:
        batch = 1
        while outcome.error is None and len(outcome.created) < count:
            size = min(batch, count - len(outcome.created))
            results = await asyncio.gather(
                *(self._client.create(core.POD, pod_of(replica_set)) for _ in range(size)),
                return_exceptions=True,
            )
            self._take(replica_set, results, outcome)
            batch *= 2

    def _take(
        self, replica_set: Object, results: Sequence[Object | BaseException], outcome: _Outcome
    ) -> None:
        """Notes what was created, keeps the first refusal, raises what is none."""
        for result in results:
            if isinstance(result, ApiError):
                outcome.error = outcome.error or result
            elif isinstance(result, BaseException):
                raise result
            else:
                outcome.created.append(self._pods.note(result))
                self._record(replica_set, "SuccessfulCreate", f"Created pod: {name_of(result)}")
        if outcome.error is not None:
            outcome.failure = Failure("FailedCreate", str(outcome.error))
            if not is_namespace_ending(outcome.error):
                self._record(replica_set, "FailedCreate", f"Error creating: {outcome.error}")

    async def _delete(self, replica_set: Object, pods: Sequence[Object], outcome: _Outcome) -> None:
        for pod in pods:
            try:
                await self._client.delete(core.POD, *key_of(pod), uid=uid_of(pod))
            except (NotFound, Conflict):
                pass  # Gone, or another pod has the name now: either way this one is gone.
            except ApiError as error:
                self._record(replica_set, "FailedDelete", f"Error deleting: {error}")
                outcome.error, outcome.failure = error, Failure("FailedDelete", str(error))
                return
            self._pods.note_deleted(pod)
            outcome.deleted.add(name_of(pod))
            self._record(replica_set, "SuccessfulDelete", f"Deleted pod: {name_of(pod)}")

    async def _forget(self, pods: Sequence[Object]) -> None:
        for pod in pods:
            with contextlib.suppress(NotFound, Conflict):  # Gone already.
                await self._client.delete(core.POD, *key_of(pod), uid=uid_of(pod))
            self._pods.note_deleted(pod)

    async def _report(self, replica_set: Object, new: Object) -> None:
        if replica_set.get("status") == new:
            return
        try:
            written = await self._client.replace_status(apps.REPLICA_SET, replica_set, new)
        except NotFound:
            return  # Deleted while we looked at it.
        self._sets.note(written)

    def _record(self, replica_set: Object, reason: str, message: str) -> None:
        if reason.startswith("Failed"):
            self._events.record(replica_set, "Warning", reason, message, component=COMPONENT)
        else:
            self._events.record(replica_set, "Normal", reason, message, component=COMPONENT)
