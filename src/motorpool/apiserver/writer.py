"""What the writing verbs share: an object is made whole, checked, and stored if nobody was quicker.

One shape for every write: read what is, make what should be (pure), store it, else read again.
Rules: what goes in belongs to the writer from then on; writers of one object take turns.
"""

import asyncio
import random
import uuid
from collections.abc import Callable
from typing import TypeAlias

from motorpool.api import apply, core
from motorpool.api.errors import AlreadyExists
from motorpool.api.kinds import Kind
from motorpool.api.meta import Object
from motorpool.apiserver import admission, hooks, podaccounts, refusals, strategy
from motorpool.apiserver.clusterips import ServiceAddresses, allocate_addresses
from motorpool.apiserver.options import ListOptions, WriteOptions
from motorpool.apiserver.ownership import tracked
from motorpool.apiserver.preconditions import check_version
from motorpool.apiserver.shelf import Shelf, Stale
from motorpool.apiserver.turns import Turns, in_turn
from motorpool.base.clock import Clock, rfc3339

CONFLICT_TRIES_MAX = 5
NAME_TRIES_MAX = 8
ACCOUNT_TRIES_MAX = 10  # for the account that a namespace is given, which may come after its pods
ACCOUNT_RETRY_S = 0.1
NAME_LETTERS = "bcdfghjklmnpqrstvwxz2456789"

Change: TypeAlias = Callable[[Object], Object]
"""Makes what a client wants out of what there is; leaves its argument alone."""


class Writer:
    def __init__(
        self, shelf: Shelf, clock: Clock, source: random.Random, addresses: ServiceAddresses
    ) -> None:
        self.turns = Turns()
        self._shelf = shelf
        self._clock = clock
        self._random = source
        self._addresses = addresses
        self._knows_held = False
        self.demands_accounts = False

    async def create(
        self,
        kind: Kind,
        namespace: str,
        obj: Object,
        options: WriteOptions,
        *,
        applies: bool = False,
    ) -> Object:
        metadata = obj["metadata"]
        if kind.is_ending:
            raise refusals.definition_terminating()
        await self._check_namespace(kind, namespace, metadata)
        moment = self._clock()
        uid = str(uuid.uuid4())
        strategy.prepare_create(kind, obj, namespace=namespace, uid=uid, moment=rfc3339(moment))
        base = "" if metadata.get("name") else str(metadata.get("generateName") or "")
        if base:
            metadata["name"] = self._generated(base)
        admission.fill(kind, obj, None)
        hooks.BEGIN.get(kind, hooks.nothing)(obj)
        if kind is core.POD:
            await self._take_account(namespace, obj, base)
        admission.check(kind, obj, None)
        if options.check is not None:
            options.check(obj, None)
        obj = strategy.ordered(kind, obj)
        if not applies:
            obj = apply.track(
                None,
                obj,
                manager=options.manager,
                operation="Update",
                kind=kind,
                now=rfc3339(moment),
            )
        if not options.dry_run:
            return await self._insert(kind, obj, base)
        if await self._shelf.find(kind, namespace, obj["metadata"]["name"]) is not None:
            raise refusals.already_exists(kind, obj["metadata"]["name"])
        return obj

    async def _take_account(self, namespace: str, pod: Object, base: str) -> None:
        spec = pod.get("spec") or {}
        if not spec.get("containers"):
            return
        name = str(spec.get("serviceAccountName") or podaccounts.DEFAULT)
        account = await self._account(namespace, name)
        if account is None and self.demands_accounts:
            raise refusals.no_account(str(base or pod["metadata"]["name"]), namespace, name)
        podaccounts.take_over(pod, account, self._generated(""))

    async def _account(self, namespace: str, name: str) -> Object | None:
        is_waited_for = self.demands_accounts and name == podaccounts.DEFAULT
        for number in range(ACCOUNT_TRIES_MAX if is_waited_for else 1):
            if number:
                await asyncio.sleep(ACCOUNT_RETRY_S)
            found = await self._shelf.find(core.SERVICE_ACCOUNT, namespace, name)
            if found is not None:
                return found
        return None

    async def _insert(self, kind: Kind, obj: Object, base: str) -> Object:
        if kind is core.SERVICE:
            allocate_addresses(obj, await self.held_addresses())
        tries = NAME_TRIES_MAX if base else 1
        try:
            while True:
                try:
                    return await self._shelf.insert(kind, obj)
                except AlreadyExists:
                    tries -= 1
                    if not tries:
                        raise
                    obj["metadata"]["name"] = self._generated(base)
        except BaseException:
            if kind is core.SERVICE:
                (await self.held_addresses()).release(obj)
            raise

    @in_turn
    async def change(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        change: Change,
        options: WriteOptions,
        subresource: str,
        *,
        applies: bool = False,
    ) -> Object:
        """Stores what *change* makes of the object; what it gives is a copy of its own."""
        for _ in range(CONFLICT_TRIES_MAX):
            old = await self._shelf.get(kind, namespace, name, form="full")
            new = self._changed(kind, old, change(old), options, subresource, applies=applies)
            if new is old or options.dry_run:
                return new
            try:
                if strategy.is_unheld(kind, new):
                    await self.remove(kind, old, new)
                    return new
                return await self._shelf.replace(kind, old, new)
            except Stale:
                options.warnings.clear()
        raise refusals.conflict(kind, name)

    def _changed(
        self,
        kind: Kind,
        old: Object,
        new: Object,
        options: WriteOptions,
        subresource: str,
        *,
        applies: bool,
    ) -> Object:
        """What is to be stored; *old* itself where nothing changes."""
        check_version(kind, old, new)
        new = strategy.prepare_update(kind, old, new, subresource)
        if subresource in ("", "scale"):
            options.warnings.extend(hooks.KEEP.get(kind, hooks.keep_nothing)(old, new))
            admission.fill(kind, new, old)
        else:
            admission.fill_status(kind, new, old)
        strategy.count_generation(kind, old, new)
        strategy.check_finalizers(kind, old, new)
        same = strategy.same_content(old, new)
        if same and not applies and strategy.same_ownership(old, new):
            return old
        admission.check(kind, new, old)
        if options.check is not None:
            options.check(new, old)
        new = strategy.ordered(kind, new)
        if not applies:
            new = tracked(
                kind, old, new, options, moment=rfc3339(self._clock()), subresource=subresource
            )
        return old if new == old else new

    async def remove(self, kind: Kind, old: Object, last: Object) -> None:
        await self._shelf.remove(kind, old, last)
        if kind is core.SERVICE:
            self._addresses.release(last)

    async def _check_namespace(self, kind: Kind, namespace: str, metadata: Object) -> None:
        if not kind.namespaced:
            return
        found = await self._shelf.get(core.NAMESPACE, "", namespace)
        if "deletionTimestamp" in found["metadata"]:
            name = str(metadata.get("name") or metadata.get("generateName") or "")
            raise refusals.namespace_terminating(kind, name, namespace)

    async def held_addresses(self) -> ServiceAddresses:
        """Those of Services, once they know what is held."""
        if not self._knows_held:
            services = await self._shelf.list(core.SERVICE, "", ListOptions())
            self._addresses.hold(services.items)
            self._knows_held = True
        return self._addresses

    def _generated(self, base: str) -> str:
        letters = self._random.choices(NAME_LETTERS, k=strategy.NAME_SUFFIX_LENGTH)
        return base[: strategy.GENERATED_NAME_BASE_MAX] + "".join(letters)
