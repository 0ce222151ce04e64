"""Writes the rules of every ClusterRole that sums up others, whenever one of those changes."""

from collections.abc import Callable, Iterable

from motorpool.api import aggregation, rbac
from motorpool.api.meta import ObjectKey, is_deleting, key_of
from motorpool.loop.informer import Change
from motorpool.loop.runner import Context, Controller

COMPONENT = "clusterrole-aggregation-controller"


def controller(context: Context) -> Controller:
    actor = _Sums(context)
    return Controller(COMPONENT, {context.informers(rbac.CLUSTER_ROLE): actor.sums}, actor.sum)


class _Sums:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._roles = context.informers(rbac.CLUSTER_ROLE)

    @property
    def sums(self) -> Callable[[Change], Iterable[ObjectKey]]:
        """Any role may be part of any sum, and there are few sums."""

        def keys(_: Change) -> Iterable[ObjectKey]:
            return [key_of(role) for role in self._roles.list() if aggregation.is_sum(role)]

        return keys

    async def sum(self, key: ObjectKey) -> float | None:
        role = self._roles.get(*key)
        if role is None or is_deleting(role) or not aggregation.is_sum(role):
            return None
        rules = aggregation.rules_of(role, self._roles.list())
        if rules != (role.get("rules") or []):
            await self._client.update(rbac.CLUSTER_ROLE, {**role, "rules": rules})
        return None
