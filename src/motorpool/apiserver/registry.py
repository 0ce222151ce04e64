"""The verbs of the API, for any kind from its table entry. No HTTP here.

Rules: what comes out of the registry is shared and must not be changed; what goes in belongs to the
registry from then on. How a write is carried out is in `writer.py`.
"""

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import NamedTuple, TypeAlias

from motorpool.api import apply, core, rbac, scheme
from motorpool.api.errors import (
    FieldError,
    InternalError,
    NotFound,
)
from motorpool.api.kinds import Kind
from motorpool.api.meta import Object
from motorpool.apiserver import admission, deletion, refusals, upkeep
from motorpool.apiserver.access.bootstrap import ensure_defaults
from motorpool.apiserver.access.policy import Policy
from motorpool.apiserver.clusterips import ServiceAddresses
from motorpool.apiserver.objects import fresh
from motorpool.apiserver.options import DeleteOptions, ListOptions, WatchOptions, WriteOptions
from motorpool.apiserver.preconditions import check_preconditions, place
from motorpool.apiserver.scale import check_scalable, scale_of, with_scale
from motorpool.apiserver.sealing import Sealer
from motorpool.apiserver.shelf import Listing, Shelf, Stale
from motorpool.apiserver.turns import in_turn
from motorpool.apiserver.virtual import VirtualKinds
from motorpool.apiserver.writer import CONFLICT_TRIES_MAX, Change, Writer
from motorpool.base.clock import Clock, now, rfc3339
from motorpool.client import WatchEvent
from motorpool.loop.kinds import LiveKinds
from motorpool.store import Store

FIRST_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")

Below: TypeAlias = Callable[[str, str, Object], Awaitable[Object]]
"""Answers what is created below an object: of its namespace, its name, and what is sent."""


class Written(NamedTuple):
    object: Object
    created: bool


class Deleted(NamedTuple):
    object: Object
    gone: bool


class Registry:
    def __init__(
        self,
        store: Store,
        *,
        clock: Clock = now,
        source: random.Random | None = None,
        sealer: Sealer | None = None,
        data_dir: str = "",
        demands_accounts: bool = False,
    ) -> None:
        """With a *sealer*, Secrets are sealed in the store. *data_dir* says where the addresses of
        Services start. With *demands_accounts* a Pod's ServiceAccount has to be there."""
        self.clock = clock
        self.virtual = VirtualKinds()
        self.kinds = LiveKinds(scheme.KINDS)
        self._shelf = Shelf(store, sealer)
        self.policy = Policy()
        for kind in rbac.KINDS:
            self._shelf.observe(kind, partial(self.policy.put, kind))
        source = source or random.Random()
        addresses = ServiceAddresses(data_dir, source)
        self._writer = Writer(self._shelf, clock, source, addresses)
        self._writer.demands_accounts = demands_accounts
        self.turns = self._writer.turns
        self._below: dict[tuple[Kind, str], Below] = {}

    @property
    def resource_version(self) -> str:
        return str(self._shelf.revision)

    async def bootstrap(self) -> None:
        """Creates the namespaces, roles and bindings that every cluster has."""
        for kind in rbac.KINDS:
            for obj in (await self._shelf.list(kind, "", ListOptions(full=False))).items:
                self.policy.put(kind, None, obj)
        await ensure_defaults(self)
        for name in FIRST_NAMESPACES:
            if await self._shelf.find(core.NAMESPACE, "", name) is None:
                namespace: Object = {"metadata": {"name": name}}
                await self.create(core.NAMESPACE, "", namespace, WriteOptions(manager="motorpool"))

    async def held_addresses(self) -> ServiceAddresses:
        """Of Services."""
        return await self._writer.held_addresses()

    def serve_below(self, kind: Kind, subresource: str, answer: Below) -> None:
        """Lets *answer* take what is created at a subresource, such as an account's token."""
        self._below[kind, subresource] = answer

    async def create_below(
        self, kind: Kind, namespace: str, name: str, obj: Object, *, subresource: str
    ) -> Object:
        """Raises NotFound where nobody answers, or the object is missing."""
        answer = self._below.get((kind, subresource))
        if answer is None:
            raise NotFound("the server could not find the requested resource")
        return await answer(namespace, name, obj)

    async def run(self) -> None:
        """Keeps the store small, until cancelled."""
        await upkeep.run(self._shelf, self.clock)

    # Reading

    async def check(self) -> None:
        """Raises the ApiError that readers would get."""
        await self._shelf.find(core.NAMESPACE, "", FIRST_NAMESPACES[0])

    async def get(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        *,
        resource_version: str = "",
        full: bool = True,
    ) -> Object:
        """Raises NotFound. *full* is with who owns what, as bytes: for JSON and nothing else."""
        if kind.is_virtual:
            return await self.virtual.get(kind, namespace, name)
        if resource_version:
            await self._shelf.reach(resource_version)
        return await self._shelf.get(kind, namespace, name, form="shown" if full else "bare")

    def shared(self, obj: Object) -> Object:
        """*obj* without who owns what, as all readers of its revision share it."""
        return self._shelf.shared(obj)

    async def scale(self, kind: Kind, namespace: str, name: str) -> Object:
        parent = await self._shelf.get(kind, namespace, name)
        check_scalable(kind, parent)
        return scale_of(kind, parent)

    async def list(self, kind: Kind, namespace: str, options: ListOptions) -> Listing:
        if kind.is_virtual:
            found = await self.virtual.list(kind, namespace, options)
            return Listing(found, self.resource_version)
        return await self._shelf.list(kind, namespace, options)

    def watch(self, kind: Kind, namespace: str, options: WatchOptions) -> AsyncIterator[WatchEvent]:
        """What happens, until cancelled or the store closes. Raises Expired."""
        return self._shelf.watch(kind, namespace, options)

    def end_watches(self, kind: Kind) -> None:
        """Ends every watch on the kind: it is served no longer."""
        self._shelf.end_watches(kind)

    # Writing

    async def create(
        self, kind: Kind, namespace: str, obj: Object, options: WriteOptions
    ) -> Object:
        """Raises AlreadyExists, Invalid, BadRequest; NotFound where the namespace is missing."""
        obj = admission.conformed(kind, obj, options)
        place(kind, namespace, obj)
        if obj["metadata"].get("resourceVersion"):
            raise InternalError("resourceVersion should not be set on objects to be created")
        return await self._writer.create(kind, namespace, obj, options)

    async def update(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        obj: Object,
        options: WriteOptions,
        *,
        subresource: str = "",
    ) -> Written:
        """Replaces the object, or what the subresource covers of it."""
        if subresource == "scale":
            return await self._rescale(kind, namespace, name, lambda _: obj, options)
        obj = admission.conformed(kind, obj, options)
        place(kind, namespace, obj)
        metadata = obj["metadata"]
        if metadata.get("name") != name:
            raise refusals.name_mismatch(str(metadata.get("name") or ""), name)
        if kind.update_needs_resource_version and not metadata.get("resourceVersion"):
            detail = "Invalid value: 0x0: must be specified for an update"
            error = FieldError("metadata.resourceVersion", "FieldValueInvalid", detail)
            raise refusals.invalid(kind, name, error)
        try:
            changed = await self._writer.change(
                kind, namespace, name, lambda _: fresh(obj), options, subresource
            )
        except NotFound:
            if not kind.update_may_create or subresource or metadata.get("resourceVersion"):
                raise
            return Written(await self._writer.create(kind, namespace, obj, options), created=True)
        return Written(changed, created=False)

    async def patch(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        change: Change,
        options: WriteOptions,
        *,
        subresource: str = "",
        strategic: Object | None = None,
    ) -> Written:
        """*change* applies the patch to the object, or to its scale; a *strategic* merge patch is
        told of by itself where its result is no object of the kind."""
        if subresource == "scale":
            return await self._rescale(kind, namespace, name, change, options)

        def patched(current: Object) -> Object:
            new = fresh(change(current))
            try:
                new = admission.conformed(kind, new, options)
            except admission.Undecodable as error:
                raise refusals.patch_result(new, strategic, error.problem) from error
            place(kind, namespace, new)
            if new["metadata"].get("name") != name:
                raise refusals.name_mismatch(str(new["metadata"].get("name") or ""), name)
            return new

        changed = await self._writer.change(kind, namespace, name, patched, options, subresource)
        return Written(changed, created=False)

    async def apply(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        applied: Object,
        options: WriteOptions,
        *,
        subresource: str = "",
    ) -> Written:
        """Server-side apply: the options' manager owns what *applied* says."""
        place(kind, namespace, applied)
        moment = rfc3339(self.clock())

        def merged(current: Object | None) -> Object:
            return fresh(
                apply.apply(
                    current,
                    applied,
                    manager=options.manager,
                    force=options.force,
                    kind=kind,
                    now=moment,
                    subresource=subresource,
                )
            )

        try:
            changed = await self._writer.change(
                kind, namespace, name, merged, options, subresource, applies=True
            )
        except NotFound:
            if subresource or applied["metadata"].get("resourceVersion"):
                raise
        else:
            return Written(changed, created=False)
        obj = await self._writer.create(kind, namespace, merged(None), options, applies=True)
        return Written(obj, created=True)

    @in_turn
    async def delete(
        self, kind: Kind, namespace: str, name: str, options: DeleteOptions
    ) -> Deleted:
        """Removes the object, or marks it where something holds it."""
        for _ in range(CONFLICT_TRIES_MAX):
            old = await self._shelf.get(kind, namespace, name, form="full")
            check_preconditions(kind, old, options)
            deletion.check_allowed(kind, name)
            decided = deletion.decide(kind, old, options, self.clock())
            if options.dry_run or not decided.changed:
                return Deleted(decided.object, decided.gone)
            try:
                if decided.gone:
                    await self._writer.remove(kind, old, decided.object)
                    return Deleted(decided.object, gone=True)
                return Deleted(await self._shelf.replace(kind, old, decided.object), gone=False)
            except Stale:
                continue
        raise refusals.conflict(kind, name)

    async def delete_collection(
        self, kind: Kind, namespace: str, listed: ListOptions, options: DeleteOptions
    ) -> Listing:
        """Deletes what the selectors match; returns it as it was or is."""
        listing = await self._shelf.list(kind, namespace, listed)
        deleted: list[Object] = []
        for obj in listing.items:
            metadata = obj["metadata"]
            try:
                gone = await self.delete(
                    kind, metadata.get("namespace", ""), metadata["name"], options
                )
            except NotFound:
                continue
            deleted.append(gone.object)
        return Listing(deleted, self.resource_version)

    async def _rescale(
        self, kind: Kind, namespace: str, name: str, change: Change, options: WriteOptions
    ) -> Written:
        def rescaled(parent: Object) -> Object:
            return fresh(with_scale(kind, parent, change(scale_of(kind, parent))))

        changed = await self._writer.change(kind, namespace, name, rescaled, options, "scale")
        return Written(scale_of(kind, changed), created=False)
