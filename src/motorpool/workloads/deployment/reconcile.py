"""Carries out rollouts: creates, sizes and deletes the ReplicaSets of Deployments.

One pass makes one move, as `plan.py` has it; the ReplicaSets' own events cause the next one. What
was written is laid over the informers (`loop.ownwrites`), so that no move is made twice.
"""

import contextlib
from collections.abc import Iterable

from motorpool.api import apps, core
from motorpool.api.errors import AlreadyExists, ApiError, Conflict, NotFound
from motorpool.api.meta import (
    Object,
    ObjectKey,
    annotations_of,
    at,
    controller_of,
    is_controlled_by,
    is_deleting,
    key_of,
    labels_of,
    name_of,
    namespace_of,
    uid_of,
)
from motorpool.api.podstatus import is_terminal
from motorpool.api.selectors import LabelSelector
from motorpool.loop.informer import Change
from motorpool.loop.ownership import BY_CONTROLLER, controllers, settle
from motorpool.loop.ownwrites import OwnWrites
from motorpool.loop.refusals import is_namespace_ending
from motorpool.loop.runner import Context, Controller, own_key, owner_key
from motorpool.workloads.deployment import plan
from motorpool.workloads.deployment.desired import replica_set_of
from motorpool.workloads.deployment.revision import (
    REVISION,
    annotations_for,
    by_age,
    current,
    expired,
    next_revision,
    sizes_for,
)
from motorpool.workloads.deployment.spec import Rollout, rollout_of
from motorpool.workloads.deployment.status import Observed, deadline, is_complete, status
from motorpool.workloads.deployment.template import are_equal

COMPONENT = "deployment-controller"


def controller(context: Context) -> Controller:
    actor = _Deployments(context)
    sources = {
        context.informers(apps.DEPLOYMENT): own_key,
        context.informers(apps.REPLICA_SET): actor.keys_of_replica_set,
        context.informers(core.POD): actor.keys_of_pod,
    }
    return Controller(COMPONENT, sources, actor.reconcile)


class _Pass:
    """What one reconcile has in its hands; each write replaces the object it wrote."""

    def __init__(self, deployment: Object, replica_sets: Iterable[Object]) -> None:
        self.deployment = deployment
        self.rollout: Rollout = rollout_of(deployment)
        self.sets = {name_of(replica_set): replica_set for replica_set in replica_sets}
        new = current(deployment, self.sets.values())
        self.new_name = None if new is None else name_of(new)
        self.created = False
        self.create_error: ApiError | None = None
        self.collisions = int(at(deployment, "status", "collisionCount", default=0))

    @property
    def new(self) -> Object | None:
        return None if self.new_name is None else self.sets[self.new_name]

    @property
    def old(self) -> list[Object]:
        """The oldest first."""
        return by_age(rs for name, rs in self.sets.items() if name != self.new_name)

    @property
    def observed(self) -> Observed:
        error = "" if self.create_error is None else str(self.create_error)
        return Observed(self.new, list(self.sets.values()), self.created, error, self.collisions)


class _Deployments:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._events = context.events
        self._clock = context.clock
        self._deployments = OwnWrites(context.informers(apps.DEPLOYMENT), context.clock)
        self._sets = OwnWrites(context.informers(apps.REPLICA_SET), context.clock)
        self._sets.add_index(BY_CONTROLLER, controllers)
        self._pods = context.informers(core.POD)
        self._pods.add_index(BY_CONTROLLER, controllers)

    def keys_of_replica_set(self, change: Change) -> Iterable[ObjectKey]:
        """The Deployment that controls it, or those that might adopt it."""
        keys = list(owner_key("Deployment")(change))
        replica_set = change.new
        if replica_set is None or controller_of(replica_set) or is_deleting(replica_set):
            return keys
        labels = labels_of(replica_set)
        near = self._deployments.informer.list(namespace_of(replica_set))
        return [*keys, *(key_of(d) for d in near if _selector_of(d).matches(labels))]

    def keys_of_pod(self, change: Change) -> Iterable[ObjectKey]:
        """Recreate waits until the old pods are gone; nothing else looks at single pods."""
        if change.new is not None and not is_terminal(change.new):
            return ()
        reference = controller_of(change.object)
        if reference is None or reference["kind"] != "ReplicaSet":
            return ()
        namespace = namespace_of(change.object)
        replica_set = self._sets.get(namespace, reference["name"])
        owner = controller_of(replica_set) if replica_set is not None else None
        deployment = self._deployments.get(namespace, owner["name"]) if owner else None
        if deployment is None or at(deployment, "spec", "strategy", "type") != "Recreate":
            return ()
        return (key_of(deployment),)

    async def reconcile(self, key: ObjectKey) -> float | None:
        deployment = self._deployments.get(*key)
        if deployment is None:
            return None  # Deleted: its ReplicaSets carry owner references and are collected.
        sets = await settle(self._client, apps.REPLICA_SET, deployment, self._sets)
        step = _Pass(deployment, sets)
        if not is_deleting(deployment):
            await self._move(step)
        return await self._report(step)

    async def _move(self, step: _Pass) -> None:
        if step.rollout.paused or plan.is_scaled(step.rollout, list(step.sets.values())):
            await self._annotate(step)
            await self._scale(step)
        elif step.rollout.recreates:
            await self._resize_old(step)
            if not self._has_old_pods(step):
                await self._resize_new(step)
        else:
            await self._resize_new(step)
            if step.new is not None:
                await self._resize_old(step)

    async def _scale(self, step: _Pass) -> None:
        """Spreads a change of the Deployment's replicas, and notes it where nothing changed."""
        sizes = plan.scaled(step.rollout, step.new, step.old)
        for name, replica_set in list(step.sets.items()):
            wanted = plan.size_of(replica_set).wanted
            if name in sizes or wanted > 0:
                await self._resize(step, name, sizes.get(name, wanted))

    async def _resize_new(self, step: _Pass) -> None:
        """Raises the current ReplicaSet as far as there is room; creates it where there is none."""
        old = [plan.size_of(replica_set) for replica_set in step.old]
        if step.new is None:
            empty = plan.Size("", 0, 0, 0)
            await self._create(step, plan.new_replicas(step.rollout, empty, old))
        await self._annotate(step)
        if step.new is not None and step.new_name is not None:
            wanted = plan.new_replicas(step.rollout, plan.size_of(step.new), old)
            await self._resize(step, step.new_name, wanted)

    async def _resize_old(self, step: _Pass) -> None:
        new = plan.size_of(step.new) if step.new is not None else plan.Size("", 0, 0, 0)
        old = [plan.size_of(replica_set) for replica_set in step.old]
        for name, wanted in plan.old_replicas(step.rollout, new, old).items():
            await self._resize(step, name, wanted)

    def _has_old_pods(self, step: _Pass) -> bool:
        for replica_set in step.old:
            observed = int(at(replica_set, "status", "observedGeneration", default=0))
            if observed < int(replica_set["metadata"].get("generation") or 0):
                return True  # It has yet to hear that it should delete its pods.
            pods = self._pods.by_index(BY_CONTROLLER, uid_of(replica_set))
            if plan.size_of(replica_set).existing or not all(is_terminal(pod) for pod in pods):
                return True
        return False

    async def _create(self, step: _Pass, replicas: int) -> None:
        deployment = step.deployment
        annotations = annotations_for(deployment, None, next_revision(step.old))
        wanted = replica_set_of(
            deployment,
            replicas=replicas,
            annotations={**annotations, **sizes_for(step.rollout)},
            collisions=step.collisions,
        )
        try:
            new = await self._client.create(apps.REPLICA_SET, wanted)
        except AlreadyExists:
            new = await self._client.get(apps.REPLICA_SET, *key_of(wanted))
            ours = is_controlled_by(new, deployment)
            if not (ours and are_equal(new["spec"]["template"], wanted["spec"]["template"])):
                step.collisions += 1  # Another template hashes alike: the next pass salts the hash.
                return
        except ApiError as error:
            step.create_error = error
            return
        else:
            step.created = True
            if replicas:
                self._tell(deployment, new, 0, replicas)
        step.new_name = name_of(new)
        step.sets[step.new_name] = self._sets.note(new)

    async def _annotate(self, step: _Pass) -> None:
        """Keeps the revision and the copied annotations of the current ReplicaSet true."""
        if step.new is None:
            return
        new = step.new
        annotations = annotations_for(step.deployment, new, next_revision(step.old))
        patch: Object = {}
        if annotations != annotations_of(new):
            patch["metadata"] = {"annotations": annotations}
        if (new["spec"].get("minReadySeconds") or 0) != step.rollout.min_ready_s:
            patch["spec"] = {"minReadySeconds": step.rollout.min_ready_s}
        if patch:
            await self._patch_set(step, name_of(new), patch)
        revision = annotations[REVISION]
        if annotations_of(step.deployment).get(REVISION) != revision:
            patch = {"metadata": {"annotations": {REVISION: revision}}}
            written = await self._client.patch(apps.DEPLOYMENT, *key_of(step.deployment), patch)
            step.deployment = self._deployments.note(written)

    async def _resize(self, step: _Pass, name: str, replicas: int) -> None:
        replica_set = step.sets[name]
        before = plan.size_of(replica_set).wanted
        sizes = sizes_for(step.rollout)
        patch: Object = {}
        if not sizes.items() <= annotations_of(replica_set).items():
            patch["metadata"] = {"annotations": sizes}
        if before != replicas:
            patch["spec"] = {"replicas": replicas}
        if patch:
            await self._patch_set(step, name, patch)
        if before != replicas:
            self._tell(step.deployment, replica_set, before, replicas)

    async def _patch_set(self, step: _Pass, name: str, patch: Object) -> None:
        key = key_of(step.sets[name])
        written = await self._client.patch(apps.REPLICA_SET, *key, patch)
        step.sets[name] = self._sets.note(written)

    def _tell(self, deployment: Object, replica_set: Object, before: int, after: int) -> None:
        direction = "up" if after > before else "down"
        message = f"Scaled {direction} replica set {name_of(replica_set)} from {before} to {after}"
        self._events.record(deployment, "Normal", "ScalingReplicaSet", message, component=COMPONENT)

    async def _report(self, step: _Pass) -> float | None:
        now = self._clock()
        new = status(step.deployment, step.rollout, step.observed, now)
        if new != step.deployment.get("status"):
            try:
                written = await self._client.replace_status(apps.DEPLOYMENT, step.deployment, new)
            except NotFound:
                return None  # Deleted while we looked at it.
            step.deployment = self._deployments.note(written)
        if step.create_error is not None:
            if is_namespace_ending(step.create_error):
                return None
            raise step.create_error
        if is_complete(step.deployment, step.rollout, new) and not is_deleting(step.deployment):
            await self._clean_up(step)
        progressing = next((c for c in new["conditions"] if c["type"] == "Progressing"), None)
        due = deadline(progressing, step.rollout)
        left_s = None if due is None else max(0.1, (due - now).total_seconds())
        waits = [wait for wait in (left_s, self._sets.again_s) if wait is not None]
        return min(waits, default=None)

    async def _clean_up(self, step: _Pass) -> None:
        for replica_set in expired(step.rollout, step.old):
            key, uid = key_of(replica_set), uid_of(replica_set)
            with contextlib.suppress(NotFound, Conflict):  # Gone already.
                await self._client.delete(apps.REPLICA_SET, *key, uid=uid)
            self._sets.note_deleted(replica_set)


def _selector_of(deployment: Object) -> LabelSelector:
    return LabelSelector.from_object(deployment["spec"].get("selector"))
