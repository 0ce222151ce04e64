"""What is done to a pod by creating something below it: its binding to a node, its eviction."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from motorpool.api import core
from motorpool.api.conditions import merged
from motorpool.api.errors import BadRequest, Conflict, FieldError
from motorpool.api.errors import invalid as invalid_object
from motorpool.api.kinds import Kind
from motorpool.api.meta import Object, at
from motorpool.apiserver.options import WriteOptions, delete_options
from motorpool.apiserver.registry import Registry
from motorpool.base.clock import rfc3339

Action: TypeAlias = Callable[[Registry, str, str, Object, WriteOptions], Awaitable[Object]]
"""Carries out what the object asks of the pod of that namespace and name; gives the answer."""

_SUCCESS: Object = {
    "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201,
}  # fmt: skip


async def bind(
    registry: Registry, namespace: str, name: str, binding: Object, options: WriteOptions
) -> Object:
    """Gives the pod its node, once. Raises Conflict where it has one."""
    target = binding.get("target") or {}
    node = str(target.get("name") or "")
    if not node:
        error = FieldError.required("target.name")
        raise invalid_object("Binding", "", name, [error])
    if target.get("kind") not in (None, "", "Node"):
        error = FieldError.not_supported("target.kind", target["kind"], ["Node", "<empty>"])
        raise invalid_object("Binding", "", name, [error])
    moment = rfc3339(registry.clock())

    def bound(pod: Object) -> Object:
        _check_free(pod, str(binding["metadata"].get("uid") or ""))
        scheduled = {"type": "PodScheduled", "status": "True"}
        status = {**(pod.get("status") or {})}
        status["conditions"] = with_condition(status.get("conditions") or [], scheduled, moment)
        return {**pod, "spec": {**pod["spec"], "nodeName": node}, "status": status}

    await registry.patch(core.POD, namespace, name, bound, options, subresource="binding")
    return _SUCCESS


def _check_free(pod: Object, uid: str) -> None:
    name, placed = pod["metadata"]["name"], at(pod, "spec", "nodeName")
    prefix = f'Operation cannot be fulfilled on pods/binding "{name}": '
    details = {"name": name, "kind": "pods/binding"}
    if uid and uid != pod["metadata"]["uid"]:
        text = f"Precondition failed: UID in precondition: {uid}, UID in object meta: "
        raise Conflict(f"{prefix}{text}{pod['metadata']['uid']}", details=details)
    if "deletionTimestamp" in pod["metadata"]:
        text = f"pod {name} is being deleted, cannot be assigned to a host"
        raise Conflict(prefix + text, details=details)
    if placed:
        text = f'pod {name} is already assigned to node "{placed}"'
        raise Conflict(prefix + text, details=details)


async def evict(
    registry: Registry, namespace: str, name: str, eviction: Object, options: WriteOptions
) -> Object:
    """Deletes the pod, and says in its status why. There are no disruption budgets to ask."""
    given = str(eviction["metadata"].get("name") or name)
    if given != name:
        raise BadRequest(f"name in URL does not match name in Eviction object: {name}, {given}")
    asked = delete_options({}, eviction.get("deleteOptions"))
    if options.dry_run or asked.dry_run:
        await registry.get(core.POD, namespace, name)
        return _SUCCESS
    moment = rfc3339(registry.clock())

    def disrupted(pod: Object) -> Object:
        why = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting",
        }
        status = {**(pod.get("status") or {})}
        status["conditions"] = with_condition(status.get("conditions") or [], why, moment)
        return {**pod, "status": status}

    await registry.patch(core.POD, namespace, name, disrupted, options, subresource="status")
    await registry.delete(core.POD, namespace, name, asked)
    return _SUCCESS


def with_condition(conditions: list[Object], new: Object, moment: str) -> list[Object]:
    others = [condition for condition in conditions if condition.get("type") != new["type"]]
    before = [condition for condition in conditions if condition.get("type") == new["type"]]
    return [*others, *merged(before, [new], moment)]


ACTIONS: Mapping[tuple[str, str], Action] = {
    ("pods", "binding"): bind,
    ("pods", "eviction"): evict,
}
"""By the plural of the kind and the subresource."""


def action_of(kind: Kind, subresource: str) -> Action | None:
    return ACTIONS.get((kind.resource, subresource))
