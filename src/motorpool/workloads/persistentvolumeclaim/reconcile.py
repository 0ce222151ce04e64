"""Binds claims to volumes, makes volumes of our own class, and frees what is no longer claimed.

A key with a namespace is a claim, one without is a volume. Volumes of the class `standard` are
directories below the data directory: the node makes one when a pod first needs it, and it is
removed here, when its claim is gone and its class says Delete. Claims and volumes carry the
finalizers of Kubernetes: a claim stays while a pod uses it, a volume while a claim has it.
"""

import asyncio
import contextlib
import shutil
from collections.abc import Iterable
from pathlib import Path

from motorpool.api import core, storage
from motorpool.api.claims import CLAIM_FINALIZER, VOLUME_FINALIZER
from motorpool.api.errors import AlreadyExists, Conflict, NotFound
from motorpool.api.kinds import Kind
from motorpool.api.meta import (
    Object,
    ObjectKey,
    annotations_of,
    at,
    is_deleting,
    key_of,
    name_of,
    namespace_of,
    uid_of,
)
from motorpool.api.podstatus import is_terminal
from motorpool.client import Client
from motorpool.loop.informer import Change
from motorpool.loop.runner import Context, Controller, own_key
from motorpool.workloads.persistentvolumeclaim import match

COMPONENT = "persistentvolume-controller"
BY_CLAIM = "claim"


def controller(context: Context, *, volumes_dir: Path | None = None) -> Controller:
    """*volumes_dir*: where volumes are made; without it only those that exist are bound."""
    actor = _Claims(context, volumes_dir)
    sources = {
        context.informers(core.PERSISTENT_VOLUME_CLAIM): _keys_of_claim,
        context.informers(core.PERSISTENT_VOLUME): actor.keys_of_volume,
        context.informers(storage.STORAGE_CLASS): actor.keys_of_class,
        context.informers(core.POD): _keys_of_pod,
    }
    # One worker: no volume must be given to two claims.
    return Controller(COMPONENT, sources, actor.reconcile, workers=1)


async def install(client: Client) -> None:
    """Makes the default class, once: what a user makes of it later stays."""
    with contextlib.suppress(AlreadyExists):
        await client.create(storage.STORAGE_CLASS, match.standard_class())


def claim_paths(pod: Object) -> Iterable[str]:
    """An informer index: ``NAMESPACE/CLAIM`` for each claim that a pod uses."""
    if is_terminal(pod):
        return ()
    return [f"{namespace_of(pod)}/{name}" for name in match.claims_of(pod)]


def _keys_of_claim(change: Change) -> Iterable[ObjectKey]:
    volume = at(change.object, "spec", "volumeName")
    return [*own_key(change), *([ObjectKey("", volume)] if volume else [])]


def _keys_of_pod(change: Change) -> Iterable[ObjectKey]:
    """The claims of a pod that begins or ends to use them."""
    found = []
    for pod in (change.old, change.new):
        if pod is not None and match.claims_of(pod):
            before, after = (None if p is None else _use(p) for p in (change.old, change.new))
            if before != after:
                found += [ObjectKey(namespace_of(pod), name) for name in match.claims_of(pod)]
    return dict.fromkeys(found)


def _use(pod: Object) -> tuple[bool, bool]:
    return is_terminal(pod), bool(at(pod, "spec", "nodeName"))


class _Claims:
    def __init__(self, context: Context, volumes_dir: Path | None) -> None:
        self._client = context.client
        self._events = context.events
        self._claims = context.informers(core.PERSISTENT_VOLUME_CLAIM)
        self._volumes = context.informers(core.PERSISTENT_VOLUME)
        self._classes = context.informers(storage.STORAGE_CLASS)
        self._pods = context.informers(core.POD)
        self._pods.add_index(BY_CLAIM, claim_paths)
        self._dir = volumes_dir

    def keys_of_volume(self, change: Change) -> Iterable[ObjectKey]:
        """The volume, its claim, and where it is free all claims that wait."""
        keys = list(own_key(change))
        reference = at(change.object, "spec", "claimRef")
        if reference is not None:
            keys.append(ObjectKey(reference.get("namespace", ""), reference["name"]))
            return keys
        return [*keys, *self._waiting()]

    def keys_of_class(self, _: Change) -> Iterable[ObjectKey]:
        return self._waiting()

    def _waiting(self) -> list[ObjectKey]:
        return [key_of(c) for c in self._claims.list() if at(c, "status", "phase") != "Bound"]

    async def reconcile(self, key: ObjectKey) -> float | None:
        kind = core.PERSISTENT_VOLUME_CLAIM if key.namespace else core.PERSISTENT_VOLUME
        try:
            # As it is, and not as an informer shows it: a volume must not be bound twice.
            obj = await self._client.get(kind, *key)
            if key.namespace:
                await self._claim(obj)
            else:
                await self._volume(obj)
        except NotFound:
            return None  # Gone; what depended on it has its own key.
        return None

    # Claims

    async def _claim(self, claim: Object) -> None:
        if is_deleting(claim):
            users = self._pods.by_index(BY_CLAIM, str(key_of(claim)))
            if not users:
                await self._unprotect(core.PERSISTENT_VOLUME_CLAIM, claim, CLAIM_FINALIZER)
            return
        if annotations_of(claim).get(match.BIND_COMPLETED):
            await self._keep(claim)
            return
        claim = await self._with_class(claim)
        listed = await self._client.list(core.PERSISTENT_VOLUME)
        volume = match.best_volume(claim, listed.items)
        if volume is None:
            volume = await self._made(claim)
        if volume is not None:
            await self._bind(claim, volume)

    async def _keep(self, claim: Object) -> None:
        """A claim that was bound stays so, or is lost with its volume."""
        try:
            name = str(at(claim, "spec", "volumeName", default=""))
            volume = await self._client.get(core.PERSISTENT_VOLUME, "", name)
        except NotFound:
            if at(claim, "status", "phase") != "Lost":
                text = "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
                self._tell(claim, "ClaimLost", text, warns=True)
            await self._client.replace_status(
                core.PERSISTENT_VOLUME_CLAIM, claim, {**claim["status"], "phase": "Lost"}
            )
            return
        if match.is_for(volume, claim):
            await self._bind(claim, volume)

    async def _with_class(self, claim: Object) -> Object:
        """A claim that names no class gets the default one; one that names "" wants none."""
        if claim["spec"].get("storageClassName") is not None:
            return claim
        default = match.default_class(self._classes.list())
        if default is None:
            return claim
        patch = {
            "metadata": {"uid": uid_of(claim)},
            "spec": {"storageClassName": name_of(default)},
        }
        return await self._client.patch(core.PERSISTENT_VOLUME_CLAIM, *key_of(claim), patch)

    async def _made(self, claim: Object) -> Object | None:
        """A new volume for the claim; None, and an event, where none can be made here and now."""
        name = claim["spec"].get("storageClassName")
        if not name:
            text = "no persistent volumes available for this claim and no storage class is set"
            self._tell(claim, "FailedBinding", text)
            return None
        storage_class = self._classes.get("", name)
        if storage_class is None:
            text = f'storageclass.storage.k8s.io "{name}" not found'
            self._tell(claim, "ProvisioningFailed", text, warns=True)
            return None
        if storage_class["provisioner"] != match.PROVISIONER or self._dir is None:
            await self._leave_to(claim, storage_class["provisioner"])
            return None
        if storage_class.get("volumeBindingMode") == "WaitForFirstConsumer":
            users = self._pods.by_index(BY_CLAIM, str(key_of(claim)))
            if not any(at(pod, "spec", "nodeName") for pod in users):
                text = "waiting for first consumer to be created before binding"
                self._tell(claim, "WaitForFirstConsumer", text)
                return None
        directory = str(self._dir / match.volume_name(claim))
        wanted = match.volume_of(claim, storage_class, directory)
        with contextlib.suppress(AlreadyExists):
            made = await self._client.create(core.PERSISTENT_VOLUME, wanted)
            text = f"Successfully provisioned volume {name_of(made)}"
            self._tell(claim, "ProvisioningSucceeded", text)
            return made
        return await self._client.get(core.PERSISTENT_VOLUME, "", name_of(wanted))

    async def _leave_to(self, claim: Object, provisioner: str) -> None:
        if annotations_of(claim).get(match.STORAGE_PROVISIONER) != provisioner:
            noted = {match.STORAGE_PROVISIONER: provisioner}
            patch = {"metadata": {"uid": uid_of(claim), "annotations": noted}}
            await self._client.patch(core.PERSISTENT_VOLUME_CLAIM, *key_of(claim), patch)
        text = (
            "Waiting for a volume to be created either by the external provisioner "
            f"'{provisioner}' or manually by the system administrator"
        )
        self._tell(claim, "ExternalProvisioning", text)

    async def _bind(self, claim: Object, volume: Object) -> None:
        """The volume first: what it names is what counts."""
        reference = match.reference_to(claim)
        known = at(volume, "spec", "claimRef", default={})
        if known.get("uid") != reference["uid"]:
            patch = {
                "metadata": {"resourceVersion": volume["metadata"]["resourceVersion"]},
                "spec": {"claimRef": reference},
            }
            volume = await self._client.patch(core.PERSISTENT_VOLUME, "", name_of(volume), patch)
        await self._set_phase(volume, "Bound")
        if at(claim, "spec", "volumeName") != name_of(volume) or not annotations_of(claim).get(
            match.BIND_COMPLETED
        ):
            noted = {match.BIND_COMPLETED: "yes", match.BOUND_BY_CONTROLLER: "yes"}
            bound: Object = {
                "metadata": {"uid": uid_of(claim), "annotations": noted},
                "spec": {"volumeName": name_of(volume)},
            }
            claim = await self._client.patch(core.PERSISTENT_VOLUME_CLAIM, *key_of(claim), bound)
        new = match.claim_status(claim, volume)
        await self._client.replace_status(core.PERSISTENT_VOLUME_CLAIM, claim, new)

    # Volumes

    async def _volume(self, volume: Object) -> None:
        reference = at(volume, "spec", "claimRef")
        claim = await self._claimant(reference) if reference else None
        if is_deleting(volume):
            if claim is None:
                await self._unprotect(core.PERSISTENT_VOLUME, volume, VOLUME_FINALIZER)
            return
        if reference is None or (claim is None and not reference.get("uid")):
            await self._set_phase(volume, "Available")
        elif claim is None:
            await self._release(volume)

    async def _claimant(self, reference: Object) -> Object | None:
        place = reference.get("namespace", ""), reference["name"]
        try:
            claim = await self._client.get(core.PERSISTENT_VOLUME_CLAIM, *place)
        except NotFound:
            return None
        return claim if reference.get("uid") in (None, "", uid_of(claim)) else None

    async def _release(self, volume: Object) -> None:
        policy = at(volume, "spec", "persistentVolumeReclaimPolicy")
        await self._set_phase(volume, "Released")
        if policy != "Delete" or not match.is_ours(volume) or self._dir is None:
            return
        directory = Path(str(at(volume, "spec", "hostPath", "path", default="")))
        if directory.parent != self._dir:
            text = f"{directory} is not below {self._dir}: it is left alone"
            self._tell(volume, "VolumeFailedDelete", text, warns=True)
            return
        await asyncio.to_thread(_remove, directory)
        with contextlib.suppress(Conflict):  # Another volume has its name now.
            await self._client.delete(
                core.PERSISTENT_VOLUME, "", name_of(volume), uid=uid_of(volume)
            )

    async def _set_phase(self, volume: Object, phase: str) -> None:
        status = {**(volume.get("status") or {}), "phase": phase}
        await self._client.replace_status(core.PERSISTENT_VOLUME, volume, status)

    async def _unprotect(self, kind: Kind, obj: Object, finalizer: str) -> None:
        present = obj["metadata"].get("finalizers") or []
        if finalizer in present:
            kept = [each for each in present if each != finalizer] or None
            patch = {"metadata": {"uid": uid_of(obj), "finalizers": kept}}
            await self._client.patch(kind, *key_of(obj), patch)

    def _tell(self, obj: Object, reason: str, message: str, *, warns: bool = False) -> None:
        if warns:
            self._events.record(obj, "Warning", reason, message, component=COMPONENT)
        else:
            self._events.record(obj, "Normal", reason, message, component=COMPONENT)


def _remove(directory: Path) -> None:
    if directory.is_dir():
        shutil.rmtree(directory)
