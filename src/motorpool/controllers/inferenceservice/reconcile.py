"""Reads what an InferenceService depends on, writes its children and its status.

Every decision is elsewhere: `runtime`, `desired`, `status`. A second pass over the same world
writes nothing.
"""

import contextlib
from collections.abc import Iterable, Sequence

from motorpool.api import core, serving
from motorpool.api.apps import DEPLOYMENT
from motorpool.api.conditions import condition_of
from motorpool.api.errors import BadRequest, Forbidden, Invalid, NotFound
from motorpool.api.kinds import Kind
from motorpool.api.meta import (
    Object,
    ObjectKey,
    annotations_of,
    at,
    controller_of,
    copy_of,
    is_controlled_by,
    is_deleting,
    key_of,
    labels_of,
    name_of,
)
from motorpool.api.scheme import by_kind
from motorpool.api.serving_fields import AUTO_UPDATE_ANNOTATION, MODE_ANNOTATION
from motorpool.base.clock import rfc3339
from motorpool.controllers.inferenceservice import config as configuration
from motorpool.controllers.inferenceservice.config import Config, config_of, normalized_mode
from motorpool.controllers.inferenceservice.credentials import ca_bundle_copy, secret_names
from motorpool.controllers.inferenceservice.desired import Inputs, desired_state, is_stopped
from motorpool.controllers.inferenceservice.labels import COMPONENT_LABEL, ISVC_LABEL
from motorpool.controllers.inferenceservice.names import FIELD_MANAGER, PREDICTOR
from motorpool.controllers.inferenceservice.refusal import (
    INVALID_PREDICTOR_SPEC,
    MODE_NOT_SUPPORTED,
    NAME_TAKEN,
    NOT_ACCEPTED,
    Refusal,
)
from motorpool.controllers.inferenceservice.runtime import Runtime, selected
from motorpool.controllers.inferenceservice.status import (
    READY,
    Observed,
    observed_status,
    refused,
    status_is_ready,
    stopped,
)
from motorpool.controllers.inferenceservice.storage import downloads, storage_secret_name
from motorpool.controllers.inferenceservice.unsupported import FIELDS_IGNORED
from motorpool.loop.informer import Change, Informer
from motorpool.loop.runner import Context, Controller, KeysOf, own_key, owner_key

BY_OWNER, BY_ISVC = "owner", "inferenceservice"
RECHECK_S = {NAME_TAKEN: 5.0, NOT_ACCEPTED: 30.0}
"""When to look again at what no event tells of: objects that are nobody's, quotas."""


def controller(context: Context) -> Controller:
    """Makes InferenceServices true."""
    reconciler = _Reconciler(context)
    informers, isvcs = context.informers, reconciler.isvcs
    in_namespace = _all_in_namespace(isvcs)
    sources = {
        isvcs: own_key,
        informers(serving.SERVING_RUNTIME): in_namespace,
        informers(serving.CLUSTER_SERVING_RUNTIME): in_namespace,
        informers(core.CONFIG_MAP): _configuration(isvcs, context.settings.namespace),
        informers(core.SECRET): _downloaders(isvcs),
        informers(core.SERVICE_ACCOUNT): _downloaders(isvcs),
        informers(core.POD): _labelled,
    }
    for kind in reconciler.child_kinds:
        sources[informers(kind)] = owner_key(serving.INFERENCE_SERVICE.kind)
    return Controller("inferenceservice", sources, reconciler.reconcile)


class _Reconciler:
    def __init__(self, context: Context) -> None:
        self._context = context
        informers = context.informers
        self.isvcs = informers(serving.INFERENCE_SERVICE)
        self._written: dict[ObjectKey, tuple[str, Object]] = {}
        autoscaler = by_kind("autoscaling/v2", "HorizontalPodAutoscaler")
        self._autoscaling = autoscaler is not None
        kinds: list[Kind] = [core.SERVICE, DEPLOYMENT]
        self.child_kinds = [*kinds, autoscaler] if autoscaler is not None else kinds
        for kind in self.child_kinds:
            informers(kind).add_index(BY_OWNER, _owner_uids)
        informers(core.POD).add_index(BY_ISVC, _isvc_paths)

    async def reconcile(self, key: ObjectKey) -> float | None:
        isvc = self._latest(key)
        if isvc is None or is_deleting(isvc):
            return None  # Its children carry owner references and are collected.
        # On a server without our defaulting, such as a plain cluster, this is where it happens.
        wanted = copy_of(isvc)
        serving.INFERENCE_SERVICE.default(wanted)
        now = rfc3339(self._context.clock())
        if is_stopped(wanted):
            await self._delete_surplus(isvc, [])
            await self._write_status(isvc, stopped(wanted, now))
            return None
        try:
            inputs = self._inputs(wanted)
            await self._copy_ca_bundle(wanted, inputs.config)
            desired = desired_state(wanted, inputs)
            children = await self._write_children(isvc, desired)
        except Refusal as refusal:
            await self._write_status(isvc, refused(wanted, refusal, now))
            return RECHECK_S.get(refusal.reason)
        observed = self._observed(wanted, children, inputs.runtime)
        await self._write_status(isvc, observed_status(wanted, observed, inputs.config, now))
        return None

    def _latest(self, key: ObjectKey) -> Object | None:
        """The object as it is: what we wrote last, until the cache has moved on from before it."""
        isvc = self.isvcs.get(*key)
        replaced, written = self._written.get(key, ("", None))
        if isvc is not None and isvc["metadata"]["resourceVersion"] == replaced:
            return written
        self._written.pop(key, None)
        return isvc

    def _inputs(self, isvc: Object) -> Inputs:
        config = self._config()
        _check_mode(isvc, config)
        _check_nodes(isvc)
        namespace = isvc["metadata"]["namespace"]
        runtime = None
        if at(isvc, "spec", PREDICTOR, "model") is not None:
            runtime = selected(
                isvc,
                self._context.informers(serving.SERVING_RUNTIME).list(namespace),
                self._context.informers(serving.CLUSTER_SERVING_RUNTIME).list(),
            )
        secrets = self._context.informers(core.SECRET)
        account = self._account(isvc, runtime)
        names = secret_names(isvc, account, config)
        found = {name: secrets.get(namespace, name) for name in names}
        return Inputs(
            runtime=runtime,
            config=config,
            storage_secret=secrets.get(namespace, storage_secret_name(isvc, config)),
            account=account,
            secrets={name: secret for name, secret in found.items() if secret is not None},
            autoscaling=self._autoscaling,
        )

    def _account(self, isvc: Object, runtime: Runtime | None) -> Object | None:
        """The service account of the predictor's pods, as far as it exists."""
        name = at(isvc, "spec", PREDICTOR, "serviceAccountName", default="")
        if not name and runtime is not None:
            name = runtime.spec.get("serviceAccountName") or ""
        accounts = self._context.informers(core.SERVICE_ACCOUNT)
        return accounts.get(isvc["metadata"]["namespace"], name or "default")

    def _config(self) -> Config:
        namespace = self._context.settings.namespace
        config_map = self._context.informers(core.CONFIG_MAP).get(namespace, configuration.NAME)
        return config_of(config_map)

    async def _copy_ca_bundle(self, isvc: Object, config: Config) -> None:
        """A download mounts the bundle, and mounts reach no other namespace."""
        if not config.ca_bundle or not downloads(isvc):
            return
        config_maps = self._context.informers(core.CONFIG_MAP)
        source = config_maps.get(self._context.settings.namespace, config.ca_bundle)
        copy = ca_bundle_copy(source, isvc["metadata"]["namespace"], config)
        there = config_maps.get(*key_of(copy))
        if there is None or there.get("data") != copy["data"]:
            await self._context.client.apply(core.CONFIG_MAP, copy, manager=FIELD_MANAGER)

    async def _write_children(self, isvc: Object, desired: Sequence[Object]) -> list[Object]:
        """Applies what should be, deletes what should not; gives the children as they are now."""
        if self._is_held(isvc):
            return [child for kind in self.child_kinds for child in self._children(kind, isvc)]
        self._check_owners(isvc, desired)
        client = self._context.client
        written = []
        for obj in desired:
            kind = _kind_of(obj)
            try:
                written.append(await client.apply(kind, obj, manager=FIELD_MANAGER))
            except (Invalid, BadRequest, Forbidden) as error:
                # What the user wrote makes an object that the API does not take.
                message = f"{error}: correct the InferenceService or its ServingRuntime"
                raise Refusal(NOT_ACCEPTED, message) from error
        await self._delete_surplus(isvc, desired)
        return written

    def _check_owners(self, isvc: Object, desired: Sequence[Object]) -> None:
        """A name that is taken is not taken over: someone else's object stays theirs."""
        for obj in desired:
            there = self._context.informers(_kind_of(obj)).get(*key_of(obj))
            if there is not None and not is_controlled_by(there, isvc):
                raise Refusal(
                    NAME_TAKEN,
                    f"{obj['kind']} {name_of(obj)} exists and is not of InferenceService "
                    f"{name_of(isvc)}: delete it, or choose another name",
                )

    def _is_held(self, isvc: Object) -> bool:
        """Whether the user wants a ready service left as it is."""
        held = annotations_of(isvc).get(AUTO_UPDATE_ANNOTATION, "").lower() == "true"
        return held and status_is_ready(isvc.get("status") or {})

    async def _delete_surplus(self, isvc: Object, desired: Sequence[Object]) -> None:
        keep = {(obj["kind"], name_of(obj)) for obj in desired}
        surplus = [
            (kind, child)
            for kind in self.child_kinds
            for child in self._children(kind, isvc)
            if (kind.kind, name_of(child)) not in keep and not is_deleting(child)
        ]
        for kind, child in surplus:
            with contextlib.suppress(NotFound):  # gone already: the cache is behind
                uid = child["metadata"]["uid"]
                await self._context.client.delete(kind, *key_of(child), uid=uid)

    def _children(self, kind: Kind, isvc: Object) -> Sequence[Object]:
        found = self._context.informers(kind).by_index(BY_OWNER, isvc["metadata"]["uid"])
        return [child for child in found if is_controlled_by(child, isvc)]

    def _observed(
        self, isvc: Object, children: Iterable[Object], runtime: Runtime | None
    ) -> Observed:
        by_kind_name: dict[str, dict[str, Object]] = {DEPLOYMENT.kind: {}, core.SERVICE.kind: {}}
        for child in children:
            if child["kind"] in by_kind_name:
                component = labels_of(child).get(COMPONENT_LABEL, "")
                by_kind_name[child["kind"]][component] = child
        deployments = by_kind_name[DEPLOYMENT.kind]
        app = labels_of(deployments.get(PREDICTOR) or {"metadata": {}}).get("app")
        path = f"{isvc['metadata']['namespace']}/{name_of(isvc)}"
        pods = self._context.informers(core.POD).by_index(BY_ISVC, path)
        return Observed(
            deployments=deployments,
            services=by_kind_name[core.SERVICE.kind],
            pods=[pod for pod in pods if labels_of(pod).get("app") == app],
            runtime=runtime,
            autoscaling=self._autoscaling,
        )

    async def _write_status(self, isvc: Object, status: Object) -> None:
        before = isvc.get("status") or {}
        if before == status:
            return
        written = await self._context.client.replace_status(serving.INFERENCE_SERVICE, isvc, status)
        cached = self.isvcs.get(*key_of(isvc))
        if cached is not None:
            self._written[key_of(isvc)] = (cached["metadata"]["resourceVersion"], written)
        self._tell(isvc, before, status)

    def _tell(self, isvc: Object, before: Object, after: Object) -> None:
        """An event for each transition that a user waits for or must act upon."""
        events, name = self._context.events, name_of(isvc)
        was, ready = status_is_ready(before), status_is_ready(after)
        condition = condition_of({"status": after}, READY) or {}
        old = condition_of({"status": before}, READY) or {}
        if ready and not was:
            message = f"InferenceService {name} is Ready"
            events.record(isvc, "Normal", "InferenceServiceReady", message)
        elif was and not ready:
            because = condition.get("message") or condition.get("reason") or "unknown"
            message = f"InferenceService {name} is no longer Ready: {because}"
            events.record(isvc, "Warning", "InferenceServiceNotReady", message)
        failure = at(after, "modelStatus", "lastFailureInfo")
        if failure and condition.get("message") and condition.get("message") != old.get("message"):
            events.record(isvc, "Warning", failure["reason"], condition["message"])
        ignored = condition_of({"status": after}, FIELDS_IGNORED)
        if ignored and not condition_of({"status": before}, FIELDS_IGNORED):
            events.record(isvc, "Warning", ignored["reason"], ignored["message"])


def _check_mode(isvc: Object, config: Config) -> None:
    annotated = normalized_mode(annotations_of(isvc).get(MODE_ANNOTATION, ""))
    recorded = at(isvc, "status", "deploymentMode", default="")
    mode = recorded or annotated or config.deployment_mode
    if mode in ("Knative", "ModelMesh"):
        raise Refusal(
            MODE_NOT_SUPPORTED,
            f"deployment mode {mode} is not supported: set annotation {MODE_ANNOTATION} to "
            "Standard, or leave it out",
        )


def _check_nodes(isvc: Object) -> None:
    if at(isvc, "spec", PREDICTOR, "workerSpec") is not None:
        raise Refusal(
            INVALID_PREDICTOR_SPEC,
            "a predictor on several nodes is not supported: remove spec.predictor.workerSpec",
        )


def _kind_of(obj: Object) -> Kind:
    kind = by_kind(obj["apiVersion"], obj["kind"])
    if kind is None:
        raise ValueError(f"not a served kind: {obj['apiVersion']} {obj['kind']}")
    return kind


def _all_in_namespace(isvcs: Informer) -> KeysOf:
    """A runtime may be chosen, or no longer be, by any InferenceService that can see it.

    All of them look again, so that what is chosen never depends on which object came first.
    """

    def keys(change: Change) -> Iterable[ObjectKey]:
        namespace = change.object["metadata"].get("namespace", "")
        return [key_of(isvc) for isvc in isvcs.list(namespace)]

    return keys


def _configuration(isvcs: Informer, namespace: str) -> KeysOf:
    def keys(change: Change) -> Iterable[ObjectKey]:
        # Of the other ConfigMaps there, one may be the CA bundle.
        if change.object["metadata"]["namespace"] != namespace:
            return ()
        return [key_of(isvc) for isvc in isvcs.list()]

    return keys


def _downloaders(isvcs: Informer) -> KeysOf:
    """Who may read a Secret or a service account of the namespace: all that download a model."""

    def keys(change: Change) -> Iterable[ObjectKey]:
        namespace = change.object["metadata"]["namespace"]
        return [key_of(isvc) for isvc in isvcs.list(namespace) if downloads(isvc)]

    return keys


def _labelled(change: Change) -> Iterable[ObjectKey]:
    """Pods belong to ReplicaSets; their label says which InferenceService they serve."""
    name = labels_of(change.object).get(ISVC_LABEL)
    return [ObjectKey(change.object["metadata"]["namespace"], name)] if name else ()


def _owner_uids(obj: Object) -> Iterable[str]:
    reference = controller_of(obj)
    return (reference["uid"],) if reference is not None else ()


def _isvc_paths(pod: Object) -> Iterable[str]:
    name = labels_of(pod).get(ISVC_LABEL)
    return (f"{pod['metadata']['namespace']}/{name}",) if name else ()
