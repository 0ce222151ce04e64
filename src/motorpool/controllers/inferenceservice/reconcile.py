"""Reads what an InferenceService depends on, writes its children and its status.

Every decision is elsewhere: `runtime`, `desired`, `status`. A second pass over the same world
writes nothing.
"""

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import replace

from motorpool.api import core, serving
from motorpool.api.apps import DEPLOYMENT
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
from motorpool.api.route import ROUTE
from motorpool.api.serving_fields import AUTO_UPDATE_ANNOTATION, wants_authentication
from motorpool.base.clock import rfc3339
from motorpool.controllers.inferenceservice import config as configuration
from motorpool.controllers.inferenceservice.admission import admit
from motorpool.controllers.inferenceservice.childkinds import BY_OWNER, ChildKinds
from motorpool.controllers.inferenceservice.config import Config, config_of
from motorpool.controllers.inferenceservice.credentials import ca_bundle_copy, secret_names
from motorpool.controllers.inferenceservice.desired import (
    Inputs,
    desired_state,
    is_stopped,
    with_kept_address,
)
from motorpool.controllers.inferenceservice.exposure import entry_of
from motorpool.controllers.inferenceservice.exposurestatus import Exposed
from motorpool.controllers.inferenceservice.hardware import KINDS as PROFILES
from motorpool.controllers.inferenceservice.hardware import hardware_of, without_effect
from motorpool.controllers.inferenceservice.labels import COMPONENT_LABEL
from motorpool.controllers.inferenceservice.locations import downloads
from motorpool.controllers.inferenceservice.modelimages import ImageModes, present_mode
from motorpool.controllers.inferenceservice.names import (
    COMPONENTS,
    FIELD_MANAGER,
    PREDICTOR,
    component_name,
)
from motorpool.controllers.inferenceservice.openshiftroutes import leading
from motorpool.controllers.inferenceservice.refusal import (
    AUTOSCALER_NOT_SUPPORTED,
    NAME_TAKEN,
    NOT_ACCEPTED,
    Refusal,
)
from motorpool.controllers.inferenceservice.runtime import selected
from motorpool.controllers.inferenceservice.sources import (
    all_in_namespace,
    all_that_download,
    all_that_name,
    isvc_paths,
    labelled,
    of_configuration,
)
from motorpool.controllers.inferenceservice.status import (
    Observed,
    observed_status,
    refused,
    status_is_ready,
    stopped,
)
from motorpool.controllers.inferenceservice.storagespec import storage_secret_name
from motorpool.controllers.inferenceservice.transitions import transitions
from motorpool.loop.runner import Context, Controller, own_key

BY_ISVC = "inferenceservice"
RECHECK_S = {NAME_TAKEN: 5.0, NOT_ACCEPTED: 30.0, AUTOSCALER_NOT_SUPPORTED: 30.0}
"""When to look again at what no event tells of: objects that are nobody's, quotas, new kinds."""
AUTOSCALERS = ("HorizontalPodAutoscaler", "ScaledObject")


def controller(context: Context) -> Controller:
    """Makes InferenceServices true."""
    reconciler = _Reconciler(context)
    informers, isvcs = context.informers, reconciler.isvcs
    in_namespace = all_in_namespace(isvcs)
    sources = {
        isvcs: own_key,
        informers(serving.SERVING_RUNTIME): in_namespace,
        informers(serving.CLUSTER_SERVING_RUNTIME): in_namespace,
        informers(serving.CLUSTER_STORAGE_CONTAINER): all_that_download(isvcs),
        informers(core.SECRET): all_that_download(isvcs),
        informers(core.SERVICE_ACCOUNT): all_that_download(isvcs),
        informers(core.POD): labelled,
        **{profiles: all_that_name(isvcs) for profiles in reconciler.profiles},
    }
    sources |= reconciler.kinds.sources()
    configured = of_configuration(isvcs, context.settings.namespace)
    sources[informers(core.CONFIG_MAP)] = lambda change: (
        *reconciler.kinds.concerned(change), *configured(change)
    )  # fmt: skip
    return Controller(
        "inferenceservice",
        sources,
        reconciler.reconcile,
        late=reconciler.kinds.attach_late,
    )


class _Reconciler:
    def __init__(self, context: Context) -> None:
        self._context = context
        informers = context.informers
        self.isvcs = informers(serving.INFERENCE_SERVICE)
        self._written: dict[ObjectKey, tuple[str, Object]] = {}
        self.kinds = ChildKinds(context)
        self.profiles = [informers(kind) for kind in PROFILES if kind in context.kinds.static]
        informers(core.POD).add_index(BY_ISVC, isvc_paths)

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
            await self._lead_users_routes(wanted)
        except Refusal as refusal:
            await self._write_status(isvc, refused(wanted, refusal, now))
            return RECHECK_S.get(refusal.reason)
        observed = self._observed(wanted, children, inputs)
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
        admit(isvc, config)
        namespace = isvc["metadata"]["namespace"]
        runtime = None
        if at(isvc, "spec", PREDICTOR, "model") is not None:
            runtime = selected(
                isvc,
                self._context.informers(serving.SERVING_RUNTIME).list(namespace),
                self._context.informers(serving.CLUSTER_SERVING_RUNTIME).list(),
            )
        secrets = self._context.informers(core.SECRET)
        accounts = {c: self._account(isvc, c) for c in COMPONENTS if at(isvc, "spec", c)}
        names = {n for one in accounts.values() for n in secret_names(isvc, one, config)}
        found = {name: secrets.get(namespace, name) for name in names}
        return Inputs(
            runtime=runtime,
            config=config,
            storage_secret=secrets.get(namespace, storage_secret_name(isvc, config)),
            accounts={c: account for c, account in accounts.items() if account is not None},
            secrets={name: secret for name, secret in found.items() if secret is not None},
            modes={c: self._modes(isvc, c) for c in accounts},
            storage_containers=self._context.informers(serving.CLUSTER_STORAGE_CONTAINER).list(),
            autoscaling=self.kinds.has_autoscaler,
            served=self.kinds.served,
            hardware=hardware_of(
                isvc,
                (profile for informer in self.profiles for profile in informer.list()),
                served=bool(self.profiles),
                shared=self._context.settings.namespace,
            ),
        )

    def _modes(self, isvc: Object, component: str) -> ImageModes:
        """How models that are images are served; a Deployment that is there stays as it is."""
        settings = self._context.settings
        place = (isvc["metadata"]["namespace"], component_name(isvc, component))
        there = self._context.informers(DEPLOYMENT).get(*place)
        present = present_mode(there)
        return ImageModes(cluster=settings.cluster, asked=settings.oci_mode, present=present)

    def _account(self, isvc: Object, component: str) -> Object | None:
        """The service account of the component's pods, as far as it exists."""
        name = at(isvc, "spec", component, "serviceAccountName", default="")
        accounts = self._context.informers(core.SERVICE_ACCOUNT)
        return accounts.get(isvc["metadata"]["namespace"], name or "default")

    def _config(self) -> Config:
        namespace = self._context.settings.namespace
        config_map = self._context.informers(core.CONFIG_MAP).get(namespace, configuration.NAME)
        config = config_of(config_map)
        possible = not self._context.settings.cluster.is_embedded
        return replace(config, agent=replace(config.agent, is_possible=possible))

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
            return [child for kind in self.kinds for child in self._children(kind, isvc)]
        wanted = [obj for obj in desired if not self._is_users_route(isvc, obj)]
        self._check_owners(isvc, wanted)
        # KEDA takes no ScaledObject while the other kind of autoscaler is there, nor the reverse.
        await self._delete_surplus(isvc, wanted, AUTOSCALERS)
        client = self._context.client
        written = []
        for obj in wanted:
            kind = self.kinds.of(obj)
            there = self._context.informers(kind).get(*key_of(obj))
            try:
                kept = with_kept_address(obj, there)
                written.append(await client.apply(kind, kept, manager=FIELD_MANAGER))
            except (Invalid, BadRequest, Forbidden) as error:
                # What the user wrote makes an object that the API does not take.
                message = f"{error}: correct the InferenceService or its ServingRuntime"
                raise Refusal(NOT_ACCEPTED, message) from error
        await self._delete_surplus(isvc, desired)
        return written

    def _check_owners(self, isvc: Object, desired: Sequence[Object]) -> None:
        """A name that is taken is not taken over: someone else's object stays theirs."""
        for obj in desired:
            there = self._context.informers(self.kinds.of(obj)).get(*key_of(obj))
            if there is not None and not is_controlled_by(there, isvc):
                raise Refusal(
                    NAME_TAKEN,
                    f"{obj['kind']} {name_of(obj)} exists and is not of InferenceService "
                    f"{name_of(isvc)}: delete it, or choose another name",
                )

    def _is_users_route(self, isvc: Object, obj: Object) -> bool:
        """A user who made the Route himself keeps it as he made it."""
        if obj["kind"] != ROUTE.kind:
            return False
        there = self._context.informers(ROUTE).get(*key_of(obj))
        return there is not None and not is_controlled_by(there, isvc)

    async def _lead_users_routes(self, isvc: Object) -> None:
        """To the proxy while there is one: else they would answer to nobody."""
        if ROUTE.kind not in self.kinds.served:
            return
        entry = component_name(isvc, entry_of(isvc))
        for there in self._context.informers(ROUTE).list(isvc["metadata"]["namespace"]):
            if is_deleting(there) or controller_of(there) is not None:
                continue
            patch = leading(there, entry, is_protected=wants_authentication(isvc))
            if patch is not None:
                with contextlib.suppress(NotFound):  # gone meanwhile
                    await self._context.client.patch(ROUTE, *key_of(there), patch)

    def _is_held(self, isvc: Object) -> bool:
        """Whether the user wants a ready service left as it is."""
        held = annotations_of(isvc).get(AUTO_UPDATE_ANNOTATION, "").lower() == "true"
        return held and status_is_ready(isvc.get("status") or {})

    async def _delete_surplus(
        self, isvc: Object, desired: Sequence[Object], only: Sequence[str] = ()
    ) -> None:
        """Deletes the children that *desired* lacks; with *only*, those of these kinds."""
        keep = {(obj["kind"], name_of(obj)) for obj in desired}
        surplus = [
            (kind, child)
            for kind in self.kinds
            if not only or kind.kind in only
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

    def _observed(self, isvc: Object, children: Iterable[Object], inputs: Inputs) -> Observed:
        settings = self._context.settings
        by_kind_name: dict[str, dict[str, Object]] = {DEPLOYMENT.kind: {}, core.SERVICE.kind: {}}
        others = []
        for child in children:
            if child["kind"] in by_kind_name:
                component = labels_of(child).get(COMPONENT_LABEL, "")
                by_kind_name[child["kind"]][component] = child
            else:
                others.append(child)
        deployments = by_kind_name[DEPLOYMENT.kind]
        app = labels_of(deployments.get(PREDICTOR) or {"metadata": {}}).get("app")
        path = f"{isvc['metadata']['namespace']}/{name_of(isvc)}"
        pods = self._context.informers(core.POD).by_index(BY_ISVC, path)
        return Observed(
            deployments=deployments,
            services=by_kind_name[core.SERVICE.kind],
            pods=[pod for pod in pods if labels_of(pod).get("app") == app],
            runtime=inputs.runtime,
            autoscaling=self.kinds.has_autoscaler,
            cluster=settings.cluster,
            without_effect=without_effect(
                isvc,
                inputs.hardware,
                served=bool(self.profiles),
                embedded=settings.cluster.is_embedded,
            ),
            exposed=Exposed(
                served=self.kinds.served,
                objects=[*others, *self._users_route(isvc, others)],
                http_port=settings.http_port,
                https_port=settings.https_port,
            ),
        )

    def _users_route(self, isvc: Object, children: Iterable[Object]) -> list[Object]:
        """The Route of the same name that a user made, which then exposes the InferenceService."""
        if ROUTE.kind not in self.kinds.served or any(c["kind"] == ROUTE.kind for c in children):
            return []
        found = self._context.informers(ROUTE).get(*key_of(isvc))
        return [found] if found is not None else []

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
        for happened in transitions(name_of(isvc), before, after):
            self._context.events.record(isvc, *happened)
