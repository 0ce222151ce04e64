"""Makes the default roles and bindings at the start, and completes them after an upgrade.

What a user took away from a default comes back, what a user added stays; with the annotation
``autoupdate: "false"`` an object is left as it is.
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from motorpool.api import aggregation, rbac
from motorpool.api.errors import NotFound
from motorpool.api.kinds import Kind
from motorpool.api.meta import Object, annotations_of, name_of
from motorpool.apiserver.access import roles
from motorpool.apiserver.options import WriteOptions

if TYPE_CHECKING:
    from motorpool.apiserver.registry import Registry

OPTIONS = WriteOptions(manager="motorpool", tracked=False)


async def ensure_defaults(registry: "Registry") -> None:
    """Raises ApiError."""
    wanted = with_sums(roles.default_roles())
    work = [(rbac.CLUSTER_ROLE, role) for role in wanted]
    work += [(rbac.CLUSTER_ROLE_BINDING, binding) for binding in roles.default_bindings()]
    await asyncio.gather(*(_ensure(registry, kind, obj) for kind, obj in work))


def with_sums(found: Sequence[Object]) -> list[Object]:
    """The roles, with the rules of those that are sums of others. Pure."""
    done: list[Object] = [role for role in found if not aggregation.is_sum(role)]
    for role in found:  # A sum stands after those that it sums up.
        if aggregation.is_sum(role):
            done.append({**role, "rules": aggregation.rules_of(role, done)})
    return done


async def _ensure(registry: "Registry", kind: Kind, wanted: Object) -> None:
    try:
        found = await registry.get(kind, "", name_of(wanted), full=False)
    except NotFound:
        await registry.create(kind, "", dict(wanted), OPTIONS)
        return
    completed = complete(found, wanted)
    if completed is not found:
        await registry.update(kind, "", name_of(wanted), completed, OPTIONS)


def complete(found: Object, wanted: Object) -> Object:
    """*found* with what it lacks of *wanted*; itself where it lacks nothing. Pure."""
    if annotations_of(found).get(roles.AUTO_UPDATE) == "false":
        return found
    field = "rules" if "rules" in wanted else "subjects"
    has = found.get(field) or []
    lacking = [entry for entry in wanted[field] if entry not in has]
    if not lacking or aggregation.is_sum(found):
        return found
    return {**found, "metadata": dict(found["metadata"]), field: [*has, *lacking]}
