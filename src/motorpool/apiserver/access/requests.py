"""What a request asks for in the terms of roles, and how it is refused. Pure."""

from collections.abc import Mapping

from motorpool.api.errors import Forbidden
from motorpool.apiserver.access.rules import Attributes
from motorpool.apiserver.authentication import User
from motorpool.apiserver.options import flag
from motorpool.apiserver.paths import Target

_VERBS = {
    "POST": "create",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
    "GET": "get",
    "HEAD": "get",
}


def attributes_of(
    method: str, path: str, query: Mapping[str, str], target: Target | None
) -> Attributes:
    if target is None or not target.plural:
        return Attributes(verb=method.lower(), path=path)
    name, namespace = target.name, target.namespace
    verb = _VERBS.get(method, method.lower())
    if not target.name:
        if verb == "get":
            watches = target.watches or flag(query, "watch")
            verb = "watch" if watches else "list"
            name = _selected_name(query.get("fieldSelector", ""))
        elif verb == "delete":
            verb = "deletecollection"
    elif verb == "get" and target.watches:
        verb = "watch"
    group = target.group_version.group
    if not group and target.plural == "namespaces":
        namespace = target.name  # a namespace is in itself
    return Attributes(verb, group, target.plural, target.subresource, namespace, name)


def _selected_name(selector: str) -> str:
    """The one name that a list is limited to, which may be all that its reader may see."""
    for term in selector.split(","):
        field, _, value = term.partition("=")
        if field == "metadata.name":
            return value.removeprefix("=")
    return ""


def refused(user: User, asked: Attributes, reason: str = "") -> Forbidden:
    """The 403 for *asked*."""
    if asked.path:
        text = f'forbidden: User "{user.name}" cannot {asked.verb} path "{asked.path}"'
        return Forbidden(text, details={})
    resource = f"{asked.resource}.{asked.group}" if asked.group else asked.resource
    named = f'{resource} "{asked.name}"' if asked.name else resource
    where = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
    text = (
        f'{named} is forbidden: User "{user.name}" cannot {asked.verb} resource '
        f'"{asked.qualified}" in API group "{asked.group}" {where}'
    )
    details = {"name": asked.name, "group": asked.group, "kind": asked.resource}
    details = {key: value for key, value in details.items() if value}
    return Forbidden(f"{text}: {reason}" if reason else text, details=details)
