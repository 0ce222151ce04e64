"""Discovery: which groups, versions and kinds there are, in its two formats. Pure."""

from typing import Any

from motorpool.api.kinds import Kind, Subresource
from motorpool.api.meta import Object
from motorpool.apiserver.negotiation import clauses_of
from motorpool.apiserver.paths import Catalog, GroupVersion

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def wants_aggregated(accept: str) -> bool:
    for media, parameters in clauses_of(accept):
        if media == "application/json":
            wanted = parameters.get("g"), parameters.get("v"), parameters.get("as")
            if wanted == ("apidiscovery.k8s.io", "v2", "APIGroupDiscoveryList"):
                return True
            if not parameters:
                return False
    return False


def api_versions(address: str) -> Object:
    clients = [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": clients}


def group_list(catalog: Catalog) -> Object:
    groups = [_group(catalog, group) for group in catalog.groups if group]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def group(catalog: Catalog, name: str) -> Object:
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(catalog, name)}


def _group(catalog: Catalog, name: str) -> Object:
    versions = [
        {"groupVersion": f"{name}/{version}", "version": version}
        for version in catalog.groups[name]
    ]
    return {"name": name, "versions": versions, "preferredVersion": versions[0]}


def resource_list(catalog: Catalog, group_version: GroupVersion) -> Object:
    resources: list[Object] = []
    for kind in sorted(catalog.kinds_of(group_version), key=lambda k: k.plural):
        resources.append(_resource(kind))
        resources += [_subresource(kind, sub) for sub in kind.subresources]
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": str(group_version),
        "resources": resources,
    }


def _resource(kind: Kind) -> Object:
    entry: Object = {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": list(kind.verbs),
    }
    if kind.short_names:
        entry["shortNames"] = list(kind.short_names)
    if kind.categories:
        entry["categories"] = list(kind.categories)
    return entry


def _subresource(kind: Kind, sub: Subresource) -> Object:
    entry: Object = {
        "name": f"{kind.plural}/{sub.name}",
        "singularName": "",
        "namespaced": kind.namespaced,
    }
    if sub.version:
        entry |= {"group": sub.group, "version": sub.version}
    return {**entry, "kind": sub.kind or kind.kind, "verbs": list(sub.verbs)}


def aggregated(catalog: Catalog, *, core: bool) -> Object:
    """The document of ``/api`` (*core*) or of ``/apis``."""
    items = [
        {
            "metadata": {**({"name": name} if name else {}), "creationTimestamp": None},
            "versions": [
                _aggregated_version(catalog, GroupVersion(name, version)) for version in versions
            ],
        }
        for name, versions in catalog.groups.items()
        if (name == "") == core
    ]
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    }


def _aggregated_version(catalog: Catalog, group_version: GroupVersion) -> Object:
    kinds = sorted(catalog.kinds_of(group_version), key=lambda k: k.plural)
    resources = [_aggregated_resource(kind) for kind in kinds]
    return {"version": group_version.version, "resources": resources, "freshness": "Current"}


def _aggregated_resource(kind: Kind) -> Object:
    entry: dict[str, Any] = {
        "resource": kind.plural,
        "responseKind": _response_kind(kind.group, kind.version, kind.kind),
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": list(kind.verbs),
    }
    if kind.short_names:
        entry["shortNames"] = list(kind.short_names)
    if kind.categories:
        entry["categories"] = list(kind.categories)
    if kind.subresources:
        entry["subresources"] = [
            {
                "subresource": sub.name,
                "responseKind": _response_kind(
                    sub.group if sub.version else kind.group,
                    sub.version or kind.version,
                    sub.kind or kind.kind,
                ),
                "verbs": list(sub.verbs),
            }
            for sub in kind.subresources
        ]
    return entry


def _response_kind(group: str, version: str, kind: str) -> Object:
    return {"group": group, "version": version, "kind": kind}
